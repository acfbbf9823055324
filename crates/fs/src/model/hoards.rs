//! A program that hoards what it opens holds no more of the server than its session may.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chaperone_quota::{Descriptors, Quota, Used};

use super::gate::Policy;
use super::kernel::{Done, Kernel};
use crate::shared::{Options, Shared};
use crate::tree::Tree;

const ENOMEM: i32 = 12;

fn kernel(place: &Path, quota: &Arc<Quota>) -> Kernel {
    let docs = place.join("docs");
    let tree = Tree::open(&place.join("stage"), File::open(docs).unwrap().into(), quota).unwrap();
    let device = File::options().write(true).open("/dev/null").unwrap();
    let options = Options { uid: 0, gid: 0, write_back: false };
    Kernel::new(Arc::new(Shared::new(device, Arc::new(tree), Arc::new(Policy::new(true)), options).unwrap()))
}

/// As often as it goes; what came of it then.
fn hoard<T>(mut open: impl FnMut() -> Done<T>) -> (Vec<T>, i32) {
    let mut all = Vec::new();
    loop {
        match open() {
            Ok(one) => all.push(one),
            Err(errno) => return (all, errno),
        }
    }
}

fn docs(place: &Path, names: usize) {
    std::fs::create_dir(place.join("docs")).unwrap();
    for n in 0..names {
        std::fs::write(place.join(format!("docs/{n}")), "H").unwrap();
    }
    // Long enough ago that the next change shows.
    let before = SystemTime::now() - Duration::from_secs(60);
    File::open(place.join("docs")).unwrap().set_modified(before).unwrap();
}

#[test]
fn open_directories_of_the_same_names_are_one_listing() {
    let place = tempfile::tempdir().unwrap();
    docs(place.path(), 100);
    let quota = Quota::new(1 << 20, &Arc::new(Descriptors::of(1 << 20)));
    let kernel = kernel(place.path(), &quota);
    let one = kernel.open_dir("").unwrap();
    let memory = quota.used().memory;
    assert!(memory > 4_000);
    // Its change time, which nobody can set, is of this moment: it is no directory to be shared yet.
    let all: Vec<_> = (0..10).map(|_| kernel.open_dir("").unwrap()).collect();
    let folders = kernel.shared.folders.lock();
    assert!(folders.values().flatten().count() <= 11);
    drop(folders);
    all.into_iter().chain([one]).for_each(|handle| kernel.close_dir(handle));
    assert_eq!(quota.used(), Used::default());
}

#[test]
fn listings_and_their_memory_meet_the_share() {
    let place = tempfile::tempdir().unwrap();
    docs(place.path(), 200);
    let quota = Quota::new(1 << 20, &Arc::new(Descriptors::of(1024)));
    let kernel = kernel(place.path(), &quota);
    let (folders, errno) = hoard(|| kernel.open_dir(""));
    assert_eq!(errno, ENOMEM);
    assert!(quota.used().memory <= 1 << 20);
    folders.into_iter().for_each(|handle| kernel.close_dir(handle));
    drop(kernel);
    assert_eq!(quota.used(), Used::default());
}
