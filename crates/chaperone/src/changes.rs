//! `changes`, `commit`, `discard`, `undo`.

use chaperone_protocol::Request;
use serde_json::Value;

use crate::cli::{Changes, Commit, Paths, Undo};
use crate::connect::Broker;
use crate::report::Report;
use crate::show;

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
        print_line(change);
        if let Some(diff) = change["diff"].as_str() {
            print!("{diff}");
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
            "chaperone: what you changed since is kept; --force puts the earlier version there all the same, and keeps yours for another undo"
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
        list.iter().for_each(print_line);
    }
    let wrong = list.iter().any(|c| matches!(show::text(c, "state"), "refused" | "conflict"));
    Ok(u8::from(wrong))
}

pub fn print_line(change: &Value) {
    let from = change["from"].as_str().map_or_else(String::new, |f| format!("{f} → "));
    let reasons = show::joined(change, "reasons", ", ");
    let why = if reasons.is_empty() { String::new() } else { format!("  ({reasons})") };
    println!(
        "{:9} {:6} {from}{}{why}",
        show::text(change, "state"),
        show::text(change, "op"),
        show::text(change, "path")
    );
}
