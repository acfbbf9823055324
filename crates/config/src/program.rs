//! Which build of the program this process runs.

use std::os::unix::fs::MetadataExt;

/// The version, and the executable file as the kernel knows it: one look, where a digest would read all of it at each start. An
/// upgrade is another file, and a running one is not written over. `None` where it cannot be looked at.
#[must_use]
pub fn build() -> Option<String> {
    let meta = std::fs::metadata("/proc/self/exe").ok()?;
    let file = [meta.dev(), meta.ino(), meta.len()].map(|n| n.to_string()).join(":");
    Some(format!("{} {file}:{}.{:09}", env!("CARGO_PKG_VERSION"), meta.mtime(), meta.mtime_nsec()))
}

/// What people call it.
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_the_same_for_each_of_its_processes() {
        let own = build().unwrap();
        assert!(own.starts_with(version()));
        assert_eq!(build().unwrap(), own);
    }
}
