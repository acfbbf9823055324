//! `changes`, `commit`, `discard`, `undo`.

use chaperone_protocol::Request;
use serde_json::Value;

use crate::cli::{Changes, Commit, Paths, Undo};
use crate::connect::Broker;
use crate::report::Report;
use crate::show;
use crate::untrusted::{self, Untrusted};

pub fn changes(args: &Changes) -> Result<u8, Report> {
    let answer =
        Broker::reach()?.ask(&Request::Changes { session: args.session.clone(), diff: !args.json })?;
    if args.json {
        show::json(&answer);
        return Ok(0);
    }
    let list = answer.as_array().cloned().unwrap_or_default();
    if list.is_empty() {
        println!("nothing is staged");
    }
    for change in &list {
        println!("{}", line(change));
        for line in change["diff"].as_str().unwrap_or_default().lines() {
            println!("{}", untrusted::line(line));
        }
    }
    Ok(0)
}

pub fn commit(args: &Commit) -> Result<u8, Report> {
    let request = Request::Commit {
        session: args.session.clone(),
        paths: args.paths.clone(),
        choice: args.conflict.clone(),
    };
    print_report(&Broker::reach()?.ask(&request)?, args.json)
}

pub fn discard(args: &Paths) -> Result<u8, Report> {
    let request = Request::Discard { session: args.session.clone(), paths: args.paths.clone() };
    print_report(&Broker::reach()?.ask(&request)?, args.json)
}

pub fn undo(args: &Undo) -> Result<u8, Report> {
    let request = Request::Undo {
        session: args.session.clone(),
        commit: args.commit,
        paths: args.paths.clone(),
        force: args.force,
    };
    let answer = Broker::reach()?.ask(&request)?;
    let code = print_report(&answer, args.json)?;
    let kept = answer.as_array().is_some_and(|l| l.iter().any(|c| show::text(c, "state") == "conflict"));
    if kept && !args.json {
        eprintln!(
            "chaperone: files that you changed since the commit were kept; --force restores the earlier version anyway, and another undo brings yours back"
        );
    }
    Ok(code)
}

/// Print what became of each path; 1 when any was refused or in conflict.
fn print_report(answer: &Value, json: bool) -> Result<u8, Report> {
    let list = answer.as_array().cloned().unwrap_or_default();
    if json {
        show::json(answer);
    } else if list.is_empty() {
        println!("nothing to do");
    } else {
        list.iter().for_each(|change| println!("{}", line(change)));
    }
    let wrong = list.iter().any(|c| matches!(show::text(c, "state").raw(), "refused" | "conflict"));
    Ok(u8::from(wrong))
}

/// One change in one line: what became of it, what it is, and why.
fn line(change: &Value) -> String {
    let from = change["from"].as_str().map_or_else(String::new, |f| format!("{} → ", Untrusted::new(f)));
    let target = change["target"].as_str().map_or_else(String::new, |t| format!(" → {}", Untrusted::new(t)));
    let reasons = show::joined(change, "reasons", ", ");
    let why = if reasons.is_empty() { String::new() } else { format!("  ({reasons})") };
    format!(
        "{:9} {:6} {from}{}{target}{why}",
        show::text(change, "state"),
        show::text(change, "op"),
        show::text(change, "path")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn a_hostile_name_is_one_plain_line_of_the_changes() {
        for name in HOSTILE {
            let change = json!({ "state": "staged", "op": "rename", "path": name, "from": name, "target": name,
                "reasons": [name] });
            assert_plain(&line(&change), 1);
        }
    }
}
