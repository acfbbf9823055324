//! `changes`: what is staged, as differences or in numbers. What reached whoever reads counts as shown.

use std::io;

use chaperone_protocol::Request;
use serde_json::{Value, json};

use crate::change_line::line;
use crate::changes::unmatched;
use crate::cli::Changes;
use crate::connect::Broker;
use crate::out::{self, say};
use crate::report::Report;
use crate::stat;
use crate::untrusted;

/// Bytes of changes that a pipe's reader gets at once; they count as shown together.
const AT_ONCE: usize = 4096;

pub fn changes(args: &Changes) -> Result<u8, Report> {
    let broker = Broker::reach()?;
    let places = if args.stat { numbers(args, &broker) } else { differences(args, &broker) }?;
    let code = unmatched(&args.paths, &places);
    if places.is_empty() && args.paths.is_empty() && !args.json {
        say!("nothing is staged");
    }
    Ok(code)
}

fn request(args: &Changes) -> Request {
    Request::Changes {
        session: args.session.clone(),
        diff: !args.json,
        stat: args.stat,
        paths: args.paths.clone(),
    }
}

/// In numbers. Nothing of the contents is seen, so nothing counts as shown.
fn numbers(args: &Changes, broker: &Broker) -> Result<Vec<Value>, Report> {
    let list = broker.list(&request(args))?;
    if args.json {
        out::write(format_args!("{}\n", untrusted::json(&Value::Array(list.clone()).to_string())));
    } else if !list.is_empty() {
        say!("{}", stat::lines(&list).join("\n"));
    }
    Ok(list)
}

/// With all that a change is. Returns where there are any.
fn differences(args: &Changes, broker: &Broker) -> Result<Vec<Value>, Report> {
    let (mut delivered, mut all, mut places) = (Ok(()), Vec::new(), Vec::new());
    let (mut count, mut ready, mut text) = (0, 0, String::new());
    let at_once = if out::is_pipe() { AT_ONCE } else { 0 };
    let mut deliver = |text: &mut String, ready: &mut usize| -> io::Result<()> {
        out::deliver(format_args!("{text}"))?;
        text.clear();
        count += std::mem::take(ready);
        Ok(())
    };
    broker.ask_list(&request(args), &mut |change| {
        places.push(json!({ "path": change["path"], "from": change["from"] }));
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
    Ok(places)
}

/// A change with its diff, in lines.
fn in_full(change: &Value) -> String {
    let diff = change["diff"].as_str().unwrap_or_default();
    std::iter::once(line(change)).chain(diff.lines().map(untrusted::line)).map(|line| line + "\n").collect()
}
