//! Files with holes: what lies between their data takes no room, reads as zeros, and stays a hole wherever it is copied.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes moved at once.
const BLOCK_BYTES: usize = 256 << 10;
/// Bytes of the unit of `st_blocks`.
const DISK_UNIT: u64 = 512;

/// What a file has at a place, and up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    Data { until: u64 },
    Hole { until: u64 },
    End,
}

/// Where a file has data.
#[derive(Debug)]
pub struct Extents<'a> {
    file: &'a File,
    /// The same file with a place of its own: others may read on through `file`. Without it all counts as data.
    own: Option<File>,
}

impl<'a> Extents<'a> {
    #[must_use]
    pub fn of(file: &'a File) -> Self {
        let has_holes = taken(file).is_ok_and(|taken| file.metadata().is_ok_and(|seen| taken < seen.len()));
        let again = || File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
        Self { file, own: has_holes.then(again).flatten() }
    }

    /// What is at `at`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn at(&self, at: u64) -> io::Result<Stretch> {
        let len = self.file.metadata()?.len();
        if at >= len {
            return Ok(Stretch::End);
        }
        let Some(own) = &self.own else { return Ok(Stretch::Data { until: len }) };
        match rustix::fs::seek(own, SeekFrom::Data(at)) {
            Ok(data) if data > at => Ok(Stretch::Hole { until: data }),
            Ok(_) => {
                let until = rustix::fs::seek(own, SeekFrom::Hole(at))?;
                Ok(Stretch::Data { until: until.max(at + 1) })
            }
            Err(Errno::NXIO) => Ok(Stretch::Hole { until: len }),
            // A file system that does not tell holes apart.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Stretch::Data { until: len }),
            Err(other) => Err(other.into()),
        }
    }

    /// Bytes of holes, at most a little more than `most`.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub fn holes(&self, most: u64) -> io::Result<u64> {
        let (mut at, mut holes) = (0, 0u64);
        while holes <= most {
            at = match self.at(at)? {
                Stretch::Data { until } => until,
                Stretch::Hole { until } => {
                    holes = holes.saturating_add(until - at);
                    until
                }
                Stretch::End => break,
            };
        }
        Ok(holes)
    }
}

/// Bytes that a copy of a file takes on a disk.
///
/// # Errors
/// When the file cannot be looked at.
pub fn taken(file: &File) -> io::Result<u64> {
    let seen = file.metadata()?;
    Ok(seen.len().min(seen.blocks().saturating_mul(DISK_UNIT)))
}

/// Copies all of `from` to the empty file `to`.
///
/// # Errors
/// What reading and writing give.
pub fn copy(from: &File, to: &File) -> io::Result<()> {
    let extents = Extents::of(from);
    let mut block = vec![0u8; BLOCK_BYTES];
    let mut at = 0;
    loop {
        let until = match extents.at(at)? {
            Stretch::Data { until } => until,
            Stretch::Hole { until } => {
                at = until;
                continue;
            }
            Stretch::End => break,
        };
        let wanted = block.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
        let count = match from.read_at(block.get_mut(..wanted).unwrap_or_default(), at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            break;
        }
        to.write_all_at(block.get(..count).unwrap_or_default(), at)?;
        at += count as u64;
    }
    to.set_len(at)
}

/// Whether two files hold the same. What is a hole in both is not read.
///
/// # Errors
/// What reading gives.
pub fn is_same(one: &File, other: &File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (of_one, of_other) = (Extents::of(one), Extents::of(other));
    let (mut a, mut b) = (vec![0u8; BLOCK_BYTES], vec![0u8; BLOCK_BYTES]);
    let mut at = 0;
    loop {
        let until = match (of_one.at(at)?, of_other.at(at)?) {
            (Stretch::End, Stretch::End) => return Ok(true),
            (Stretch::End, _) | (_, Stretch::End) => return Ok(false),
            (Stretch::Hole { until }, Stretch::Hole { until: same }) => {
                at = until.min(same);
                continue;
            }
            (
                Stretch::Data { until } | Stretch::Hole { until },
                Stretch::Data { until: same } | Stretch::Hole { until: same },
            ) => until.min(same),
        };
        let wanted = a.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
        let (a, b) = (a.get_mut(..wanted).unwrap_or_default(), b.get_mut(..wanted).unwrap_or_default());
        let filled = one.read_exact_at(a, at).and_then(|()| other.read_exact_at(b, at));
        match filled {
            Ok(()) if a == b => at += wanted as u64,
            Ok(()) => return Ok(false),
            // Cut meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(len: u64, data: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        for (at, bytes) in data {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    #[test]
    fn holes_are_counted_copied_and_compared_without_reading_them() {
        const LARGE: u64 = 1 << 40;
        let sparse = with(LARGE, &[(1 << 30, b"in the middle"), (LARGE - 4, b"last")]);
        assert!(Extents::of(&sparse).holes(u64::MAX).unwrap() > LARGE - (1 << 20));
        assert!(taken(&sparse).unwrap() < 1 << 20);
        let copied = tempfile::tempfile().unwrap();
        copy(&sparse, &copied).unwrap();
        assert_eq!(copied.metadata().unwrap().len(), LARGE);
        assert!(taken(&copied).unwrap() < 1 << 20);
        assert!(is_same(&sparse, &copied).unwrap());
        copied.write_all_at(b"x", LARGE / 2).unwrap();
        assert!(!is_same(&sparse, &copied).unwrap());
        assert!(!is_same(&sparse, &with(LARGE - 1, &[])).unwrap());
    }

    #[test]
    fn a_hole_and_written_zeros_are_the_same() {
        let zeros = with(0, &[(0, &[0; 300_000])]);
        assert!(is_same(&with(300_000, &[]), &zeros).unwrap());
        assert!(is_same(&with(0, &[]), &with(0, &[])).unwrap());
    }
}
