//! How a session ended, for whoever waits for that. The file may lie where the agent puts things, too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts a new file in the place of what has the name, so that nothing is written through a link, or into a file that has another name
/// as well. Pipes and terminals are written to.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let there = fs::metadata(path).ok().map(|about| about.file_type());
    if there.is_some_and(|kind| !kind.is_file() && !kind.is_dir()) {
        return File::options().write(true).open(path)?.write_all(text.as_bytes());
    }
    if path.is_dir() && !path.is_symlink() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let new = path.with_file_name(format!(".chaperone-status-{}", std::process::id()));
    let written = File::create_new(&new).and_then(|mut file| file.write_all(text.as_bytes()));
    let put = written.and_then(|()| fs::rename(&new, path));
    if put.is_err() {
        fs::remove_file(&new).ok();
    }
    put
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_through_a_link_or_into_a_file_with_another_name() {
        let own = tempfile::tempdir().unwrap();
        let at = |name: &str| own.path().join(name);
        fs::write(at("important.csv"), "mine").unwrap();
        std::os::unix::fs::symlink("important.csv", at("link")).unwrap();
        fs::hard_link(at("important.csv"), at("hard")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        for name in ["link", "hard", "dangling", "new", "new"] {
            write(&at(name), "ended\n").unwrap();
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "ended\n", "{name}");
        }
        assert_eq!(fs::read_to_string(at("important.csv")).unwrap(), "mine");
        assert!(!at("nowhere").exists());
        assert!(write(own.path(), "x").is_err());
        write(Path::new("/dev/null"), "x").unwrap();
    }
}
