//! A directory that the broker serves: what is there, and changes to it. A change or a listing takes what was decided on, both as
//! the pipeline granted it and as the tree located it; where the two are not the same, or the tree has another object there by
//! now, it fails with `ESTALE`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_fs::{
    Attributes, ChangeKind, ChangeRequest, Content, Decided, Decides, Located, OpenedFile, Refused, Tree,
};
use chaperone_pipeline::Authorized;
use chaperone_pipeline::access::FileObject;
use rustix::io::Errno;

use crate::gate::{of_fs, staged_as};

/// Permission bits of a file and of a directory that a tool makes, before those of the session's umask go.
const NEW_FILE: u32 = 0o666;
const NEW_DIRECTORY: u32 = 0o777;

/// The merged view of one mount. Nothing is done in it at a path alone:
///
/// ```compile_fail,E0308
/// fn act(directory: &chaperone_workspace::mediated::MediatedDirectory<'_>, path: &str) {
///     directory.list(path, path);
/// }
/// ```
///
/// ```
/// use chaperone_fs::Located;
/// use chaperone_pipeline::Authorized;
///
/// fn act(
///     directory: &chaperone_workspace::mediated::MediatedDirectory<'_>,
///     granted: &Authorized,
///     at: &Located,
/// ) {
///     directory.list(granted, at).ok();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct MediatedDirectory<'a> {
    /// Where the agent sees it.
    at: &'a str,
    umask: u32,
    tree: Arc<Tree>,
}

impl<'a> MediatedDirectory<'a> {
    pub(crate) fn new(at: &'a str, umask: u32, tree: Arc<Tree>) -> Self {
        Self { at, umask, tree }
    }

    /// What a path stands for now, be it nothing.
    ///
    /// # Errors
    /// What the kernel says of the user's file.
    pub fn locate(&self, path: &str) -> Result<Located, Errno> {
        self.tree.locate(path)
    }

    /// The same for everything that a rename of the path moves, from the outside in.
    ///
    /// # Errors
    /// `ENOENT`; `EXDEV` for a directory with more in it than is moved at once.
    pub fn locate_all(&self, path: &str) -> Result<Vec<Located>, Errno> {
        self.tree.locate_all(path)
    }

    /// # Errors
    /// `ENOENT`, or what the kernel says of the user's file.
    pub fn attributes(&self, path: &str) -> Result<Attributes, Errno> {
        self.tree.attributes(path)
    }

    /// Whether a path leads to something of the user's that was not touched, and through no link; `false` says nothing.
    #[must_use]
    pub fn is_plain(&self, path: &str) -> bool {
        self.tree.is_plain(path)
    }

    /// What a link leads to.
    ///
    /// # Errors
    /// `EINVAL` for what is no link, or what the kernel says of the user's.
    pub fn read_link(&self, path: &str) -> Result<String, Errno> {
        self.tree.read_link(path)
    }

    /// The names in a directory with what they are.
    ///
    /// # Errors
    /// `ESTALE`, `ENOENT`, `ENOTDIR`.
    pub fn list(&self, granted: &Authorized, at: &Located) -> Result<Vec<(String, Attributes)>, Errno> {
        self.tree.list(&self.decided(granted, ChangeKind::List, at)?)
    }

    /// What is shown of what was located.
    #[must_use]
    pub fn shown(&self, at: &Located) -> Option<Attributes> {
        self.tree.shown(at)
    }

    /// Open a file for a decision on it. What may be read of it is what the decision releases.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `ELOOP` for a link, `ENXIO` for what is neither file nor directory.
    pub fn open_file(&self, path: &str) -> Result<OpenedFile, Errno> {
        self.tree.open_file(path)
    }

