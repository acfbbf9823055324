//! A look at the socket before a conversation's thread sleeps. To wake it takes longer than most calls do, so whoever calls in a row
//! finds it awake; whoever does not costs it next to nothing.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::waiting::Waiting;

/// The longest look: twice what a client in a row takes between an answer and its next call.
const LONGEST: Duration = Duration::from_micros(100);
/// After looks in vain ever more sleeps go without one, up to two to the power of this.
const MOST_IN_VAIN: u32 = 6;

pub(crate) struct Look {
    socket: UnixStream,
    waiting: Arc<Waiting>,
    /// Looks in vain since the last that was not.
    in_vain: AtomicU32,
    /// Sleeps until the next look.
    without: AtomicU32,
}

impl Look {
    /// None where there is but one processor: the peer would wait for the look to end.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn at(socket: &UnixStream, waiting: &Arc<Waiting>) -> std::io::Result<Option<Self>> {
        if available_parallelism().is_ok_and(|all| all.get() == 1) {
            return Ok(None);
        }
        let (socket, waiting) = (socket.try_clone()?, Arc::clone(waiting));
        Ok(Some(Self { socket, waiting, in_vain: AtomicU32::new(0), without: AtomicU32::new(0) }))
    }

    /// Until the peer has sent something, or it is time to sleep.
    pub fn before_sleep(&self) {
        let without = self.without.load(Ordering::Relaxed);
        if without > 0 {
            return self.without.store(without - 1, Ordering::Relaxed);
        }
        // What is being worked on wakes the thread by itself.
        if self.waiting.is_for_something() {
            return;
        }
        let end = Instant::now() + LONGEST;
        while Instant::now() < end {
            if self.has_something() {
                return self.in_vain.store(0, Ordering::Relaxed);
            }
            // Others go first.
            std::thread::yield_now();
        }
        let in_vain = (self.in_vain.load(Ordering::Relaxed) + 1).min(MOST_IN_VAIN);
        self.in_vain.store(in_vain, Ordering::Relaxed);
        self.without.store(1 << in_vain, Ordering::Relaxed);
    }

    /// Something to read, or the end.
    fn has_something(&self) -> bool {
        let mut one = [0u8; 1];
        let seen = rustix::net::recv(&self.socket, &mut one[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(seen, Err(Errno::AGAIN | Errno::INTR))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use chaperone_quota::Quota;
    use rmcp::model::RequestId;

    use super::*;

    fn look() -> (Look, UnixStream) {
        let (own, peer) = UnixStream::pair().unwrap();
        let waiting = Waiting::new(&Quota::unlimited());
        let look = Look { socket: own, waiting, in_vain: AtomicU32::new(0), without: AtomicU32::new(0) };
        (look, peer)
    }

    #[test]
    fn who_calls_in_a_row_is_looked_for_each_time() {
        let (look, mut peer) = look();
        peer.write_all(b"{").unwrap();
        for _ in 0..100 {
            look.before_sleep();
            assert_eq!(look.without.load(Ordering::Relaxed), 0);
        }
        drop(peer);
        look.before_sleep();
        assert_eq!(look.in_vain.load(Ordering::Relaxed), 0, "the end is something, too");
    }

    #[test]
    fn looks_in_vain_become_rare() {
        let (look, mut peer) = look();
        let mut looks = 0;
        for _ in 0..1_000 {
            looks += u32::from(look.without.load(Ordering::Relaxed) == 0);
            look.before_sleep();
        }
        assert!((10..=30).contains(&looks), "{looks}");
        // One that is not in vain brings them back.
        peer.write_all(b"{").unwrap();
        for _ in 0..=1 << MOST_IN_VAIN {
            look.before_sleep();
        }
        assert_eq!((look.in_vain.into_inner(), look.without.into_inner()), (0, 0));
    }

    #[test]
    fn while_something_is_worked_on_nothing_is_looked_for() {
        let (look, _peer) = look();
        assert!(look.waiting.asked(RequestId::Number(1)));
        look.before_sleep();
        assert_eq!(look.in_vain.load(Ordering::Relaxed), 0);
        look.waiting.withdrawn(&RequestId::Number(1));
        look.before_sleep();
        assert_eq!(look.in_vain.load(Ordering::Relaxed), 1);
    }
}
