//! A staged change as a line.

use serde_json::Value;

use crate::show;
use crate::untrusted::Untrusted;

/// One change in one line: what became of it, what it is, and why.
pub fn line(change: &Value) -> String {
    let from = change["from"].as_str().map_or_else(String::new, |f| format!("{} → ", Untrusted::new(f)));
    let target = change["target"].as_str().map_or_else(String::new, |t| format!(" → {}", Untrusted::new(t)));
    let reasons = show::joined(change, "reasons", ", ");
    let why = if reasons.is_empty() { String::new() } else { format!("  ({reasons})") };
    format!(
        "{:9} {:6} {from}{}{target}{}{why}",
        show::text(change, "state"),
        show::text(change, "op"),
        show::text(change, "path"),
        traits(change)
    )
}

/// What a name alone does not tell: a link, what stood there before, who may do what with it.
pub fn traits(change: &Value) -> String {
    let mut told = Vec::new();
    let (kind, was) = (show::text(change, "kind"), show::text(change, "was"));
    match (kind.raw(), was.raw()) {
        ("file" | "", "") => {}
        (_, "") => told.push(kind.to_string()),
        _ => told.push(format!("{kind} in place of a {was}")),
    }
    let mode = &change["mode"];
    if mode.is_object() {
        let old =
            if mode["old"].is_string() { format!("{} → ", show::text(mode, "old")) } else { String::new() };
        told.push(format!("mode {old}{}", show::text(mode, "new")));
    }
    if told.is_empty() { String::new() } else { format!("  [{}]", told.join(", ")) }
}
