//! Room that an agent leaves on the disk of the stage: the log and the user's own work live there, too, and a log
//! that cannot be written stops everything.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::StatVfs;
use rustix::io::Errno;

/// Bytes written before the disk is looked at again. Bounds what several sessions together can overdraw.
const LOOK_EVERY: u64 = 8 << 20;
/// Least and most bytes that stay free, whatever a twentieth of the disk is. Protects the log and the user's work.
const RESERVE: (u64, u64) = (8 << 20, 1 << 30);

/// The same of the files that may be made: a disk that has room for bytes and for no name keeps no log either.
const FILES_RESERVE: (u64, u64) = (64, 100_000);

/// What may still be written before the disk is looked at again.
#[derive(Debug, Default)]
pub struct DiskReserve {
    credit: AtomicU64,
}

impl DiskReserve {
    /// Take room for `bytes` on the disk of `dir`.
    ///
    /// # Errors
    /// `ENOSPC` when too little would stay free.
    pub fn take(&self, dir: &Path, bytes: u64) -> Result<(), Errno> {
        let spend = |credit: u64| credit.checked_sub(bytes);
        if self.credit.fetch_update(Ordering::AcqRel, Ordering::Acquire, spend).is_ok() {
            return Ok(());
        }
        let (free, reserve) = Self::look(dir)?;
        let Some(left) = free.checked_sub(reserve).and_then(|room| room.checked_sub(bytes)) else {
            return Err(Errno::NOSPC);
        };
        // Near the end of the room every write looks.
        self.credit.store((left / 16).min(LOOK_EVERY), Ordering::Release);
        Ok(())
    }

    /// Whether more than the reserve is free on the disk of `dir`.
    ///
    /// # Errors
    /// When the disk cannot be looked at.
    pub fn is_left(dir: &Path) -> Result<bool, Errno> {
        Self::look(dir).map(|(free, reserve)| free > reserve)
    }

    /// What is free on the disk of `dir`, and what stays free of it, in bytes. Nothing is where there is room for few files more.
    ///
    /// # Errors
    /// When the disk cannot be looked at.
    pub fn look(dir: &Path) -> Result<(u64, u64), Errno> {
        rustix::fs::statvfs(dir).map(|disk| of(&disk))
    }
}

fn of(disk: &StatVfs) -> (u64, u64) {
    // A file system that makes them as they are needed says that it has none.
    let lacks_files = disk.f_files > 0 && disk.f_favail <= reserve_of(disk.f_files, FILES_RESERVE);
    let free = if lacks_files { 0 } else { disk.f_bavail.saturating_mul(disk.f_frsize) };
    (free, reserve_of(disk.f_blocks.saturating_mul(disk.f_frsize), RESERVE))
}

fn reserve_of(all: u64, (least, most): (u64, u64)) -> u64 {
    (all / 20).clamp(least, most)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_twentieth_within_its_bounds() {
        assert_eq!(reserve_of(24 << 20, RESERVE), 8 << 20);
        assert_eq!(reserve_of(1 << 30, RESERVE), (1 << 30) / 20);
        assert_eq!(reserve_of(1 << 50, RESERVE), 1 << 30);
    }

    #[test]
    fn a_disk_that_has_room_for_few_files_more_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let base = rustix::fs::statvfs(dir.path()).unwrap();
        let disk = |f_files, f_favail| StatVfs { f_files, f_favail, ..base };
        let (free, _) = of(&disk(6_000, 5_000));
        assert!(free > 0);
        assert_eq!((of(&disk(6_000, 300)).0, of(&disk(0, 0)).0), (0, free));
        assert_eq!((of(&disk(1 << 40, 100_000)).0, of(&disk(1 << 40, 100_001)).0), (0, free));
    }

    #[test]
    fn more_than_the_disk_has_is_refused_and_a_little_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = DiskReserve::default();
        assert_eq!(reserve.take(dir.path(), u64::MAX / 2), Err(Errno::NOSPC));
        assert_eq!(reserve.take(dir.path(), 1), Ok(()));
    }
}
