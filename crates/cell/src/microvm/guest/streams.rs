//! The agent's standard streams, between pipes or a terminal in the guest and the ports that lead to the user's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::ports;
use crate::microvm::wire::{ERRORS, INPUT, OUTPUT, TERMINAL};

/// Bytes that are copied at once.
const PIECE: usize = 32 << 10;

/// What cell-init gets.
pub(super) struct Inner {
    streams: [OwnedFd; 3],
    /// Keeps a terminal alive that stands for the agent's.
    placeholder: Option<OwnedFd>,
}

/// What stays here.
pub(super) struct Outer {
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

/// Copies that are going on.
pub(super) struct Copies {
    pub closed: [Arc<AtomicBool>; 2],
    outputs: [Option<JoinHandle<u64>>; 2],
    terminal: Option<JoinHandle<u64>>,
}

/// Pipes for the streams, or a terminal that stands for the agent's, which cell-init makes.
pub(super) fn make(on_terminal: [bool; 3]) -> io::Result<(Inner, Outer)> {
    let placeholder = on_terminal.contains(&true).then(placeholder).transpose()?;
    let stands = |(_, slave): &(OwnedFd, OwnedFd)| rustix::io::fcntl_dupfd_cloexec(slave, 0);
    let stream = |is_input: bool, on_terminal: bool| -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        if let Some(terminal) = placeholder.as_ref().filter(|_| on_terminal) {
            return Ok((stands(terminal)?, None));
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(if is_input { (read, Some(write)) } else { (write, Some(read)) })
    };
    let (input, its_input) = stream(true, on_terminal[0])?;
    let (output, its_output) = stream(false, on_terminal[1])?;
    let (errors, its_errors) = stream(false, on_terminal[2])?;
    let inner =
        Inner { streams: [input, output, errors], placeholder: placeholder.map(|(master, _)| master) };
    Ok((inner, Outer { input: its_input, outputs: [its_output, its_errors] }))
}

fn placeholder() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
    Ok((master, slave))
}

impl Inner {
    /// Be the process that has them.
    pub(super) fn take(self) -> io::Result<()> {
        let Self { streams: [input, output, errors], placeholder } = self;
        rustix::stdio::dup2_stdin(&input)?;
        rustix::stdio::dup2_stdout(&output)?;
        rustix::stdio::dup2_stderr(&errors)?;
        // Its end would hang up on the terminal that stands for the agent's.
        std::mem::forget(placeholder);
        Ok(())
    }
}

impl Outer {
    pub(super) fn copy(self) -> io::Result<Copies> {
        let closed: [Arc<AtomicBool>; 2] = Default::default();
        if let Some(to) = self.input {
            let from = ports::open(INPUT)?;
            std::thread::Builder::new().spawn(move || drop(io::copy(&mut &from, &mut File::from(to))))?;
        }
        let [output, errors] = self.outputs;
        let copy = |from: Option<OwnedFd>, number: u32, closed: &Arc<AtomicBool>| {
            let Some(from) = from else { return Ok(None) };
            let (port, closed) = (ports::open(number)?, Arc::clone(closed));
            std::thread::Builder::new().spawn(move || copied(&File::from(from), &port, &closed)).map(Some)
        };
        let outputs = [copy(output, OUTPUT, &closed[0])?, copy(errors, ERRORS, &closed[1])?];
        Ok(Copies { closed, outputs, terminal: None })
    }
}

impl Copies {
    /// The agent's terminal is there.
    pub(super) fn show(&mut self, master: OwnedFd) -> io::Result<()> {
        let (keys, screen) = (File::from(rustix::io::fcntl_dupfd_cloexec(&master, 0)?), File::from(master));
        let port = ports::open(TERMINAL)?;
        let typed = port.try_clone()?;
        std::thread::Builder::new().spawn(move || drop(io::copy(&mut &typed, &mut &keys)))?;
        let copy = move || copied(&screen, &port, &AtomicBool::new(false));
        self.terminal = Some(std::thread::Builder::new().spawn(copy)?);
        Ok(())
    }

    /// Wait for what is left of the outputs, and of the terminal: how many bytes there were.
    pub(super) fn finish(self) -> [u64; 3] {
        let [output, errors] = self.outputs;
        [output, errors, self.terminal].map(|copy| copy.and_then(|copy| copy.join().ok()).unwrap_or(0))
    }
}

/// Copy until the end, or until nobody reads it any more: then whoever writes hears of it.
fn copied(mut from: &File, mut to: &File, closed: &AtomicBool) -> u64 {
    let (mut bytes, mut count) = (vec![0u8; PIECE], 0);
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return count,
            Ok(_) if closed.load(Ordering::Acquire) => return count,
            Ok(got) => {
                if to.write_all(bytes.get(..got).unwrap_or_default()).is_err() {
                    return count;
                }
                count += got as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A terminal that nobody has open any more (EIO).
            Err(_) => return count,
        }
    }
}
