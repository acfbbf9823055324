//! The files of [`crate::verdicts`]: a header, and one tag after the other.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

/// One verdict, as it is kept.
pub type Tag = [u8; 16];

pub(crate) const NEWER: &str = "newer";
pub(crate) const OLDER: &str = "older";
/// Length of the header: what the file is, when it was last written to, and a mark that both are ours.
pub(crate) const HEAD: usize = 40;
const WHAT: &[u8; 16] = b"verdicts, kept 1";

/// Some verdicts, and the file that they stand in as far as there is one.
#[derive(Default)]
pub(crate) struct Generation {
    tags: HashSet<Tag>,
    file: Option<(File, u64)>,
    /// Nothing more is written after something was not.
    has_failed: bool,
}

impl Generation {
    /// What stands in a file with a good header, at most so much, and when that was written; nothing otherwise.
    pub fn read(
        dir: &Path,
        name: &str,
        most: usize,
        is_ours: impl Fn(u64, &Tag) -> bool,
    ) -> Option<(Self, u64)> {
        let file = open(dir, name, OFlags::empty()).ok()?;
        let mut bytes = Vec::new();
        (&file).take((HEAD + most * size_of::<Tag>()) as u64).read_to_end(&mut bytes).ok()?;
        let (head, tags) = bytes.split_first_chunk::<HEAD>()?;
        let (time, mark) = head.strip_prefix(WHAT)?.split_first_chunk::<8>()?;
        let time = u64::from_le_bytes(*time);
        if !is_ours(time, mark.first_chunk()?) {
            return None;
        }
        let tags: HashSet<Tag> = tags.as_chunks().0.iter().copied().collect();
        // One that was cut off is written over.
        let whole = (bytes.len() - HEAD) / size_of::<Tag>() * size_of::<Tag>() + HEAD;
        Some((Self { tags, file: Some((file, whole as u64)), has_failed: false }, time))
    }

    pub fn has(&self, tag: &Tag) -> bool {
        self.tags.contains(tag)
    }

    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Add these, in the file of the newer generation as well; where that cannot be written they hold for this process.
    pub fn add(&mut self, dir: Option<&Path>, head: [u8; HEAD], tags: &[Tag]) {
        self.tags.extend(tags);
        if let Some(dir) = dir.filter(|_| !self.has_failed) {
            self.has_failed = self.write(dir, &head, tags.as_flattened()).is_err();
        }
    }

    fn write(&mut self, dir: &Path, head: &[u8; HEAD], tags: &[u8]) -> io::Result<()> {
        let (file, end) = match &mut self.file {
            Some(open) => open,
            none => none.insert((begin(dir)?, HEAD as u64)),
        };
        file.write_all_at(head, 0)?;
        file.write_all_at(tags, *end)?;
        *end += tags.len() as u64;
        Ok(())
    }
}

pub(crate) fn head(time_ms: u64, mark: &Tag) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    let parts = WHAT.iter().chain(&time_ms.to_le_bytes()).copied().collect::<Vec<u8>>();
    head.iter_mut().zip(parts.iter().chain(mark)).for_each(|(to, from)| *to = *from);
    head
}

/// A new file of the newer generation, in the place of whatever is there.
fn begin(dir: &Path) -> io::Result<File> {
    if !dir.is_dir() {
        DirBuilder::new().mode(0o700).create(dir)?;
    }
    match std::fs::remove_file(dir.join(NEWER)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    open(dir, NEWER, OFlags::CREATE | OFlags::EXCL)
}

fn open(dir: &Path, name: &str, how: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | how;
    let file = File::from(rustix::fs::openat(CWD, dir.join(name), flags, Mode::RUSR | Mode::WUSR)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}
