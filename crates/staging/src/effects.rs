//! The effects of single steps: each is atomic, verified after it happened, and taken back when it hit something else.
//!
//! A new version waits under a temporary name beside the old one, changes places with it, and what was displaced is
//! looked at again: it is what the change was based on, or the two change back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use chaperone_names::native;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::beneath::{Parent, link_text, version_at};
use crate::change::{BaseVersion, Kind};
use crate::error::{At, Result};
use crate::journal::{Done, Record, Writer};
use crate::plan::{Action, Step};
use crate::report::Stop;
use crate::sparse;
use crate::synced::sync_all;
use crate::touched::Touched;

/// How often a displaced version that is itself displaced again is pursued before it is put into the history.
const EXCHANGE_ATTEMPTS: usize = 8;

/// Extended attributes taken over from a replaced file, in bytes; more is refused.
const XATTR_BYTES: usize = 64 << 10;

/// Where steps have their effects.
pub(crate) struct Scene<'a> {
    pub root: BorrowedFd<'a>,
    /// The directory of kept versions of this commit.
    pub kept: BorrowedFd<'a>,
    pub commit: u64,
    /// The part of temporary names that nobody can guess.
    pub tag: &'a str,
    /// Permission bits that may be set.
    pub bits: u32,
    /// The times of change that this commit itself gave to files with several names.
    pub touched: RefCell<Touched>,
}

/// What a step found and what it left.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    pub before: Option<BaseVersion>,
    pub after: Option<BaseVersion>,
    pub reasons: Vec<String>,
}

/// Directories whose entries changed and are not on disk yet.
#[derive(Default)]
pub(crate) struct Unsynced(HashMap<(u64, u64), OwnedFd>);

impl Unsynced {
    pub fn note(&mut self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(folder)?;
        if let std::collections::hash_map::Entry::Vacant(slot) = self.0.entry((stat.st_dev, stat.st_ino)) {
            slot.insert(rustix::io::fcntl_dupfd_cloexec(folder, 3)?);
        }
        Ok(())
    }

    /// Puts all noted directories on disk.
    pub fn sync(&mut self) -> Result<(), Errno> {
        let folders: Vec<OwnedFd> = self.0.drain().map(|(_, folder)| folder).collect();
        sync_all(&folders).into_iter().collect()
    }
}

/// Checks that what is there is what the change was based on.
pub(crate) fn expect(parent: &Parent, base: &BaseVersion) -> Result<BaseVersion, Stop> {
    let now = parent.version()?.ok_or(Stop::Conflict("gone"))?;
    if now.kind() != base.kind() {
        let is_link = now.kind() == Some(Kind::Symlink);
        return Err(Stop::Conflict(if is_link { "replaced_by_a_link" } else { "replaced_by_another_kind" }));
    }
    let same = match base.kind() {
        Some(Kind::Dir) => (now.dev, now.ino) == (base.dev, base.ino),
        Some(_) => base.is_same_version(&now),
        None => return Err(Stop::refused("not_a_file")),
    };
    if same { Ok(now) } else { Err(Stop::Conflict("changed_meanwhile")) }
}

/// Whether `now` is what `base` describes, after a rename that touched its change time.
fn is_displaced(base: &BaseVersion, now: &BaseVersion) -> bool {
    match base.kind() {
        Some(Kind::Dir) => (now.dev, now.ino) == (base.dev, base.ino),
        _ => base.is_same_content(now),
    }
}

