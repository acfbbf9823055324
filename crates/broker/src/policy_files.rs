//! The person's policy files: read at start, and again whenever they change.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chaperone_policy::{Engine, Kind, Source};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use serde_json::json;

use crate::dirs::Dirs;
use crate::server::Broker;
use crate::wire::Failure;

/// Largest policy file read, in bytes. Protects the broker from a mistaken path.
const MAX_POLICY: u64 = 16 * 1024 * 1024;
/// An editor that saves touches a folder several times: the set is read when it was quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// The policies that ship, and the person's own.
///
/// # Errors
/// `policy_unreadable`.
pub fn sources(dirs: &Dirs) -> Result<Vec<Source>, Failure> {
    let mut sources = Engine::builtin_sources();
    let folder = dirs.config.join("policies");
    let unreadable = |e: std::io::Error, p: &std::path::Path| {
        Failure::new("policy_unreadable", format!("{}: {e}", p.display()))
    };
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(unreadable(e, &folder)),
    };
    files.sort();
    for path in files {
        let kind = match path.extension().and_then(|e| e.to_str()) {
            Some("rego") => Kind::Rego,
            Some("json") => Kind::Json,
            Some("yaml" | "yml") => Kind::Yaml,
            _ => continue,
        };
        let size = std::fs::metadata(&path).map_err(|e| unreadable(e, &path))?.len();
        if size > MAX_POLICY {
            return Err(Failure::new(
                "policy_unreadable",
                format!("{}: larger than {MAX_POLICY} bytes", path.display()),
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|e| unreadable(e, &path))?;
        sources.push(Source { name: path.display().to_string(), text, kind });
    }
    Ok(sources)
}

/// Read all policies anew and put them in force, whole, after that was recorded. A set that does not load changes
/// nothing.
///
/// # Errors
/// `policy_unreadable`, `policy_error` with every problem, `audit_unavailable`.
pub fn reload(broker: &Broker) -> Result<String, Failure> {
    let pipeline = &broker.pipeline;
    let engine = Engine::load(sources(&broker.dirs)?).map_err(|problems| {
        let all = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Failure::new("policy_error", format!("the policies stay as they were:\n{all}"))
    })?;
    let revision = engine.revision().to_owned();
    if revision == pipeline.policy.current().revision() {
        return Ok(revision);
    }
    pipeline.records.policy_changes(&revision)?;
    pipeline.policy.replace(engine);
    pipeline.records.set_policy(&revision);
    broker.bus.tell("", false, &json!({ "kind": "policy", "revision": revision }));
    Ok(revision)
}

/// Watch the folder for as long as the broker is there.
///
/// # Errors
/// When the folder cannot be watched.
pub fn watch(broker: &Arc<Broker>) -> Result<(), Failure> {
    let folder = broker.dirs.config.join("policies");
    let wrong = |e: std::io::Error| Failure::new("policy_unreadable", format!("{}: {e}", folder.display()));
    let watcher = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .map_err(|e| wrong(e.into()))?;
    let changes = inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::DELETE;
    inotify::add_watch(&watcher, &folder, changes).map_err(|e| wrong(e.into()))?;
    let broker = Arc::downgrade(broker);
    std::thread::Builder::new()
        .name("policy-files".into())
        .spawn(move || follow(&watcher, &broker))
        .map_err(wrong)?;
    Ok(())
}

fn follow(watcher: &OwnedFd, broker: &Weak<Broker>) {
    while readable(watcher, None) {
        drain(watcher);
        while readable(watcher, Some(QUIET)) {
            drain(watcher);
        }
        let Some(broker) = broker.upgrade() else { return };
        if let Err(failure) = reload(&broker) {
            broker.bus.tell("", false, &json!({ "kind": "policy_problem", "problem": failure.message }));
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

fn drain(watcher: &OwnedFd) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let mut events = inotify::Reader::new(watcher, &mut buffer);
    while events.next().is_ok() {}
}
