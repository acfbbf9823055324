//! What is about to be committed at a glance, and one question, where nobody looked at it before. The agent stands still meanwhile.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdin, stdout};

use chaperone_protocol::{Request, counted};
use serde_json::Value;

use crate::change_line::{self, traits};
use crate::connect::Broker;
use crate::out::{self, say};
use crate::report::Report;
use crate::show;

/// Changes that are listed by name, of those with nothing special about them.
const NAMED: usize = 10;
/// What is special is listed up to here; more is a case for `chaperone changes`.
const SPECIAL: usize = 100;
/// What the user types to agree.
const YES: [&str; 2] = ["y", "yes"];

/// Whether somebody sits there who can be asked.
pub fn can_ask() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// What was typed before a question is no answer to it; what comes as soon as it stands there is one. What is asked about has to be
/// on the terminal first, however slow it is.
pub fn forget_what_was_typed() -> Result<(), Report> {
    rustix::termios::tcdrain(stdout()).map_err(Report::of)?;
    rustix::termios::tcflush(stdin(), rustix::termios::QueueSelector::IFlush).map_err(Report::of)
}

/// Show the changes of a commit, ask, and commit them as they were then; nothing when the user does not agree.
pub fn then_commit(request: Request) -> Result<Option<Vec<Value>>, Report> {
    let Request::Commit { session, paths, choice, unseen, confirm, accept, .. } = request else {
        return Ok(None);
    };
    // On one connection: the cell stands still until it is closed, however this process ends.
    let broker = Broker::reach()?;
    broker.ask(&Request::Hold { session: session.clone() })?;
    let look = Request::Changes { session: session.clone(), diff: false, stat: false, paths: Vec::new() };
    let list = broker.list(&look)?;
    if !list.is_empty() {
        say!("{}", overview(&list).join("\n"));
        forget_what_was_typed()?;
        out::write(format_args!(
            "commit {}? (y, or anything else to leave them staged) ",
            counted(list.len(), "change")
        ));
        let mut answer = String::new();
        stdin().read_line(&mut answer).map_err(Report::of)?;
        if !YES.contains(&answer.trim()) {
            say!("nothing was committed; chaperone changes {session} shows all of it");
            return Ok(None);
        }
        broker.ask(&Request::Shown { count: list.len() })?;
    }
    let commit = Request::Commit {
        session,
        paths,
        choice,
        unseen,
        ask_first: false,
        rehearsal: false,
        confirm,
        accept,
    };
    broker.list(&commit).map(Some)
}

/// How many of what, everything that is more than a new content, and the first names.
fn overview(list: &[Value]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for change in list {
        *kinds.entry(change["op"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(op, count)| format!("{count} {op}")).collect();
    let mut lines = vec![format!("{}: {}", counted(list.len(), "change"), kinds.join(", "))];
    let (special, plain): (Vec<&Value>, Vec<&Value>) = list.iter().partition(|change| is_special(change));
    for (list, most) in [(special, SPECIAL), (plain, NAMED)] {
        let told = change_line::lines(&list);
        lines.extend(told.iter().take(most).cloned());
        if told.len() > most {
            lines.push(format!("          and {} more", told.len() - most));
        }
    }
    lines
}

/// Whether it is more than new content.
pub fn is_special(change: &Value) -> bool {
    let adds = matches!(change["op"].as_str(), Some("create" | "modify"));
    !adds
        || !traits(change).is_empty()
        || change["target"].is_string()
        || show::list(change, "reasons").next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    fn change(op: &str, path: &str) -> Value {
        json!({ "state": "staged", "op": op, "path": path, "kind": "file", "reasons": [] })
    }

    #[test]
    fn what_is_special_is_listed_whole_and_of_the_rest_the_first_names() {
        let mut list: Vec<Value> = (0..40).map(|n| change("create", &format!("out/{n}"))).collect();
        list.extend((0..30).map(|n| change("delete", &format!("old/{n}"))));
        let mut link = change("create", "x");
        (link["kind"], link["target"]) = (json!("symlink"), json!("../y"));
        list.push(link);
        let lines = overview(&list);
        assert_eq!(lines[0], "71 changes: 41 create, 30 delete");
        assert_eq!(lines.iter().filter(|l| l.contains("old/")).count(), 30);
        assert!(lines.iter().any(|l| l.contains("x → ../y")));
        assert_eq!(lines.iter().filter(|l| l.contains("out/")).count(), NAMED);
        assert_eq!(lines.last().unwrap().trim(), "and 30 more");
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_the_overview() {
        for name in HOSTILE {
            assert_plain(&overview(&[change("create", name)]).join("\n"), 2);
        }
    }
}
