//! Events for whoever watches: the terminal of `run`, `approvals --watch`. Never the record of anything: the
//! audit log is written first, and a slow watcher loses events, not the log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use chaperone_protocol::Event;
use parking_lot::Mutex;

/// Events kept for a watcher that does not read. Protects memory; beyond it the watcher misses some.
const BACKLOG: usize = 1024;

#[derive(Debug, Default)]
pub struct Bus {
    watchers: Mutex<Vec<Watcher>>,
    /// Watchers that want routine events, too.
    of_routine: AtomicUsize,
}

#[derive(Debug)]
struct Watcher {
    session: Option<String>,
    routine: bool,
    sender: SyncSender<Event>,
}

impl Bus {
    /// Watch one session, or all; with `routine`, what was allowed without a question, too.
    pub fn watch(&self, session: Option<String>, routine: bool) -> Receiver<Event> {
        let (sender, receiver) = sync_channel(BACKLOG);
        let mut watchers = self.watchers.lock();
        watchers.push(Watcher { session, routine, sender });
        self.count(&watchers);
        receiver
    }

    /// Tell the watchers of a session.
    pub fn tell(&self, event: &Event) {
        let mut watchers = self.watchers.lock();
        watchers.retain(|w| {
            let is_other = w.session.as_ref().is_some_and(|s| *s != event.session);
            if is_other || event.what.is_routine() && !w.routine {
                return true;
            }
            !matches!(w.sender.try_send(event.clone()), Err(TrySendError::Disconnected(_)))
        });
        self.count(&watchers);
    }

    /// Whether anybody wants to know of what was allowed without a question (building an event costs something).
    pub fn wants_routine(&self) -> bool {
        self.of_routine.load(Ordering::Relaxed) > 0
    }

    fn count(&self, watchers: &[Watcher]) {
        self.of_routine.store(watchers.iter().filter(|w| w.routine).count(), Ordering::Relaxed);
    }
}