impl Scene<'_> {
    /// The temporary name of a step, in the directory of its path.
    pub fn temporary(&self, step: usize) -> String {
        format!(".chaperone-{}-{step}-{}", self.commit, self.tag)
    }

    /// As [`expect`]; that this very commit gave a file another name, or took one, makes it no other.
    pub fn expect(&self, parent: &Parent, base: &BaseVersion) -> Result<BaseVersion, Stop> {
        match parent.version()? {
            Some(now) if self.touched.borrow().leads(base, &now) => Ok(now),
            _ => expect(parent, base),
        }
    }

    /// A file of this version has another name by now.
    fn renamed(&self, before: &BaseVersion, now: Option<&BaseVersion>) {
        if let Some(now) = now.filter(|now| now.kind() == Some(Kind::File) && before.nlink.max(now.nlink) > 1)
        {
            // By what it was before this commit did anything to it, or after what it did.
            let mut touched = self.touched.borrow_mut();
            let before = touched.after(before).unwrap_or(*before);
            touched.note(&before, now);
        }
    }

    /// Makes a structural step.
    pub fn rearrange(&self, number: usize, step: &Step, unsynced: &mut Unsynced) -> Result<Applied, Stop> {
        let parent = Parent::open(self.root, &step.path)?;
        unsynced.note(parent.fd.as_fd())?;
        match &step.action {
            Action::Remove { base } => self.remove(number, &parent, base),
            Action::RemoveDir { base } => self.remove_dir(&parent, base),
            Action::Move { from, base } => {
                let source = Parent::open(self.root, from)?;
                unsynced.note(source.fd.as_fd())?;
                self.shift(&source, &parent, base)
            }
            Action::MoveOver { from, base, replaces } => {
                let source = Parent::open(self.root, from)?;
                unsynced.note(source.fd.as_fd())?;
                self.shift_over(number, &source, &parent, base, replaces)
            }
            Action::MakeDir { mode } => self.make_dir(&parent, *mode),
            Action::Attributes { base, mode, mtime_ns } => {
                self.set_attributes(&parent, base, *mode, mtime_ns.parse().unwrap_or(base.mtime_ns))
            }
            Action::Write { .. } => Err(Stop::refused("io_error")),
        }
    }

    fn remove(&self, number: usize, parent: &Parent, base: &BaseVersion) -> Result<Applied, Stop> {
        self.expect(parent, base)?;
        self.expect_in_place(&[parent])?;
        let aside = self.temporary(number);
        rename(parent, &parent.name, &aside, RenameFlags::NOREPLACE)?;
        let displaced = version_at(parent.fd.as_fd(), &aside)?;
        if !displaced.is_some_and(|now| is_displaced(base, &now)) {
            return Err(self.put_back(number, parent, &aside, Stop::Conflict("changed_meanwhile")));
        }
        if !parent.is_still_there(self.root) {
            return Err(self.put_back(number, parent, &aside, Stop::Conflict("parent_moved")));
        }
        self.renamed(base, displaced.as_ref());
        if let Err(stop) = self.keep(number, parent.fd.as_fd(), &aside) {
            return Err(self.put_back(number, parent, &aside, stop));
        }
        Ok(Applied { before: Some(*base), ..Applied::default() })
    }

    /// Returns what was moved aside to its name; where the name was taken since, it goes to the history instead.
    fn put_back(&self, number: usize, parent: &Parent, aside: &str, stop: Stop) -> Stop {
        if rename(parent, aside, &parent.name, RenameFlags::NOREPLACE).is_ok() {
            return stop;
        }
        match self.keep(number, parent.fd.as_fd(), aside) {
            Ok(()) => Stop::Conflict("changed_meanwhile_and_kept_in_history"),
            Err(_) => Stop::Refused(vec!["previous_version_left_under_a_temporary_name".to_owned()]),
        }
    }

    fn remove_dir(&self, parent: &Parent, base: &BaseVersion) -> Result<Applied, Stop> {
        let now = self.expect(parent, base)?;
        self.expect_in_place(&[parent])?;
        rustix::fs::unlinkat(&parent.fd, &*native(&parent.name), AtFlags::REMOVEDIR)?;
        Ok(Applied { before: Some(now), ..Applied::default() })
    }

    fn shift(&self, source: &Parent, target: &Parent, base: &BaseVersion) -> Result<Applied, Stop> {
        self.expect(source, base)?;
        self.expect_in_place(&[source, target])?;
        let there = |from: &Parent, to: &Parent| {
            rustix::fs::renameat_with(
                &from.fd,
                &*native(&from.name),
                &to.fd,
                &*native(&to.name),
                RenameFlags::NOREPLACE,
            )
        };
        there(source, target).map_err(of_rename)?;
        let after = target.version()?;
        if after.is_some_and(|now| is_displaced(base, &now))
            && self.expect_in_place(&[source, target]).is_ok()
        {
            self.renamed(base, after.as_ref());
            return Ok(Applied { before: Some(*base), after, ..Applied::default() });
        }
        there(target, source).map_err(|_| Stop::Conflict("changed_meanwhile_and_moved"))?;
        Err(Stop::Conflict("changed_meanwhile"))
    }

    fn shift_over(
        &self,
        number: usize,
        source: &Parent,
        target: &Parent,
        base: &BaseVersion,
        replaces: &BaseVersion,
    ) -> Result<Applied, Stop> {
        self.expect(source, base)?;
        self.expect(target, replaces)?;
        self.expect_in_place(&[source, target])?;
        let exchange = || {
            let flags = RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(
                &source.fd,
                &*native(&source.name),
                &target.fd,
                &*native(&target.name),
                flags,
            )
        };
        exchange().map_err(of_rename)?;
        let (at_source, after) = (source.version()?, target.version()?);
        let is_right = after.is_some_and(|now| is_displaced(base, &now))
            && at_source.is_some_and(|now| is_displaced(replaces, &now))
            && self.expect_in_place(&[source, target]).is_ok();
        if is_right {
            self.renamed(base, after.as_ref());
            self.renamed(replaces, at_source.as_ref());
        }
        let kept = if is_right { self.keep(number, source.fd.as_fd(), &source.name) } else { Ok(()) };
        match (is_right, kept) {
            (true, Ok(())) => Ok(Applied { before: Some(*replaces), after, ..Applied::default() }),
            (_, kept) => {
                exchange().map_err(|_| Stop::Conflict("changed_meanwhile_and_moved"))?;
                Err(kept.err().unwrap_or(Stop::Conflict("changed_meanwhile")))
            }
        }
    }

    fn make_dir(&self, parent: &Parent, mode: u32) -> Result<Applied, Stop> {
        self.expect_in_place(&[parent])?;
        match rustix::fs::mkdirat(&parent.fd, &*native(&parent.name), Mode::RWXU) {
            Err(Errno::EXIST) => {
                let before = parent.version()?.filter(|now| now.kind() == Some(Kind::Dir));
                let before = before.ok_or(Stop::Conflict("already_exists"))?;
                let reasons = vec!["already_there".to_owned()];
                return Ok(Applied { before: Some(before), after: Some(before), reasons });
            }
            other => other?,
        }
        let fd = crate::beneath::open_folder(parent.fd.as_fd(), &parent.name)?;
        adopt_owner(&fd, parent.fd.as_fd(), None)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode & self.bits))?;
        if !parent.is_still_there(self.root) {
            rustix::fs::unlinkat(&parent.fd, &*native(&parent.name), AtFlags::REMOVEDIR)?;
            return Err(Stop::Conflict("parent_moved"));
        }
        Ok(Applied { after: parent.version()?, ..Applied::default() })
    }

    fn set_attributes(
        &self,
        parent: &Parent,
        base: &BaseVersion,
        mode: u32,
        mtime_ns: i128,
    ) -> Result<Applied, Stop> {
        let now = self.expect(parent, base)?;
        if now.kind() == Some(Kind::File) && now.nlink > 1 {
            return Err(Stop::refused("hard_link"));
        }
        self.expect_in_place(&[parent])?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = crate::beneath::open(parent.fd.as_fd(), &parent.name, flags)?;
        if BaseVersion::of(&rustix::fs::fstat(&fd)?) != now {
            return Err(Stop::Conflict("changed_meanwhile"));
        }
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode & self.bits))?;
        if now.kind() == Some(Kind::File) {
            rustix::fs::futimens(&fd, &modified_at(mtime_ns))?;
        }
        rustix::fs::fsync(&fd)?;
        Ok(Applied {
            before: Some(now),
            after: Some(BaseVersion::of(&rustix::fs::fstat(&fd)?)),
            reasons: Vec::new(),
        })
    }

    /// Puts new content that waits under its temporary name into its place.
    pub fn place(
        &self,
        number: usize,
        parent: &Parent,
        base: Option<&BaseVersion>,
        new: &BaseVersion,
    ) -> Result<Applied, Stop> {
        let temporary = self.temporary(number);
        let placed = match base {
            None => self.place_new(parent, &temporary, new),
            Some(base) => self.place_over(number, parent, &temporary, base, new),
        };
        if placed.is_err() && version_at(parent.fd.as_fd(), &temporary)?.is_some_and(|at| at.ino == new.ino) {
            rustix::fs::unlinkat(&parent.fd, temporary.as_str(), AtFlags::empty())?;
        }
        placed
    }

    fn place_new(&self, parent: &Parent, temporary: &str, new: &BaseVersion) -> Result<Applied, Stop> {
        self.expect_in_place(&[parent])?;
        rename(parent, temporary, &parent.name, RenameFlags::NOREPLACE)?;
        if !parent.is_still_there(self.root) {
            rename(parent, &parent.name, temporary, RenameFlags::NOREPLACE)?;
            return Err(Stop::Conflict("parent_moved"));
        }
        let after = parent.version()?.filter(|now| now.ino == new.ino).unwrap_or(*new);
        self.renamed(new, Some(&after));
        Ok(Applied { after: Some(after), ..Applied::default() })
    }

    fn place_over(
        &self,
        number: usize,
        parent: &Parent,
        temporary: &str,
        base: &BaseVersion,
        new: &BaseVersion,
    ) -> Result<Applied, Stop> {
        self.expect(parent, base)?;
        self.expect_in_place(&[parent])?;
        rename(parent, temporary, &parent.name, RenameFlags::EXCHANGE)?;
        let displaced = version_at(parent.fd.as_fd(), temporary)?;
        let is_right =
            displaced.is_some_and(|now| is_displaced(base, &now)) && parent.is_still_there(self.root);
        if is_right {
            self.renamed(base, displaced.as_ref());
        }
        let kept = if is_right { self.keep(number, parent.fd.as_fd(), temporary) } else { Ok(()) };
        match (is_right, kept) {
            (true, Ok(())) => {
                let after = parent.version()?.filter(|now| now.ino == new.ino).unwrap_or(*new);
                self.renamed(new, Some(&after));
                Ok(Applied { before: Some(*base), after: Some(after), reasons: Vec::new() })
            }
            (_, kept) => {
                let stop = kept.err().unwrap_or(Stop::Conflict("changed_meanwhile"));
                Err(self.exchange_back(number, parent, temporary, new, stop))
            }
        }
    }

    /// Gives the name back to what was displaced, however often somebody else changes it meanwhile.
    pub fn exchange_back(
        &self,
        number: usize,
        parent: &Parent,
        temporary: &str,
        new: &BaseVersion,
        stop: Stop,
    ) -> Stop {
        for _ in 0..EXCHANGE_ATTEMPTS {
            let renamed = match rename(parent, temporary, &parent.name, RenameFlags::EXCHANGE) {
                Err(Stop::Conflict(_)) => rename(parent, temporary, &parent.name, RenameFlags::NOREPLACE),
                other => other,
            };
            if renamed.is_err() {
                break;
            }
            match version_at(parent.fd.as_fd(), temporary) {
                Ok(None) => return stop,
                Ok(Some(now)) if now.ino == new.ino => return stop,
                // A third version was there: it is the newest, so it gets the name in the next round.
                _ => {}
            }
        }
        match self.keep(number, parent.fd.as_fd(), temporary) {
            Ok(()) => Stop::Conflict("changed_meanwhile_and_kept_in_history"),
            Err(_) => Stop::Refused(vec!["previous_version_left_under_a_temporary_name".to_owned()]),
        }
    }

    /// Moves a displaced version into the history: the same inode where that is possible, else a synced copy.
    pub fn keep(&self, number: usize, folder: BorrowedFd<'_>, name: &str) -> Result<(), Stop> {
        let kept = number.to_string();
        let version = version_at(folder, name)?.ok_or(Stop::Conflict("gone"))?;
        let has_other_names = version.kind() == Some(Kind::File) && version.nlink > 1;
        if !has_other_names {
            match rustix::fs::renameat_with(
                folder,
                &*native(name),
                self.kept,
                kept.as_str(),
                RenameFlags::NOREPLACE,
            ) {
                Err(Errno::XDEV) => {}
                other => return Ok(other?),
            }
        }
        match version.kind() {
            Some(Kind::File) => self.copy_to_kept(folder, name, &kept, &version)?,
            Some(Kind::Symlink) => {
                let text = rustix::fs::readlinkat(folder, &*native(name), Vec::new())?;
                rustix::fs::symlinkat(text, self.kept, kept.as_str())?;
            }
            _ => return Err(Stop::refused("not_a_file")),
        }
        rustix::fs::fsync(self.kept)?;
        let object = has_other_names
            .then(|| crate::beneath::open(folder, name, OFlags::PATH | OFlags::NOFOLLOW))
            .transpose()?;
        rustix::fs::unlinkat(folder, &*native(name), AtFlags::empty())?;
        if let Some(object) = object {
            self.touched.borrow_mut().note(&version, &BaseVersion::of(&rustix::fs::fstat(&object)?));
        }
        Ok(())
    }

    fn copy_to_kept(
        &self,
        folder: BorrowedFd<'_>,
        name: &str,
        kept: &str,
        version: &BaseVersion,
    ) -> Result<(), Stop> {
        let partial = format!("{kept}.partial");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = crate::beneath::open_file(folder, name)?;
        crate::content::must_have_room(self.kept, &source)?;
        let fd = rustix::fs::openat(self.kept, partial.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        let copy = File::from(fd);
        sparse::copy(&source, &copy)?;
        take_over_attributes(source.as_fd(), copy.as_fd())?;
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(version.mode & 0o777))?;
        rustix::fs::futimens(&copy, &modified_at(version.mtime_ns))?;
        rustix::fs::fsync(&copy)?;
        Ok(rustix::fs::renameat(self.kept, partial.as_str(), self.kept, kept)?)
    }

    fn expect_in_place(&self, parents: &[&Parent]) -> Result<(), Stop> {
        match parents.iter().all(|parent| parent.is_still_there(self.root)) {
            true => Ok(()),
            false => Err(Stop::Conflict("parent_moved")),
        }
    }
}

