//! Where the agent and the user (or another session) both wrote what a repository of git says of itself: its index, its branches and
//! what is checked out. Nothing of the user's history is offered to be replaced.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::show;
use crate::untrusted::{Untrusted, word};

/// Paths that are named in a command; of more the directory is.
const NAMED: usize = 24;

/// Of what is committed with other changes, or not at all.
const PART: &str = "part_of_operation";

/// What git leaves of the last message that was written: nothing goes by it.
const LAST_MESSAGE: &str = "COMMIT_EDITMSG";

/// A change of one repository that met another one.
struct Met<'v> {
    path: &'v str,
    /// Below `.git`.
    inside: &'v str,
    is_removal: bool,
}

/// What to do about each repository that both sides wrote.
pub fn advice(list: &[Value], session: &str) -> Vec<String> {
    let mut repositories: BTreeMap<&str, Vec<Met<'_>>> = BTreeMap::new();
    for change in list.iter().filter(|change| is_said(change)) {
        let Some((path, (git, inside))) = change["path"].as_str().and_then(|p| Some((p, parts(p)?))) else {
            continue;
        };
        let is_removal = show::text(change, "op") == "delete";
        repositories.entry(git).or_default().push(Met { path, inside, is_removal });
    }
    let session = Untrusted::new(session).to_string();
    repositories.iter().map(|(git, met)| of_one(git, met, &session, &committed(git, list))).collect()
}

/// Files beside a repository that the same commit brought: a merge finds them in its way.
fn committed<'v>(git: &str, list: &'v [Value]) -> Vec<&'v str> {
    let place = git.strip_suffix(".git").unwrap_or_default();
    let is_brought = |change: &&Value| show::text(change, "state") == "committed";
    let paths = list.iter().filter(is_brought).filter_map(|change| change["path"].as_str());
    paths.filter(|path| path.starts_with(place) && !path.split('/').any(|name| name == ".git")).collect()
}

/// Whether the advice on repositories says what to do about a change.
pub fn is_said(change: &Value) -> bool {
    let is_conflict = show::text(change, "state") == "conflict";
    let is_part = show::list(change, "reasons").any(|reason| reason == PART);
    let path = change["path"].as_str().and_then(parts);
    is_conflict && path.is_some_and(|(_, inside)| inside == "index" || !is_part)
}

/// The directory of a repository, and what of it says what is on a branch, checked out or staged.
fn parts(path: &str) -> Option<(&str, &str)> {
    let inside =
        if let Some(inside) = path.strip_prefix(".git/") { inside } else { path.split_once("/.git/")?.1 };
    let git = path.get(..path.len() - inside.len() - 1)?;
    let is_one = matches!(inside, "index" | "HEAD" | "packed-refs" | LAST_MESSAGE)
        || inside.starts_with("refs/")
        || inside.starts_with("logs/");
    is_one.then_some((git, inside))
}

fn of_one(git: &str, met: &[Met<'_>], session: &str, brought: &[&str]) -> String {
    let place = git.strip_suffix(".git").map_or(".", |place| place.trim_end_matches('/'));
    let place = Untrusted::new(if place.is_empty() { "." } else { place }).to_string();
    let drop = format!("chaperone discard {session}{}", words(git, met.iter().map(|m| m.path)));
    if let [Met { path, inside: "index", .. }] = met {
        // `git status` is enough, which changes nothing but the times that it keeps.
        let path = Untrusted::new(path);
        return format!(
            "{path} was rewritten by your own git meanwhile; if that was no more than git status: chaperone commit --conflict theirs {session} {path}, or make it anew: git -C {place} reset; if you or another session staged or committed something, keep yours: {drop}"
        );
    }
    if met.iter().all(|m| m.inside == LAST_MESSAGE) {
        return format!("the message of your own last commit in {place} stays: {drop}");
    }
    let names: Vec<&str> =
        met.iter().filter(|m| m.inside.starts_with("refs/") && !m.is_removal).map(|m| m.path).collect();
    let what = format!("you or another session committed or switched meanwhile in {place}");
    if names.is_empty() {
        return format!(
            "{what}: the agent's index would not belong to what is checked out now; to keep yours: {drop}"
        );
    }
    // What the branch has, too, was committed with it.
    let back = if brought.is_empty() {
        String::new()
    } else {
        let paths = if brought.len() > NAMED { String::new() } else { words(git, brought.iter().copied()) };
        format!(", then, as the merge brings what came with it: chaperone undo {session}{paths}")
    };
    format!(
        "{what}: the agent's branch would replace yours, with what was committed on it; to have it beside yours (NAME.agent-1), for git merge: chaperone commit --conflict both {session}{}, then: {drop}{back}",
        words(git, names.into_iter())
    )
}

/// The paths as words of a command, or the directory that they are in.
fn words<'v>(git: &'v str, paths: impl Iterator<Item = &'v str>) -> String {
    let paths: Vec<&str> = paths.collect();
    let paths = if paths.len() > NAMED { vec![git] } else { paths };
    paths.iter().map(|path| format!(" {}", word(path))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(path: &str, state: &str) -> Value {
        json!({ "path": path, "op": "modify", "state": state, "reasons": [] })
    }

    #[test]
    fn an_index_that_both_wrote_is_named_with_what_mends_it() {
        let list = [
            change(".git/index", "conflict"),
            change("lib/.git/index", "conflict"),
            change("src/.git/index", "committed"),
            change("index", "conflict"),
        ];
        let advice = advice(&list, "3f2a");
        assert_eq!(advice.len(), 2, "{advice:?}");
        assert!(advice[0].contains("chaperone commit --conflict theirs 3f2a .git/index"), "{advice:?}");
        assert!(advice[0].contains("git -C . reset") && advice[1].contains("git -C lib reset"), "{advice:?}");
        assert!(advice[0].contains("keep yours: chaperone discard 3f2a .git/index"), "{advice:?}");
        assert_eq!(list.iter().map(is_said).collect::<Vec<_>>(), [true, true, false, false]);
    }

    #[test]
    fn a_branch_that_both_wrote_is_never_offered_to_be_replaced() {
        let list = [
            change(".git/index", "conflict"),
            change(".git/HEAD", "committed"),
            change(".git/logs/HEAD", "conflict"),
            change(".git/refs/heads/main", "conflict"),
            change("a.txt", "conflict"),
        ];
        let said = advice(&list, "3f2a");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("chaperone commit --conflict both 3f2a .git/refs/heads/main,"), "{said:?}");
        let dropped = "chaperone discard 3f2a .git/index .git/logs/HEAD .git/refs/heads/main";
        assert!(said[0].contains(dropped) && !said[0].contains("theirs"), "{said:?}");
        assert!(!said[0].contains("undo"), "{said:?}");
        // What it brought beside the repository stands in the way of the merge.
        let brought = change("new file.txt", "committed");
        let with: Vec<Value> = list.iter().cloned().chain([brought]).collect();
        let said_with = advice(&with, "3f2a");
        assert!(said_with[0].ends_with("chaperone undo 3f2a 'new file.txt'"), "{said_with:?}");
        assert_eq!(list.iter().map(is_said).collect::<Vec<_>>(), [true, false, true, true, false]);
        // Another branch is checked out: a copy of what is checked out is nothing to git.
        let switched = [change("lib/.git/index", "conflict"), change("lib/.git/HEAD", "conflict")];
        let said = advice(&switched, "3f2a");
        assert!(
            said[0].contains("chaperone discard 3f2a lib/.git/index lib/.git/HEAD")
                && !said[0].contains("--conflict"),
            "{said:?}"
        );
    }
}
