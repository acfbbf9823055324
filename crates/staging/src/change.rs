//! One staged change: what an agent wants to happen to one path of the user's tree.

use std::path::PathBuf;

use chaperone_names::text_as_name;
use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Longest relative path accepted, in bytes: the kernel's own PATH_MAX, less the final NUL. A longer one
/// could never be opened and would only make the journal grow.
pub const MAX_PATH_BYTES: usize = 4095;
/// Longest single name, in bytes (NAME_MAX of every file system that a workspace lives on).
pub const MAX_NAME_BYTES: usize = 255;

/// What happens to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Create,
    Modify,
    Delete,
    Rename,
}

/// What the path is once the change is made (for a deletion: what it was).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    File,
    Dir,
    Symlink,
}

/// The version of an existing object that a change was based on; any difference at commit is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BaseVersion {
    pub dev: u64,
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since the epoch.
    #[serde(with = "decimal")]
    pub mtime_ns: i128,
    /// Nanoseconds since the epoch.
    #[serde(with = "decimal")]
    pub ctime_ns: i128,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    pub nlink: u64,
}

/// Another name of the same file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SameAs {
    /// Relative to the mount's root.
    pub path: String,
    /// The user's own file there, when that is unchanged; else the same commit writes the file.
    #[serde(default)]
    pub version: Option<BaseVersion>,
}

/// A staged change of one path of the user's tree, relative to the root of its mount.
///
/// * `Create` and `Modify` of a file carry `blob`; `Modify` without `blob` changes mode and mtime alone.
/// * `Rename` moves `from` to `path`; with `blob` the moved file's content changes too. `base` is then the version
///   of `from`. What was at `path` before must be its own `Delete` unless `replaces` names its version.
/// * `Create` of a symlink carries `target`. `Delete` of a directory deletes an empty one: its content is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Relative to the mount's root, `/` between names, no leading slash, no `.` or `..`.
    pub path: String,
    pub op: Op,
    /// Where a renamed object was.
    #[serde(default)]
    pub from: Option<String>,
    pub kind: Kind,
    /// The file of the stage that holds the new content.
    #[serde(default)]
    pub blob: Option<PathBuf>,
    /// The text of a symlink.
    #[serde(default)]
    pub target: Option<String>,
    /// What the agent's change was based on; `None` when nothing was there.
    #[serde(default)]
    pub base: Option<BaseVersion>,
    /// For a rename onto an existing file: the version that is replaced.
    #[serde(default)]
    pub replaces: Option<BaseVersion>,
    /// Permission bits of the result (`0o7777`); set-id bits never reach the user's tree.
    pub mode: u32,
    /// Modification time of the result, nanoseconds since the epoch.
    #[serde(with = "decimal")]
    pub mtime_ns: i128,
    /// Bytes of the new content.
    pub size: u64,
    /// The file has this name, too: where it can, the path becomes one more name of it, else a copy.
    #[serde(default)]
    pub same_as: Option<SameAs>,
    /// A file of the user's whose content this one began with, where that has another path: it came by a move, an exchange or
    /// another name, and the agent need not have been let read it.
    #[serde(default)]
    pub origin: Option<String>,
}

impl BaseVersion {
    /// The version that `stat` describes.
    pub fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
            mode: stat.st_mode,
            nlink: stat.st_nlink,
        }
    }

    /// Whether `now` is the same object with the same content. The link count is not compared: the commit's own
    /// kept copy may raise it.
    pub fn is_same_version(&self, now: &BaseVersion) -> bool {
        self.is_same_content(now) && self.ctime_ns == now.ctime_ns
    }

    /// Like [`Self::is_same_version`] without the change time, which linking and renaming alter too.
    pub fn is_same_content(&self, now: &BaseVersion) -> bool {
        self.dev == now.dev
            && self.ino == now.ino
            && self.size == now.size
            && self.mtime_ns == now.mtime_ns
            && self.mode == now.mode
    }

    /// The kind of object, or `None` for FIFOs, sockets and devices.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_mode(self.mode)
    }
}

impl Change {
    /// The path at which nothing of it is left: of what is deleted, and the old one of what gets another name.
    #[must_use]
    pub fn leaves(&self) -> Option<&str> {
        match self.op {
            Op::Delete => Some(&self.path),
            Op::Rename => self.from.as_deref(),
            Op::Create | Op::Modify => None,
        }
    }

