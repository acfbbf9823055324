//! A request as the user sees it, and the user's answer read from the terminal.

use std::io::{BufRead, Write};

use serde_json::Value;

use crate::show::{joined, list, text};
use crate::untrusted::Untrusted;

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Once,
    Session,
    Redact,
    Deny,
}

/// The ask in a few lines, of which no text of the agent's can forge one.
#[must_use]
pub fn describe(ask: &Value) -> String {
    let mut lines = vec![format!(
        "{} asks to {} {}   [{} risk, request {}]",
        text(ask, "agent"),
        text(ask, "action"),
        text(ask, "resource"),
        text(ask, "risk"),
        text(ask, "id")
    )];
    let reasons = joined(ask, "reasons", ", ");
    if !reasons.is_empty() {
        lines.push(format!("  why       {reasons} ({})", text(ask, "rule")));
    }
    for f in ask["findings"].as_array().into_iter().flatten() {
        let count = f["count"].as_u64().unwrap_or(1);
        lines.push(format!(
            "  found     {count} × {} ({}) in {}",
            text(f, "detector"),
            text(f, "severity"),
            text(f, "where")
        ));
    }
    for source in list(ask, "sources") {
        lines.push(format!("  contains  a passage of {source}"));
    }
    if let Some(sent) = ask["text"].as_str() {
        lines.push(format!("  sends     \"{}\"   (untrusted)", Untrusted::new(sent)));
    }
    let program = joined(ask, "program", " ");
    if !program.is_empty() {
        lines.push(format!("  program   {program}   (reported by the agent)"));
    }
    for parent in list(ask, "parents") {
        lines.push(format!("  run by    {parent}"));
    }
    let recent = joined(ask, "recent", ", ");
    if !recent.is_empty() {
        lines.push(format!("  before    {recent}"));
    }
    if let Some(said) = ask["justification"].as_str() {
        lines.push(format!("  stated    \"{}\"   (untrusted)", Untrusted::new(said)));
    }
    lines.join("\n")
}

/// Put the ask and read the answer from `input`; anything but a clear yes is a no.
pub fn put(ask: &Value, input: &mut dyn BufRead, output: &mut dyn Write) -> std::io::Result<Choice> {
    let redactable = ask["redactable"].as_bool() == Some(true);
    writeln!(output, "\n{}", describe(ask))?;
    loop {
        let redact = if redactable { "[r]edacted, " } else { "" };
        write!(output, "  allow? {redact}[o]nce, for this [s]ession, [N]o: ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(Choice::Deny);
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "o" | "once" | "y" | "yes" => return Ok(Choice::Once),
            "s" | "session" => return Ok(Choice::Session),
            "r" | "redact" | "redacted" if redactable => return Ok(Choice::Redact),
            "" | "n" | "no" => return Ok(Choice::Deny),
            _ => writeln!(output, "  please answer with one letter")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn silence_and_end_of_input_are_a_no() {
        let ask = json!({ "action": "read", "resource": "/workspace/x", "redactable": true });
        for typed in ["", "\n", "n\n"] {
            assert_eq!(put(&ask, &mut typed.as_bytes(), &mut Vec::new()).unwrap(), Choice::Deny);
        }
        assert_eq!(put(&ask, &mut "what\nr\n".as_bytes(), &mut Vec::new()).unwrap(), Choice::Redact);
    }

    #[test]
    fn a_hostile_name_forges_no_line_of_an_ask() {
        for name in HOSTILE {
            let ask = json!({ "agent": name, "action": name, "resource": name, "risk": name, "id": name,
                "reasons": [name], "rule": name, "findings": [{ "detector": name, "severity": name, "where": name }],
                "sources": [name], "text": name, "program": [name], "parents": [name], "recent": [name],
                "justification": name });
            assert_plain(&describe(&ask), 9);
        }
    }

    #[test]
    fn redaction_is_not_offered_where_it_cannot_be() {
        let ask = json!({ "action": "read", "resource": "/workspace/x", "redactable": false });
        assert_eq!(put(&ask, &mut "r\n".as_bytes(), &mut Vec::new()).unwrap(), Choice::Deny);
    }
}
