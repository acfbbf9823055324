//! What the tests of a cell share: the example `bare`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example beside the test's own binary; cargo builds it together with the tests.
pub fn bare() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/bare")
}

/// Whether a cell can be made here. Where CI could provide it, a skip is a failure.
pub fn can_launch(name: &str) -> bool {
    let tried = Command::new(bare()).arg("true").output();
    let why = match &tried {
        Ok(done) if done.status.code() != Some(125) => return true,
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(e) => e.to_string(),
    };
    println!("SKIPPED {name}: {}", why.trim());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name}: no cell can be made: {why}");
    false
}

pub fn program(name: &str) -> bool {
    Path::new("/usr/bin").join(name).exists()
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