    /// One that says no more than what happens to which path.
    #[must_use]
    pub fn blank(path: String, op: Op, kind: Kind) -> Self {
        Self {
            path,
            op,
            from: None,
            kind,
            blob: None,
            target: None,
            base: None,
            replaces: None,
            mode: 0,
            mtime_ns: 0,
            size: 0,
            same_as: None,
            origin: None,
        }
    }
}

impl Kind {
    /// The kind that `st_mode` says, or `None` for FIFOs, sockets and devices.
    pub fn of_mode(mode: u32) -> Option<Self> {
        match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => Some(Kind::File),
            rustix::fs::FileType::Directory => Some(Kind::Dir),
            rustix::fs::FileType::Symlink => Some(Kind::Symlink),
            _ => None,
        }
    }
}

impl Change {
    /// Checks what can be checked without the tree: paths, and which fields go with which operation.
    pub fn validate(&self) -> Result<(), Error> {
        validate_path(&self.path)?;
        if let Some(from) = &self.from {
            validate_path(from)?;
        }
        if let Some(same) = &self.same_as {
            validate_path(&same.path)?;
        }
        let malformed = |why: &'static str| Err(Error::MalformedChange { path: self.path.clone(), why });
        if (self.op == Op::Rename) != self.from.is_some() {
            return malformed("`from` belongs to a rename and only to it");
        }
        match (self.op, self.kind) {
            (Op::Create, Kind::File) if self.blob.is_none() => malformed("a created file needs its content"),
            (Op::Create | Op::Modify, Kind::Symlink) if self.target.is_none() => {
                malformed("a symlink needs its target")
            }
            (Op::Modify | Op::Delete | Op::Rename, _) if self.base.is_none() => {
                malformed("what exists already needs the version that the change is based on")
            }
            _ if self.same_as.is_some() && self.blob.is_none() => malformed("only content has another name"),
            (Op::Delete, _) if self.blob.is_some() => malformed("a deletion has no content"),
            (_, Kind::Dir | Kind::Symlink) if self.blob.is_some() => malformed("only a file has content"),
            (Op::Rename, Kind::Dir) if self.replaces.is_some() => {
                malformed("a directory replaces nothing; delete what is there first")
            }
            _ if self.replaces.is_some() && self.op != Op::Rename => {
                malformed("`replaces` belongs to a rename")
            }
            _ => Ok(()),
        }
    }
}

/// Checks that `path` is relative, normalised, and short enough: the only form that the journal and `openat2` see.
pub fn validate_path(path: &str) -> Result<(), Error> {
    let refuse =
        |why: &'static str| Err(Error::BadPath { path: crate::printable::printable(path, 200), why });
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return refuse("it is empty or longer than 4095 bytes");
    }
    if path.contains('\0') {
        return refuse("it contains a NUL byte");
    }
    let Some(own) = text_as_name(path) else { return refuse("it is not how its name is written") };
    for name in own.split(|byte| *byte == b'/') {
        match name {
            b"" => return refuse("it is absolute or has an empty name in it"),
            b"." | b".." => return refuse("it has `.` or `..` in it"),
            _ if name.len() > MAX_NAME_BYTES => return refuse("one of its names is longer than 255 bytes"),
            _ => {}
        }
    }
    Ok(())
}

/// Seconds and nanoseconds as one number of nanoseconds since the epoch.
pub(crate) fn nanoseconds(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// Times as decimal text: JSON numbers and serde's buffered formats hold fewer bits.
mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b"] {
            assert!(validate_path(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(validate_path(&"a".repeat(256)).is_err());
        assert!(validate_path(&"a/".repeat(3000)).is_err());
    }

    #[test]
    fn odd_but_legal_names_are_kept_as_they_are() {
        for good in ["a", "a/b.txt", "..a", "a\nb", "\u{202e}txt.exe", "spaces and 'quotes'"] {
            assert!(validate_path(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_change_survives_json() {
        let change = Change {
            path: "a/b".into(),
            op: Op::Rename,
            from: Some("a/c".into()),
            kind: Kind::File,
            blob: None,
            target: None,
            base: Some(BaseVersion {
                dev: 1,
                ino: 2,
                size: 3,
                mtime_ns: -4,
                ctime_ns: 1_700_000_000_000_000_000,
                mode: 0o100_644,
                nlink: 1,
            }),
            replaces: None,
            mode: 0o644,
            mtime_ns: 1_700_000_000_000_000_001,
            size: 3,
            same_as: None,
            origin: None,
        };
        let text = serde_json::to_string(&change).unwrap();
        assert!(text.contains("\"op\":\"rename\"") && text.contains("\"kind\":\"file\""));
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }
}
