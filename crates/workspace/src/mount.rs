//! The directories of a session as the agent sees them, open, with what serves them.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use chaperone_fs::{Server, Tree};
use chaperone_protocol::Failure;
use chaperone_protocol::session::{Mode, MountRecord};
use parking_lot::Mutex;

use crate::overlay::{self, Overlay, Survey};

/// A directory of the user's as the agent sees it.
#[derive(Debug)]
pub struct LiveMount {
    /// `/workspace` or below it.
    pub at: String,
    /// The same, relative to the workspace; empty for the workspace itself.
    pub prefix: String,
    pub source: PathBuf,
    pub root: OwnedFd,
    pub mode: Mode,
    pub actions: Vec<String>,
    pub hide_denied: bool,
    pub write_back: bool,
    pub stage_dir: PathBuf,
    /// The stage with its merged view; `None` for read-only mounts.
    pub tree: Option<Arc<Tree>>,
    /// The layers that the agent works in, where the broker does not serve the merged view itself.
    pub overlay: Option<Overlay>,
}

impl LiveMount {
    /// The merged view, when the broker serves it.
    #[must_use]
    pub fn served(&self) -> Option<&Arc<Tree>> {
        self.tree.as_ref().filter(|_| self.overlay.is_none())
    }

    /// A path of the mount as the agent names it.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("{}/{path}", self.at)
    }

    /// What is listed of it, and written to disk.
    #[must_use]
    pub fn record(&self) -> MountRecord {
        MountRecord {
            at: self.at.clone(),
            prefix: self.prefix.clone(),
            source: self.source.clone(),
            mode: self.mode,
            actions: self.actions.clone(),
            stage_dir: self.stage_dir.clone(),
        }
    }

    /// Make the directories of the stage, and the tree of a mount that is written to.
    ///
    /// # Errors
    /// `state_unavailable`, `stage_unavailable`.
    pub fn prepare(&mut self) -> Result<(), Failure> {
        let failed = |e: std::io::Error| {
            Failure::new("state_unavailable", format!("{}: {e}", self.stage_dir.display()))
        };
        std::fs::create_dir_all(&self.stage_dir).map_err(failed)?;
        if matches!(self.mode, Mode::Mediated | Mode::Staged) {
            let root = rustix::io::fcntl_dupfd_cloexec(&self.root, 3).map_err(|e| failed(e.into()))?;
            let tree = Tree::open(&self.stage_dir, root)
                .map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
            self.tree = Some(Arc::new(tree));
        }
        Ok(())
    }

    /// The layers of a staged mount, and what was in its directory when they were made. Where an overlay cannot serve it,
    /// the broker does, with the same staging.
    ///
    /// # Errors
    /// `state_unavailable`.
    pub fn make_layers(&mut self, notices: &mut Vec<String>) -> Result<Option<Survey>, Failure> {
        if self.mode != Mode::Staged {
            return Ok(None);
        }
        let survey = if rustix::process::geteuid().is_root() {
            Err("a cell that root starts has a user of its own")
        } else if self.hide_denied {
            Err("its profile hides names")
        } else {
            overlay::survey(&self.root).unwrap_or(Err("it cannot be read whole"))
        };
        match survey {
            Ok(survey) => {
                let made = Overlay::make(&self.stage_dir, &self.root, &survey).map_err(|e| {
                    Failure::new("state_unavailable", format!("{}: {e}", self.stage_dir.display()))
                })?;
                self.overlay = Some(made);
                Ok(Some(survey))
            }
            Err(why) => {
                notices.push(format!("{} is staged by the broker, more slowly: {why}", self.at));
                Ok(None)
            }
        }
    }
}

/// All mounts of a session, and the file-system servers of those that the broker serves.
#[derive(Debug)]
pub struct Mounts {
    list: Vec<LiveMount>,
    /// One for each served mount, in their order.
    servers: Mutex<Vec<Server>>,
}

impl Mounts {
    #[must_use]
    pub fn new(list: Vec<LiveMount>) -> Self {
        Self { list, servers: Mutex::default() }
    }

    #[must_use]
    pub fn list(&self) -> &[LiveMount] {
        &self.list
    }

    /// The mount at this place.
    #[must_use]
    pub fn at(&self, at: &str) -> Option<&LiveMount> {
        self.list.iter().find(|m| m.at == at)
    }

    /// The next served mount has this server.
    pub fn serve(&self, server: Server) {
        self.servers.lock().push(server);
    }

    /// The kernel of a running cell forgets what it knew of paths that changed from outside.
    pub fn invalidate(&self, at: &str, paths: &[impl AsRef<str>]) {
        let served = self.list.iter().filter(|m| m.served().is_some());
        for (server, of) in self.servers.lock().iter().zip(served) {
            if of.at == at {
                paths.iter().for_each(|p| server.invalidate(p.as_ref()));
            }
        }
    }

    /// What the agent wrote by mappings reaches the stage.
    ///
    /// # Errors
    /// `stage_busy`.
    pub fn sync_mappings(&self) -> Result<(), Failure> {
        for server in self.servers.lock().iter() {
            server.sync_mappings().map_err(|e| {
                Failure::new(
                    "stage_busy",
                    format!("what the agent wrote by a mapping cannot be taken over: {e}"),
                )
                .advise("try again, or stop the session first")
            })?;
        }
        Ok(())
    }

    /// Stop serving.
    pub fn close(&self) {
        self.servers.lock().clear();
    }

    /// Whether an agent that writes past the broker has filled the disk up to its reserve.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.iter().filter_map(|m| m.tree.as_ref()).any(|tree| !tree.has_room().unwrap_or(false))
    }
}
