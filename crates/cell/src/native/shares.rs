//! What the kernel counts for a user as a whole, of which a cell gets a share: no agent uses up what the user's other sessions need.
//!
//! Descriptors on their way between processes are counted for the user too (`unix(7)`, `ETOOMANYREFS`), against the limit
//! of whoever sends: the agent's is below that of cell-init, the launcher and the broker, so that these can always send.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::plan::SetupError;

/// Options of the cell's `/dev/pts`: as many pseudo-terminals as one cell may have, of the kernel's 4,096.
pub(crate) const TERMINALS: &str = "newinstance,ptmxmode=0666,mode=0620,max=64";
/// One cell's part of the user's inotify instances and watches, queued signals and message queues.
const PART: u64 = 4;
/// Descriptors that no agent has to do without, as far as the user has as many.
const DESCRIPTORS: u64 = 4096;

/// Limit what the kernel counts for each user namespace and for those above it: `Documentation/admin-guide/sysctl/user.rst`. Called in
/// the cell's root, as its owner.
pub(super) fn of_the_namespace(user: &InotifyLimits) -> Result<(), SetupError> {
    for (name, limit) in [("max_inotify_instances", user.instances), ("max_inotify_watches", user.watches)] {
        let part = (limit / PART).max(16).min(limit);
        std::fs::write(format!("/proc/sys/user/{name}"), part.to_string())
            .map_err(|e| SetupError::new(format!("limit inotify in the cell: {e}")))?;
    }
    Ok(())
}

/// What inotify leaves one user, from the host's own `/proc`.
#[derive(Debug, Clone, Copy)]
pub(super) struct InotifyLimits {
    instances: u64,
    watches: u64,
}

impl InotifyLimits {
    pub fn read() -> Self {
        // The kernel's defaults, should there be no /proc to ask.
        let of = |name: &str, default| {
            let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"));
            text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(default)
        };
        Self { instances: of("max_user_instances", 128), watches: of("max_user_watches", 8192) }
    }
}

/// Limit the agent's process, whose soft limit on descriptors stays what the user's was.
pub(super) fn of_the_agent(descriptors: Option<u64>) -> io::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    let maximum = (most / 2).max(DESCRIPTORS).min(most.saturating_sub(1));
    let current = descriptors.unwrap_or(maximum).min(maximum);
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    for resource in [Resource::Sigpending, Resource::Msgqueue] {
        if let Some(most) = getrlimit(resource).maximum {
            let part = Some(most / PART);
            setrlimit(resource, Rlimit { current: part, maximum: part })?;
        }
    }
    Ok(())
}
