//! `changes`, `commit`, `discard`, `undo`.

use std::collections::BTreeMap;

use chaperone_protocol::Request;
use serde_json::Value;

use crate::change_line::line;
use crate::cli::{Changes, Commit, Paths, Undo};
use crate::connect::Broker;
use crate::out::{self, say};
use crate::overview;
use crate::report::Report;
use crate::show;
use crate::untrusted::{self, Untrusted};

/// Where the agent sees the workspace.
const WORKSPACE: &str = "/workspace";

/// Bytes of changes that a pipe's reader gets at once; they count as shown together.
const AT_ONCE: usize = 4096;

pub fn changes(args: &Changes) -> Result<u8, Report> {
    let request = Request::Changes { session: args.session.clone(), diff: !args.json };
    let broker = Broker::reach()?;
    let (mut delivered, mut all) = (Ok(()), Vec::new());
    let (mut count, mut ready, mut text) = (0, 0, String::new());
    let at_once = if out::is_pipe() { AT_ONCE } else { 0 };
    let mut deliver = |text: &mut String, ready: &mut usize| -> std::io::Result<()> {
        out::deliver(format_args!("{text}"))?;
        text.clear();
        count += std::mem::take(ready);
        Ok(())
    };
    broker.ask_list(&request, &mut |change| {
        if args.json {
            all.push(change);
        } else if delivered.is_ok() {
            text.push_str(&in_full(&change));
            ready += 1;
            if text.len() > at_once {
                delivered = deliver(&mut text, &mut ready);
            }
        }
    })?;
    if delivered.is_ok() && ready > 0 {
        delivered = deliver(&mut text, &mut ready);
    }
    if args.json {
        count = all.len();
        delivered = out::deliver(format_args!("{}\n", untrusted::json(&Value::Array(all).to_string())));
        count *= usize::from(delivered.is_ok());
    }
    // What did not reach whoever reads was not shown.
    broker.ask(&Request::Shown { count })?;
    if let Err(error) = delivered {
        out::end(&error);
    }
    if count == 0 && !args.json {
        say!("nothing is staged");
    }
    Ok(0)
}

/// A change with its diff, in lines.
fn in_full(change: &Value) -> String {
    let diff = change["diff"].as_str().unwrap_or_default();
    std::iter::once(line(change)).chain(diff.lines().map(untrusted::line)).map(|line| line + "\n").collect()
}

pub fn commit(args: &Commit) -> Result<u8, Report> {
    let request = Request::Commit {
        session: args.session.clone(),
        paths: args.paths.clone(),
        choice: args.conflict.clone(),
        unseen: args.unseen,
        ask_first: overview::can_ask() && args.paths.is_empty() && !args.json,
        confirm: args.confirm.clone(),
    };
    let list = match Broker::reach()?.list(&request) {
        Err(report) if report.code.as_deref() == Some("look_first") => {
            let Some(list) = overview::then_commit(request)? else { return Ok(1) };
            list
        }
        list => list?,
    };
    let code = print_report(&list, args.json) | unmatched(&args.paths, &list);
    if !args.json {
        for advice in advice(&args.session, &list) {
            eprintln!("chaperone: {advice}");
        }
    }
    Ok(code)
}

/// The reason that a cache of compiled code is left.
const CACHE: &str = "interpreter_cache";

/// A cache of compiled code that was left for no other reason: nothing is missed, so it is no question and no fault.
fn is_left_cache(change: &Value) -> bool {
    let mut reasons = show::list(change, "reasons").peekable();
    reasons.peek().is_some() && reasons.all(|r| r == CACHE || r == "confirmation_required")
}

/// A socket or a FIFO, say, that programs left where they work: it is told, and nothing went wrong.
fn stays_in_the_cell(change: &Value) -> bool {
    let mut reasons = show::list(change, "reasons").peekable();
    reasons.peek().is_some() && reasons.all(|r| r == "cannot_be_staged")
}

