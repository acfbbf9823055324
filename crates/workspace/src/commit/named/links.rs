//! What within the directory is something else by another name: what links there lead to, and what instructions for agents take in.

use std::collections::VecDeque;
use std::path::Path;

use chaperone_protocol::{name_as_text, native};
use rustix::fs::{Dir, FileType, OFlags};

use super::super::link::Links;
use super::super::own;
use super::leads::Reader;
use super::names::{Names, meant, text};
use super::user::User;
use crate::later::{self, Subject};
use crate::mount::LiveMount;
use crate::overlay;

/// Names of the directory that are looked at; what is nearer to its top comes first.
const MOST_NAMES: usize = 200_000;
/// Files of instructions that are read.
const MOST_INSTRUCTIONS: usize = 64;

pub(super) fn within(
    mount: &LiveMount,
    links: &Links,
    user: &User,
    reader: &mut Reader<'_>,
    names: &mut Names,
) {
    let (mut left, mut todo) = (MOST_NAMES, VecDeque::from([String::new()]));
    let mut instructions = VecDeque::new();
    while let Some(below) = todo.pop_front() {
        let fd = overlay::open(&mount.root, &below, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(entries) = fd.and_then(Dir::read_from) else { continue };
        for entry in entries.flatten() {
            let name = &*name_as_text(entry.file_name().to_bytes());
            if matches!(name, "." | ".." | ".git") {
                continue;
            }
            let Some(rest) = left.checked_sub(1) else { return import(mount, user, instructions, names) };
            left = rest;
            let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            if let Some(leads) = later::of_directory(&path) {
                reader.file(&path, leads);
            }
            match entry.file_type() {
                FileType::Directory if later::dependencies(&path, true).is_none() => todo.push_back(path),
                FileType::Symlink => link(mount, links, &path, names),
                _ if is_instruction(&path) => instructions.push_back(path),
                _ => {}
            }
        }
    }
    import(mount, user, instructions, names);
}

/// What lies at the top.
pub(super) fn at_top(mount: &LiveMount) -> Vec<String> {
    overlay::names(&mount.root, "").take(MOST_NAMES).collect()
}

fn is_instruction(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let has_ending =
        name.rsplit_once('.').is_some_and(|(_, ending)| matches!(&*ending.to_lowercase(), "md" | "mdc"));
    has_ending && later::classes(&Subject { path, ..Subject::default() }).contains("agent")
}

fn link(mount: &LiveMount, links: &Links, path: &str, names: &mut Names) {
    let Some(end) = links.text(mount, path).and_then(|text| links.end(mount, path, &text)) else { return };
    let holds = own::open(mount, &end).is_none();
    for class in later::classes(&Subject { path, holds, content: None }) {
        // In a checkout a build is code like any other.
        if matches!(class, "build" | "dependencies" | "packages") {
            continue;
        }
        if holds {
            names.directory(end.clone(), class);
        } else {
            names.file(end.clone(), class);
        }
    }
}

/// What instructions take in with `@path`, and that again.
fn import(mount: &LiveMount, user: &User, mut todo: VecDeque<String>, names: &mut Names) {
    let mut seen = std::collections::HashSet::new();
    while let Some(path) = todo.pop_front() {
        if seen.len() >= MOST_INSTRUCTIONS || !seen.insert(path.clone()) {
            continue;
        }
        let at = mount.source.join(&*native(&path));
        let Some(text) = text(mount, &at) else { continue };
        for word in later::imports(&text) {
            let from = at.parent().unwrap_or(Path::new("/"));
            let Some(end) = meant(user.home.as_deref(), from, &word) else { continue };
            for place in names.places(&end).into_iter().filter(|place| !place.is_empty()) {
                names.file(place.clone(), "agent");
                todo.push_back(place);
            }
        }
    }
}
