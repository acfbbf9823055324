//! What the user changes in the directory itself is noticed by programs of the cell that watch for it. A server of a file
//! system cannot make the kernel tell its watchers of a change; only a process that makes the change through the mount can. So
//! the user's directories are watched here, and what changed in them is repeated by cell-init through the mount: its requests
//! are answered by [`crate::requests`] with what is there already, and nothing is done, decided or recorded for them. Programs
//! that do not watch see each change without this, within the time that the kernel may believe what it was told.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chaperone_names::name_as_text;
use chaperone_staging::BaseVersion;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::announcing::{Edit, MOST_TOGETHER, Outside, Repeat};
use crate::journal::Entry;
use crate::object::{Attributes, ObjectKind, from_stat};
use crate::shared::Shared;
use crate::tree::{State, Tree, hidden_by_parent, join};

/// Directories of one mount that are watched. Protects the user's share of the kernel's watches; changes in further ones are
/// seen, and not announced.
const MOST_WATCHED: usize = 4096;
/// How long changes are gathered, so that those of one path become one.
const GATHERED: Duration = Duration::from_millis(60);
/// Paths of which it is remembered what was committed. Protects memory; what is forgotten may be announced to its own author.
const MOST_COMMITTED: usize = 8192;
/// How new versions are called until they get their names.
const TEMPORARY: &str = ".chaperone-";
const WATCHED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

/// Watch the user's directories that the kernel knows of until the mount ends.
pub(crate) fn watch(shared: &Arc<Shared>, repeat: Repeat) -> std::io::Result<()> {
    let mut random = [0u8; 16];
    let given = rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())?;
    if given != random.len() {
        return Err(std::io::Error::other("the system gave too few random bytes"));
    }
    let queue = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let announcing = &shared.announcing;
    if announcing.wake.set(wake).is_err()
        || announcing.token.set(format!(".{}", hex::encode(random))).is_err()
    {
        return Err(std::io::Error::other("the directory is watched already"));
    }
    let shared = Arc::clone(shared);
    let mut watcher =
        Watcher { shared, queue, repeat, paths: HashMap::new(), noticed: HashMap::new(), since: None };
    std::thread::Builder::new().name("fs-outside".into()).spawn(move || watcher.work()).map(drop)
}

impl Tree {
    /// What the user has at a path that the cell sees there: none where it is staged, hidden, or was committed as it is.
    fn of_the_user(&self, path: &str) -> Option<Option<Attributes>> {
        let state = self.lock();
        let is_staged = !matches!(state.entries.get(path), None | Some(Entry::Base));
        if is_staged || hidden_by_parent(&state, path) {
            return None;
        }
        let now = match self.base_stat(path) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(_) => return None,
        };
        let is_committed = state.committed.get(path).is_some_and(|committed| match (committed, &now) {
            (Some(committed), Some(now)) => committed.is_same_version(&BaseVersion::of(now)),
            (committed, now) => committed.is_none() && now.is_none(),
        });
        if is_committed {
            return None;
        }
        now.map(|stat| from_stat(&stat, false).ok()).map_or(Some(None), |seen| seen.map(Some))
    }
}

impl State {
    /// What is there now was committed.
    pub(crate) fn was_committed(&mut self, path: &str, now: Option<BaseVersion>) {
        if self.committed.len() >= MOST_COMMITTED {
            self.committed.clear();
        }
        self.committed.insert(path.to_owned(), now);
    }
}

struct Watcher {
    shared: Arc<Shared>,
    queue: OwnedFd,
    repeat: Repeat,
    /// The directories, by the kernel's number of the watch.
    paths: HashMap<i32, Arc<str>>,
    /// What happened since the last announcement.
    noticed: HashMap<String, Noticed>,
    since: Option<Instant>,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, Default)]
struct Noticed {
    /// By what happened first, something was there before, or not; or that cannot be said.
    before: Option<bool>,
    directory: bool,
    content: bool,
    finished: bool,
}

impl Watcher {
    fn work(&mut self) {
        self.add("");
        loop {
            if self.wait().is_err() || self.shared.ended.load(Ordering::Acquire) {
                return;
            }
            if self.shared.announcing.woken.load(Ordering::Acquire) {
                self.look_for_directories();
            }
            self.read();
            if self.since.is_some_and(|since| since.elapsed() >= GATHERED) {
                self.since = None;
                for (path, noticed) in std::mem::take(&mut self.noticed) {
                    self.announce(&path, noticed);
                }
            }
        }
    }

