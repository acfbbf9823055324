//! `sessions`, `stop`, `resume`, `why`.

use chaperone_protocol::Request;
use serde_json::Value;

use crate::cli::{One, Sessions, Stop, Why};
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

pub fn list(args: &Sessions) -> Result<u8, Report> {
    let answer = Broker::reach()?.ask(&Request::Sessions { all: args.all })?;
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
    let mut rows = vec![["ID", "STATE", "AGENT", "PROFILE", "WORKSPACE"].map(str::to_owned).to_vec()];
    for s in &sessions {
        rows.push(
            ["id", "state", "name", "profile", "workspace"]
                .map(|f| show::text(s, f).raw().to_owned())
                .to_vec(),
        );
    }
    show::table(&rows);
    sessions.iter().filter_map(suspended).for_each(|line| say!("{line}"));
    Ok(0)
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
    fn a_hostile_name_forges_no_line_of_a_refusal() {
        for name in HOSTILE {
            let refusal = json!({ "time": "t", "action": name, "resource": name, "rule": name, "reasons": [name],
                "advice": name, "count": 2 });
            assert_plain(&refusal_lines(&refusal), 3);
            assert_plain(&suspended(&json!({ "id": name, "suspended": name })).unwrap(), 1);
        }
    }
}
