//! Where a thread of the broker broke off. A broker has no terminal to say it on, and what it says must hold nothing of a request: so
//! the place in the program is written down, and never the words.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::PanicHookInfo;
use std::path::Path;

use parking_lot::Mutex;

use crate::clock;

/// The file in the directory of the state.
const NAME: &str = "faults.log";
/// Bytes that are written at most: a fault that repeats itself says nothing new.
const MOST: u64 = 64 << 10;

/// Write down where threads break off, from here on. Each is caught where it can be, and is a refusal.
pub fn remember_in(state: &Path) {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(state.join(NAME));
    // Without it the broker works as well, and says less when it breaks.
    let Ok(file) = opened else { return };
    let file = Mutex::new(file);
    std::panic::set_hook(Box::new(move |info| note(&mut file.lock(), info)));
}

fn note(file: &mut File, info: &PanicHookInfo<'_>) {
    if file.metadata().map_or(true, |meta| meta.len() > MOST) {
        return;
    }
    let place = info.location().map(|at| format!("{}:{}:{}", at.file(), at.line(), at.column()));
    let thread = std::thread::current();
    let (name, place) = (thread.name().unwrap_or("unnamed"), place.unwrap_or_default());
    // There is nobody left to tell that it could not be written.
    writeln!(file, "{} thread {name} broke off at {place}", clock::unix()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_fault_is_written_down_and_none_of_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let before = std::panic::take_hook();
        remember_in(dir.path());
        let ended = std::thread::Builder::new()
            .name("net".to_owned())
            .spawn(|| panic!("a secret of the request"))
            .unwrap()
            .join();
        std::panic::set_hook(before);
        assert!(ended.is_err());
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert!(text.contains("thread net broke off at") && text.contains("faults.rs:"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
