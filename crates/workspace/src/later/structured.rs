//! Values of settings in JSON (also with comments) and TOML, below the members that count.

use serde_json::Value;

use super::place::like;

/// Members whose values count, and of these the ones that do not.
pub(super) struct Keys<'a> {
    pub count: &'a [String],
    pub but: &'a [String],
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        let key = key.to_lowercase();
        let is_one = |keys: &[String]| keys.iter().any(|pattern| like(pattern, &key));
        is_one(self.count) && !is_one(self.but)
    }
}

/// Each value as a line behind its own key; `None` when every line of the text counts.
pub(super) fn values(path: &str, text: &str, keys: &Keys<'_>) -> Option<Vec<String>> {
    if keys.count.is_empty() {
        return None;
    }
    let value: Value = if path.to_lowercase().ends_with(".toml") {
        toml::from_str(text).ok()?
    } else {
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_comments(text))).ok()?
    };
    let mut found = Vec::new();
    collect(&value, "", false, keys, &mut found);
    Some(found)
}

fn collect(value: &Value, key: &str, counts: bool, keys: &Keys<'_>, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(called(members).filter(|_| counts).map(|line| format!("{key} {line}")));
            for (key, value) in members {
                let counts = counts || keys.has(key);
                collect(value, key, counts, keys, found);
            }
        }
        Value::Array(values) => {
            found.extend(joined(values).filter(|_| counts).map(|line| format!("{key} {line}")));
            for value in values {
                collect(value, key, counts, keys, found);
            }
        }
        Value::String(text) if counts => found.extend(text.lines().map(|line| format!("{key} {line}"))),
        _ => {}
    }
}

/// A program and its arguments, as one line.
fn called(members: &serde_json::Map<String, Value>) -> Option<String> {
    let (program, arguments) = (members.get("command")?.as_str()?, members.get("args")?.as_array()?);
    joined(arguments).map(|arguments| format!("{program} {arguments}"))
}

fn joined(values: &[Value]) -> Option<String> {
    let words: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
    words.filter(|words| !words.is_empty()).map(|words| words.join(" "))
}

/// JSON as editors take it: with comments, and commas at the end.
fn without_comments(text: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text.chars().peekable());
    let mut in_text = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' if in_text => {
                plain.push(c);
                plain.extend(rest.next());
            }
            '"' => {
                in_text = !in_text;
                plain.push(c);
            }
            '/' if !in_text && rest.peek() == Some(&'/') => while rest.next_if(|c| *c != '\n').is_some() {},
            '/' if !in_text && rest.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in rest.by_ref().skip(1) {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            '}' | ']' if !in_text => {
                plain.truncate(plain.trim_end().trim_end_matches(',').len());
                plain.push(c);
            }
            _ => plain.push(c),
        }
    }
    plain
}