/// What the user may do about what was left: one line for all changes of a kind.
fn advice(session: &str, list: &[Value]) -> Vec<String> {
    let has = |change: &Value, reason: &str| show::list(change, "reasons").any(|r| r == reason);
    let mut advice = Vec::new();
    let unseen = list.iter().filter(|c| has(c, "changed_since_shown")).count();
    if unseen > 0 {
        advice.push(format!(
            "{unseen} not as they were shown, or never shown while the agent runs: chaperone changes {session} shows them; --unseen commits them as they are"
        ));
    }
    advice.extend(of_indices(list, &format!("chaperone commit {session} PATH --conflict theirs")));
    let mut kinds: BTreeMap<Vec<String>, usize> = BTreeMap::new();
    let caches = list.iter().filter(|c| is_left_cache(c)).count();
    if caches > 0 {
        advice.push(format!(
            "{caches} files of caches that their tools make anew stay staged; --confirm {CACHE} commits them, too"
        ));
    }
    for change in list.iter().filter(|c| has(c, "confirmation_required") && !is_left_cache(c)) {
        let reasons = show::list(change, "reasons").filter(|r| *r != "confirmation_required");
        *kinds.entry(reasons.map(|r| r.to_string()).collect()).or_default() += 1;
    }
    for (reasons, count) in kinds {
        let flags: Vec<String> = reasons.iter().map(|r| format!("--confirm {r}")).collect();
        advice.push(format!(
            "{count} staged until you confirm ({}): pass the paths, or confirm all: chaperone commit {session} {}",
            reasons.join(", "),
            flags.join(" ")
        ));
    }
    advice
}

/// What to do about git's index where both sides wrote it: `git status` of the user's is enough, which changes nothing but the
/// times that it keeps.
fn of_indices(list: &[Value], takes_it: &str) -> Vec<String> {
    let is_index = |path: &str| path == ".git/index" || path.ends_with("/.git/index");
    list.iter()
        .filter(|change| show::text(change, "state") == "conflict")
        .filter_map(|change| change["path"].as_str().filter(|path| is_index(path)))
        .map(|path| {
            let takes_it = takes_it.replace("PATH", &Untrusted::new(path).to_string());
            let place = path.strip_suffix(".git/index").map_or(".", |place| place.trim_end_matches('/'));
            let place = if place.is_empty() { "." } else { place };
            format!(
                "{} was rewritten by your own git meanwhile (git status does that), all else is as listed: {takes_it}, or make it anew: git -C {} reset",
                Untrusted::new(path),
                Untrusted::new(place)
            )
        })
        .collect()
}

pub fn discard(args: &Paths) -> Result<u8, Report> {
    let request = Request::Discard { session: args.session.clone(), paths: args.paths.clone() };
    let list = Broker::reach()?.list(&request)?;
    Ok(print_report(&list, args.json) | unmatched(&args.paths, &list))
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
    let code = print_report(&list, args.json) | unmatched(&args.paths, &list);
    let kept = list.iter().any(|c| show::text(c, "state") == "conflict");
    if !args.json {
        let takes_it = format!("chaperone undo {} PATH --force", args.session);
        of_indices(&list, &takes_it).iter().for_each(|advice| eprintln!("chaperone: {advice}"));
    }
    if kept && !args.json {
        eprintln!(
            "chaperone: files that you changed since the commit were kept; --force restores the earlier version anyway, and another undo brings yours back"
        );
    }
    Ok(code)
}

/// The path beside which `--conflict both` wrote this one: `a/name.agent-N.ext` is of `a/name.ext`.
fn without_mark(path: &str) -> String {
    let Some((before, after)) = path.rsplit_once(".agent-") else { return path.to_owned() };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}{rest}")
}

