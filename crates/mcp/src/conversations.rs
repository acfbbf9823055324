//! The conversations of one session: each on a thread of its own, and only so many at once.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::server::serve;
use crate::session_tools::SessionTools;

/// Conversations of one session at once. Protects threads and memory; beyond it a new one is refused.
const MAX_CONVERSATIONS: u32 = 64;
/// How long a connection waits for another conversation of its session to end, when there are as many as may be.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serve whoever connects, until the session is over.
pub fn serve_all(tools: &Arc<SessionTools>, listener: &UnixListener, is_over: &dyn Fn() -> bool) {
    let conversations = Arc::new(Conversations::default());
    while let Ok((stream, _)) = listener.accept() {
        if is_over() {
            break;
        }
        if !conversations.begin() {
            continue;
        }
        let (tools, conversations) = (Arc::clone(tools), Arc::clone(&conversations));
        let talk = move || {
            serve(&tools, stream);
            conversations.end();
        };
        if std::thread::Builder::new().name("agent".into()).spawn(talk).is_err() {
            break;
        }
    }
}

/// Those that go on.
#[derive(Debug, Default)]
struct Conversations {
    open: Mutex<u32>,
    ended: Condvar,
}

impl Conversations {
    /// Counts one more. At the limit it waits a while for another to end, while whoever connects waits in the queue: those that
    /// were closed a moment ago must not count against an honest one.
    fn begin(&self) -> bool {
        let mut open = self.open.lock();
        let full = |open: &mut u32| *open >= MAX_CONVERSATIONS;
        if self.ended.wait_while_for(&mut open, full, PATIENCE).timed_out() {
            return false;
        }
        *open += 1;
        true
    }

    fn end(&self) {
        *self.open.lock() -= 1;
        self.ended.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_just_closed_does_not_count_against_the_next() {
        let conversations = Arc::new(Conversations::default());
        assert!((0..MAX_CONVERSATIONS).all(|_| conversations.begin()));
        let next = std::thread::spawn({
            let conversations = Arc::clone(&conversations);
            move || conversations.begin()
        });
        conversations.end();
        assert!(next.join().unwrap());
        assert_eq!(*conversations.open.lock(), MAX_CONVERSATIONS);
    }
}
