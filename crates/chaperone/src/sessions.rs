//! `sessions`, `stop`, `resume`, `why`.

use chaperone_config::profile;
use chaperone_protocol::{Request, counted};
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::{One, Prune, Sessions, SessionsCommand, Stop, Why};
use crate::connect::Broker;
use crate::kept::size;
use crate::out::say;
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

pub fn sessions(args: &Sessions) -> Result<u8, Report> {
    match &args.command {
        Some(SessionsCommand::Prune(args)) => prune(args),
        None => list(args),
    }
}

fn list(args: &Sessions) -> Result<u8, Report> {
    let request = Request::Sessions { all: args.all, staged: args.all && !args.json };
    let answer = Broker::reach()?.ask(&request)?;
    if args.json {
        show::json(&answer);
        return Ok(0);
    }
    let sessions = answer["sessions"].as_array().cloned().unwrap_or_default();
    if sessions.is_empty() {
        let what = if args.all { "there is no session yet" } else { "no session is running" };
        say!("{what}; start one with: chaperone run -- PROGRAM");
        return Ok(0);
    }
    show::table(&rows(&sessions, Timestamp::now()));
    sessions.iter().filter_map(suspended).for_each(|line| say!("{line}"));
    Ok(0)
}

/// The newest first.
fn rows(sessions: &[Value], now: Timestamp) -> Vec<Vec<String>> {
    let mut rows =
        vec![["ID", "STATE", "AGE", "STAGED", "AGENT", "PROFILE", "WORKSPACE"].map(str::to_owned).to_vec()];
    for s in sessions.iter().rev() {
        let field = |name: &str| show::text(s, name).raw().to_owned();
        let staged = s["staged"].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
        let age = age(show::text(s, "started").raw(), now);
        rows.push(vec![
            field("id"),
            field("state"),
            age,
            staged,
            field("name"),
            field("profile"),
            field("workspace"),
        ]);
    }
    rows
}

/// How long ago, in its largest unit.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "-".to_owned() };
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn prune(args: &Prune) -> Result<u8, Report> {
    let older_than_s = match &args.older_than {
        Some(time) => Some(profile::seconds(time).ok_or_else(|| {
            let message = format!("invalid --older-than {time:?}: expected a time such as 7d or 12h");
            Report::new(message).exit(2)
        })?),
        None => None,
    };
    let answer = Broker::reach()?.ask(&Request::Prune { older_than_s, dry_run: args.dry_run })?;
    if args.json {
        show::json(&answer);
        return Ok(0);
    }
    pruned(&answer, args.dry_run).iter().for_each(|line| say!("{line}"));
    Ok(0)
}

/// What was removed, or would be, in lines.
fn pruned(answer: &Value, dry_run: bool) -> Vec<String> {
    let word = if dry_run { "would remove" } else { "removed" };
    let sessions = answer["sessions"].as_array().cloned().unwrap_or_default();
    let one = |s: &Value| {
        let undo = match s["commits"].as_u64() {
            None | Some(0) => String::new(),
            Some(commits) => format!(", {} that cannot be undone then", counted(commits, "commit")),
        };
        let bytes = size(s["bytes"].as_u64().unwrap_or(0));
        let [id, started, workspace] = ["id", "started", "workspace"].map(|field| show::text(s, field));
        format!("{word} {id} of {started} over {workspace}: {bytes}{undo}")
    };
    let mut lines: Vec<String> = sessions.iter().map(one).collect();
    let sum = sessions.iter().filter_map(|s| s["bytes"].as_u64()).sum();
    lines.push(format!("{word} {}, {}", counted(sessions.len(), "session"), size(sum)));
    if let Some(kept) = answer["with_undo"].as_u64().filter(|kept| *kept > 0) {
        lines.push(format!(
            "{kept} more have nothing staged and commits that can be undone: --older-than removes them, too"
        ));
    }
    lines
}