/// Says which of the named paths no change has; 1 when there is one.
fn unmatched(paths: &[String], list: &[Value]) -> u8 {
    let is_at = |path: &str, named: &str| {
        named.is_empty()
            || path.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut code = 0;
    for path in paths {
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
        if !list.iter().any(has) {
            code = 1;
            eprintln!("chaperone: no change matches {}", Untrusted::new(path));
        }
    }
    code
}

/// Print what became of each path; 1 when any was refused or in conflict.
fn print_report(list: &[Value], json: bool) -> u8 {
    if json {
        show::json(&Value::Array(list.to_vec()));
    } else if list.is_empty() {
        say!("nothing to do");
    } else {
        list.iter().filter(|c| !is_left_cache(c)).for_each(|change| say!("{}", line(change)));
    }
    let is_wrong = |c: &Value| {
        matches!(show::text(c, "state").raw(), "refused" | "conflict")
            && !is_left_cache(c)
            && !stays_in_the_cell(c)
    };
    let wrong = list.iter().any(is_wrong);
    u8::from(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn an_index_that_both_wrote_is_named_with_what_mends_it() {
        let change = |path: &str, state: &str| json!({ "path": path, "state": state, "reasons": [] });
        let list = [
            change(".git/index", "conflict"),
            change("lib/.git/index", "conflict"),
            change("src/.git/index", "committed"),
            change("index", "conflict"),
        ];
        let advice = advice("3f2a", &list);
        assert_eq!(advice.len(), 2, "{advice:?}");
        assert!(advice[0].contains("chaperone commit 3f2a .git/index --conflict theirs"), "{advice:?}");
        assert!(advice[0].contains("git -C . reset") && advice[1].contains("git -C lib reset"), "{advice:?}");
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_the_changes() {
        for name in HOSTILE {
            let change = json!({ "state": "staged", "op": "rename", "path": name, "from": name, "target": name,
                "reasons": [name], "kind": name, "was": name, "mode": { "old": name, "new": name } });
            assert_plain(&line(&change), 1);
            let asked = json!({ "reasons": ["confirmation_required", name] });
            assert_plain(&advice("3f2a", &[asked]).join(""), 1);
        }
    }

    #[test]
    fn a_line_tells_of_links_and_modes() {
        let link = json!({ "state": "staged", "op": "modify", "path": "notes.txt", "kind": "symlink", "was": "file",
            "target": "../x", "reasons": [] });
        assert_eq!(line(&link), "staged    modify notes.txt → ../x  [symlink in place of a file]");
        let opened = json!({ "state": "staged", "op": "modify", "path": "diary.txt", "kind": "file", "reasons": [],
            "mode": { "old": "0600", "new": "0666" } });
        assert_eq!(line(&opened), "staged    modify diary.txt  [mode 0600 → 0666]");
        let plain = json!({ "state": "staged", "op": "modify", "path": "a", "kind": "file", "reasons": [] });
        assert_eq!(line(&plain), "staged    modify a");
    }

    #[test]
    fn caches_that_are_made_anew_are_one_line_and_no_fault() {
        let cache = json!({ "state": "refused", "reasons": ["confirmation_required", "interpreter_cache"] });
        let told = advice("3f2a", &[cache.clone(), cache.clone()]);
        assert!(told.len() == 1 && told[0].starts_with("2 files of caches"), "{told:?}");
        assert_eq!(print_report(&[cache], false), 0);
        let more = json!({ "state": "refused", "reasons": ["confirmation_required", "interpreter_cache", "runs_later"] });
        assert_eq!(print_report(&[more], false), 1);
    }

    #[test]
    fn a_commit_asks_once_for_all_of_a_kind() {
        let gone = json!({ "state": "refused", "reasons": ["confirmation_required", "many_deletes"] });
        let unseen = json!({ "state": "refused", "reasons": ["changed_since_shown"] });
        let told = advice("3f2a", &[gone.clone(), gone, unseen]);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("--unseen")
                && told[1].contains("2 staged")
                && told[1].contains("--confirm many_deletes")
        );
    }
}
