//! `mcp`: this session's tools over stdio; and what `why` needs inside a cell.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::cli::Mcp;
use crate::report::Report;

/// The cell's one way out.
const CHANNEL: &str = "/run/chaperone/channel";

/// Whether this process runs in a cell.
#[must_use]
pub fn inside_a_cell() -> bool {
    std::path::Path::new(CHANNEL).exists()
}

/// The last refusals, asked over the cell's channel.
pub fn why_inside() -> Result<Value, Report> {
    let mut stream = channel()?;
    stream.write_all(b"why\n").map_err(Report::of)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(Report::of)?;
    serde_json::from_str(&line).map_err(Report::of)
}

pub fn mcp(args: &Mcp) -> Result<u8, Report> {
    if inside_a_cell() {
        return carry(channel()?).map(|()| 0);
    }
    crate::run::outside_agent(args, carry)
}

fn channel() -> Result<UnixStream, Report> {
    UnixStream::connect(CHANNEL).map_err(|e| Report::new(format!("{CHANNEL}: {e}")))
}

/// Carry the conversation between standard input and output and the broker, until either side closes.
pub fn carry(stream: UnixStream) -> Result<(), Report> {
    let mut up = stream.try_clone().map_err(Report::of)?;
    let sender = std::thread::spawn(move || {
        let mut input = std::io::stdin();
        let copied = copy(&mut input, &mut up);
        // The broker finishes what it was asked and closes then.
        up.shutdown(Shutdown::Write).ok();
        copied
    });
    let mut down = stream;
    copy(&mut down, &mut std::io::stdout()).map_err(Report::of)?;
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
