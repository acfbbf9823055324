//! The stage's journal: each change of the merged view is a checksummed line, written before it is answered, so that
//! the end of the broker at any moment loses nothing that was acknowledged.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Largest journal that is replayed. Protects memory at start; a session stays far below it.
const MAX_JOURNAL: u64 = 1 << 30;

/// What a path is in the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Entry {
    File {
        blob: u64,
        base: Option<chaperone_staging::BaseVersion>,
        mode: u32,
        /// Where a moved file of the user's was.
        origin: Option<String>,
        /// The agent may read the content without another decision.
        cleared: bool,
    },
    Dir {
        /// It stands in for a deleted one: nothing of the user's shows through.
        opaque: bool,
        mode: u32,
        /// What of the user's was deleted at this place before.
        #[serde(default)]
        base: Option<chaperone_staging::BaseVersion>,
    },
    Symlink {
        target: String,
        base: Option<chaperone_staging::BaseVersion>,
    },
    /// A FIFO or a socket of the agent's: it works in the cell, and nothing of it is committed.
    Special {
        socket: bool,
        mode: u32,
        base: Option<chaperone_staging::BaseVersion>,
    },
    Gone {
        base: Option<chaperone_staging::BaseVersion>,
        dir: bool,
    },
    /// The user's own shows again.
    Base,
}

impl Entry {
    /// What of the user's it replaces, or hides.
    pub(crate) fn base(&self) -> Option<chaperone_staging::BaseVersion> {
        match self {
            Self::File { base, .. }
            | Self::Dir { base, .. }
            | Self::Symlink { base, .. }
            | Self::Special { base, .. }
            | Self::Gone { base, .. } => *base,
            Self::Base => None,
        }
    }

    /// Where that stands; nowhere where the user's own shows.
    fn base_mut(&mut self) -> Option<&mut Option<chaperone_staging::BaseVersion>> {
        match self {
            Self::File { base, .. }
            | Self::Dir { base, .. }
            | Self::Symlink { base, .. }
            | Self::Special { base, .. }
            | Self::Gone { base, .. } => Some(base),
            Self::Base => None,
        }
    }

    /// The same, over another version of it.
    pub(crate) fn based_on(&self, version: chaperone_staging::BaseVersion) -> Self {
        let mut other = self.clone();
        if let Some(base) = other.base_mut() {
            *base = Some(version);
        }
        other
    }
}

pub(crate) fn blob_of(entry: &Entry) -> Option<u64> {
    match entry {
        Entry::File { blob, .. } => Some(*blob),
        _ => None,
    }
}

/// One record: what happens together.
pub type Record = Vec<(String, Entry)>;

#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Open or make the journal; what was acknowledged comes back, a torn last line is cut.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged in the middle.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        if file.metadata()?.len() > MAX_JOURNAL {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the stage's journal is too large"));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let mut records = Vec::new();
        let mut good = 0;
        for line in text.split_inclusive(|b| *b == b'\n') {
            match parse(line) {
                Some(record) => {
                    records.push(record);
                    good += line.len();
                }
                None if good + line.len() == text.len() => break,
                None => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the stage's journal is damaged"));
                }
            }
        }
        if good < text.len() {
            file.set_len(good as u64)?;
        }
        Ok((Self { file }, records))
    }

    /// Append one record with one write.
    ///
    /// # Errors
    /// When it cannot be written; the change must not be acknowledged then.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = line(record)?;
        let before = self.file.metadata()?.len();
        if let Err(e) = self.file.write_all(line.as_bytes()) {
            self.file.set_len(before)?;
            return Err(e);
        }
        Ok(())
    }

    /// Put `records`, which come to the same, in the place of all that was written so far.
    ///
    /// # Errors
    /// When they cannot be written; the journal is as it was.
    pub fn compact(self, path: &Path, records: &[Record]) -> io::Result<Self> {
        let beside = path.with_extension("new");
        let mut text = String::new();
        for record in records {
            text.push_str(&line(record)?);
        }
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        std::fs::rename(&beside, path)?;
        Ok(Self { file: File::options().read(true).append(true).open(path)? })
    }

    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn line(record: &Record) -> io::Result<String> {
    let body = serde_json::to_string(record).map_err(io::Error::other)?;
    Ok(format!("{} {body}\n", checksum(body.as_bytes())))
}

fn parse(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, body) = (line.get(..16)?, line.get(17..)?);
    if sum != checksum(body).as_bytes() {
        return None;
    }
    serde_json::from_slice(body).ok()
}

fn checksum(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body).get(..8).unwrap_or_default())
}
