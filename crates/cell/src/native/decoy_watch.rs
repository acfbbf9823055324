//! Decoys that are touched: noticed, counted and reported.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify;

use crate::control::{InitMessage, report_now};
use crate::plan::Decoy;

/// How long after a touch of a decoy further ones are counted, and reported together.
const PAUSE: Duration = Duration::from_millis(500);

/// How long after its start a program is taken for one that runs: many look once, and are gone before anybody can ask.
const STARTED: Duration = Duration::from_secs(2);
/// Where programs are that look for credentials by themselves.
const PROGRAMS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The decoys of a cell.
pub(super) struct DecoyWatch<'p> {
    decoys: &'p [Decoy],
    events: OwnedFd,
    /// The decoy's place in the plan, by inotify's number.
    watched: HashMap<i32, usize>,
    traps: Vec<(usize, UnixListener)>,
    /// The programs that look there by themselves, by inotify's number, and when they were last started.
    programs: HashMap<i32, String>,
    started: HashMap<String, Instant>,
    /// The command of the cell.
    command: Option<String>,
    /// Decoys of which it was told that a program looked there by itself.
    told: HashSet<usize>,
    /// When a decoy was first touched, and how often since then.
    touched: HashMap<usize, (Instant, u64)>,
}

impl<'p> DecoyWatch<'p> {
    /// Watch the decoys of the root that has just been built; `traps` are those that are sockets.
    pub(super) fn new(
        decoys: &'p [Decoy],
        traps: Vec<(usize, UnixListener)>,
        command: &[OsString],
    ) -> rustix::io::Result<Self> {
        let queue = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let mut watched = HashMap::new();
        let events = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DONT_FOLLOW;
        for (i, decoy) in decoys.iter().enumerate() {
            match inotify::add_watch(&queue, &decoy.path, events) {
                Ok(watch) => drop(watched.insert(watch, i)),
                // A place that the system's own directories occupy.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
                Err(e) => return Err(e),
            }
        }
        let programs = watch_programs(&queue, decoys);
        let name = |program: &OsString| Some(Path::new(program).file_name()?.to_str()?.to_owned());
        let command = command.first().and_then(name);
        Ok(Self {
            decoys,
            events: queue,
            watched,
            traps,
            programs,
            started: HashMap::new(),
            command,
            told: HashSet::new(),
            touched: HashMap::new(),
        })
    }

    /// Readable when a file was touched.
    pub(super) fn events(&self) -> &OwnedFd {
        &self.events
    }

    /// Readable when somebody connects to a socket.
    pub(super) fn traps(&self) -> impl Iterator<Item = &UnixListener> {
        self.traps.iter().map(|(_, trap)| trap)
    }

    /// Whether touches are counted that were not reported yet.
    pub(super) fn is_counting(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Files that were touched.
    pub(super) fn read_events(&mut self, control: &OwnedFd) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        let mut hit = Vec::new();
        while let Ok(event) = reader.next() {
            hit.push(event.wd());
        }
        // In their order: whoever looks was started before.
        for watch in hit {
            if let Some(program) = self.programs.get(&watch) {
                self.started.insert(program.clone(), Instant::now());
            } else if let Some(index) = self.watched.get(&watch).copied() {
                self.touch(index, control);
            }
        }
    }

    /// Somebody connected to a socket that is a decoy: it is hung up on.
    pub(super) fn hang_up(&mut self, control: &OwnedFd) {
        let mut hit = Vec::new();
        for (index, trap) in &self.traps {
            // A connection that is gone again, or one more that waits, comes with the next round.
            hit.extend(trap.accept().ok().map(|_| *index));
        }
        hit.into_iter().for_each(|index| self.touch(index, control));
    }

    /// Report the first touch at once; count the next ones.
    fn touch(&mut self, index: usize, control: &OwnedFd) {
        if let Some(program) = self.own_program(index) {
            // What a program does by itself at every start is told once.
            if !self.told.contains(&index) && self.send(index, 1, Some(program), control) {
                self.told.insert(index);
            }
            return;
        }
        match self.touched.get_mut(&index) {
            Some((_, count)) => *count += 1,
            None => {
                let left = u64::from(!self.report(index, 1, control));
                self.touched.insert(index, (Instant::now(), left));
            }
        }
    }

    /// Report the touches that were only counted. What the broker has no room for is counted on.
    pub(super) fn report_counted(&mut self, control: &OwnedFd) {
        let due: Vec<(usize, u64)> = self
            .touched
            .iter()
            .filter(|(_, (at, _))| at.elapsed() > PAUSE)
            .map(|(i, (_, n))| (*i, *n))
            .collect();
        for (index, count) in due {
            if count == 0 || self.report(index, count, control) {
                self.touched.remove(&index);
            }
        }
    }

    /// Whether it was sent. The agent decides how often this happens: a broker that hangs must not make cell-init wait.
    fn report(&self, index: usize, count: u64, control: &OwnedFd) -> bool {
        self.send(index, count, None, control)
    }

    /// A program that runs in the cell and looks there by itself. The kernel does not say who touched it: whoever reads it beside
    /// such a program is recorded like that.
    fn own_program(&self, index: usize) -> Option<String> {
        let own = &self.decoys.get(index)?.own;
        if own.is_empty() {
            return None;
        }
        let is_own = |name: &String| own.contains(name);
        let is_new = |name: &&String| self.started.get(*name).is_some_and(|at| at.elapsed() < STARTED);
        let command = self.command.clone().filter(is_own);
        command.or_else(|| own.iter().find(is_new).cloned()).or_else(|| running().find(is_own))
    }

    fn send(&self, index: usize, count: u64, by: Option<String>, control: &OwnedFd) -> bool {
        let Some(decoy) = self.decoys.get(index) else { return true };
        let path = decoy.path.to_string_lossy().into_owned();
        let message = InitMessage::Decoy { path, technique: decoy.technique.clone(), count, by };
        report_now(control, &message).is_ok()
    }
}

/// The programs that look for decoys by themselves: to start one is to open it. What cannot be watched is seen while it runs.
fn watch_programs(queue: &OwnedFd, decoys: &[Decoy]) -> HashMap<i32, String> {
    let names: HashSet<&String> = decoys.iter().flat_map(|decoy| &decoy.own).collect();
    let mut programs = HashMap::new();
    // One is often a link to another.
    let places: HashSet<PathBuf> =
        PROGRAMS.iter().filter_map(|place| std::fs::canonicalize(place).ok()).collect();
    for name in names {
        for place in &places {
            let path = place.join(name);
            if let Ok(watch) = inotify::add_watch(queue, &path, inotify::WatchFlags::OPEN) {
                programs.insert(watch, name.clone());
            }
        }
    }
    programs
}

/// The names of what runs in the cell.
fn running() -> impl Iterator<Item = String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &OsString| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let names = processes.filter(move |entry| is_process(&entry.file_name()));
    names
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
}
