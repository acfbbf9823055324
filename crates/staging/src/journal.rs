//! The intent journal of one commit: what is about to happen is on disk before it happens.
//!
//! A line is sixteen hexadecimal digits of the SHA-256 of the rest, a space, and one record as JSON. Only the last line
//! can be torn; it is cut off. `Planned` is synced before the first effect, `Prepared` before the content it names
//! takes its place, `Done` follows the effects, `End` closes the commit.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::change::{BaseVersion, Kind, Op};
use crate::error::{At, Error, Result};
use crate::plan::Step;
use crate::report::State;

/// The journal's own file in the directory of a commit.
const JOURNAL: &str = "journal";
/// Where the previous versions of one commit are.
const KEPT: &str = "kept";
/// Largest journal that is read: bounds the memory of a recovery (200,000 changes of long paths stay below it).
const MAX_JOURNAL_BYTES: u64 = 1 << 30;
/// Hexadecimal digits of the checksum of a line.
const CHECKSUM_DIGITS: usize = 16;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Begin(Begin),
    Change(ChangeLine),
    Step(Step),
    Planned,
    Prepared(Prepared),
    Done(Done),
    End,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub version: u32,
    /// Milliseconds since the epoch.
    pub time_ms: u64,
    pub undo_of: Option<u64>,
    /// Device and inode of the tree's root.
    pub root: (u64, u64),
    /// Part of the names of this commit's temporary files.
    pub tag: String,
}

/// What of a change the history shows and an undo needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChangeLine {
    pub index: usize,
    pub path: String,
    pub op: Op,
    pub kind: Kind,
    pub from: Option<String>,
    /// The change of the undone commit that this one reverses.
    pub undoes: Option<usize>,
}

/// New content that waits under its temporary name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// Index of the step.
    pub step: usize,
    pub new: BaseVersion,
    pub base: Option<BaseVersion>,
    pub sha256: Option<String>,
    /// What the content says ([`crate::Tree::reading`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub step: usize,
    pub state: State,
    pub reasons: Vec<String>,
    /// What was there before; its content is kept under the step's number.
    pub before: Option<BaseVersion>,
    /// What is there now.
    pub after: Option<BaseVersion>,
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

/// A step that was made: its number, what it was to do, and what it did.
pub(crate) type MadeStep<'a> = (usize, &'a Step, &'a Done);

/// The history of one tree, locked for the one who changes it.
pub(crate) struct History {
    pub folder: OwnedFd,
    pub path: String,
    _lock: File,
}

impl History {
    /// Opens or creates the history and waits for its lock.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        match std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.at("create the history", &shown)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).at("open the history", &shown)?;
        let stat = rustix::fs::fstat(&folder).at("examine the history", &shown)?;
        if stat.st_mode & 0o077 != 0 || stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Error::OpenHistory { path: shown });
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&folder, "lock", flags, Mode::RUSR | Mode::WUSR)
            .at("lock the history", &shown)?;
        let lock = File::from(lock);
        loop {
            match rustix::fs::flock(&lock, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                other => break other.at("lock the history", &shown)?,
            }
        }
        Ok(Self { folder, path: shown, _lock: lock })
    }

    /// The numbers of all commits, ascending.
    pub fn commits(&self) -> Result<Vec<u64>> {
        let dir = rustix::fs::Dir::read_from(&self.folder).at("list the history", &self.path)?;
        let mut numbers = Vec::new();
        for entry in dir {
            let entry = entry.at("list the history", &self.path)?;
            if let Some(number) = entry.file_name().to_str().ok().and_then(parse_number) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens the directory of one commit.
    pub fn commit(&self, number: u64) -> Result<CommitFolder> {
        let shown = format!("{}/{}", self.path, folder_name(number));
        let open = |at: BorrowedFd<'_>, name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(at, name, flags, Mode::empty())
        };
        let folder = match open(self.folder.as_fd(), &folder_name(number)) {
            Err(Errno::NOENT) => return Err(Error::NoSuchCommit { commit: number }),
            other => other.at("open", &shown)?,
        };
        let kept = open(folder.as_fd(), KEPT).at("open the kept versions of", &shown)?;
        Ok(CommitFolder { number, folder, kept, path: shown })
    }

    /// Creates the directory of the next commit.
    pub fn create_commit(&self) -> Result<CommitFolder> {
        let number = self.commits()?.last().copied().unwrap_or(0) + 1;
        let name = folder_name(number);
        let shown = format!("{}/{name}", self.path);
        rustix::fs::mkdirat(&self.folder, name.as_str(), Mode::RWXU).at("create", &shown)?;
        rustix::fs::mkdirat(&self.folder, format!("{name}/{KEPT}"), Mode::RWXU).at("create", &shown)?;
        rustix::fs::fsync(&self.folder).at("sync", &self.path)?;
        self.commit(number)
    }

    /// Removes the directory of a commit that never began.
    pub fn remove_unbegun(&self, number: u64) -> Result<()> {
        let path = Path::new(&self.path).join(folder_name(number));
        std::fs::remove_dir_all(&path).at("remove", &path.display().to_string())
    }
}

fn folder_name(number: u64) -> String {
    format!("{number:06}")
}

fn parse_number(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    (folder_name(number) == name).then_some(number)
}

