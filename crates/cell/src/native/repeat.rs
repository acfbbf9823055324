//! What the user changed outside, made once more through the cell's own mount, so that programs that watch for it hear of it.
//! The broker answers these requests with what is there already: nothing is changed by them. A thread of its own does it,
//! since others may hold what a change of a directory waits for; it can do no more than the agent can.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use chaperone_names::native;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::{Errno, Result};

use crate::control::{Edit, Repeated};

/// Edits that wait. Protects memory; further ones are not announced.
const MOST: usize = 512;

/// The edits that wait for the thread, which begins with the first one.
#[derive(Default)]
pub(super) struct Repeats(Option<SyncSender<Repeated>>);

impl Repeats {
    /// Have one repeated, if there is room for it. To be called only when the agent has been started: from then on this
    /// process forks no more.
    pub fn add(&mut self, edit: Repeated) {
        if self.0.is_none() {
            let (sender, edits) = sync_channel(MOST);
            let thread = std::thread::Builder::new().name("repeat".into()).stack_size(64 << 10);
            // Where the agent has taken all processes that there may be, it is tried again with the next one.
            if thread.spawn(move || work(&edits)).is_err() {
                return;
            }
            self.0 = Some(sender);
        }
        if let Some(sender) = &self.0 {
            sender.try_send(edit).ok();
        }
    }
}

fn work(edits: &Receiver<Repeated>) {
    while let Ok(edit) = edits.recv() {
        // What fails was changed again meanwhile, or is not the agent's to change: it is not announced.
        repeat(&edit).ok();
    }
}

fn repeat(edit: &Repeated) -> Result<()> {
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(&*native(&edit.at), place, Mode::empty())?;
    // By this the broker knows who repeats it.
    match rustix::fs::statat(&root, edit.token.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        _ => return Err(Errno::ACCESS),
    }
    let (folder, name) = edit.path.rsplit_once('/').unwrap_or((".", &edit.path));
    let beneath = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let folder = rustix::fs::openat2(&root, &*native(folder), place, Mode::empty(), beneath)?;
    made(&folder, &native(name), edit.edit)
}

fn made(folder: &OwnedFd, name: &std::ffi::OsStr, edit: Edit) -> Result<()> {
    let mode = Mode::from_raw_mode(0o600);
    match edit {
        Edit::Written => touch(folder, name, false),
        Edit::Finished => {
            touch(folder, name, false)?;
            let written = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, written, Mode::empty()).map(drop)
        }
        Edit::Attributes => touch(folder, name, true),
        Edit::MadeFile => rustix::fs::mknodat(folder, name, FileType::RegularFile, mode, 0),
        Edit::MadeDirectory => rustix::fs::mkdirat(folder, name, mode),
        Edit::MadeLink => rustix::fs::symlinkat(".", folder, name),
        Edit::RemovedFile => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        Edit::RemovedDirectory => rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR),
    }
}

/// The kernel takes one new time for new content, and two for new attributes.
fn touch(folder: &OwnedFd, name: &std::ffi::OsStr, both: bool) -> Result<()> {
    let time = |set| Timespec { tv_sec: 0, tv_nsec: if set { UTIME_NOW } else { UTIME_OMIT } };
    let times = Timestamps { last_access: time(both), last_modification: time(true) };
    rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
