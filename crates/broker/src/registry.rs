//! The sessions that there are, by their names.

use std::sync::Arc;
use std::time::Duration;

use chaperone_protocol::Failure;
use chaperone_protocol::reply::{ListedSession, Process, Sessions};
use chaperone_protocol::session::{Record, State};
use chaperone_workspace::commit;

use crate::broker::Broker;
use crate::session::live::LiveSession;
use crate::session::restore::restore;

/// How often, and how many times, it is looked whether an ended session is still in use. One that is stays as it is, until the
/// next session begins.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 100;

impl Broker {
    /// A session is over: what it held goes, as soon as nobody is at it any more. It is as one that is read back from now on.
    pub(crate) fn let_go(&self, id: &str) {
        for _ in 0..LOOKS {
            if self.is_let_go(id) {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The same for all that are over, without waiting.
    pub(crate) fn let_all_go(&self) {
        let over: Vec<String> = self
            .sessions
            .read()
            .iter()
            .filter(|(_, s)| s.holds() && s.is_over())
            .map(|(id, _)| id.clone())
            .collect();
        // What is in use stays until the next time.
        for id in over {
            self.is_let_go(&id);
        }
    }

    fn is_let_go(&self, id: &str) -> bool {
        let mut sessions = self.sessions.write();
        let Some(session) = sessions.get_mut(id) else { return true };
        // Who holds it acts on it: a commit, or a command that looks at it.
        let Some(before) = Arc::get_mut(session) else { return false };
        let dir = before.session.dir.clone();
        if before.has_ended()
            && before.is_over()
            && let Ok(read_back) = restore(&self.pipeline, &dir, Some(before))
        {
            *session = Arc::new(read_back);
        }
        true
    }

    /// A session by its id, an unambiguous beginning of it, or its agent's name; ended ones are read back.
    ///
    /// # Errors
    /// `no_such_session`.
    pub fn find(&self, id: &str) -> Result<Arc<LiveSession>, Failure> {
        let none = || {
            Failure::new("no_such_session", format!("no session matches {id:?}"))
                .advise("list them with: chaperone sessions --all")
        };
        if id.is_empty() {
            return Err(none());
        }
        if let Some(session) = self.sessions.read().get(id) {
            return Ok(Arc::clone(session));
        }
        self.read_back();
        let sessions = self.sessions.read();
        let mut matching = sessions.values().filter(|s| s.session.id.starts_with(id) || s.session.name == id);
        match (matching.next(), matching.next()) {
            (Some(one), None) => Ok(Arc::clone(one)),
            _ => Err(none()),
        }
    }

    /// Sessions of an earlier broker; what cannot be read back is left where it is.
    pub(crate) fn read_back(&self) {
        for entry in std::fs::read_dir(self.dirs.staging()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !self.sessions.read().contains_key(&id)
                && let Ok(session) = restore(&self.pipeline, &entry.path(), None)
            {
                self.sessions.write().entry(id).or_insert_with(|| Arc::new(session));
            }
        }
    }

    /// Sessions as `sessions --json` prints them.
    pub(crate) fn list(&self, all: bool, staged: bool) -> Sessions {
        if all {
            self.read_back();
        }
        let mut there: Vec<_> =
            self.sessions.read().values().map(|live| (live.record(), Arc::clone(live))).collect();
        there.retain(|(record, _)| all || record.state != State::Ended);
        there.sort_by(|(a, _), (b, _)| a.started.cmp(&b.started));
        let count = |record: &Record, live: &LiveSession| {
            let is_asked = staged && record.state == State::Ended;
            is_asked.then(|| commit::count(&live.site(&self.pipeline, None)).ok()).flatten()
        };
        let listed = |(r, live): (Record, Arc<LiveSession>)| ListedSession {
            staged: count(&r, &live),
            suspended: live.session.suspension().map(|why| why.reasons.join(", ")),
            id: r.id,
            name: r.name,
            profile: r.profile,
            backend: r.backend,
            state: if r.state == State::Starting { State::Running } else { r.state },
            init_pid: r.init_pid,
            exit: r.exit,
            cause: r.cause,
            workspace: r.workspace,
            started: r.started,
        };
        Sessions {
            broker: Process { pid: std::process::id() },
            vault: Process { pid: self.vault.client().pid() },
            sessions: there.into_iter().map(listed).collect(),
        }
    }
}
