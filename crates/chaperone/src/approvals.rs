//! `approvals`, `approve`, `deny`.

use std::io::Read;

use chaperone_config::profile;
use chaperone_protocol::{Event, Happened, Reply, Request, Scope};

use serde_json::json;

use crate::cli::{Approvals, Approve, Deny};
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::run::question;
use crate::show;
use crate::untrusted::Untrusted;

pub fn approvals(args: &Approvals) -> Result<u8, Report> {
    let broker = Broker::reach()?;
    let waiting = broker.ask(&Request::Approvals)?;
    let asks = waiting.as_array().cloned().unwrap_or_default();
    if args.json && !args.watch {
        show::json(&waiting);
        return Ok(0);
    }
    let print = |ask: &serde_json::Value| {
        if args.json { show::json(ask) } else { say!("{}", question::describe(ask)) }
    };
    asks.iter().for_each(print);
    if !args.watch {
        if asks.is_empty() {
            say!("no pending requests");
        }
        return Ok(0);
    }
    broker.send(&Request::Watch { session: None, routine: false }, &[])?;
    while let Some((reply, _)) = broker.next()? {
        match reply {
            Reply::Event(Event { what: Happened::Asked { ask, .. }, .. }) => print(&json!(ask)),
            Reply::Error(failure) => return Err(failure.into()),
            _ => {}
        }
    }
    Err(Report::new("the broker closed the connection"))
}

pub fn approve(args: &Approve) -> Result<u8, Report> {
    let scope = match &args.duration {
        Some(time) => {
            let seconds = profile::seconds(time).filter(|s| *s > 0 && *s <= 12 * 3600).ok_or_else(|| {
                Report::new(format!("invalid --for {time:?}: expected a time such as 30m or 1h, at most 12h"))
                    .exit(2)
            })?;
            Scope::For(seconds)
        }
        None if args.session => Scope::Session,
        None => Scope::Once,
    };
    let pin = if args.pin_stdin { Some(read_pin()?) } else { None };
    Broker::reach()?.ask(&Request::Approve { id: args.id.clone(), scope, redact: args.redact, pin })?;
    say!("approved {}{}", Untrusted::new(&args.id), if args.redact { ", redacted" } else { "" });
    Ok(0)
}

pub fn deny(args: &Deny) -> Result<u8, Report> {
    Broker::reach()?.ask(&Request::Deny { id: args.id.clone(), why: args.why.clone() })?;
    say!("denied {}", Untrusted::new(&args.id));
    Ok(0)
}

/// A PIN from standard input, without its line end.
pub fn read_pin() -> Result<String, Report> {
    let mut pin = String::new();
    std::io::stdin().take(1024).read_to_string(&mut pin).map_err(Report::of)?;
    Ok(pin.trim_end_matches(['\r', '\n']).to_owned())
}
