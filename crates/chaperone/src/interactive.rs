//! `commit --interactive`: group by group, each with why it is asked about and what it changes. The agent stands still meanwhile, and
//! nothing is committed that was not there when the first question was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::stdin;

use chaperone_protocol::{Request, counted};
use serde_json::Value;

use crate::change_line;
use crate::cli::Commit;
use crate::connect::Broker;
use crate::kept;
use crate::out::{self, say};
use crate::overview;
use crate::paint::Paint;
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

/// Changes of a group that are named before the first question; `l` names all.
const NAMED: usize = 10;
/// What may run later, say, is asked about one by one up to so many; more is one question, with each of them named.
const EACH: usize = 30;
/// Reasons for which changes come in bulk: many of them are one question.
const BULK: [&str; 7] = [
    "dependency_directory",
    "executable",
    "interpreter_cache",
    "many_deletes",
    "part_of_operation",
    "csv_formula",
    "option_name",
];
const KEYS: &str = "y - commit these, n - leave them staged, d - show the differences, l - name them all, \
                    a - commit these and all that follow, q - stop here";

/// Changes that are one question.
#[derive(Debug, Default)]
struct Group<'v> {
    /// The directory of dependencies that it is, or nothing.
    at: Option<&'v str>,
    reasons: Vec<&'v str>,
    changes: Vec<&'v Value>,
}

enum Answer {
    Commit,
    Leave,
    CommitAll,
    Stop,
}

/// What became of each change.
///
/// # Errors
/// When nobody can be asked, or the broker does not answer.
pub fn commit(args: &Commit) -> Result<Vec<Value>, Report> {
    if !overview::can_ask() {
        return Err(Report::new("--interactive asks, and standard input and output are no terminal")
            .advise("without it, commit prints the command for each group"));
    }
    // On one connection: the cell stands still until it is closed, however this process ends.
    let broker = Broker::reach()?;
    broker.ask(&Request::Hold { session: args.session.clone() })?;
    let look = |diff: bool, paths: Vec<String>| Request::Changes {
        session: args.session.clone(),
        diff,
        stat: false,
        paths,
    };
    let list = broker.list(&look(false, args.paths.clone()))?;
    broker.ask(&Request::Shown { count: list.len() })?;
    let mut all = broker.list(&request(args, (args.paths.clone(), Vec::new()), true))?;
    let of_all = all.clone();
    let groups = groups(&of_all);
    let mut takes_all = false;
    for (number, group) in groups.iter().enumerate() {
        say!("{}", heading(group, (number + 1, groups.len()), NAMED).join("\n"));
        let (paths, reasons) = what(group, &of_all, args);
        let answer = if takes_all {
            Answer::Commit
        } else {
            ask(group, &mut || {
                // Only what was there at the first look is committed: this look counts for nothing.
                broker.list(&look(true, named(group, &of_all)))
            })?
        };
        match answer {
            Answer::Stop => break,
            Answer::Leave => continue,
            Answer::CommitAll => takes_all = true,
            Answer::Commit => {}
        }
        let done = broker.list(&request(args, (paths, reasons), false))?;
        // However it ends, what is done is said.
        let committed = done.iter().filter(|change| change["state"] == "committed").count();
        say!("committed {}", counted(committed, "change"));
        take_over(&mut all, done);
    }
    Ok(all)
}

fn request(args: &Commit, (paths, reasons): (Vec<String>, Vec<String>), rehearsal: bool) -> Request {
    Request::Commit {
        session: args.session.clone(),
        paths,
        choice: args.conflict.clone().filter(|_| !rehearsal),
        unseen: args.unseen,
        ask_first: false,
        rehearsal,
        confirm: args.confirm.clone(),
        accept: args.accept.iter().cloned().chain(reasons).collect(),
    }
}

