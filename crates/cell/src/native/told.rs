//! Calls that were refused where this machine's kernel does not see them: the cell's program tells of them, when it runs a world of its
//! own. What it says is believed as little as anything from a cell: it can name what it likes, so often, and no more.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::RecvFlags;

use super::calls;
use crate::control::InitMessage;

/// So many refusals of a call are each told.
const TOLD: u64 = 4;
/// Bytes of a name.
const LONGEST: usize = 64;

/// Whether the so manieth refusal of a call is told: the first few, then those whose number is a power of two.
#[must_use]
pub fn is_worth_telling(count: u64) -> bool {
    count <= TOLD || count.is_power_of_two()
}

/// The ends of what it is told on.
#[derive(Debug)]
pub(super) struct Told {
    end: Option<OwnedFd>,
    counts: HashMap<&'static str, u64>,
}

/// Tell of a refused call, by its name.
///
/// # Errors
/// The system's error when nobody listens.
pub(crate) fn tell(end: &OwnedFd, call: &str) -> io::Result<()> {
    Ok(rustix::net::send(end, call.as_bytes(), rustix::net::SendFlags::NOSIGNAL).map(drop)?)
}

impl Told {
    pub(super) fn new(end: Option<OwnedFd>) -> Self {
        Self { end, counts: HashMap::new() }
    }

    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// What is to be reported of what was told last. To be called when there is something, or the other end is closed.
    pub(super) fn hear(&mut self) -> Option<InitMessage> {
        let mut name = [0u8; LONGEST];
        let end = self.end.as_ref()?;
        match rustix::net::recv(end, &mut name[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.end = None,
            Ok((length, _)) => {
                let name = name.get(..length).and_then(|name| std::str::from_utf8(name).ok());
                let call =
                    name.and_then(calls::number).and_then(|number| calls::name(number.cast_signed()))?;
                let count = self.counts.entry(call).or_insert(0);
                *count += 1;
                let count = *count;
                return is_worth_telling(count)
                    .then(|| InitMessage::Refused { call: call.to_owned(), count });
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.end = None,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_calls_are_counted_and_nothing_else_is_heard() {
        let (ours, its) = crate::stops::pair().unwrap();
        let mut told = Told::new(Some(ours));
        assert!(told.hear().is_none());
        for junk in ["", "no_such_call", "mount\n", &"x".repeat(500)] {
            if !junk.is_empty() {
                tell(&its, junk).unwrap();
                assert!(told.hear().is_none(), "{junk:?}");
            }
        }
        let reported = (1..=100u64).filter(|_| {
            tell(&its, "mount").unwrap();
            told.hear().is_some()
        });
        assert_eq!(reported.collect::<Vec<_>>(), [1, 2, 3, 4, 8, 16, 32, 64]);
        drop(its);
        assert!(told.hear().is_none() && told.end().is_none());
    }
}
