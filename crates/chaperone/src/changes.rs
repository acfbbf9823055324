//! `commit`, `discard`, `undo`.

use chaperone_cell::WORKSPACE;
use chaperone_protocol::Request;
use serde_json::Value;

use crate::change_line::lines;
use crate::cli::{Commit, Paths, Undo};
use crate::connect::Broker;
use crate::diverged;
use crate::interactive;
use crate::kept::{self, is_left_cache};
use crate::out::{note, say};
use crate::overview;
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

/// Told when a commit takes a while.
const LOOKS: &str = "looking at each change";

pub fn commit(args: &Commit) -> Result<u8, Report> {
    let request = Request::Commit {
        session: args.session.clone(),
        paths: args.paths.clone(),
        choice: args.conflict.clone(),
        unseen: args.unseen,
        ask_first: overview::can_ask() && args.paths.is_empty() && !args.json,
        rehearsal: false,
        confirm: args.confirm.clone(),
        accept: args.accept.clone(),
    };
    let asked = args.interactive.then(|| interactive::commit(args)).transpose()?;
    let list = match asked.map_or_else(|| Broker::reach()?.saying(LOOKS).list(&request), Ok) {
        Err(report) if report.code.as_deref() == Some("look_first") => {
            let Some(list) = overview::then_commit(request)? else { return Ok(1) };
            list
        }
        list => list?,
    };
    print_report(&list, &args.paths, args.json);
    let is_missing = missing(args, &list)?;
    if !args.json {
        let repositories = diverged::advice(&list, &args.session);
        repositories.into_iter().chain(kept::advice(args, &list)).for_each(|line| note!("chaperone: {line}"));
    }
    Ok(if is_missing { 1 } else { kept::code(&list) })
}

/// Whether a named path has no change, and is not one that is committed already, which it says.
fn missing(args: &Commit, list: &[Value]) -> Result<bool, Report> {
    let (mut paths, mut is_missing) = (without_change(&args.paths, list), false);
    if paths.is_empty() {
        return Ok(false);
    }
    let asked = Request::Committed { session: args.session.clone(), paths: paths.clone() };
    for before in Broker::reach()?.list(&asked)? {
        paths.retain(|path| before["path"] != path.as_str());
        note!(
            "chaperone: {} is committed already (commit {})",
            show::text(&before, "path"),
            before["commit"]
        );
    }
    for path in paths {
        is_missing = true;
        say_without_change(&path);
    }
    Ok(is_missing)
}

/// What to do where the user's own git went on from a commit that is taken back.
fn of_repositories(list: &[Value], session: &str) -> Vec<String> {
    let kept = list.iter().filter(|change| show::text(change, "state") == "conflict").filter_map(|change| {
        let path = change["path"].as_str()?;
        let is_needed = change["reasons"].as_array()?.iter().any(|reason| reason == "needed_by_what_stays");
        // Its objects, or all of one that the commit made.
        let git = is_needed.then(|| path.strip_suffix("/objects").unwrap_or(path));
        git.or_else(|| path.strip_suffix("/index").filter(|_| kept::is_index(path)))
    });
    let places: std::collections::BTreeSet<&str> = kept.collect();
    let advice = |git: &str| {
        let git = Untrusted::new(git);
        format!(
            "your own git went on from the commit in {git}: what you staged or committed stays, with the objects that it may need; to take the commit back there all the same (your files stay, and are not staged any more): chaperone undo {session} {git} --force"
        )
    };
    places.into_iter().map(advice).collect()
}

pub fn discard(args: &Paths) -> Result<u8, Report> {
    let request = Request::Discard { session: args.session.clone(), paths: args.paths.clone() };
    let list = Broker::reach()?.list(&request)?;
    print_report(&list, &args.paths, args.json);
    Ok(unmatched(&args.paths, &list))
}

pub fn undo(args: &Undo) -> Result<u8, Report> {
    let request = Request::Undo {
        session: args.session.clone(),
        commit: args.commit,
        paths: args.paths.clone(),
        force: args.force,
    };
    let mut list = Broker::reach()?.list(&request)?;
    if !args.json {
        // To the staging area an undo is a commit like any other; to the user it is not.
        for change in list.iter_mut().filter(|c| show::text(c, "state") == "committed") {
            change["state"] = "undone".into();
        }
    }
    print_report(&list, &args.paths, args.json);
    let is_left = |change: &Value| matches!(show::text(change, "state").raw(), "refused" | "conflict");
    let code = u8::from(list.iter().any(is_left)) | unmatched(&args.paths, &list);
    let kept = list.iter().any(|c| show::text(c, "state") == "conflict");
    if !args.json {
        of_repositories(&list, &args.session).iter().for_each(|advice| note!("chaperone: {advice}"));
    }
    if kept && !args.json {
        note!(
            "chaperone: files that you changed since the commit were kept; --force restores the earlier version anyway, and says how to have yours back"
        );
    }
    if let Some(commands) = back(args, &list) {
        note!("chaperone: to have back what was there before: {commands}");
    }
    Ok(code)
}

