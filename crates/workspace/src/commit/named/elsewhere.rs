//! What starts in the user's home and leads into the directory: their start-up files and settings, by links or by what they call.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::leads::Reader;
use super::names::{Names, meant, text};
use super::user::User;
use crate::directories::plain;
use crate::later::{self, Subject};
use crate::mount::LiveMount;

/// Entries of the home's listed places that are looked at; what is nearer to it comes first.
const MOST_ENTRIES: usize = 8_192;
/// Links that lead to each other, as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// How far links are looked for in the home, beyond the places that are listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub entries: usize,
    pub deep: usize,
    pub time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, deep: 16, time: Duration::from_secs(2) }
    }
}

pub(super) fn of_home(mount: &LiveMount, user: &User, reader: &mut Reader<'_>, names: &mut Names) {
    let Some(home) = &user.home else { return };
    reader.home();
    // What is listed comes first, so that a home with more than is looked at has that at least.
    let followed = of_listed(mount, home, reader, names);
    links_below(home, followed, Bounds::default(), names);
}

/// Links and start-up files at the places that are listed; the directories that are links to somewhere else.
fn of_listed(mount: &LiveMount, home: &Path, reader: &mut Reader<'_>, names: &mut Names) -> Vec<String> {
    let (mut left, mut todo) = (MOST_ENTRIES, VecDeque::from([String::new()]));
    let mut followed = Vec::new();
    while let Some(below) = todo.pop_front() {
        let Ok(entries) = std::fs::read_dir(home.join(&below)) else { continue };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = joined(&below, &name);
            let Ok(kind) = entry.file_type() else { continue };
            if left == 0 {
                return followed;
            }
            let is_linked = kind.is_symlink() && linked(&entry.path(), &path, names);
            if !kind.is_dir() {
                calls(mount, home, (&entry.path(), &path), reader, names);
            }
            if !kind.is_file() && !is_linked && later::is_home_of_settings(&path) {
                if kind.is_symlink() {
                    followed.push(path.clone());
                }
                todo.push_back(path);
            }
        }
    }
    followed
}

/// Every link below what has a dot in the home, wherever it is, that leads into the directory. Whether all of it was looked at.
pub(super) fn links_below(home: &Path, followed: Vec<String>, bounds: Bounds, names: &mut Names) -> bool {
    let until = Instant::now() + bounds.time;
    let (mut left, mut is_all) = (bounds.entries, true);
    let mut real_directories = RealDirectories::default();
    let real = |path: &str| Some((path.to_owned(), std::fs::canonicalize(home.join(path)).ok()?, 0));
    let starts = std::iter::once(String::new()).chain(followed);
    let mut todo: VecDeque<(String, PathBuf, usize)> = starts.filter_map(|path| real(&path)).collect();
    // The directory itself is looked at as what it is.
    todo.retain(|(_, at, _)| !names.is_in(at));
    while let Some((below, at, depth)) = todo.pop_front() {
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        for entry in entries.flatten() {
            let Some(rest) = left.checked_sub(1).filter(|_| Instant::now() < until) else { return false };
            left = rest;
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            if !kind.is_dir() && !kind.is_symlink()
                || below.is_empty() && !name.as_encoded_bytes().starts_with(b".")
            {
                continue;
            }
            let path = joined(&below, &name.to_string_lossy());
            if later::is_passed_over(&path) {
                continue;
            }
            if kind.is_symlink() {
                // Nearly all lead elsewhere, and a home has thousands.
                if !real_directories.is_elsewhere(&at, &entry.path(), names) {
                    linked(&entry.path(), &path, names);
                }
            } else if depth >= bounds.deep {
                is_all = false;
            } else if !names.is_in(&entry.path()) {
                todo.push_back((path, entry.path(), depth + 1));
            }
        }
    }
    is_all
}

/// Directories as they are without links, each asked for once.
#[derive(Default)]
struct RealDirectories(HashMap<PathBuf, Option<PathBuf>>);

impl RealDirectories {
    /// Whether a link in the directory `up`, which is a real one, evidently leads to something that is there, is no link itself,
    /// and is not in the directory that `names` are of. All others are to be looked at.
    fn is_elsewhere(&mut self, up: &Path, link: &Path, names: &Names) -> bool {
        let Ok(text) = std::fs::read_link(link) else { return false };
        let end = up.join(text);
        let (Some(directory), Some(name)) = (end.parent(), end.file_name()) else { return false };
        let real = match self.0.get(directory) {
            Some(real) => real,
            None => {
                let real = std::fs::canonicalize(directory).ok();
                &*self.0.entry(directory.to_owned()).or_insert(real)
            }
        };
        let Some(real) = real.as_ref().map(|real| real.join(name)) else { return false };
        let is_end = std::fs::symlink_metadata(&real).is_ok_and(|about| !about.is_symlink());
        is_end && !names.is_in(&real) && !names.is_in(&plain(&end))
    }
}

fn joined(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
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
    let places = led_to(at, names);
    if places.is_empty() {
        return false;
    }
    // What is not there yet may become either.
    let there = std::fs::metadata(at).ok();
    let (is_dir, is_file) = there.map_or((false, false), |there| (there.is_dir(), there.is_file()));
    let mut classes = later::classes(&Subject { path, holds: is_dir, content: None });
    let is_known = !classes.is_empty();
    if !is_known && later::is_settings_of_home(path) {
        classes.insert("settings");
    }
    for class in classes {
        for place in &places {
            if !is_dir {
                names.file(place.clone(), class);
            }
            if !is_file {
                match place.is_empty() {
                    true if is_known => names.whole(class),
                    _ => names.directory(place.clone(), class),
                }
            }
        }
    }
    true
}

/// Where a link leads in the directory, by every link on the way: whoever changes one of them changes where it leads.
fn led_to(at: &Path, names: &Names) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = at.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(text) = std::fs::read_link(&next) else { break };
        let up = next.parent().and_then(|up| std::fs::canonicalize(up).ok());
        next = up.unwrap_or_default().join(text);
        found.extend(names.places(&next));
        next = plain(&next);
    }
    if let Ok(end) = std::fs::canonicalize(at) {
        found.extend(names.places(&end));
    }
    found
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