/// Writes the text of a symlink under the temporary name.
pub(crate) fn write_link(
    parent: &Parent,
    name: &str,
    target: &str,
    mtime_ns: i128,
) -> Result<BaseVersion, Stop> {
    rustix::fs::symlinkat(&*native(target), &parent.fd, name)?;
    let at = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(&parent.fd, name, &modified_at(mtime_ns), at)?;
    if link_text(parent.fd.as_fd(), name)? != target {
        return Err(Stop::Conflict("changed_meanwhile"));
    }
    version_at(parent.fd.as_fd(), name)?.ok_or(Stop::Conflict("gone"))
}

/// Gives a new object the owner of what it replaces or, when made by root, of the directory that it is in.
pub(crate) fn adopt_owner(
    new: &OwnedFd,
    folder: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Stop> {
    let is_root = rustix::process::geteuid().is_root();
    let model = match replaced {
        Some(replaced) => rustix::fs::fstat(replaced)?,
        None if is_root => rustix::fs::fstat(folder)?,
        None => return Ok(()),
    };
    let now = rustix::fs::fstat(new)?;
    if (now.st_uid, now.st_gid) == (model.st_uid, model.st_gid) {
        return Ok(());
    }
    let uid = Some(rustix::process::Uid::from_raw(model.st_uid));
    let gid = Some(rustix::process::Gid::from_raw(model.st_gid));
    rustix::fs::fchown(new, uid, gid).map_err(|_| Stop::refused("owner_cannot_be_kept"))
}

/// Permission bits that are set as they are asked for. Whose rights a program runs with is nothing that a commit brings; an undo
/// brings back what was there.
pub(crate) fn bits(undoes: bool) -> u32 {
    if undoes { 0o7777 } else { 0o777 }
}

/// Copies the user's own extended attributes and access list to the new version.
pub(crate) fn take_over_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Stop> {
    let too_many = || Stop::refused("attributes_cannot_be_kept");
    let mut names = vec![0u8; XATTR_BYTES];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(Errno::RANGE) => return Err(too_many()),
        other => other?,
    };
    let mut value = vec![0u8; XATTR_BYTES];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        let Ok(name) = std::str::from_utf8(name) else { return Err(too_many()) };
        let is_own = name.starts_with("user.") && !name.starts_with("user.overlay.");
        if !is_own && name != "system.posix_acl_access" {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value[..]).map_err(|_| too_many())?;
        let value = value.get(..length).unwrap_or_default();
        rustix::fs::fsetxattr(to, name, value, rustix::fs::XattrFlags::empty()).map_err(|_| too_many())?;
    }
    Ok(())
}

