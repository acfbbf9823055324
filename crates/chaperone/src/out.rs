//! Standard output. Whoever reads it may stop in the middle, as `head` does: then the command ends, and that is no fault.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::process::exit;

/// As for a program that the signal of a closed pipe ends.
const CLOSED: i32 = 128 + 13;

/// Print a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use say;

/// Print a text as it is.
pub fn write(text: Arguments<'_>) {
    let mut out = stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => exit(CLOSED),
        Err(e) => {
            eprintln!("chaperone: standard output cannot be written: {e}");
            exit(1);
        }
    }
}
