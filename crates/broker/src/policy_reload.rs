//! The user's policy files: read at start, and again whenever they change.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chaperone_config::policy_files::{folders, keep, sources};
use chaperone_policy::Engine;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::broker::Broker;
use chaperone_protocol::{Event, Failure, Happened};

/// An editor that saves touches a directory several times: the set is read when it was quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Read all policies anew and put them in force, whole, after that was recorded. A set that does not load changes
/// nothing.
///
/// # Errors
/// `policy_unreadable`, `policy_error` with every problem, `audit_unavailable`.
pub fn reload(broker: &Broker) -> Result<String, Failure> {
    // A reload by command and one by a change of a file may come at once: what was read first must not come into force last.
    static RELOADING: Mutex<()> = Mutex::new(());
    let _one = RELOADING.lock();
    let pipeline = &broker.pipeline;
    let sources = sources(&broker.dirs)?;
    let engine = Engine::load(sources.clone()).map_err(|problems| {
        let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Failure::new("policy_error", format!("the policies stay as they were:\n{all}"))
    })?;
    let revision = engine.revision().to_owned();
    keep(&broker.dirs, &|about| broker.vault.own_secret(about), &sources)?;
    if revision == broker.policy.current().revision() {
        return Ok(revision);
    }
    pipeline.records.policy_changes(&revision)?;
    broker.policy.replace(engine);
    pipeline.records.set_policy(&revision);
    broker.bus.tell(&Event::general(Happened::Policy { revision: revision.clone() }));
    Ok(revision)
}

/// The same where a change was not seen, as when all of the directory is another one. What is wrong with what stands there.
pub fn catch_up(broker: &Broker) -> Result<Option<String>, Failure> {
    let (problem, are_others) =
        broker.checked_policies.look(&broker.dirs, broker.policy.current().revision());
    if are_others { reload(broker).map(|_| problem) } else { Ok(problem) }
}

/// Watch the directory, and those in it, for as long as the broker is there.
///
/// # Errors
/// When the directory cannot be watched.
pub fn watch(broker: &Arc<Broker>) -> Result<(), Failure> {
    let folder = broker.dirs.config.join("policies");
    let wrong = |e: std::io::Error| Failure::new("policy_unreadable", format!("{}: {e}", folder.display()));
    let watcher = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .map_err(|e| wrong(e.into()))?;
    watch_all(&watcher, broker).map_err(wrong)?;
    let broker = Arc::downgrade(broker);
    std::thread::Builder::new()
        .name("policy-files".into())
        .spawn(move || follow(&watcher, &broker))
        .map_err(wrong)?;
    Ok(())
}

/// What is watched already stays so.
fn watch_all(watcher: &OwnedFd, broker: &Broker) -> std::io::Result<()> {
    let changes = inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::MOVE_SELF
        | inotify::WatchFlags::DELETE;
    let below = folders(&broker.dirs).map_err(|e| std::io::Error::other(e.message))?;
    // Another directory may get its name.
    for folder in below.into_iter().chain([broker.dirs.config.clone()]) {
        inotify::add_watch(watcher, &folder, changes)?;
    }
    Ok(())
}

fn follow(watcher: &OwnedFd, broker: &Weak<Broker>) {
    while readable(watcher, None) {
        let mut changed = drain(watcher);
        while readable(watcher, Some(QUIET)) {
            changed |= drain(watcher);
        }
        if !changed {
            continue;
        }
        let Some(broker) = broker.upgrade() else { return };
        if let Err(e) = watch_all(watcher, &broker) {
            broker.bus.tell(&Event::general(Happened::PolicyProblem { problem: e.to_string() }));
        }
        if let Err(failure) = reload(&broker) {
            broker.bus.tell(&Event::general(Happened::PolicyProblem { problem: failure.message }));
        }
    }
}

fn readable(watcher: &OwnedFd, within: Option<Duration>) -> bool {
    let within = within.and_then(|d| Timespec::try_from(d).ok());
    loop {
        match poll(&mut [PollFd::new(watcher, PollFlags::IN)], within.as_ref()) {
            Ok(n) => return n > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Whether anything happened but that a file was begun, which is told again when it is written.
fn drain(watcher: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut events = inotify::Reader::new(watcher, &mut buffer);
    let mut changed = false;
    while let Ok(event) = events.next() {
        let happened = event.events();
        let begun =
            happened.contains(inotify::ReadFlags::CREATE) && !happened.contains(inotify::ReadFlags::ISDIR);
        changed |= !begun;
    }
    changed
}
