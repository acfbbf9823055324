//! The directories of a session as the agent sees them, open, with what serves them.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chaperone_fs::{Options, Outside, Server, Tree, serve};
use chaperone_pipeline::{Pipeline, Session};
use chaperone_protocol::Failure;
use chaperone_protocol::session::{Mode, MountRecord};
use chaperone_quota::Quota;
use parking_lot::Mutex;

use crate::gate::MountGate;
use crate::mediated::MediatedDirectory;
use crate::overlay::{self, Overlay, Survey};
use crate::root::Root;

/// The agent's user and group in every cell.
const AGENT: u32 = 1000;

/// How long a mount whose cell is gone may go on answering.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Until the session says its own: nothing for others.
pub(crate) const CAUTIOUS: u32 = 0o077;

/// A directory of the user's as the agent sees it.
#[derive(Debug)]
pub struct LiveMount {
    /// `/workspace` or below it.
    pub at: String,
    /// The same, relative to the workspace; empty for the workspace itself.
    pub prefix: String,
    pub source: PathBuf,
    pub root: Root,
    pub mode: Mode,
    pub actions: Vec<String>,
    pub hide_denied: bool,
    pub write_back: bool,
    pub stage_dir: PathBuf,
    /// Where the user looks for programs.
    pub programs: Vec<PathBuf>,
    /// Permission bits that what tools make in it does not get.
    pub umask: u32,
    /// `source` as the user named it, through whatever links.
    pub spelled: Option<PathBuf>,
    /// Directories of dependencies that are ones by what is in them, as of the last look at what is staged.
    pub(crate) installed: Mutex<BTreeSet<String>>,
    pub(crate) stage: Mutex<Stage>,
    /// The layers that the agent works in, where the broker does not serve the merged view itself.
    pub(crate) overlay: Option<Overlay>,
}

/// The stage of a mount with its merged view.
#[derive(Debug)]
pub(crate) enum Stage {
    /// For as long as the mount is there: its session runs.
    Open(Arc<Tree>),
    /// Opened for whoever asks, and closed after that. There is never more than one.
    Closed(Weak<Tree>),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Closed(Weak::new())
    }
}

impl LiveMount {
    /// A mount whose stage is not open yet.
    #[must_use]
    pub fn closed(record: MountRecord, root: OwnedFd) -> Self {
        let root = Root::open(record.source.clone(), root);
        Self::of(record, root)
    }

    /// A mount of a session that is over: nothing of it is open.
    #[must_use]
    pub fn ended(record: MountRecord) -> Self {
        let root = Root::closed(record.source.clone());
        Self::of(record, root)
    }

    fn of(record: MountRecord, root: Root) -> Self {
        let MountRecord { at, prefix, source, mode, actions, stage_dir, programs } = record;
        let overlay = Overlay::left(&stage_dir);
        Self {
            at,
            prefix,
            source,
            root,
            mode,
            actions,
            hide_denied: false,
            write_back: false,
            stage_dir,
            programs,
            umask: CAUTIOUS,
            spelled: None,
            installed: Mutex::default(),
            stage: Mutex::default(),
            overlay,
        }
    }