/// Why a session is suspended, and what the user can do.
fn suspended(session: &Value) -> Option<String> {
    let why = Untrusted::new(session["suspended"].as_str()?);
    let id = show::text(session, "id");
    Some(format!(
        "{id} is suspended ({why}). To see what it did: chaperone why {id}; to let it go on: chaperone resume {id}; to end it: chaperone stop {id}"
    ))
}

pub fn stop(args: &Stop) -> Result<u8, Report> {
    let answer = Broker::reach()?.ask(&Request::Stop { session: args.session.clone() })?;
    say!("stopped {}", answer["stopped"].as_u64().unwrap_or(0));
    Ok(0)
}

pub fn resume(args: &One) -> Result<u8, Report> {
    Broker::reach()?.ask(&Request::Resume { session: args.session.clone() })?;
    say!("resumed {}", args.session);
    Ok(0)
}

pub fn why(args: &Why) -> Result<u8, Report> {
    let answer = if crate::connect::inside_a_cell() {
        crate::mcp::why_inside()?
    } else {
        Broker::reach()?.ask(&Request::Why { session: args.session.clone() })?
    };
    if args.json {
        show::json(&answer);
        return Ok(0);
    }
    let refusals = answer.as_array().cloned().unwrap_or_default();
    if refusals.is_empty() {
        say!("no denials");
    }
    for refusal in &refusals {
        say!("{}", refusal_lines(refusal));
    }
    Ok(0)
}

/// One refusal in two or three lines.
fn refusal_lines(refusal: &Value) -> String {
    let count = refusal["count"].as_u64().unwrap_or(1);
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    let was = refusal["was"].as_str().map_or_else(String::new, |w| format!(" (was {})", Untrusted::new(w)));
    let mut lines = format!(
        "{} {} {}{was}{times}\n  rule    {}: {}",
        show::text(refusal, "time"),
        show::text(refusal, "action"),
        show::text(refusal, "resource"),
        show::text(refusal, "rule"),
        show::joined(refusal, "reasons", ", ")
    );
    if let Some(advice) = refusal["advice"].as_str() {
        lines.push_str(&format!("\n  instead {}", Untrusted::new(advice)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    #[test]
    fn sessions_are_listed_with_age_and_staged_count_the_newest_first() {
        let now: Timestamp = "2026-05-03T12:00:00Z".parse().unwrap();
        let one = |id: &str, started: &str, staged: Option<u64>| json!({ "id": id, "started": started, "staged": staged });
        let list = [
            one("a", "2026-05-01T11:59:00Z", Some(3)),
            one("b", "2026-05-03T09:00:01.5Z", None),
            one("c", "2026-05-03T11:58:30Z", Some(0)),
        ];
        let told: Vec<String> =
            rows(&list, now).iter().map(|row| [&*row[0], &*row[2], &*row[3]].join(" ")).collect();
        assert_eq!(told, ["ID AGE STAGED", "c 1m 0", "b 2h -", "a 2d 3"]);
    }

    #[test]
    fn what_is_removed_is_told_with_its_size_and_what_cannot_be_undone_then() {
        for name in HOSTILE {
            let one = json!({ "id": name, "started": name, "workspace": name, "bytes": 4_096, "commits": 2 });
            let told = pruned(&json!({ "sessions": [one], "with_undo": 1 }), true);
            assert_plain(&told.join("\n"), 3);
            assert!(told[0].ends_with(": 4.1 kB, 2 commits that cannot be undone then"), "{told:?}");
            assert_eq!(told[1], "would remove 1 session, 4.1 kB");
        }
    }

    #[test]
    fn a_hostile_name_forges_no_line_of_a_refusal() {
        for name in HOSTILE {
            let refusal = json!({ "time": "t", "action": name, "resource": name, "rule": name, "reasons": [name],
                "advice": name, "count": 2 });
            assert_plain(&refusal_lines(&refusal), 3);
            assert_plain(&suspended(&json!({ "id": name, "suspended": name })).unwrap(), 1);
        }
    }
}