    /// Until there is something to be done.
    fn wait(&self) -> rustix::io::Result<()> {
        let Some(wake) = self.shared.announcing.wake.get() else { return Err(Errno::BADF) };
        let left = self.since.map(|since| GATHERED.saturating_sub(since.elapsed()));
        let left = left.map(|left| Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) });
        let mut ready = [PollFd::new(&self.queue, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        match poll(&mut ready, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn look_for_directories(&mut self) {
        let announcing = &self.shared.announcing;
        if let Some(wake) = announcing.wake.get() {
            rustix::io::read(wake, &mut [0u8; 8]).ok();
        }
        announcing.woken.store(false, Ordering::Release);
        let new = self.shared.nodes.write().take_new_directories();
        if self.paths.len() + new.len() > MOST_WATCHED {
            self.let_go(|shared, path| shared.nodes.read().number_of(path).is_none());
        }
        new.iter().for_each(|path| self.add(path));
    }

    fn add(&mut self, path: &str) {
        if self.paths.len() >= MOST_WATCHED {
            return;
        }
        // By its descriptor: nothing else has taken its place meanwhile.
        let Ok(folder) = self.shared.tree.base_open(path, OFlags::PATH | OFlags::DIRECTORY) else { return };
        let at = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder));
        if let Ok(number) = inotify::add_watch(&self.queue, at, WATCHED) {
            self.paths.insert(number, path.into());
        }
    }

    fn let_go(&mut self, is_over: impl Fn(&Shared, &str) -> bool) {
        let over: Vec<i32> = self
            .paths
            .iter()
            .filter(|(_, path)| is_over(&self.shared, path))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            self.paths.remove(&number);
            inotify::remove_watch(&self.queue, number).ok();
        }
    }

    fn read(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = Vec::new();
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        // At most as many as the kernel keeps: it may add to them as fast as they are read.
        while events.len() < MOST_TOGETHER * 32
            && let Ok(event) = reader.next()
        {
            let name = event.file_name().map(|name| name_as_text(name.to_bytes()).into_owned());
            events.push((event.wd(), event.events(), name));
        }
        for (number, what, name) in events {
            if what.contains(ReadFlags::IGNORED) {
                self.paths.remove(&number);
            }
            let (Some(folder), Some(name)) = (self.paths.get(&number), name) else { continue };
            if !name.starts_with(TEMPORARY) {
                self.notice(join(&folder.clone(), &name), what);
            }
        }
    }

    fn notice(&mut self, path: String, what: ReadFlags) {
        let directory = what.contains(ReadFlags::ISDIR);
        if directory && what.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            let below = format!("{path}/");
            self.let_go(|_, watched| *watched == *path || watched.starts_with(&below));
        }
        if self.noticed.len() >= MOST_TOGETHER && !self.noticed.contains_key(&path) {
            return;
        }
        let before = if what.contains(ReadFlags::CREATE) {
            Some(false)
        } else {
            // What is moved here may take the place of something.
            (!what.contains(ReadFlags::MOVED_TO)).then_some(true)
        };
        let noticed = self.noticed.entry(path).or_insert(Noticed { before, ..Noticed::default() });
        noticed.directory |= directory;
        noticed.content |= !what.contains(ReadFlags::ATTRIB);
        noticed.finished |= what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO);
        self.since.get_or_insert_with(Instant::now);
    }

    fn announce(&mut self, path: &str, noticed: Noticed) {
        let shared = Arc::clone(&self.shared);
        if !shared.gate.visible(path) {
            return;
        }
        let Some(now) = shared.tree.of_the_user(path) else { return };
        let is_known = || shared.nodes.read().number_of(path).is_some();
        let edit = match (noticed.before.unwrap_or_else(is_known), now) {
            (false, Some(now)) => Edit::Made(now.object.kind),
            (true, Some(now)) => edit_of(&now, noticed),
            (true, None) => Edit::Removed { directory: noticed.directory },
            (false, None) => return,
        };
        if !matches!(edit, Edit::Removed { .. }) {
            shared.forget(path);
        }
        let Some(token) = shared.announcing.token.get().cloned() else { return };
        if edit == Edit::Made(ObjectKind::Dir) {
            // Before it is told: who is told looks at what is in it, and hears of the rest.
            self.add(path);
        }
        shared.announcing.expect(path, edit);
        if !(self.repeat)(Outside { token, path: path.to_owned(), edit }) {
            shared.announcing.repeated(path);
        }
    }
}

/// What became of something that was there and is.
fn edit_of(now: &Attributes, noticed: Noticed) -> Edit {
    // Nobody may run a program while another has it open for writing.
    let is_program = now.mode & 0o111 != 0;
    match now.object.kind {
        ObjectKind::File if noticed.content && noticed.finished && !is_program => Edit::Finished,
        ObjectKind::File if noticed.content => Edit::Written,
        _ => Edit::Attributes,
    }
}