    /// The merged view, when the broker serves it.
    #[must_use]
    pub fn served(&self) -> Option<MediatedDirectory<'_>> {
        match &*self.stage.lock() {
            Stage::Open(tree) if self.overlay.is_none() => {
                Some(MediatedDirectory::new(&self.at, self.umask, Arc::clone(tree)))
            }
            _ => None,
        }
    }

    /// Its stage; none where nothing is staged.
    ///
    /// # Errors
    /// `stage_unavailable`.
    pub(crate) fn tree(&self) -> Result<Option<Arc<Tree>>, Failure> {
        if !self.is_staged() {
            return Ok(None);
        }
        let mut stage = self.stage.lock();
        let weak = match &*stage {
            Stage::Open(tree) => return Ok(Some(Arc::clone(tree))),
            Stage::Closed(tree) => tree.upgrade(),
        };
        if weak.is_some() {
            return Ok(weak);
        }
        // The user looks at it: nobody else is starved by how much it is.
        let tree = self.open_tree(&Quota::unlimited())?;
        *stage = Stage::Closed(Arc::downgrade(&tree));
        Ok(Some(tree))
    }

    /// Stand for `before`, whose stage may be in use still.
    pub fn stand_for(&mut self, before: &Self) {
        let stage = match &*before.stage.lock() {
            Stage::Open(tree) => Arc::downgrade(tree),
            Stage::Closed(tree) => Weak::clone(tree),
        };
        self.stage = Mutex::new(Stage::Closed(stage));
    }

    fn is_staged(&self) -> bool {
        matches!(self.mode, Mode::Mediated | Mode::Staged)
    }

    fn open_tree(&self, quota: &Arc<Quota>) -> Result<Arc<Tree>, Failure> {
        let failed = |e: String| Failure::new("stage_unavailable", e);
        let root = self.root.own().map_err(|e| failed(format!("{}: {e}", self.source.display())))?;
        let tree = Tree::open(&self.stage_dir, root, quota).map_err(|e| failed(e.to_string()))?;
        Ok(Arc::new(tree))
    }

    /// The directories of an overlay that the cell mounts itself: its upper and its work layer.
    #[must_use]
    pub fn layers(&self) -> Option<(PathBuf, PathBuf)> {
        self.overlay.as_ref().map(|overlay| (overlay.upper(), overlay.work()))
    }

    /// A path of the user's machine as the agent names it, when it is in this directory by its text. Nothing is followed, and what
    /// leads up is left as it is.
    fn named_inside(&self, path: &Path) -> Option<(usize, PathBuf)> {
        [Some(&self.source), self.spelled.as_ref()].into_iter().flatten().find_map(|own| {
            let below = path.strip_prefix(own).ok()?;
            Some((own.components().count(), Path::new(&self.at).join(below)))
        })
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
            programs: self.programs.clone(),
        }
    }

    /// Make the directories of the stage, and the tree of a mount that is written to, for a session with this share.
    ///
    /// # Errors
    /// `state_unavailable`, `stage_unavailable`.
    pub fn prepare(&mut self, quota: &Arc<Quota>) -> Result<(), Failure> {
        let failed = |e: std::io::Error| {
            Failure::new("state_unavailable", format!("{}: {e}", self.stage_dir.display()))
        };
        std::fs::create_dir_all(&self.stage_dir).map_err(failed)?;
        if self.is_staged() {
            self.stage = Mutex::new(Stage::Open(self.open_tree(quota)?));
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

    /// What an absolute path of the user's machine is called in the session: the directories are the same objects at both places.
    #[must_use]
    pub fn named_inside(&self, path: &str) -> Option<String> {
        let at = Path::new(path);
        let in_cell = |path: &Path| path.starts_with("/workspace");
        if !at.is_absolute() || in_cell(at) {
            return None;
        }
        let found = self.list.iter().filter(|mount| in_cell(Path::new(&mount.at)));
        let (_, inside) = found.filter_map(|mount| mount.named_inside(at)).max_by_key(|(depth, _)| *depth)?;
        inside.into_os_string().into_string().ok()
    }

    /// Serve every mount that the broker serves, each behind its gate, on the devices that the cell handed out in their
    /// order.
    ///
    /// # Errors
    /// `bad_attach` when a device is missing, `no_threads`.
    pub fn serve(
        &self,
        pipeline: &Arc<Pipeline>,
        session: &Arc<Session>,
        devices: &mut impl Iterator<Item = OwnedFd>,
    ) -> Result<(), Failure> {
        for mount in self.list.iter().filter(|m| m.overlay.is_none()) {
            let Some(tree) = mount.tree()? else { continue };
            let missing = || Failure::new("bad_attach", "a descriptor of the cell is missing");
            let device = devices.next().ok_or_else(missing)?;
            let gate = Arc::new(MountGate::new(pipeline, session, &mount.at, mount.hide_denied));
            let options = Options { uid: AGENT, gid: AGENT, write_back: mount.write_back };
            let server =
                serve(device, tree, gate, options).map_err(|e| Failure::new("no_threads", e.to_string()))?;
            self.servers.lock().push(server);
        }
        Ok(())
    }

    /// Whether an agent works in an overlay and so writes past the broker.
    #[must_use]
    pub fn has_overlay(&self) -> bool {
        self.list.iter().any(|m| m.overlay.is_some())
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

    /// From now on, what the user changes in a directory that the broker serves is repeated in the cell by `repeat`, which gets the
    /// place of the directory, for programs that watch for it. Where the system has no more watches, edits are seen without being
    /// announced, as on a network file system.
    pub fn announce(&self, repeat: impl Fn(&str, Outside) -> bool + Clone + Send + 'static) {
        let served = self.list.iter().filter(|m| m.served().is_some());
        for (server, of) in self.servers.lock().iter().zip(served) {
            let (at, repeat) = (of.at.clone(), repeat.clone());
            server.announce(Box::new(move |edit| repeat(&at, edit))).ok();
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

    /// The cell is gone: nothing of it is open any more.
    pub fn close(&self) {
        let servers = std::mem::take(&mut *self.servers.lock());
        servers.iter().for_each(|server| server.finish(LAST_ANSWERS));
    }

    /// Whether an agent that writes past the broker has filled the disk up to its reserve.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.iter().filter_map(|m| m.tree().ok().flatten()).any(|tree| !tree.has_room().unwrap_or(false))
    }
}
