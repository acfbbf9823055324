//! Staged changes in numbers: one line each, and their sum.

use std::collections::BTreeMap;

use chaperone_protocol::counted;
use serde_json::Value;

use crate::change_line::{grouped, traits};
use crate::kept;
use crate::overview;
use crate::paint::Paint;
use crate::show;
use crate::untrusted::Untrusted;

/// Columns of a path up to which the numbers of all stand one below the other.
const WIDEST: usize = 60;

/// What is special first, as in the overview of a commit, and the sum last.
pub fn lines(list: &[Value], paint: Paint) -> Vec<String> {
    let width = list.iter().map(|change| what(change).chars().count()).max().unwrap_or(0).min(WIDEST);
    let row =
        |change: &Value| format!("{:width$}  {}", what(change), rest(change, paint)).trim_end().to_owned();
    let (special, plain): (Vec<&Value>, Vec<&Value>) = list.iter().partition(|c| overview::is_special(c));
    let mut lines = grouped(&special, &row);
    lines.extend(grouped(&plain, &row));
    lines.push(total(list));
    lines
}

fn what(change: &Value) -> String {
    let from = change["from"].as_str().map_or_else(String::new, |f| format!("{} → ", Untrusted::new(f)));
    let target = change["target"].as_str().map_or_else(String::new, |t| format!(" → {}", Untrusted::new(t)));
    format!("{:6} {from}{}{target}", show::text(change, "op"), show::text(change, "path"))
}

fn rest(change: &Value, paint: Paint) -> String {
    let reasons = show::joined(change, "reasons", ", ");
    let why = if reasons.is_empty() { String::new() } else { format!("  ({reasons})") };
    format!("{}{}{why}", number(change, paint), traits(change)).trim_start().to_owned()
}

/// Lines of a text; of other content its bytes.
fn number(change: &Value, paint: Paint) -> String {
    match (come_and_gone(change), bytes(change)) {
        (Some((added, removed)), _) => {
            format!("{} {}", paint.added(&format!("+{added}")), paint.removed(&format!("−{removed}")))
        }
        (None, Some(bytes)) => kept::size(bytes),
        (None, None) => String::new(),
    }
}

fn come_and_gone(change: &Value) -> Option<(u64, u64)> {
    let lines = &change["lines"];
    Some((lines["added"].as_u64()?, lines["removed"].as_u64()?))
}

/// Of a file that is new or of which the content is another, where no lines were counted.
fn bytes(change: &Value) -> Option<u64> {
    let has_content = change["kind"] == "file" && change["sha256"].is_string();
    change["size"].as_u64().filter(|_| has_content && come_and_gone(change).is_none())
}

fn total(list: &[Value]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for change in list {
        *kinds.entry(change["op"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let kinds: Vec<String> =
        kinds.iter().map(|(op, count)| format!("{count} {}", Untrusted::new(op))).collect();
    let counts = list.iter().filter_map(come_and_gone);
    let (added, removed) = counts.fold((0, 0), |(a, r), (added, removed)| (a + added, r + removed));
    let other: Vec<u64> = list.iter().filter_map(bytes).collect();
    let other = match other.len() {
        0 => String::new(),
        _ => format!(", {} of no text", kept::size(other.iter().sum())),
    };
    format!("{}: {}; +{added} −{removed}{other}", counted(list.len(), "change"), kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    fn change(op: &str, path: &str, lines: Option<(u64, u64)>) -> Value {
        let lines = lines.map(|(added, removed)| json!({ "added": added, "removed": removed }));
        json!({ "state": "staged", "op": op, "path": path, "kind": "file", "reasons": [], "size": 2_500,
            "sha256": "ab", "lines": lines })
    }

    #[test]
    fn each_change_is_a_line_with_its_numbers_and_the_last_is_the_sum() {
        let mut run = change("create", "run.sh", Some((2, 0)));
        run["mode"] = json!({ "old": null, "new": "0755" });
        let mut gone = change("delete", "old.txt", Some((0, 9)));
        gone["sha256"] = Value::Null;
        let mut link = change("create", "here", None);
        (link["kind"], link["target"], link["sha256"]) = (json!("symlink"), json!("there"), Value::Null);
        let list =
            [change("modify", "src/a.rs", Some((3, 1))), change("create", "data.bin", None), run, gone, link];
        assert_eq!(
            lines(&list, Paint::default()),
            [
                "create run.sh        +2 −0  [mode 0755]",
                "delete old.txt       +0 −9",
                "create here → there  [symlink]",
                "modify src/a.rs      +3 −1",
                "create data.bin      2.5 kB",
                "5 changes: 3 create, 1 delete, 1 modify; +5 −10, 2.5 kB of no text",
            ]
        );
    }

    #[test]
    fn a_directory_of_dependencies_is_one_line() {
        let list: Vec<Value> = (0..40)
            .map(|n| {
                let mut one = change("create", &format!("node_modules/p/{n}"), Some((1, 0)));
                one["group"] = json!("node_modules");
                one
            })
            .collect();
        let told = lines(&list, Paint::default());
        assert_eq!(told, ["staged    node_modules/: 40 changes, 100.0 kB", "40 changes: 40 create; +40 −0"]);
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_the_numbers() {
        for name in HOSTILE {
            let mut one = change(name, name, Some((1, 1)));
            (one["from"], one["target"], one["reasons"]) = (json!(name), json!(name), json!([name]));
            let told = lines(&[one], Paint::default()).join("\n");
            // Its columns are blanks of ours.
            assert_plain(&told, 2);
        }
    }
}
