//! What starts in the user's home and leads into the directory: their start-up files and settings, by links or by what they call.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::leads::Reader;
use super::names::{Names, meant, text};
use super::user::User;
use crate::later::{self, Subject};
use crate::mount::LiveMount;

/// Entries of the home that are looked at; what is nearer to it comes first.
const MOST_ENTRIES: usize = 8_192;

pub(super) fn of_home(mount: &LiveMount, user: &User, reader: &mut Reader<'_>, names: &mut Names) {
    let Some(home) = &user.home else { return };
    reader.home();
    let (mut left, mut todo) = (MOST_ENTRIES, VecDeque::from([String::new()]));
    while let Some(below) = todo.pop_front() {
        let Ok(entries) = std::fs::read_dir(home.join(&below)) else { continue };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let Ok(kind) = entry.file_type() else { continue };
            if left == 0 {
                return;
            }
            let is_linked = kind.is_symlink() && linked(&entry.path(), &path, names);
            if !kind.is_dir() {
                calls(mount, home, (&entry.path(), &path), reader, names);
            }
            if !kind.is_file() && !is_linked && later::is_home_of_settings(&path) {
                todo.push_back(path);
            }
        }
    }
}

/// Links of the user's own directories of programs.
pub(super) fn of_programs(mount: &LiveMount, names: &mut Names) {
    for directory in &mount.programs {
        let is_own = directory.metadata().is_ok_and(|about| about.uid() != 0);
        let Ok(entries) =
            std::fs::read_dir(directory).map_err(drop).and_then(|e| if is_own { Ok(e) } else { Err(()) })
        else {
            continue;
        };
        for entry in entries.flatten().take(MOST_ENTRIES) {
            if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                continue;
            }
            for place in names.places(&entry.path()) {
                names.file(place, later::PROGRAMS);
            }
        }
    }
}

/// Whether a link leads into the directory; what it leads to is then what the link is.
fn linked(at: &Path, path: &str, names: &mut Names) -> bool {
    let Ok(end) = std::fs::canonicalize(at) else { return false };
    let places = names.places(&end);
    if places.is_empty() {
        return false;
    }
    let holds = end.is_dir();
    let mut classes = later::classes(&Subject { path, holds, content: None });
    if classes.is_empty() && later::is_settings_of_home(path) {
        classes.insert("settings");
    }
    for class in classes {
        for place in &places {
            if holds {
                names.directory(place.clone(), class);
            } else {
                names.file(place.clone(), class);
            }
        }
    }
    true
}

/// What instructions take in; start-up files that the table of those that name something does not know are read as shells' are.
fn calls(
    mount: &LiveMount,
    home: &Path,
    (at, path): (&PathBuf, &str),
    reader: &mut Reader<'_>,
    names: &mut Names,
) {
    let classes = later::classes(&Subject { path, holds: false, content: None });
    if classes.contains("startup") {
        later::of_shells().into_iter().for_each(|leads| reader.file_of_home(at, leads));
    } else if classes.contains("agent") {
        let Some(text) = text(mount, at) else { return };
        for word in later::imports(&text) {
            let places = meant(Some(home), home, &word).map(|at| names.places(&at)).unwrap_or_default();
            // The directory itself is where the user works.
            for place in places.into_iter().filter(|place| !place.is_empty() && word.contains('/')) {
                names.file(place, "agent");
            }
        }
    }
}
