//! What a session hoards in its file system meets the session's own share, and is given back when it goes.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use chaperone_fs::Tree;
use chaperone_quota::{Descriptors, Quota, Used};
use rustix::io::Errno;

use self::let_through::{to_create, to_delete};

mod let_through;

fn tree(own: &Path, quota: &Arc<Quota>) -> Tree {
    let docs = own.join("docs");
    fs::create_dir_all(&docs).unwrap();
    fs::write(docs.join("notes.txt"), "harmless").unwrap();
    Tree::open(&own.join("stage"), File::open(&docs).unwrap().into(), quota).unwrap()
}

#[test]
fn names_are_counted_and_no_more_are_made_than_may_be() {
    let own = tempfile::tempdir().unwrap();
    let quota = Quota::new(64 << 10, &Arc::new(Descriptors::of(1 << 20)));
    let tree = tree(own.path(), &quota);
    let name = |n: usize| format!("{n}-{}", "x".repeat(200));
    let made = (0..)
        .take_while(|n| tree.create(&to_create(&tree.locate(&name(*n)).unwrap()), 0o644).is_ok())
        .count();
    assert!((50..300).contains(&made), "{made}");
    let refused = tree.create(&to_create(&tree.locate(&name(made)).unwrap()), 0o644);
    assert_eq!(refused.unwrap_err(), Errno::DQUOT);
    assert_eq!(
        fs::read_dir(own.path().join("stage/blobs")).unwrap().count(),
        made,
        "nothing is left of those refused"
    );
    for n in 0..made {
        tree.remove_file(&to_delete(&tree.locate(&name(n)).unwrap())).unwrap();
    }
    // The times of the directory that they were in.
    assert!(quota.used().memory <= 256, "{:?}", quota.used());
    drop(tree);
    assert_eq!(quota.used(), Used::default());
}

#[test]
fn open_files_are_a_share_of_the_descriptors() {
    let own = tempfile::tempdir().unwrap();
    // 6 of its own, and half of the 384 that are for all.
    let quota = Quota::new(1 << 20, &Arc::new(Descriptors::of(1024)));
    let tree = tree(own.path(), &quota);
    let mut open = Vec::new();
    let refused = loop {
        match tree.open_file("notes.txt") {
            Ok(file) => open.push(file),
            Err(e) => break e,
        }
    };
    assert_eq!((refused, open.len()), (Errno::NFILE, 6 + 192));
    open.pop();
    assert!(tree.open_file("notes.txt").is_ok());
    open.clear();
    drop(tree);
    assert_eq!(quota.used(), Used::default());
}
