//! Printing for people: aligned columns, and events as lines.

use serde_json::Value;

/// Print rows with aligned columns; the last column is not padded.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < row.len() {
                let pad = widths.get(i).copied().unwrap_or(0).saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        println!("{}", line.trim_end());
    }
}

/// A string field of a JSON object, or nothing.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The strings of an array field, joined.
#[must_use]
pub fn joined(value: &Value, field: &str, with: &str) -> String {
    let strings = value.get(field).and_then(Value::as_array);
    strings.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(with)
}

/// Print a value as JSON on one line.
pub fn json(value: &Value) {
    println!("{value}");
}

/// One event of the broker as a line for a person; `None` for what needs no line.
#[must_use]
pub fn event(event: &Value) -> Option<String> {
    let (kind, action, resource) = (text(event, "kind"), text(event, "action"), text(event, "resource"));
    let reasons = joined(event, "reasons", ", ");
    let line = match kind {
        "asked" => {
            let findings = event.get("findings").and_then(Value::as_array).map_or(0, Vec::len);
            let found = if findings > 0 { format!(", {findings} kinds of finding") } else { String::new() };
            format!("asked     {action} {resource} ({reasons}{found}) id {}", text(event, "id"))
        }
        "answered" => format!("answered  {action} {resource}: {}", text(event, "answer")),
        "refused" => format!("refused   {action} {resource} ({reasons})"),
        "redacted" => format!("redacted  {action} {resource}"),
        "allowed" if action == "read" => format!("read      {resource}"),
        "allowed" if action == "list" => format!("listed    {resource}"),
        "allowed" if action == "commit" => format!("committed {resource}"),
        "allowed" if matches!(action, "resolve" | "connect" | "request" | "publish") => {
            format!("network   {action} {resource}")
        }
        "allowed" => format!("staged    {action} {resource}"),
        "alert" => format!("ALERT     {action} {resource} ({reasons})"),
        "suspended" => format!("suspended {reasons}"),
        _ => return None,
    };
    Some(line)
}
