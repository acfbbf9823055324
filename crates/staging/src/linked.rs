//! Files with several names in one commit: a further name is made as such where it can be, and what the names that stay behind
//! keep is said.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use chaperone_names::native;
use rustix::fs::AtFlags;

use crate::beneath::{self, Parent, version_at};
use crate::change::{BaseVersion, Change, Kind, Op};
use crate::content::{self, Fingerprint, Work};
use crate::effects::Scene;
use crate::plan::{Action, Step};

/// A file could not get one more name, and is a copy.
const COPIED: &str = "linked_as_copy";
/// The file has names that this commit did not change.
const KEPT: &str = "other_name_kept";

#[derive(Default)]
pub(crate) struct Linked {
    /// Paths that changes say their file has, too.
    wanted: HashSet<String>,
    written: HashMap<String, Written>,
    /// How many names of a file with several the commit changes or takes, by device and inode number.
    names: HashMap<(u64, u64), u64>,
    /// What is to be said, by change.
    told: HashMap<usize, Vec<String>>,
}

/// A file of this commit that may get more names.
struct Written {
    /// In the directory of its path, until it is put there.
    temporary: String,
    judged: Fingerprint,
    mode: u32,
    new: BaseVersion,
}

impl Linked {
    pub fn of(changes: &[Change]) -> Self {
        let wanted =
            changes.iter().filter_map(|change| change.same_as.as_ref()).map(|same| same.path.clone());
        Self { wanted: wanted.collect(), ..Self::default() }
    }

    /// What will be done.
    pub fn name_all(&mut self, changes: &[(usize, &Change)]) {
        for (_, change) in changes {
            let leaves = change.blob.is_some() || change.op == Op::Delete;
            let gone = change.base.filter(|_| leaves).into_iter().chain(change.replaces);
            for base in gone.filter(has_others) {
                *self.names.entry((base.dev, base.ino)).or_default() += 1;
            }
        }
    }

    /// One more name for the file that a change says it has, at `temporary`; nothing where that cannot be.
    pub fn link(
        &self,
        scene: &Scene<'_>,
        parent: &Parent,
        temporary: &str,
        (change, judged): (&Change, &Fingerprint),
    ) -> Option<BaseVersion> {
        let same = change.same_as.as_ref()?;
        let written = self.written.get(&same.path);
        let (expected, mode) = match (&same.version, written) {
            (Some(version), _) => (version, version.mode & 0o777),
            (None, Some(written)) if written.judged == *judged => (&written.new, written.mode),
            (None, _) => return None,
        };
        if mode != change.mode & scene.bits {
            return None;
        }
        let source = Parent::open(scene.root, &same.path).ok()?;
        let temporary_of = written.map(|written| written.temporary.as_str());
        let is_it = |now: &BaseVersion| (now.dev, now.ino) == (expected.dev, expected.ino);
        let (name, before) = temporary_of.into_iter().chain([source.name.as_str()]).find_map(|name| {
            let there = version_at(source.fd.as_fd(), name).ok().flatten();
            there.filter(is_it).map(|now| (name, now))
        })?;
        if same.version.is_some() {
            scene.expect(&source, expected).ok()?;
        }
        rustix::fs::linkat(&source.fd, &*native(name), &parent.fd, temporary, AtFlags::empty()).ok()?;
        let found = version_at(parent.fd.as_fd(), temporary).ok().flatten();
        let found = found.filter(|now| is_it(now) && expected.is_same_content(now));
        match found.filter(|_| same.version.is_none() || is_judged(parent, temporary, judged)) {
            Some(found) => {
                scene.touched.borrow_mut().note(&before, &found);
                Some(found)
            }
            None => {
                // What cannot be removed now is removed by the next recovery, which knows the name.
                let _ = rustix::fs::unlinkat(&parent.fd, temporary, AtFlags::empty());
                None
            }
        }
    }

    /// A change's file is there under its temporary name.
    pub fn wrote(
        &mut self,
        index: usize,
        (change, judged): (&Change, &Fingerprint),
        temporary: &str,
        new: &BaseVersion,
        base: Option<&BaseVersion>,
        is_linked: bool,
    ) {
        if self.wanted.contains(&change.path) {
            let written = Written {
                temporary: temporary.to_owned(),
                judged: *judged,
                mode: new.mode & 0o777,
                new: *new,
            };
            self.written.insert(change.path.clone(), written);
        }
        let keeps = base.is_some_and(|base| self.stays_behind(base));
        let is_copy = change.same_as.is_some() && !is_linked;
        let told = [(keeps, KEPT), (is_copy, COPIED)].into_iter().filter(|(is_so, _)| *is_so);
        self.told.entry(index).or_default().extend(told.map(|(_, code)| code.to_owned()));
    }

    /// What is to be said of a step that was made.
    pub fn told(&mut self, step: &Step) -> Vec<String> {
        match &step.action {
            Action::MoveOver { replaces, .. } if self.stays_behind(replaces) => vec![KEPT.to_owned()],
            Action::Write { .. } => self.told.remove(&step.change).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn stays_behind(&self, base: &BaseVersion) -> bool {
        has_others(base) && self.names.get(&(base.dev, base.ino)).copied().unwrap_or(0) < base.nlink
    }
}

fn has_others(version: &BaseVersion) -> bool {
    version.kind() == Some(Kind::File) && version.nlink > 1
}

fn is_judged(parent: &Parent, name: &str, judged: &Fingerprint) -> bool {
    let file = beneath::open_file(parent.fd.as_fd(), name).ok();
    file.and_then(|file| content::fingerprint(&file, &Work::new(None)).ok()).is_some_and(|now| now == *judged)
}
