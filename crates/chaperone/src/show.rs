//! Printing for people: aligned columns, and events as lines.

use chaperone_protocol::counted;
use serde_json::Value;

use crate::out::say;
use crate::untrusted::{self, Untrusted};

/// Print rows with aligned columns; the last column is not padded. What a cell holds may come from an agent.
pub fn table(rows: &[Vec<String>]) {
    let safe = |row: &Vec<String>| row.iter().map(|c| Untrusted::new(c).to_string()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(safe).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < row.len() {
                let pad = widths.get(i).copied().unwrap_or(0).saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        say!("{}", line.trim_end());
    }
}

/// A string field of a JSON object, or nothing.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> Untrusted<'a> {
    Untrusted::new(value.get(field).and_then(Value::as_str).unwrap_or_default())
}

/// The strings of an array field, made safe to print and joined.
#[must_use]
pub fn joined(value: &Value, field: &str, with: &str) -> String {
    list(value, field).map(|s| s.to_string()).collect::<Vec<_>>().join(with)
}

/// The strings of an array field.
pub fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = Untrusted<'a>> {
    let strings = value.get(field).and_then(Value::as_array);
    strings.into_iter().flatten().filter_map(Value::as_str).map(Untrusted::new)
}

/// Print a value as JSON on one line.
pub fn json(value: &Value) {
    say!("{}", untrusted::json(&value.to_string()));
}

/// One event of the broker as a line for the user; `None` for what needs no line.
#[must_use]
pub fn event(event: &Value) -> Option<String> {
    let (kind, action, resource) = (text(event, "kind"), text(event, "action"), text(event, "resource"));
    let reasons = joined(event, "reasons", ", ");
    let line = match kind.raw() {
        "asked" => {
            let findings = event.get("findings").and_then(Value::as_array).map_or(0, Vec::len);
            let found = match findings {
                0 => String::new(),
                n => format!(", {} of finding", counted(n, "kind")),
            };
            format!("asked     {action} {resource} ({reasons}{found}) id {}", text(event, "id"))
        }
        "answered" => format!("answered  {action} {resource}: {}", text(event, "answer")),
        "refused" => format!("refused   {action} {resource} ({reasons})"),
        "redacted" => format!("redacted  {action} {resource}"),
        "allowed" if action == "read" => format!("read      {resource}"),
        "allowed" if action == "list" => format!("listed    {resource}"),
        "allowed" if action == "commit" => format!("committed {resource}"),
        "allowed" if matches!(action.raw(), "resolve" | "connect" | "request" | "publish") => {
            format!("network   {action} {resource}")
        }
        "allowed" if action == "tool" => format!("called    {resource}"),
        "allowed" => format!("staged    {action} {resource}"),
        "notice" => format!("notice    {action} {resource} ({reasons})"),
        "alert" => format!("ALERT     {action} {resource} ({reasons})"),
        "suspended" => {
            let id = text(event, "session");
            format!(
                "suspended {reasons}; to let it go on: chaperone resume {id}; to end it: chaperone stop {id}"
            )
        }
        _ => return None,
    };
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn a_hostile_name_is_one_plain_line_of_an_event() {
        for name in HOSTILE {
            for kind in
                ["asked", "answered", "refused", "redacted", "allowed", "notice", "alert", "suspended"]
            {
                for action in ["read", "list", "commit", "connect", "write", name] {
                    let told = json!({ "kind": kind, "action": action, "resource": name, "reasons": [name, name],
                        "id": name, "answer": name, "session": name });
                    assert_plain(&event(&told).unwrap(), 1);
                }
            }
        }
    }
}
