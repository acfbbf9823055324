//! What a change brings, looked at by what it is: facts for policy. What runs later, what reaches out, what is compiled; and what
//! of it the directory does not have already.

use std::collections::BTreeSet;
use std::fs::File;

use chaperone_inspect::document::{self, Reach};
use chaperone_staging::{Change, Kind, Op};
use serde_json::{Map, Value, json};

use super::beside::Beside;
use super::own::{HEAD, Look, effects, open, read};
use super::{checkout, git, index, module, own, refs};
use crate::later::{self, Folder, Subject};
use crate::mount::LiveMount;

/// Bytes of a file that may fetch something that are looked at, and of each stretch that are in the next one, too.
const MOST_LOADING: u64 = 512 << 20;
const OVERLAP: usize = 64 << 10;
/// Longest interpreter line that is compared.
const SHEBANG: usize = 256;

pub(super) struct Looked<'a> {
    pub mount: &'a LiveMount,
    pub change: &'a Change,
    pub content: Option<&'a File>,
    pub head: &'a [u8],
    pub beside: &'a Beside<'a>,
    pub look: Look<'a>,
}

pub(super) fn add(about: &mut Map<String, Value>, looked: &Looked<'_>) {
    let Looked { mount, change, .. } = *looked;
    if change.op == Op::Delete {
        return;
    }
    // Without content of its own it is the user's file that gets another name, and with it another meaning.
    let before = change.from.as_deref().unwrap_or(&change.path);
    let moved = (change.op == Op::Rename && change.kind == Kind::File && looked.content.is_none())
        .then(|| open(mount, before));
    let moved = moved.flatten();
    let content = looked.content.or(moved.as_ref());
    let head = match &moved {
        Some(file) => read(file, HEAD).unwrap_or_default(),
        None => looked.head.to_vec(),
    };
    let in_checkout = checkout::holds(mount, &change.path);
    about.insert("in_checkout".into(), json!(in_checkout));
    runs_later(about, looked, content);
    let Some(content) = content else { return };
    data_of_git(about, looked, content, before);
    let folder = module::At { mount, brings: looked.beside.brings };
    if change.op != Op::Modify && open(mount, &change.path).is_none() {
        about.insert("shadows_library".into(), json!(later::shadows_library(&change.path, &folder)));
    }
    let compiled = later::compiled(&change.path, &head, &|path: &str| folder.has(path));
    let is_kept = |compiled| compiled == later::Compiled::Cache && looked.beside.tracked.has(&change.path);
    let compiled = compiled.map(|kind| if is_kept(kind) { later::Compiled::Code } else { kind });
    about.insert("compiled".into(), json!(compiled.map(later::Compiled::as_str)));
    if head.starts_with(b"#!") {
        let was = open(mount, before).and_then(|file| read(&file, SHEBANG)).unwrap_or_default();
        let changed = shebang(&was).is_some_and(|was| shebang(&head) != Some(was));
        about.insert("shebang_changed".into(), json!(changed));
    }
    let now = effects(looked.look, &change.path, content);
    if let Some(code) = &now.refusal {
        about.insert("workbook_refusal".into(), json!(code));
    }
    if let Some(cells) = now.formula_cells {
        about.insert("formula_cells".into(), json!(cells));
    }
    if let Some(now) = now.reach {
        let is_page = document::kind(&change.path, &head).is_some_and(document::Kind::is_page);
        reaches(about, looked, (&now, is_page), before, in_checkout);
    }
    fetched(about, looked, content, before, in_checkout);
}

/// What the program of a file's kind fetches when it opens it, that it did not fetch for the user's own version.
fn fetched(
    about: &mut Map<String, Value>,
    looked: &Looked<'_>,
    content: &File,
    before: &str,
    in_checkout: bool,
) {
    let Looked { mount, change, look, .. } = *looked;
    let Some(now) = loads(&change.path, content) else {
        about.insert("cannot_look".into(), json!(true));
        return;
    };
    if now.is_empty() {
        return;
    }
    let then = open(mount, before).and_then(|file| loads(before, &file)).unwrap_or_default();
    let known = if in_checkout { checkout::hosts(look, mount, &change.path) } else { Default::default() };
    let new = now.iter().filter(|host| !then.contains(*host));
    let count = |about: &Map<String, Value>, fact: &str| about.get(fact).and_then(Value::as_u64).unwrap_or(0);
    let (all, hosts) = (new.clone().count() as u64, new.filter(|host| !known.contains(*host)).count() as u64);
    let sum = (count(about, "remote_content") + all, count(about, "remote_hosts") + hosts);
    about.insert("remote_content".into(), json!(sum.0));
    if in_checkout {
        about.insert("remote_hosts".into(), json!(sum.1));
    }
}

/// The hosts that a file of a kind that fetches names, read in stretches that overlap; nothing when it cannot be read to its end.
fn loads(path: &str, file: &File) -> Option<BTreeSet<String>> {
    if !later::may_load(path) {
        return Some(BTreeSet::new());
    }
    let length = file.metadata().ok()?.len();
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < length.min(MOST_LOADING) {
        let stretch = own::read_from(file, at, later::LOADS_BYTES)?;
        found.extend(later::loads(path, &stretch));
        at += (later::LOADS_BYTES - OVERLAP) as u64;
    }
    (length <= MOST_LOADING).then_some(found)
}

