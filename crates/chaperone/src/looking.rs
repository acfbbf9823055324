//! `changes`: what is staged, as differences or in numbers. What reached whoever reads counts as shown.

use std::io::{self, ErrorKind, IsTerminal, stdout};
use std::path::PathBuf;

use chaperone_protocol::Request;
use serde_json::{Value, json};

use crate::change_line::in_full;
use crate::changes::unmatched;
use crate::cli::Changes;
use crate::connect::Broker;
use crate::out::{self, say};
use crate::pager::{Pager, broken_off};
use crate::paint::Paint;
use crate::report::Report;
use crate::show;
use crate::stat;
use crate::untrusted;

/// Bytes of changes that a pipe's reader gets at once; they count as shown together. A pager gets one change after the other: the
/// user may leave it after any.
const AT_ONCE: usize = 4096;

pub fn changes(args: &Changes) -> Result<u8, Report> {
    let broker = Broker::reach()?;
    let mut reader = Reader::of(args, &broker)?;
    let (places, code) = if args.stat {
        numbers(args, &broker, &mut reader)
    } else {
        differences(args, &broker, &mut reader)
    }?;
    let code = code | unmatched(&args.paths, &places);
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

/// Where the changes go: the user's pager, where there is one, or standard output.
struct Reader {
    /// The workspace, while a pager is still to be found outside of it.
    find: Option<Option<PathBuf>>,
    pager: Option<Pager>,
    paint: Paint,
}

impl Reader {
    fn of(args: &Changes, broker: &Broker) -> Result<Self, Report> {
        let is_read = !args.json && stdout().is_terminal();
        let find = if is_read && !args.no_pager { Some(workspace(args, broker)?) } else { None };
        let paint = if is_read { Paint::of_output() } else { Paint::default() };
        Ok(Self { find, pager: None, paint })
    }

    /// Comes back when whoever reads has all of it.
    fn deliver(&mut self, text: &str) -> io::Result<()> {
        if let Some(workspace) = self.find.take() {
            self.pager = Pager::of_user(workspace.as_deref());
            self.pager.as_ref().map_or(Ok(()), Pager::leave_keys_to_it)?;
        }
        match &mut self.pager {
            Some(pager) => pager.deliver(text),
            None => out::deliver(format_args!("{text}")),
        }
    }

    /// Wait until the user leaves the pager. The exit code where a signal ended it, and whether it was left before all of it was
    /// `delivered`; a standard output that nobody reads any more ends the command.
    fn end(&mut self, delivered: &io::Result<()>) -> Result<(u8, bool), Report> {
        let is_left = matches!(delivered, Err(error) if error.kind() == ErrorKind::BrokenPipe);
        let Some(pager) = self.pager.take() else { return Ok((0, false)) };
        let code = broken_off(pager.end().map_err(Report::of)?).unwrap_or(0);
        Ok((u8::try_from(code).unwrap_or(1), is_left))
    }
}

/// What the session works on: no program is taken from there.
fn workspace(args: &Changes, broker: &Broker) -> Result<Option<PathBuf>, Report> {
    let answer = broker.ask(&Request::Sessions { all: true, staged: false })?;
    let is_it = |s: &&Value| {
        show::text(s, "id").raw().starts_with(&args.session) || show::text(s, "name") == &*args.session
    };
    let found = answer["sessions"].as_array().into_iter().flatten().find(is_it);
    Ok(found.and_then(|s| s["workspace"].as_str()).map(PathBuf::from))
}

/// In numbers. Nothing of the contents is seen, so nothing counts as shown.
fn numbers(args: &Changes, broker: &Broker, reader: &mut Reader) -> Result<(Vec<Value>, u8), Report> {
    let list = broker.list(&request(args))?;
    if args.json {
        out::write(format_args!("{}\n", untrusted::json(&Value::Array(list.clone()).to_string())));
    } else if !list.is_empty() {
        let delivered = reader.deliver(&(stat::lines(&list, reader.paint).join("\n") + "\n"));
        let (code, is_left) = reader.end(&delivered)?;
        if let (Err(error), false) = (delivered, is_left) {
            out::end(&error);
        }
        return Ok((list, code));
    }
    Ok((list, 0))
}

/// With all that a change is. Returns where there are any.
fn differences(args: &Changes, broker: &Broker, reader: &mut Reader) -> Result<(Vec<Value>, u8), Report> {
    let (mut delivered, mut all, mut places) = (Ok(()), Vec::new(), Vec::new());
    let (mut count, mut ready, mut text) = (0, 0, String::new());
    let (paint, at_once) = (reader.paint, if out::is_pipe() { AT_ONCE } else { 0 });
    let mut deliver = |text: &mut String, ready: &mut usize| -> io::Result<()> {
        reader.deliver(text)?;
        text.clear();
        count += std::mem::take(ready);
        Ok(())
    };
    broker.ask_list(&request(args), &mut |change| {
        places.push(json!({ "path": change["path"], "from": change["from"] }));
        if args.json {
            all.push(change);
        } else if delivered.is_ok() {
            text.push_str(&in_full(&change, paint));
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
    let (code, is_left) = reader.end(&delivered)?;
    // How much was seen of what a signal broke off, nobody knows.
    count *= usize::from(code == 0);
    // What did not reach whoever reads was not shown.
    broker.ask(&Request::Shown { count })?;
    if is_left {
        let left = places.len() - count;
        eprintln!("chaperone: {left} of {} changes were not shown, and count as not shown", places.len());
    } else if let Err(error) = delivered {
        out::end(&error);
    }
    Ok((places, code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};

    #[test]
    fn only_colours_of_our_own_are_control_sequences() {
        for name in HOSTILE {
            let diff = HOSTILE.iter().map(|text| format!("+{text}\n")).collect::<String>();
            let change =
                json!({ "state": "staged", "op": "create", "path": name, "reasons": [name], "diff": diff });
            let painted = in_full(&change, Paint::always());
            let plain = in_full(&change, Paint::default());
            assert!(painted.contains("\u{1b}[1m") && painted.contains("\u{1b}[32m"), "{painted:?}");
            let without =
                ["\u{1b}[1m", "\u{1b}[32m", "\u{1b}[m"].iter().fold(painted, |t, c| t.replace(c, ""));
            assert_eq!(without, plain);
            let lines = plain.lines().count();
            assert_plain(&plain.replace('\t', ""), lines);
        }
    }
}
