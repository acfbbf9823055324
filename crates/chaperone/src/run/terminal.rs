//! The user's terminal and the cell's own pseudo-terminal, with a [`Filter`] between them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::filter::Filter;

/// Keys that wait for a program that does not read; of more, the terminal itself is not read.
const MAX_TYPED: usize = 64 * 1024;
/// What a pseudo-terminal takes at once when it says that it takes something.
const AT_ONCE: usize = 256;

/// The user's terminal in raw mode; restored when dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

/// What ended a stretch of [`relay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The cell closed its terminal.
    Closed,
    /// One of the caller's own descriptors is ready.
    Caller(usize),
}

impl Raw {
    /// Take the terminal on standard input.
    ///
    /// # Errors
    /// When it is not a terminal.
    pub fn take() -> io::Result<Self> {
        let terminal = rustix::io::dup(rustix::stdio::stdin())?;
        let before = tcgetattr(&terminal)?;
        let raw = Self { terminal, before };
        raw.make_raw()?;
        Ok(raw)
    }

    /// Give the terminal back, without what was typed for the agent: it is not for the shell.
    ///
    /// # Errors
    /// The terminal's error.
    pub fn give_back(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Flush, &self.before)?)
    }

    /// Take it again, from whoever had it meanwhile.
    ///
    /// # Errors
    /// The terminal's error.
    pub fn take_again(&mut self) -> io::Result<()> {
        self.before = tcgetattr(&self.terminal)?;
        self.make_raw()
    }

    fn make_raw(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &raw)?)
    }

    /// Keys that were typed, as the terminal gives them; none at its end.
    ///
    /// # Errors
    /// The terminal's error.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.terminal, &mut *into))?)
    }

    /// Wait for keys so long; whether there are any.
    ///
    /// # Errors
    /// The terminal's error.
    pub fn wait(&self, limit: std::time::Duration) -> io::Result<bool> {
        let limit =
            Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut keys = [PollFd::new(&self.terminal, PollFlags::IN)];
        Ok(rustix::io::retry_on_intr(|| poll(&mut keys, Some(&limit)))? > 0)
    }

    /// To wait for keys.
    pub fn keys(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// The terminal's error.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        chaperone_sys::window_size(self.terminal.as_fd())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone with its window.
        self.give_back().ok();
    }
}

/// Carry bytes between the terminal and the cell until the cell closes or one of `others` is ready. `typed` are keys
/// that the cell is still to get.
///
/// # Errors
/// The error of a descriptor.
pub fn relay(
    raw: &Raw,
    master: &OwnedFd,
    filter: &mut Filter,
    typed: &mut Vec<u8>,
    others: &[BorrowedFd<'_>],
) -> io::Result<Stopped> {
    let mut buffer = vec![0u8; 16 * 1024];
    let mut clean = Vec::new();
    let mut size = raw.size()?;
    loop {
        let keys = if typed.len() < MAX_TYPED { PollFlags::IN } else { PollFlags::empty() };
        let cell = if typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut wait = vec![PollFd::new(&raw.terminal, keys), PollFd::new(master, cell)];
        wait.extend(others.iter().map(|o| PollFd::from_borrowed_fd(*o, PollFlags::IN)));
        let tick = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        match poll(&mut wait, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        // The size is looked at with every tick: no signal handler is needed.
        let now = raw.size()?;
        if now != size {
            size = now;
            chaperone_sys::set_window_size(master.as_fd(), now.0, now.1)?;
        }
        let ready: Vec<PollFlags> = wait.iter().map(PollFd::revents).collect();
        drop(wait);
        let cell = ready.get(1).copied().unwrap_or(PollFlags::empty());
        if cell.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match rustix::io::read(master, &mut buffer[..]) {
                Ok(0) | Err(rustix::io::Errno::IO) => return Ok(Stopped::Closed),
                Ok(n) => {
                    clean.clear();
                    filter.pass(buffer.get(..n).unwrap_or_default(), &mut clean);
                    write_all(rustix::stdio::stdout(), &clean)?;
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        if cell.contains(PollFlags::OUT) {
            let part = typed.get(..typed.len().min(AT_ONCE)).unwrap_or_default();
            let n = rustix::io::retry_on_intr(|| rustix::io::write(master, part))?;
            typed.drain(..n);
        }
        if let Some(i) = ready.iter().skip(2).position(|r| !r.is_empty()) {
            return Ok(Stopped::Caller(i));
        }
        if ready.first().is_some_and(|r| !r.is_empty()) {
            let n = raw.read(&mut buffer)?;
            if n == 0 {
                return Ok(Stopped::Closed);
            }
            if let Some(queries) = filter.queries() {
                queries.see(buffer.get(..n).unwrap_or_default());
            }
            typed.extend_from_slice(buffer.get(..n).unwrap_or_default());
        }
    }
}

/// All of it.
///
/// # Errors
/// The error of the descriptor.
pub fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
