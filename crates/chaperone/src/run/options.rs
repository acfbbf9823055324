//! What was asked for on the command line, as the broker takes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chaperone_config::profile;
use chaperone_protocol::AskMode;

use crate::cli::Ask;
use crate::report::Report;

pub fn workspace(named: Option<&Path>) -> Result<PathBuf, Report> {
    match named {
        Some(path) => std::path::absolute(path).map_err(Report::of),
        None => std::env::current_dir().map_err(|e| Report::new(format!("the current directory: {e}"))),
    }
}

pub fn mode(ask: Ask) -> AskMode {
    match ask {
        Ask::Wait => AskMode::Wait,
        Ask::Deny => AskMode::Deny,
        Ask::Redact => AskMode::Redact,
    }
}

pub fn timeout(text: &str) -> Result<u64, Report> {
    profile::seconds(text).filter(|s| *s > 0).ok_or_else(|| {
        Report::new(format!("invalid --ask-timeout {text:?}: expected a time such as 50s or 5m")).exit(2)
    })
}

/// Permission bits that the caller's files do not get, and the agent's neither.
pub fn umask() -> u32 {
    // It is read by setting it; this process has one thread.
    let own = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(own);
    own.as_raw_mode()
}

/// What the broker may pick from; only names, and values that are text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}
