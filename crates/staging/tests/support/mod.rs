//! A user's tree, with a stage and a history beside it.

use std::fs;
use std::path::PathBuf;

pub struct Place {
    _folder: tempfile::TempDir,
    pub root: PathBuf,
    pub stage: PathBuf,
    pub history: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (root, stage, history) = (path("root"), path("stage"), path("history"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&stage).unwrap();
        Self { root, stage, history, _folder: folder }
    }
}
