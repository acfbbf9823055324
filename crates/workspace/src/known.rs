//! Which files of a staged directory need not be looked at again: the same versions were, under the same policies and by a session
//! of the same kind, and could simply be read.

use std::os::fd::AsFd;

use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject};
use chaperone_pipeline::policy_input::policy_input;
use chaperone_pipeline::verdicts::{SETTLED_NS, Tag};
use chaperone_pipeline::{Pipeline, Session};
use chaperone_staging::BaseVersion;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::mount::LiveMount;
use crate::parallel;

/// File systems that set a file's ctime, which nobody else can set, at whatever changes its content, a write through a mapping
/// included: ext2 to ext4, XFS, Btrfs, F2FS. Not tmpfs (a mapping of it is written to unseen), nothing that is served by
/// another machine or a program, nothing without a ctime of its own. Source: statfs(2), `linux/magic.h`.
const STAMPS_CHANGES: &[u32] = &[0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

/// What verdicts about the files of one mount rest on besides the file.
#[derive(Debug)]
pub struct Known<'a> {
    pipeline: &'a Pipeline,
    /// Of the policies.
    revision: String,
    circumstances: [u8; 32],
    /// Before anything is looked at.
    now_ns: i128,
}

impl<'a> Known<'a> {
    /// Nothing where a verdict would not hold for another session, or what changes there is not seen.
    pub fn of(pipeline: &'a Pipeline, session: &Session, mount: &LiveMount) -> Option<Self> {
        let policies = pipeline.policy.current();
        // A capability names its session; before the start there is none.
        let holds_any = session.capability.read().is_some() || !session.grants.read().is_empty();
        if !policies.outlives_sessions() || holds_any {
            return None;
        }
        let root = mount.root.get().ok()?;
        let here = file_system(&*root)?;
        // A version that was only in memory when the machine went down may come back with another content.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let now_ns = pipeline.verdicts.now_ns();
        let any = AccessRequest::file(Entry::FileSystem, Action::Read, mount.at.clone(), FileObject::ABSENT);
        let mut input = policy_input(session, &any, None, None, false, 0);
        if let Some(session) = input.get_mut("session").and_then(Value::as_object_mut) {
            session.remove("id");
        }
        let mounts: Vec<Value> = session.mounts.iter().map(|m| json!([m.at, m.mode, m.actions])).collect();
        let all = json!([policies.revision(), input, mounts, here, boot]);
        let circumstances = Sha256::digest(all.to_string()).into();
        Some(Self { pipeline, revision: policies.revision().to_owned(), circumstances, now_ns })
    }

    /// Take out those files that are known.
    pub fn leave_out(&self, files: &mut Vec<(&String, &BaseVersion)>) {
        let tags = parallel::map(files, |(path, version)| self.tag(path, version));
        let mut known = self.pipeline.verdicts.known(&tags).into_iter();
        files.retain(|_| !known.next().unwrap_or(false));
    }

    /// The verdict that this version, at this path, may simply be read.
    pub fn tag(&self, path: &str, version: &BaseVersion) -> Tag {
        let BaseVersion { dev, ino, size, mtime_ns, ctime_ns, mode, nlink } = version;
        let numbers = [*dev, *ino, *size, u64::from(*mode), *nlink].map(u64::to_le_bytes);
        let times = [*mtime_ns, *ctime_ns].map(i128::to_le_bytes);
        let about = [&self.circumstances[..], path.as_bytes(), numbers.as_flattened(), times.as_flattened()];
        self.pipeline.verdicts.tag("readable", &about)
    }

    /// Whether what is about to be found of this version will hold until its stamp changes: it has rested, and nobody has it
    /// open for writing who could go on without a new stamp, as through a mapping.
    pub fn may_last(&self, file: impl AsFd, version: &BaseVersion) -> bool {
        is_settled(version, self.now_ns)
            && is_version(&file, version)
            && chaperone_sys::is_written_by_nobody(file.as_fd()).unwrap_or(false)
    }

    /// Whether it was found by the policies that the verdict names, of a file that still is this version.
    pub fn has_lasted(&self, file: impl AsFd, version: &BaseVersion) -> bool {
        is_version(&file, version) && self.pipeline.policy.current().revision() == self.revision
    }
}

/// Its stamp is older than a tick of the clock, and none that is to come.
fn is_settled(version: &BaseVersion, now_ns: i128) -> bool {
    version.ctime_ns.saturating_add(SETTLED_NS) <= now_ns
}

fn is_version(file: &impl AsFd, version: &BaseVersion) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| BaseVersion::of(&stat) == *version)
}

/// What tells the file system of an open file from others; nothing when it is not one that stamps every change.
fn file_system(file: impl AsFd) -> Option<(u32, u64)> {
    let magic = u32::try_from(rustix::fs::fstatfs(&file).ok()?.f_type).ok()?;
    let id = rustix::fs::fstatvfs(&file).ok()?.f_fsid;
    STAMPS_CHANGES.contains(&magic).then_some((magic, id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn only_what_rested_and_comes_from_the_past_is_settled() {
        let version =
            |ctime_ns| BaseVersion { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns, mode: 0, nlink: 1 };
        let now = 1_000_000_000_000;
        assert!(is_settled(&version(now - SETTLED_NS), now));
        assert!(!is_settled(&version(now - SETTLED_NS + 1), now));
        assert!(!is_settled(&version(now + 1), now) && !is_settled(&version(i128::MAX), now));
    }

    #[test]
    fn memory_and_what_others_serve_is_never_known() {
        assert!(file_system(File::open("/proc").unwrap()).is_none());
        if let Ok(memory) = File::open("/dev/shm") {
            assert!(file_system(memory).is_none());
        }
    }

    #[test]
    fn a_version_changes_with_its_content_whatever_its_size_and_mtime_say() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("file");
        std::fs::write(&at, "one").unwrap();
        let file = File::open(&at).unwrap();
        let version = BaseVersion::of(&rustix::fs::fstat(&file).unwrap());
        assert!(is_version(&file, &version));
        let mtime = file.metadata().unwrap().modified().unwrap();
        let mut tries = 0;
        // Until the clock of the file system ticks, which is what a version has to rest for.
        while is_version(&file, &version) {
            let mut writer = File::options().write(true).open(&at).unwrap();
            writer.write_all(b"two").unwrap();
            writer.set_modified(mtime).unwrap();
            tries += 1;
            assert!(tries < 1_000_000, "its ctime stays");
        }
        let meta = file.metadata().unwrap();
        assert_eq!((meta.len(), meta.modified().unwrap()), (3, mtime));
    }
}
