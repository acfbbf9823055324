//! What a command prints, and what it says beside that. Whoever reads may stop in the middle, as `head` does: the command whose output
//! nobody reads ends, and that is no fault.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write, stdout};
use std::os::fd::AsFd;
use std::process::exit;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;

/// As for a program that the signal of a closed pipe ends.
const CLOSED: i32 = 128 + 13;

/// Between two looks at whether a pipe is empty, in nanoseconds.
const SHORTEST_PAUSE: i64 = 20_000;
const LONGEST_PAUSE: i64 = 5_000_000;

/// Print a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// Say a line on standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::out::beside(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use note;

/// Print a text as it is.
pub fn write(text: Arguments<'_>) {
    if let Err(error) = put(text) {
        end(&error);
    }
}

/// Say something on standard error. Where nobody reads it any more, nobody misses it.
pub fn beside(text: Arguments<'_>) {
    // In one piece: others write there, too.
    io::stderr().write_all(text.to_string().as_bytes()).ok();
}

/// End the command whose output cannot be written.
pub fn end(error: &io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        exit(CLOSED);
    }
    note!("chaperone: standard output cannot be written: {error}");
    exit(1);
}

/// Print a text whose way matters: it comes back when a pipe's reader has taken all of it, and fails where the reader goes before.
pub fn deliver(text: Arguments<'_>) -> io::Result<()> {
    put(text)?;
    if is_pipe() { taken(stdout()) } else { Ok(()) }
}

/// Wait until a pipe's reader has taken all of it; an error where the reader goes before.
pub fn taken(pipe: impl AsFd) -> io::Result<()> {
    // Nothing wakes a writer when its pipe is empty; it is woken when the reader goes.
    let mut pause = SHORTEST_PAUSE;
    while rustix::io::ioctl_fionread(&pipe)? > 0 {
        let mut wait = [PollFd::new(&pipe, PollFlags::empty())];
        match poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: pause })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let gone = wait.iter().any(|w| w.revents().intersects(PollFlags::ERR | PollFlags::HUP));
        if gone && rustix::io::ioctl_fionread(&pipe)? > 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

/// Whether somebody reads at the other end of a pipe.
pub fn is_pipe() -> bool {
    rustix::fs::fstat(stdout()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

fn put(text: Arguments<'_>) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_fmt(text)?;
    out.flush()
}
