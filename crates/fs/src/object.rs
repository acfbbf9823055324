//! What stands at a path.

use rustix::fs::Stat;
use rustix::io::Errno;

/// A directory that did not change for so long has shown its last change in its times.
const SETTLED_NS: i128 = 2_000_000_000;

/// What kind of thing a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    File,
    Dir,
    Symlink,
    /// A FIFO or a socket that the agent made.
    Special,
}

/// The resolved object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub kind: ObjectKind,
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    /// Bytes.
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    /// The content is the agent's own, or was released to it before.
    pub staged: bool,
}

impl Object {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == ObjectKind::Dir
    }
}

/// What a path looks like to the agent.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    pub object: Object,
    pub mode: u32,
    pub blocks: u64,
    pub atime_ns: i128,
}

/// Which object a path stood for at one moment; whatever the path stands for later has another identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    pub object: ObjectId,
    /// Advances with each change of the path's entry in the stage, and of one above that hides or replaces it.
    pub generation: u64,
}

/// What an object is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectId {
    /// Nothing has the name.
    Absent,
    /// A file of the stage, by its number: another content that needs a decision of its own has another one.
    Blob(u64),
    /// A directory or a link of the stage.
    Staged,
    /// An object of the user's directory.
    User(FileVersion),
}

/// An object of the user's directory as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileVersion {
    pub dev: u64,
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

impl FileVersion {
    pub(crate) fn of(object: &Object) -> Self {
        let Object { dev, ino, size, mtime_ns, ctime_ns, .. } = *object;
        Self { dev, ino, size, mtime_ns, ctime_ns }
    }

    /// Whether an object of the user's still is this version.
    pub(crate) fn is(&self, stat: &Stat) -> bool {
        from_stat(stat, false).is_ok_and(|seen| Self::of(&seen.object) == *self)
    }

    /// Whether it still is this object, whatever became of it.
    pub(crate) fn is_object(&self, stat: &Stat) -> bool {
        (stat.st_dev, stat.st_ino) == (self.dev, self.ino)
    }
}

/// What a path stood for when it was looked at. Only [`crate::Tree`] makes one; a decision on it is a [`crate::Decided`],
/// and a change acts on what was decided on, or fails with `ESTALE`.
#[derive(Debug, Clone)]
pub struct Located {
    path: String,
    identity: Identity,
    attributes: Option<Attributes>,
}

impl Located {
    pub(crate) fn new(path: &str, identity: Identity, attributes: Option<Attributes>) -> Self {
        Self { path: path.to_owned(), identity, attributes }
    }

    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// None where nothing has the name.
    #[must_use]
    pub fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_ref()
    }

    /// None where nothing has the name.
    #[must_use]
    pub fn object(&self) -> Option<Object> {
        self.attributes.map(|seen| seen.object)
    }

    /// Where it goes when `from`, which it is or is in, goes to `to`.
    pub(crate) fn moved(&self, from: &Self, to: &Self) -> String {
        format!("{}{}", to.path, self.path.strip_prefix(&*from.path).unwrap_or_default())
    }

    #[must_use]
    pub fn is_file(&self) -> bool {
        self.object().is_some_and(|object| object.kind == ObjectKind::File)
    }

    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.object().is_some_and(|object| object.kind == ObjectKind::Dir)
    }
}

/// The state of a directory of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListingVersion {
    dev: u64,
    ino: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

impl ListingVersion {
    pub fn of(object: &Object) -> Self {
        let Object { dev, ino, mtime_ns, ctime_ns, .. } = *object;
        Self { dev, ino, mtime_ns, ctime_ns }
    }

    /// Whether the next change of the directory is certain to show in its times: those of some file systems have steps
    /// of two seconds.
    pub(crate) fn is_settled(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.is_ok_and(|now| {
            i128::try_from(now.as_nanos())
                .is_ok_and(|now| now - self.mtime_ns.max(self.ctime_ns) > SETTLED_NS)
        })
    }
}

pub(crate) fn from_stat(stat: &Stat, staged: bool) -> Result<Attributes, Errno> {
    let kind = match stat.st_mode & 0o170_000 {
        0o100_000 => ObjectKind::File,
        0o040_000 => ObjectKind::Dir,
        0o120_000 => ObjectKind::Symlink,
        // Devices, FIFOs and sockets of the user's are not the agent's business.
        _ => return Err(Errno::NXIO),
    };
    let time = |s: i64, n: u64| i128::from(s) * 1_000_000_000 + i128::from(n);
    Ok(Attributes {
        object: Object {
            kind,
            dev: stat.st_dev,
            ino: stat.st_ino,
            nlink: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
            staged,
        },
        // Set-id bits of programs mean nothing in a cell; those of directories say how they are used.
        mode: if kind == ObjectKind::Dir { stat.st_mode } else { stat.st_mode & !0o7000 },
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime_ns: time(stat.st_atime, stat.st_atime_nsec),
    })
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    stat.st_mode & 0o170_000 == 0o040_000
}

/// A stable inode number for what has none of its own (FNV-1a), above those of file systems.
pub(crate) fn synthetic(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
        | 1 << 63
}