/// What passes unasked first, then the directories of dependencies, and then the rest by reason: what comes in bulk together, and
/// everything else by itself.
fn groups(list: &[Value]) -> Vec<Group<'_>> {
    let mut plain = Group::default();
    let (mut directories, mut bulk): (BTreeMap<&str, Group<'_>>, BTreeMap<Vec<&str>, Group<'_>>) =
        Default::default();
    let (mut operation, mut single) = (Group::default(), BTreeMap::<Vec<&str>, Vec<&Value>>::new());
    for change in list {
        let reasons = kept::reasons(change);
        match show::text(change, "state").raw() {
            "staged" => plain.changes.push(change),
            "refused" if kept::is_asked(change) => {
                if let Some(at) = kept::group(change).filter(|_| reasons.contains(&kept::DIRECTORY)) {
                    let group = directories.entry(at).or_default();
                    (group.at, group.reasons) = (Some(at), vec![kept::DIRECTORY]);
                    group.changes.push(change);
                } else if reasons.contains(&kept::OPERATION) {
                    operation.reasons.extend(reasons);
                    operation.changes.push(change);
                } else if reasons.iter().all(|reason| BULK.contains(reason)) {
                    let group = bulk.entry(reasons.clone()).or_default();
                    group.reasons = reasons;
                    group.changes.push(change);
                } else {
                    single.entry(reasons).or_default().push(change);
                }
            }
            _ => {}
        }
    }
    operation.reasons = operation.reasons.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let single = single.into_iter().flat_map(|(reasons, changes)| {
        let size = if changes.len() > EACH { changes.len() } else { 1 };
        let parts: Vec<Vec<&Value>> = changes.chunks(size).map(<[&Value]>::to_vec).collect();
        parts.into_iter().map(move |changes| Group { at: None, reasons: reasons.clone(), changes })
    });
    let all = std::iter::once(plain).chain(directories.into_values()).chain(bulk.into_values());
    all.chain([operation]).chain(single).filter(|group| !group.changes.is_empty()).collect()
}

