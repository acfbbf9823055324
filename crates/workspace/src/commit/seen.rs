//! A mount as a repository sees it: of a directory of git's that is mounted at its own place, paths begin at the directory that
//! holds its `.git`, so that whatever looks at a change knows where in a repository it is.

use std::os::fd::OwnedFd;

use chaperone_protocol::Failure;
use chaperone_staging::Change;
use rustix::fs::{Mode, OFlags};

use crate::mount::LiveMount;

/// Where the agent sees the workspace.
const WORKSPACE: &str = "/workspace";

pub(super) struct Seen<'m> {
    own: &'m LiveMount,
    /// From there, and what stands before each path: `.git/`, say.
    from: Option<(LiveMount, String)>,
}

impl<'m> Seen<'m> {
    /// # Errors
    /// `mount_missing` when the directory that holds the repository is gone.
    pub fn of(own: &'m LiveMount) -> Result<Self, Failure> {
        let outside = !own.at.starts_with(WORKSPACE);
        let Some((holder, inside)) = own.at.split_once("/.git").filter(|_| outside) else {
            return Ok(Self { own, from: None });
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root: OwnedFd = rustix::fs::open(holder, flags, Mode::empty())
            .map_err(|e| Failure::new("mount_missing", format!("{holder}: {e}")))?;
        let mut record = own.record();
        record.at = holder.to_owned();
        record.source = holder.into();
        Ok(Self { own, from: Some((LiveMount::closed(record, root), format!(".git{inside}/"))) })
    }

    pub fn own_mount(&self) -> &'m LiveMount {
        self.own
    }

    pub fn mount(&self) -> &LiveMount {
        self.from.as_ref().map_or(self.own, |(mount, _)| mount)
    }

    /// A change of the mount as it is seen from there.
    pub fn change(&self, change: &Change) -> Change {
        let mut seen = change.clone();
        if let Some((_, before)) = &self.from {
            seen.path.insert_str(0, before);
            seen.from = seen.from.map(|from| format!("{before}{from}"));
        }
        seen
    }

    /// One that is seen from there, as the mount has it.
    pub fn own(&self, change: &Change) -> Change {
        let mut own = change.clone();
        if let Some((_, before)) = &self.from {
            let below = |path: String| path.strip_prefix(before).map(str::to_owned).unwrap_or(path);
            (own.path, own.from) = (below(own.path), own.from.map(below));
        }
        own
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chaperone_protocol::session::MountRecord;
    use chaperone_staging::{Kind, Op};

    use super::*;

    #[test]
    fn a_directory_of_git_is_seen_from_what_holds_it() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap();
        let mount = |at: &str| {
            let source = root.join(at);
            std::fs::create_dir_all(&source).unwrap();
            let name = source.display().to_string();
            let record = MountRecord {
                at: name.clone(),
                prefix: name,
                source: source.clone(),
                mode: Default::default(),
                actions: Vec::new(),
                stage_dir: root.join("stage"),
                programs: Vec::new(),
            };
            LiveMount::closed(record, std::fs::File::open(source).unwrap().into())
        };
        for (at, seen_as) in
            [("main/.git", ".git/config"), ("main/.git/modules/sub", ".git/modules/sub/config")]
        {
            let mount = mount(at);
            let seen = Seen::of(&mount).unwrap();
            let mut change = Change::blank("config".into(), Op::Rename, Kind::File);
            change.from = Some("x".into());
            let there = seen.change(&change);
            assert_eq!(there.path, seen_as);
            assert_eq!(seen.mount().absolute(&there.path), format!("{}/config", root.join(at).display()));
            let back = seen.own(&there);
            assert_eq!((back.path, back.from), (change.path, change.from));
        }
        let plain = mount("work");
        assert_eq!(Seen::of(&plain).unwrap().mount().at, plain.at);
    }
}