/// Times that set the modification time and leave the access time to the system.
pub(crate) fn modified_at(mtime_ns: i128) -> Timestamps {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(mtime_ns.div_euclid(SECOND)).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(mtime_ns.rem_euclid(SECOND)).unwrap_or(0),
        },
    }
}

fn rename(parent: &Parent, from: &str, to: &str, flags: RenameFlags) -> Result<(), Stop> {
    rustix::fs::renameat_with(&parent.fd, &*native(from), &parent.fd, &*native(to), flags).map_err(of_rename)
}

fn of_rename(errno: Errno) -> Stop {
    match errno {
        Errno::INVAL => Stop::refused("file_system_cannot_exchange"),
        Errno::NOENT => Stop::Conflict("gone"),
        Errno::XDEV => Stop::refused("other_file_system"),
        other => Stop::of_errno(other),
    }
}

/// Puts the group's effects on disk, then says in the journal that they are there.
pub(crate) fn finish_group(
    scene: &Scene<'_>,
    unsynced: &mut Unsynced,
    journal: &mut Writer,
    done: Vec<Done>,
    path: &str,
) -> Result<()> {
    unsynced.sync().at("sync the directories of", path)?;
    rustix::fs::fsync(scene.kept).at("sync the kept versions of", path)?;
    for record in done {
        journal.add(&Record::Done(record))?;
    }
    journal.write()
}