/// What takes an undo back: each commit that was undone is a commit of its own, the last one first.
fn back(args: &Undo, list: &[Value]) -> Option<String> {
    let undone = list.iter().filter(|c| show::text(c, "state") == "undone" && !args.json);
    let numbers: std::collections::BTreeSet<u64> = undone.filter_map(|c| c["commit"].as_u64()).collect();
    let command = |number: &u64| format!("chaperone undo {} --commit {number}", args.session);
    let commands: Vec<String> = numbers.iter().rev().map(command).collect();
    (!commands.is_empty()).then(|| commands.join(" && "))
}

/// The path beside which `--conflict both` wrote this one: `a/name.agent-N.ext` is of `a/name.ext`.
fn without_mark(path: &str) -> String {
    let Some((before, after)) = path.rsplit_once(".agent-") else { return path.to_owned() };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{rest}")
}

/// Says which of the named paths no change has; 1 when there is one.
pub fn unmatched(paths: &[String], list: &[Value]) -> u8 {
    let missing = without_change(paths, list);
    missing.iter().for_each(|path| say_without_change(path));
    u8::from(!missing.is_empty())
}

fn say_without_change(path: &str) {
    note!("chaperone: no change matches {}", Untrusted::new(path));
}

/// The named paths that no change has.
fn without_change(paths: &[String], list: &[Value]) -> Vec<String> {
    let is_at = |path: &str, named: &str| {
        named.is_empty()
            || path.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_missing = |path: &&String| {
        let named = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
        // As the agent names it, or as it lies in the workspace.
        let named = match named.strip_prefix(WORKSPACE) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => named,
        };
        let has = |change: &Value| {
            let at = |key: &str| change[key].as_str().unwrap_or_default();
            is_at(at("path"), named) || is_at(at("from"), named) || is_at(&without_mark(at("path")), named)
        };
        !list.iter().any(has)
    };
    paths.iter().filter(is_missing).cloned().collect()
}

/// Print what became of each path. Where paths were named and no change is theirs, that is said of each of them.
fn print_report(list: &[Value], named: &[String], json: bool) {
    if json {
        show::json(&Value::Array(list.to_vec()));
    } else if list.is_empty() {
        if named.is_empty() {
            say!("nothing to do");
        }
    } else {
        let told: Vec<&Value> = list.iter().filter(|c| !is_left_cache(c)).collect();
        lines(&told).iter().for_each(|line| say!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change_line::line;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn a_named_path_that_no_change_has_is_an_error() {
        let list = [json!({ "path": "docs/a.txt", "from": "old/b.txt" })];
        let code = |path: &str| unmatched(&[path.to_owned()], &list);
        for known in [
            "docs/a.txt",
            "docs",
            "docs/",
            "./docs/a.txt",
            "/workspace/docs/a.txt",
            "/workspace",
            "old/b.txt",
            "old",
        ] {
            assert_eq!(code(known), 0, "{known}");
        }
        for unknown in ["docs/a", "doc", "a.txt", "/workspace2", "/workspace/x", "nothing"] {
            assert_eq!(code(unknown), 1, "{unknown}");
        }
        assert_eq!(unmatched(&[], &[]), 0);
        let beside = [json!({ "path": "docs/a.agent-1.tar.gz" }), json!({ "path": "README.agent-12" })];
        for (named, code) in [("docs/a.tar.gz", 0), ("README", 0), ("docs/b.tar.gz", 1), ("READ", 1)] {
            assert_eq!(unmatched(&[named.to_owned()], &beside), code, "{named}");
        }
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_the_changes() {
        for name in HOSTILE {
            let change = json!({ "state": "staged", "op": "rename", "path": name, "from": name, "target": name,
                "reasons": [name], "kind": name, "was": name, "same_as": name, "mode": { "old": name, "new": name } });
            assert_plain(&line(&change), 1);
        }
    }

    #[test]
    fn a_line_tells_of_links_and_modes() {
        let link = json!({ "state": "staged", "op": "modify", "path": "notes.txt", "kind": "symlink", "was": "file",
            "target": "../x", "reasons": [] });
        assert_eq!(line(&link), "staged    modify notes.txt → ../x  [symlink in place of a file]");
        let hard = json!({ "state": "staged", "op": "create", "path": "b", "kind": "file", "same_as": "a", "reasons": [] });
        assert_eq!(line(&hard), "staged    create b  [hard link of a]");
        let opened = json!({ "state": "staged", "op": "modify", "path": "diary.txt", "kind": "file", "reasons": [],
            "mode": { "old": "0600", "new": "0666" } });
        assert_eq!(line(&opened), "staged    modify diary.txt  [mode 0600 → 0666]");
        let plain = json!({ "state": "staged", "op": "modify", "path": "a", "kind": "file", "reasons": [] });
        assert_eq!(line(&plain), "staged    modify a");
    }
}
