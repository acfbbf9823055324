//! Output to a terminal where the agent has none of its own, because another stream is redirected. The user's terminal does not enter
//! the cell, so a pipe stands in for it, and what comes through is filtered like everything that an agent prints.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;

use rustix::pipe::PipeFlags;

use super::filter::Filter;
use super::terminal::write_all;

/// Bytes carried at once.
const PIECE: usize = 16 << 10;

/// The streams of this process that are terminals, with pipes in their places until it is dropped; then everything that came has
/// been printed.
#[derive(Debug, Default)]
pub struct StoodFor {
    streams: Vec<Stream>,
    waiting: Vec<(OwnedFd, OwnedFd)>,
    carried: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stream {
    is_error: bool,
    terminal: OwnedFd,
}

impl StoodFor {
    /// Put the pipes in place.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn output_and_error() -> io::Result<Self> {
        let (out, err) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        let mut stood = Self::default();
        match (rustix::termios::isatty(out), rustix::termios::isatty(err)) {
            // Lines of both stay in their order, and no half of a sequence meets another.
            (true, true) if is_same(out, err) => stood.stand_for(&[false, true])?,
            (has_out, has_err) => {
                if has_out {
                    stood.stand_for(&[false])?;
                }
                if has_err {
                    stood.stand_for(&[true])?;
                }
            }
        }
        Ok(stood)
    }

    fn stand_for(&mut self, streams: &[bool]) -> io::Result<()> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut to = None;
        for is_error in streams.iter().copied() {
            let terminal = rustix::io::fcntl_dupfd_cloexec(stream(is_error), 3)?;
            to = Some(rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?);
            put(is_error, &write)?;
            self.streams.push(Stream { is_error, terminal });
        }
        self.waiting.extend(to.map(|to| (read, to)));
        Ok(())
    }

    /// Print what comes, from now on. After the cell was made: what makes it is alone in its process.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn carry(&mut self) -> io::Result<()> {
        for (from, to) in self.waiting.drain(..) {
            let name = "terminal".to_owned();
            self.carried.push(std::thread::Builder::new().name(name).spawn(move || carry(&from, &to))?);
        }
        Ok(())
    }
}

impl Drop for StoodFor {
    fn drop(&mut self) {
        let carries = self.carry().is_ok();
        let mut back = true;
        for stream in &self.streams {
            back &= put(stream.is_error, &stream.terminal).is_ok();
        }
        // Where this process holds a pipe itself, its end would never come.
        if carries && back {
            self.carried.drain(..).for_each(|carried| drop(carried.join()));
        }
    }
}

fn stream(is_error: bool) -> BorrowedFd<'static> {
    if is_error { rustix::stdio::stderr() } else { rustix::stdio::stdout() }
}

fn put(is_error: bool, fd: &OwnedFd) -> rustix::io::Result<()> {
    if is_error { rustix::stdio::dup2_stderr(fd) } else { rustix::stdio::dup2_stdout(fd) }
}

fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let identity = |fd| rustix::fs::fstat(fd).ok().map(|s| (s.st_dev, s.st_ino));
    identity(a).is_some() && identity(a) == identity(b)
}

/// Until nobody holds the other end. A terminal that is gone takes nothing more, and the agent is told by its closed pipe.
fn carry(from: &OwnedFd, to: &OwnedFd) {
    let mut filter = Filter::default();
    let mut bytes = vec![0; PIECE];
    let mut clean = Vec::new();
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut bytes[..])) {
            Ok(0) | Err(_) => break,
            Ok(got) => filter.pass(bytes.get(..got).unwrap_or_default(), &mut clean),
        }
        if write_all(to.as_fd(), &clean).is_err() {
            return;
        }
        clean.clear();
    }
    // Whatever was switched ends with it; a terminal that is gone needs nothing.
    write_all(to.as_fd(), &filter.modes().at_end()).ok();
}
