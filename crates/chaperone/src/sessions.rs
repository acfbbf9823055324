//! `sessions`, `stop`, `resume`, `why`.

use chaperone_protocol::Request;
use serde_json::Value;

use crate::cli::{One, Sessions, Stop, Why};
use crate::connect::Broker;
use crate::report::Report;
use crate::show;

pub fn list(args: &Sessions) -> Result<u8, Report> {
    let answer = Broker::reach()?.ask(&Request::Sessions { all: args.all })?;
    if args.json {
        show::json(&answer);
        return Ok(0);
    }
    let sessions = answer["sessions"].as_array().cloned().unwrap_or_default();
    if sessions.is_empty() {
        println!("no session runs; start one with: chaperone run -- PROGRAM");
        return Ok(0);
    }
    let mut rows = vec![["ID", "STATE", "AGENT", "PROFILE", "WORKSPACE"].map(str::to_owned).to_vec()];
    for s in &sessions {
        rows.push(
            ["id", "state", "name", "profile", "workspace"].map(|f| show::text(s, f).to_owned()).to_vec(),
        );
    }
    show::table(&rows);
    Ok(0)
}

pub fn stop(args: &Stop) -> Result<u8, Report> {
    let answer = Broker::reach()?.ask(&Request::Stop { session: args.session.clone() })?;
    println!("stopped {}", answer["stopped"].as_u64().unwrap_or(0));
    Ok(0)
}

pub fn resume(args: &One) -> Result<u8, Report> {
    Broker::reach()?.ask(&Request::Resume { session: args.session.clone() })?;
    println!("session {} goes on", args.session);
    Ok(0)
}

pub fn why(args: &Why) -> Result<u8, Report> {
    let answer = if crate::mcp::inside_a_cell() {
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
        println!("nothing was refused");
    }
    for refusal in &refusals {
        print_refusal(refusal);
    }
    Ok(0)
}

fn print_refusal(refusal: &Value) {
    let count = refusal["count"].as_u64().unwrap_or(1);
    let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
    println!(
        "{} {} {}{times}",
        show::text(refusal, "time"),
        show::text(refusal, "action"),
        show::text(refusal, "resource")
    );
    println!("  rule    {}: {}", show::text(refusal, "rule"), show::joined(refusal, "reasons", ", "));
    if let Some(advice) = refusal["advice"].as_str() {
        println!("  instead {advice}");
    }
}
