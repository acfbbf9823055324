//! A staged change as a line.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kept::{group, sum};
use crate::paint::Paint;
use crate::show;
use crate::untrusted::{self, Untrusted};

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

/// A change with its diff, in lines. What is painted was made safe before.
pub fn in_full(change: &Value, paint: Paint) -> String {
    let diff = change["diff"].as_str().unwrap_or_default();
    let heading = paint.heading(&line(change));
    let lines = diff.lines().map(|line| paint.difference(&untrusted::line(line)));
    std::iter::once(heading).chain(lines).map(|line| line + "\n").collect()
}

/// Changes of one directory of dependencies that are one line from here on.
const FEW: usize = 4;

/// Changes in lines.
pub fn lines(changes: &[&Value]) -> Vec<String> {
    grouped(changes, &line)
}

/// Changes in lines, each as `one` has it. Of a directory of dependencies those with the same end are one, where they are no more
/// than that: what is special there is kept back for another reason.
pub fn grouped(changes: &[&Value], one: &dyn Fn(&Value) -> String) -> Vec<String> {
    let key = |change: &Value| {
        let state = show::text(change, "state").raw();
        let is_of_it = match state {
            "refused" => show::list(change, "reasons").any(|r| r == "dependency_directory"),
            _ => state != "conflict",
        };
        group(change).filter(|_| is_of_it).map(|at| (at.to_owned(), state.to_owned()))
    };
    let mut alike: BTreeMap<(String, String), Vec<&Value>> = BTreeMap::new();
    for change in changes {
        if let Some(key) = key(change) {
            alike.entry(key).or_default().push(change);
        }
    }
    alike.retain(|_, changes| changes.len() > FEW);
    let mut lines = Vec::new();
    for change in changes {
        let Some(key) = key(change).filter(|key| alike.contains_key(key)) else {
            lines.push(one(change));
            continue;
        };
        // In the place of the first of them.
        let Some(all) = alike.get_mut(&key) else { continue };
        let all = std::mem::take(all);
        if !all.is_empty() {
            let (at, state) = key;
            lines.push(format!("{state:9} {}/: {}", Untrusted::new(&at), sum(&all)));
        }
    }
    lines
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
    if change["same_as"].is_string() {
        told.push(format!("hard link of {}", show::text(change, "same_as")));
    }
    let mode = &change["mode"];
    if mode.is_object() {
        let old =
            if mode["old"].is_string() { format!("{} → ", show::text(mode, "old")) } else { String::new() };
        told.push(format!("mode {old}{}", show::text(mode, "new")));
    }
    if told.is_empty() { String::new() } else { format!("  [{}]", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn a_directory_of_dependencies_is_one_line_and_what_is_special_in_it_has_its_own() {
        let change = |n: usize, state: &str, reasons: &[&str]| {
            json!({ "state": state, "op": "create", "path": format!("node_modules/p/{n}"), "group": "node_modules",
                "size": 10, "reasons": reasons })
        };
        let mut list: Vec<Value> = (0..40).map(|n| change(n, "committed", &[])).collect();
        list.push(json!({ "state": "committed", "op": "create", "path": "a", "reasons": [] }));
        list.extend(
            (0..40).map(|n| change(n, "refused", &["confirmation_required", "dependency_directory"])),
        );
        list.push(change(1, "refused", &["confirmation_required", "runs_later"]));
        let told = lines(&list.iter().collect::<Vec<_>>());
        assert_eq!(
            told,
            [
                "committed node_modules/: 40 changes, 400 bytes",
                "committed create a",
                "refused   node_modules/: 40 changes, 400 bytes",
                "refused   create node_modules/p/1  (confirmation_required, runs_later)",
            ]
        );
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_a_directory() {
        for name in HOSTILE {
            let one = json!({ "state": "committed", "op": "create", "path": name, "group": name, "size": 1, "reasons": [] });
            let told = lines(&[&one; 9]);
            assert_plain(&told.join("\n"), 1);
        }
    }
}