/// What is to be committed, and for which reasons. What passes unasked is committed by naming nothing more than was named.
fn what(group: &Group<'_>, list: &[Value], args: &Commit) -> (Vec<String>, Vec<String>) {
    if group.reasons.is_empty() {
        return (args.paths.clone(), Vec::new());
    }
    (named(group, list), group.reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

fn named(group: &Group<'_>, list: &[Value]) -> Vec<String> {
    match group.at {
        Some(at) => vec![at.to_owned()],
        None => kept::covering(&group.changes, list).into_iter().map(str::to_owned).collect(),
    }
}

fn heading(group: &Group<'_>, (number, all): (usize, usize), most: usize) -> Vec<String> {
    let reasons: Vec<String> =
        group.reasons.iter().map(|reason| Untrusted::new(reason).to_string()).collect();
    let (what, why) = match (group.at, &*reasons) {
        (Some(at), _) => (format!("{}/: {}", Untrusted::new(at), kept::sum(&group.changes)), String::new()),
        (None, []) => (kept::sum(&group.changes), "nothing to ask about".to_owned()),
        (None, some) => (counted(group.changes.len(), "change"), some.join(", ")),
    };
    let mut lines = vec![format!("({number}/{all}) {what}{}{why}", if why.is_empty() { "" } else { ": " })];
    if group.at.is_some() {
        return lines;
    }
    // What is asked about for something that does not come in bulk is named, however much of it there is.
    let is_bulk = group.reasons.iter().all(|reason| BULK.contains(reason));
    let most = if is_bulk { most } else { usize::MAX };
    let (special, plain): (Vec<&Value>, Vec<&Value>) =
        group.changes.iter().partition(|change| overview::is_special(change));
    let names: Vec<String> = special.iter().chain(&plain).map(|change| change_line::line(change)).collect();
    lines.extend(names.iter().take(most).map(|line| format!("  {line}")));
    if names.len() > most {
        lines.push(format!("  and {} more", names.len() - most));
    }
    lines
}

fn ask(
    group: &Group<'_>,
    differences: &mut dyn FnMut() -> Result<Vec<Value>, Report>,
) -> Result<Answer, Report> {
    loop {
        overview::forget_what_was_typed()?;
        out::write(format_args!("commit {}? [y,n,d,l,a,q,?] ", counted(group.changes.len(), "change")));
        let mut answer = String::new();
        if stdin().read_line(&mut answer).map_err(Report::of)? == 0 {
            return Ok(Answer::Stop);
        }
        match answer.trim() {
            "y" | "yes" => return Ok(Answer::Commit),
            "n" | "no" => return Ok(Answer::Leave),
            "a" => return Ok(Answer::CommitAll),
            "q" => return Ok(Answer::Stop),
            "d" => {
                let mine: BTreeSet<&str> =
                    group.changes.iter().filter_map(|change| change["path"].as_str()).collect();
                let shown = differences()?;
                let of_group =
                    |change: &&Value| change["path"].as_str().is_some_and(|path| mine.contains(path));
                for change in shown.iter().filter(of_group) {
                    out::write(format_args!("{}", change_line::in_full(change, Paint::of_output())));
                }
            }
            "l" => {
                group.changes.iter().for_each(|change| say!("  {}", change_line::line(change)));
            }
            _ => say!("{KEYS}"),
        }
    }
}

/// What became of changes, in place of what would.
fn take_over(all: &mut Vec<Value>, done: Vec<Value>) {
    let mut done: BTreeMap<String, Value> =
        done.into_iter().filter_map(|change| Some((change["path"].as_str()?.to_owned(), change))).collect();
    for change in all.iter_mut() {
        let is_settled = show::text(change, "state") == "committed";
        let now = change["path"].as_str().and_then(|path| done.remove(path));
        if let Some(now) = now.filter(|_| !is_settled) {
            *change = now;
        }
    }
    all.extend(done.into_values());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    fn change(path: &str, reasons: &[&str]) -> Value {
        let state = if reasons.is_empty() { "staged" } else { "refused" };
        let asked = (!reasons.is_empty()).then_some("confirmation_required");
        let reasons: Vec<&str> = asked.into_iter().chain(reasons.iter().copied()).collect();
        json!({ "state": state, "op": "create", "path": path, "kind": "file", "reasons": reasons, "size": 9 })
    }

    #[test]
    fn what_is_protected_is_a_question_by_itself() {
        let mut list: Vec<Value> = (0..1_204)
            .map(|n| {
                let mut change = change(&format!("node_modules/p{n}/x"), &["dependency_directory"]);
                change["group"] = json!("node_modules");
                change
            })
            .collect();
        let mut hook = change("node_modules/p7/.git/hooks/pre-commit", &["runs_later"]);
        hook["group"] = json!("node_modules");
        list.push(hook);
        list.push(change("b.sh", &["executable"]));
        list.push(change("a.sh", &["executable"]));
        list.push(change("Makefile", &["runs_later"]));
        list.push(change("notes", &[]));
        list.push(json!({ "state": "refused", "op": "create", "path": "x", "reasons": ["macro"] }));
        let groups = groups(&list);
        let told: Vec<(usize, Vec<&str>)> =
            groups.iter().map(|group| (group.changes.len(), group.reasons.clone())).collect();
        assert_eq!(
            told,
            [
                (1, vec![]),
                (1_204, vec!["dependency_directory"]),
                (2, vec!["executable"]),
                (1, vec!["runs_later"]),
                (1, vec!["runs_later"])
            ]
        );
        let lines = heading(&groups[3], (4, 5), NAMED);
        assert!(lines[0].contains("runs_later") && lines[1].contains("hooks/pre-commit"), "{lines:?}");
        assert_eq!(named(&groups[1], &list), ["node_modules"]);
        assert_eq!(named(&groups[2], &list), ["a.sh", "b.sh"]);
    }

    #[test]
    fn what_is_more_than_can_be_asked_about_is_named_all_the_same() {
        let list: Vec<Value> = (0..200).map(|n| change(&format!("t{n}/Makefile"), &["runs_later"])).collect();
        let groups = groups(&list);
        assert_eq!(groups.len(), 1);
        assert_eq!(heading(&groups[0], (1, 1), NAMED).len(), 201);
    }

    #[test]
    fn what_became_of_a_change_takes_the_place_of_what_would() {
        let mut all = vec![change("a", &[]), change("b", &["executable"])];
        let mut done = change("a", &[]);
        done["state"] = json!("committed");
        take_over(&mut all, vec![done, change("b", &["executable"])]);
        take_over(&mut all, vec![change("a", &["changed_since_shown"])]);
        assert_eq!((all.len(), &all[0]["state"]), (2, &json!("committed")));
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_a_question() {
        for name in HOSTILE {
            let list = [change(name, &[name]), change(name, &[])];
            for group in groups(&list) {
                assert_plain(&heading(&group, (1, 1), NAMED).join("\n"), 2);
            }
        }
    }
}
