//! `mcp`: this session's tools over stdio; and what `why` needs inside a cell.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use chaperone_protocol::{OpenSession, Opened, Request};
use serde_json::Value;

use crate::cli::Mcp;
use crate::connect::{self, Broker};
use crate::report::Report;
use crate::run::options::{mode, timeout, umask, workspace};
use crate::run::screen::summary;

/// The last refusals, asked over the cell's channel.
pub fn why_inside() -> Result<Value, Report> {
    let mut stream = channel()?;
    stream.write_all(b"why\n").map_err(Report::of)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(Report::of)?;
    serde_json::from_str(&line).map_err(Report::of)
}

pub fn mcp(args: &Mcp) -> Result<u8, Report> {
    if connect::inside_a_cell() {
        return carry(channel()?).map(|()| 0);
    }
    outside_agent(args)
}

/// `chaperone mcp` outside a cell: a session for an MCP client that runs on the host, without a cell around it.
fn outside_agent(args: &Mcp) -> Result<u8, Report> {
    let broker = Broker::reach()?;
    let asked = OpenSession {
        profile: args.profile.clone(),
        workspace: workspace(args.workspace.as_deref())?,
        name: Some(args.name.clone().unwrap_or_else(|| "mcp-client".into())),
        command: vec!["mcp".into()],
        program: None,
        backend: None,
        interactive: false,
        in_cell: false,
        ask: mode(args.ask),
        ask_timeout_s: timeout(&args.ask_timeout)?,
        umask: umask(),
        allow_hosts: args.allow_host.clone(),
        allow_services: Vec::new(),
        publish: Vec::new(),
        environment: BTreeMap::new(),
    };
    let opened: Opened =
        serde_json::from_value(broker.ask(&Request::OpenSession(Box::new(asked)))?).map_err(Report::of)?;
    broker.ask(&Request::AttachOutside { session: opened.session.clone() })?;
    let talk = Broker::reach()?;
    talk.send(&Request::Mcp { session: opened.session.clone() }, &[])?;
    carry(talk.into_stream())?;
    let report =
        broker.ask(&Request::Ended { session: opened.session.clone(), cause: "exit".into(), code: 0 })?;
    summary(&opened.session, &report, false);
    Ok(0)
}

fn channel() -> Result<UnixStream, Report> {
    UnixStream::connect(connect::CHANNEL).map_err(|e| Report::new(format!("{}: {e}", connect::CHANNEL)))
}

/// Carry the conversation between standard input and output and the broker, until either side closes.
fn carry(stream: UnixStream) -> Result<(), Report> {
    let mut up = stream.try_clone().map_err(Report::of)?;
    let sender = std::thread::spawn(move || {
        let mut input = std::io::stdin();
        let copied = copy(&mut input, &mut up);
        // The broker finishes what it was asked and closes then.
        up.shutdown(Shutdown::Write).ok();
        copied
    });
    let mut down = stream;
    if let Err(e) = copy(&mut down, &mut std::io::stdout()) {
        // A socket that is read has no such error: the client is gone.
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            crate::out::end(&e);
        }
        return Err(Report::of(e));
    }
    drop(sender);
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                to.write_all(buffer.get(..n).unwrap_or_default())?;
                to.flush()?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
