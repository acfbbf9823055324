//! A session with everything that is open for it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use chaperone_cell::control::{self, InitOrder};
use chaperone_gateway::{Exit, SessionGateway};
use chaperone_mcp::SessionTools;
use chaperone_pipeline::ports::CellHandle;
use chaperone_pipeline::{Pipeline, Session};
use chaperone_protocol::Shown;
use chaperone_protocol::session::{Record, State};
use chaperone_workspace::commit::{ShownChanges, Site, Wanted};
use chaperone_workspace::mount::Mounts;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A session, its network exit, mounts, tools and cell.
#[derive(Debug)]
pub struct LiveSession {
    pub session: Arc<Session>,
    pub exit: Arc<Exit>,
    pub mounts: Arc<Mounts>,
    pub tools: Arc<SessionTools>,
    pub cell: Arc<Cell>,
    /// What of the host its cell shows beside its mounts and what every cell shows.
    pub visible: Vec<Shown>,
    /// Why it ended and its exit code, once it is known.
    pub ending: Mutex<Option<(String, i32)>>,
    /// What the user was shown of its staged changes, once there was a look.
    pub shown: Mutex<Option<ShownChanges>>,
}

/// What the broker holds of a running cell.
#[derive(Debug, Default)]
pub struct Cell {
    pub init_pidfd: Mutex<Option<OwnedFd>>,
    /// Control groups to remove when the cell is gone.
    pub groups: Mutex<Vec<PathBuf>>,
    pub control: Mutex<Option<Arc<OwnedFd>>>,
    /// The socket that its channel listens on, while the cell lives.
    pub channel: Mutex<Option<UnixListener>>,
}

impl LiveSession {
    #[must_use]
    pub fn new(
        pipeline: &Arc<Pipeline>,
        session: Arc<Session>,
        exit: Exit,
        mounts: Mounts,
        ending: Option<(String, i32)>,
    ) -> Self {
        let (exit, mounts) = (Arc::new(exit), Arc::new(mounts));
        let tools = SessionTools {
            pipeline: Arc::clone(pipeline),
            session: Arc::clone(&session),
            mounts: Arc::clone(&mounts),
            exit: Arc::clone(&exit),
            blobs: chaperone_mcp::Blobs::default(),
            tables: chaperone_mcp::Tables::default(),
            read_in_parts: chaperone_mcp::ReadInParts::default(),
        };
        let cell = Arc::new(Cell::default());
        // Each is set here and nowhere else.
        session.on_release.set(Arc::clone(&exit) as _).ok();
        session.cell.set(Arc::clone(&cell) as _).ok();
        Self {
            session,
            exit,
            mounts,
            tools: Arc::new(tools),
            cell,
            visible: Vec::new(),
            ending: Mutex::new(ending),
            shown: Mutex::default(),
        }
    }

    /// The session's way out.
    #[must_use]
    pub fn way(&self) -> SessionGateway {
        self.tools.way()
    }

    /// Where its staged changes are decided on.
    #[must_use]
    pub fn site<'a>(&'a self, pipeline: &'a Pipeline, wanted: Option<&'a Wanted>) -> Site<'a> {
        Site { pipeline, session: &self.session, mounts: &self.mounts, over: self.is_over(), wanted }
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.session.state.read() == State::Ended
    }

    /// Whether it holds more than one that is read back.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.cell.init_pidfd.lock().is_some()
    }

    /// Whether nothing of the session's cell runs any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.cell.init_pidfd.lock().as_ref() {
            Some(pidfd) => {
                poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&Timespec::default())) == Ok(1)
            }
            None => self.has_ended(),
        }
    }

    /// What is listed of it, and written to disk.
    #[must_use]
    pub fn record(&self) -> Record {
        let session = &self.session;
        let ending = self.ending.lock().clone();
        Record {
            id: session.id.clone(),
            name: session.name.clone(),
            profile: session.profile.name.clone(),
            backend: session.backend.clone(),
            workspace: session.workspace.clone(),
            command: session.command.clone(),
            started: session.started.clone(),
            state: *session.state.read(),
            init_pid: *session.init_pid.read(),
            exit: ending.as_ref().map(|(_, code)| *code),
            cause: ending.map(|(cause, _)| cause),
            mounts: session.mounts.clone(),
        }
    }
}

impl Cell {
    /// End the cell and everything in it.
    pub fn kill(&self) {
        if let Some(pidfd) = self.init_pidfd.lock().as_ref() {
            // It may have ended by itself already.
            rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL).ok();
        }
    }
}

impl Cell {
    /// Let what was stopped go on. A cell that does not listen any more has ended.
    pub fn resume(&self) {
        let control = self.control.lock().clone();
        if let Some(control) = control
            && control::order(&control, &InitOrder::Resume).is_err()
        {
            self.kill();
        }
    }
}

impl CellHandle for Cell {
    fn suspend(&self) {
        let Some(control) = self.control.lock().clone() else { return };
        if control::order(&control, &InitOrder::Suspend).is_err() {
            // A cell that takes no orders cannot be stopped; it must not go on.
            self.kill();
        }
    }
}
