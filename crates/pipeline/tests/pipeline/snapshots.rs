//! Private copies: in memory as far as the session's share goes, then on the disk, and gone with the session.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use chaperone_pipeline::snapshots::Snapshots;
use chaperone_quota::{Descriptors, Quota, Used};

const MOST: u64 = 1 << 30;

fn file(bytes: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![b'x'; bytes]).unwrap();
    file
}

/// Only what is in memory can be sealed.
fn in_memory(file: &File) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(rustix::fs::SealFlags::WRITE))
}

#[test]
fn beyond_the_share_they_are_on_the_disk_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let quota = Quota::new(1 << 20, &Arc::new(Descriptors::of(1 << 20)));
    let snapshots = Snapshots::new(dir.path(), &quota);
    let from = file(300_000);
    let taken: Vec<_> = (0..20).map(|_| snapshots.take(&from, MOST).unwrap()).collect();
    assert_eq!(taken.iter().filter(|t| in_memory(&t.file)).count(), 3);
    assert!(taken.iter().all(|t| (t.sha256, t.len) == (taken[0].sha256, 300_000)));
    assert_eq!(quota.used(), Used { memory: 900_000, descriptors: 20 });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "they have no names");
    drop(taken);
    assert_eq!(quota.used(), Used::default());
}

#[test]
fn when_there_are_no_descriptors_left_it_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let quota = Quota::new(1 << 20, &Arc::new(Descriptors::of(64)));
    let snapshots = Snapshots::new(dir.path(), &quota);
    let from = file(10);
    let taken: Vec<_> = (0..).map_while(|_| snapshots.take(&from, MOST).ok()).collect();
    assert!((1..64).contains(&taken.len()));
    let refused = snapshots.take(&from, MOST).unwrap_err();
    assert_eq!(rustix::io::Errno::from_io_error(&refused), Some(rustix::io::Errno::NFILE));
}