/// Whether git would show something else than there is, or nothing.
fn data_of_git(about: &mut Map<String, Value>, looked: &Looked<'_>, content: &File, before: &str) {
    let Looked { mount, change, beside, .. } = *looked;
    let path = &*beside.others.as_git(&change.path);
    if (git::is_settings(path) || git::may_be_settings(&change.path)) && change.op == Op::Create {
        about.insert(
            "settings_plain".into(),
            json!(read_whole(content).is_some_and(|now| later::are_plain(&now))),
        );
    }
    if git::may_be_settings(&change.path) {
        let is_none = read_whole(content).is_some_and(|now| !git::has_section(&now));
        about.insert("no_git_settings".into(), json!(is_none));
    }
    about.insert("sample_hook".into(), json!(git::is_sample(&change.path, content)));
    if git::is_settings(path) && change.op != Op::Create {
        let then = open(mount, before).and_then(|file| read_whole(&file));
        let harmless =
            then.zip(read_whole(content)).is_some_and(|(then, now)| later::differ_harmlessly(&then, &now));
        about.insert("settings_inert".into(), json!(harmless && before == change.path));
    }
    if git::may_hide(path) {
        let then = open(mount, before).and_then(|file| read_whole(&file)).unwrap_or_default();
        // What is too large to be looked at is not taken for harmless.
        let hides = read_whole(content).is_none_or(|now| git::hides_more(path, &now, &then));
        about.insert("hides_from_git".into(), json!(hides));
    }
    if git::may_cut(path) {
        about.insert("hides_from_git".into(), json!(beside.objects.cuts(&change.path, content)));
    }
    if let Some(unsound) = beside.objects.is_unsound(change, content) {
        about.insert("hides_from_git".into(), json!(unsound));
    }
    if refs::takes_a_name((mount, beside.others), path, content, change.op) {
        about.insert("hides_from_git".into(), json!(true));
    }
    if beside.objects.names_nothing(&change.path, content) {
        about.insert("repository_lost".into(), json!(true));
    }
}

fn read_whole(file: &File) -> Option<Vec<u8>> {
    let fits = file.metadata().is_ok_and(|m| m.len() <= index::LARGEST);
    fits.then(|| read(file, index::LARGEST as usize)).flatten()
}

fn runs_later(about: &mut Map<String, Value>, looked: &Looked<'_>, content: Option<&File>) {
    let Looked { mount, change, .. } = *looked;
    let holds = change.kind == Kind::Symlink || change.kind == Kind::Dir && change.op == Op::Rename;
    if change.kind == Kind::Dir && !holds {
        return;
    }
    // A part of it could leave out what matters.
    let small = content.and_then(|file| read(file, later::SETTINGS_BYTES + 1));
    let small = small.filter(|bytes| bytes.len() <= later::SETTINGS_BYTES);
    let mut classes = later::classes(&Subject { path: &change.path, holds, content: small.as_deref() });
    classes.extend(looked.beside.named.classes(&change.path, holds));
    if looked.beside.named.is_program(change) {
        classes.insert(later::PROGRAMS);
    }
    let folder = module::At { mount, brings: looked.beside.brings };
    classes.extend(later::of_extension(&change.path, &|path: &str| folder.has(path)));
    if classes.contains("build") || classes.contains("dependencies") {
        let was =
            open(mount, &change.path).and_then(|file| read(&file, later::SOURCE_BYTES)).unwrap_or_default();
        let is = content.and_then(|file| read(file, later::SOURCE_BYTES));
        // A link takes it from wherever it leads.
        about.insert("new_sources".into(), json!(is.map_or(1, |is| later::new_sources(&was, &is))));
        about.insert("kind_known".into(), json!(checkout::knows(mount, "build", &change.path)));
    }
    about.insert("runs_later".into(), json!(classes));
}

/// What a document loads and runs that the user's own version of it does not.
fn reaches(
    about: &mut Map<String, Value>,
    looked: &Looked<'_>,
    (now, is_page): (&Reach, bool),
    before: &str,
    in_checkout: bool,
) {
    let Looked { mount, change, look, .. } = *looked;
    // Of a moved file by its old name: what no viewer loaded anything for then reached for nothing.
    let then = open(mount, before).and_then(|file| effects(look, before, &file).reach).unwrap_or_default();
    let loads = now.loads.difference(&then.loads).count();
    about.insert("remote_content".into(), json!(loads));
    about.insert("active_content".into(), json!(now.active.difference(&then.active).count()));
    about.insert("active_page".into(), json!(is_page));
    about.insert("cannot_look".into(), json!(now.unseen && !then.unseen));
    if in_checkout && loads > 0 {
        let known = checkout::hosts(look, mount, &change.path);
        let new =
            now.hosts().into_iter().filter(|host| !then.hosts().contains(host) && !known.contains(host));
        about.insert("remote_hosts".into(), json!(new.count()));
    }
}

fn shebang(head: &[u8]) -> Option<&[u8]> {
    head.strip_prefix(b"#!").map(|rest| rest.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii())
}

#[cfg(test)]
pub(super) mod tests;