/// The directory of one commit in the history.
pub(crate) struct CommitFolder {
    pub number: u64,
    pub folder: OwnedFd,
    pub kept: OwnedFd,
    pub path: String,
}

impl CommitFolder {
    /// Everything that the journal says; `None` when no effect can have happened yet.
    pub fn read(&self) -> Result<Option<Journal>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.folder, JOURNAL, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => File::from(other.at("open the journal of", &self.path)?),
        };
        let mut bytes = Vec::new();
        file.take(MAX_JOURNAL_BYTES).read_to_end(&mut bytes).at("read the journal of", &self.path)?;
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<Journal>> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<&[u8]> =
            bytes.get(..whole).unwrap_or_default().split_inclusive(|b| *b == b'\n').collect();
        let mut journal: Option<Journal> = None;
        let mut valid = 0;
        for (number, line) in lines.iter().enumerate() {
            let Some(record) = parse_line(line) else {
                // A power cut can leave the unsynced last line with its end but without its middle.
                if number + 1 == lines.len() {
                    break;
                }
                let path = self.path.clone();
                return Err(Error::DamagedJournal { commit: self.number, line: number + 1, path });
            };
            valid += line.len() as u64;
            match (record, &mut journal) {
                (Record::Begin(begin), None) => journal = Some(Journal::new(begin)),
                (record, Some(journal)) => journal.add(record),
                (_, None) => {
                    let path = self.path.clone();
                    return Err(Error::DamagedJournal { commit: self.number, line: number + 1, path });
                }
            }
        }
        Ok(journal.filter(|journal| journal.planned).map(|journal| Journal { length: valid, ..journal }))
    }

    /// Opens the journal to append, after `length` valid bytes.
    pub fn append_after(&self, length: u64) -> Result<Writer> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, JOURNAL, flags, Mode::RUSR | Mode::WUSR)
            .at("open the journal of", &self.path)?;
        rustix::fs::ftruncate(&fd, length).at("cut the journal of", &self.path)?;
        rustix::fs::fsync(&self.folder).at("sync", &self.path)?;
        Ok(Writer { file: File::from(fd), pending: Vec::new(), path: self.path.clone() })
    }
}

fn parse_line(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let body = rest.strip_prefix(b" ")?;
    if checksum(body).as_bytes() != sum {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn checksum(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body)).get(..CHECKSUM_DIGITS).unwrap_or_default().to_owned()
}

/// A journal as it was read.
#[derive(Debug)]
pub(crate) struct Journal {
    pub begin: Begin,
    pub changes: Vec<ChangeLine>,
    pub steps: Vec<Step>,
    pub prepared: std::collections::HashMap<usize, Prepared>,
    pub done: std::collections::HashMap<usize, Done>,
    pub ended: bool,
    /// Bytes of valid lines.
    pub length: u64,
    planned: bool,
}

impl Journal {
    fn new(begin: Begin) -> Self {
        Self {
            begin,
            changes: Vec::new(),
            steps: Vec::new(),
            prepared: Default::default(),
            done: Default::default(),
            ended: false,
            length: 0,
            planned: false,
        }
    }

    fn add(&mut self, record: Record) {
        match record {
            Record::Begin(_) => {}
            Record::Change(change) => self.changes.push(change),
            Record::Step(step) => self.steps.push(step),
            Record::Planned => self.planned = true,
            Record::Prepared(prepared) => drop(self.prepared.insert(prepared.step, prepared)),
            Record::Done(done) => drop(self.done.insert(done.step, done)),
            Record::End => self.ended = true,
        }
    }
}

/// Appends records; they are on disk after [`Writer::sync`].
pub(crate) struct Writer {
    file: File,
    pending: Vec<u8>,
    path: String,
}

impl Writer {
    pub fn add(&mut self, record: &Record) -> Result<()> {
        let body = serde_json::to_vec(record)
            .map_err(std::io::Error::from)
            .at("write the journal of", &self.path)?;
        self.pending.extend_from_slice(checksum(&body).as_bytes());
        self.pending.push(b' ');
        self.pending.extend_from_slice(&body);
        self.pending.push(b'\n');
        Ok(())
    }

    /// Hands what was added to the system; it survives the death of this process from here.
    pub fn write(&mut self) -> Result<()> {
        self.file.write_all(&self.pending).at("write the journal of", &self.path)?;
        self.pending.clear();
        Ok(())
    }

    pub fn sync(&mut self) -> Result<()> {
        self.write()?;
        rustix::fs::fdatasync(&self.file).at("sync the journal of", &self.path)
    }
}

impl Journal {
    /// The outcomes of all steps with the change that each belongs to.
    pub fn outcomes(&self) -> Vec<(usize, Done)> {
        let with_change =
            |(number, step): (usize, &Step)| Some((step.change, self.done.get(&number)?.clone()));
        self.steps.iter().enumerate().filter_map(with_change).collect()
    }

    /// Whether every step of a change was made.
    pub fn is_committed(&self, change: usize) -> bool {
        let mut steps = self.steps.iter().enumerate().filter(|(_, step)| step.change == change);
        steps.all(|(number, _)| self.done.get(&number).is_some_and(|done| done.state == State::Committed))
    }
}