    /// Stage bytes behind `before` (what was released of the file), or in place of what was there. Returns the new size.
    ///
    /// # Errors
    /// `ESTALE`, `ENOSPC`.
    pub fn write(
        &self,
        granted: &Authorized,
        at: &Located,
        before: Option<&File>,
        bytes: &[u8],
    ) -> Result<u64, Errno> {
        let kind = if at.object().is_none() { ChangeKind::Create } else { ChangeKind::Write };
        let decided = self.decided(granted, kind, at)?;
        // Before anything is made of it: some of the disk is the log's and the user's.
        self.tree.take_room(bytes.len() as u64)?;
        let staged = match (at.object(), before) {
            (None, _) => self.tree.create(&decided, NEW_FILE & !self.umask)?,
            (Some(_), Some(before)) => self.tree.copy_up(&decided, Content::Released(before))?,
            (Some(_), None) => self.tree.copy_up(&decided, Content::Empty)?,
        };
        let put = || {
            let end = staged.file.metadata()?.len();
            staged.file.write_all_at(bytes, end)?;
            Ok(end + bytes.len() as u64)
        };
        let written: std::io::Result<u64> = put();
        if let Some(blob) = staged.blob {
            self.tree.writer_closed(blob);
        }
        written.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    /// Make a directory in one that is there.
    ///
    /// # Errors
    /// `ESTALE`, `EEXIST`, `ENOENT`, `ENOSPC`.
    pub fn make_directory(&self, granted: &Authorized, at: &Located) -> Result<(), Errno> {
        let decided = self.decided(granted, ChangeKind::Create, at)?;
        self.tree.make_dir(&decided, NEW_DIRECTORY & !self.umask)
    }

    /// Delete a file, a link or an empty directory.
    ///
    /// # Errors
    /// `ESTALE`, `ENOTEMPTY`.
    pub fn remove(&self, granted: &Authorized, at: &Located) -> Result<(), Errno> {
        let decided = self.decided(granted, ChangeKind::Delete, at)?;
        if at.is_dir() { self.tree.remove_dir(&decided) } else { self.tree.remove_file(&decided) }
    }

    /// Rename what was located and everything in it; each part of it was granted by itself.
    ///
    /// # Errors
    /// `ESTALE`, `EEXIST` with `keep`, `ENOTEMPTY`.
    pub fn rename(
        &self,
        granted: &[Authorized],
        moved: &[Located],
        to: &Located,
        keep: bool,
    ) -> Result<(), Errno> {
        let Some(from) = moved.first() else { return Err(Errno::NOENT) };
        if granted.len() != moved.len() {
            return Err(Errno::STALE);
        }
        let each = granted.iter().zip(moved).map(|(granted, at)| {
            let grant = Grant { granted, directory: self };
            Decided::of_move(&grant, at, (from, to), 0).map_err(|refused| Errno::from_raw_os_error(refused.0))
        });
        self.tree.rename(&each.collect::<Result<Vec<_>, _>>()?, to, keep)
    }

    fn decided(&self, granted: &Authorized, kind: ChangeKind, at: &Located) -> Result<Decided, Errno> {
        let grant = Grant { granted, directory: self };
        Decided::by(&grant, kind, at, 0).map_err(|refused| Errno::from_raw_os_error(refused.0))
    }

    fn absolute(&self, path: &str) -> String {
        if path.is_empty() { self.at.to_owned() } else { format!("{}/{path}", self.at) }
    }
}

/// What the pipeline granted, for changes in one directory.
struct Grant<'a> {
    granted: &'a Authorized,
    directory: &'a MediatedDirectory<'a>,
}

impl Decides for Grant<'_> {
    /// Whether it was granted: this action, on exactly this object at this path.
    fn change(&self, change: &ChangeRequest<'_>) -> Result<u64, Refused> {
        let actions: &[Action] = match change.kind {
            ChangeKind::Create | ChangeKind::Write => &[Action::Write, Action::Append],
            ChangeKind::Delete => &[Action::Delete],
            ChangeKind::Rename => &[Action::Rename],
            ChangeKind::List => &[Action::List],
            ChangeKind::Link | ChangeKind::Attributes => &[],
        };
        let object = change.object.as_ref().map_or(FileObject::ABSENT, of_fs);
        let to = change.to.map(|to| self.directory.absolute(to));
        let names_it = self.granted.file().is_some_and(|file| {
            file.path == self.directory.absolute(change.path)
                && file.object == object
                && file.staged_as == Some(staged_as(change.identity))
                && file.to == to
        });
        if names_it && actions.contains(&self.granted.request().action) {
            Ok(self.granted.intent)
        } else {
            Err(Refused(Errno::STALE.raw_os_error()))
        }
    }
}
