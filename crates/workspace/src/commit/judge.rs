//! One staged change on its way to the user's directory: its facts, what its format's validators say, and the decision.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource};
use chaperone_pipeline::inspection::Restored;
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_pipeline::{Authorized, Pipeline, Session};
use chaperone_quota::HeldFile;
use chaperone_staging::{Change, Kind, Op};
use serde_json::{Map, Value, json};

use super::beside::Beside;
use super::link::NoEnd;
use super::looked;
use super::named::Named;
use super::operation;
use super::option;
use super::own;
use super::repository;
use crate::later::{self, Subject};
use crate::mount::LiveMount;

/// Bytes of the beginning of a file that facts are read from.
const HEAD: usize = 4096;
/// Objects in a directory that moves of which each is looked at.
const MOST_MOVED: usize = 20_000;
/// Confidence from which a value in a name counts.
const SURE: f32 = 0.85;

/// Who commits. What policy would ask about needs the user to name exactly that path; the rest stays staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOrigin {
    User,
    Profile,
}

/// One change through the pipeline: what was granted, or the reasons against it. Of a `rehearsal` nothing is granted or recorded.
pub(super) fn judge(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    change: &Change,
    (content, back): (Option<&File>, &Restored),
    (by, word, beside, rehearsal): (CommitOrigin, &UsersWord<'_>, Beside<'_>, bool),
) -> Result<Option<Authorized>, Vec<String>> {
    let mut head = vec![0u8; HEAD];
    let have = match content.map(|c| c.read_at(&mut head, 0)).transpose() {
        Ok(n) => n.unwrap_or(0),
        Err(_) => return Err(vec!["content_unreadable".into()]),
    };
    head.truncate(have);
    let facts = chaperone_staging::facts(change, &head);
    let mut about = json!(facts);
    if let Value::Object(map) = &mut about {
        map.insert("op".into(), json!(change.op));
        map.insert("kind".into(), json!(change.kind));
        map.extend(removal(change, &beside));
        map.insert("removals_in_commit".into(), json!(beside.removals));
        map.insert("by".into(), json!(if by == CommitOrigin::User { "user" } else { "profile" }));
        if change.op == Op::Rename {
            // Without new content it is the user's own that gets another place.
            map.insert("origin_known".into(), json!(change.blob.is_none()));
            let is_taken = change.kind == Kind::File && own::open(mount, &change.path).is_some();
            map.insert("replaces".into(), json!(change.replaces.is_some() || is_taken));
        }
        if change.op == Op::Rename || change.same_as.is_some() || change.origin.is_some() {
            let leaves = leaves_protection(pipeline, session, mount, (change, content));
            map.insert("leaves_protection".into(), json!(leaves));
        }
        if matches!(change.op, Op::Create | Op::Rename) {
            map.insert("name_findings".into(), json!(in_name(pipeline, &change.path)));
            map.insert("option_name".into(), json!(option::is_new(mount, &change.path, beside.brings)));
        }
        let is_program = change.kind == Kind::File && change.op != Op::Delete && change.mode & 0o111 != 0;
        let is_other =
            change.blob.is_some() || change.op == Op::Rename && map.get("replaces") == Some(&json!(true));
        map.insert("program_changed".into(), json!(is_program && is_other));
        let named = beside.others.as_git(&change.path);
        if *named != *change.path {
            map.insert("git_path".into(), json!(mount.absolute(&named)));
        }
        map.insert("state_held".into(), json!(beside.operations.holds(&named)));
        map.insert(
            "state_inert".into(),
            json!(content.is_some_and(|file| operation::is_inert(change, &named, file))),
        );
        map.insert("repository_lost".into(), json!(beside.lost.has(change)));
        map.insert("removes_guard".into(), json!(beside.guards.goes(change)));
        other_names(map, pipeline, session, mount, (change, &beside));
        let placeholders = &back.report;
        map.insert("foreign_placeholders".into(), json!(placeholders.foreign));
        map.insert("damaged_placeholders".into(), json!(placeholders.damaged));
        let is_open = opens(pipeline, session, mount, (change, back.file.as_deref()));
        map.insert("exposed_placeholders".into(), json!(placeholders.exposed.max(is_open.into())));
        beside.dependencies.add(map, mount, change, content);
        let look = |file: &File, name: &str| pipeline.inspection.effects(file, name);
        looked::add(
            map,
            &looked::Looked { mount, change, content, head: &head, beside: &beside, look: &look },
        );
    }
    let file = match content.map(File::try_clone).transpose() {
        Ok(file) => file.map(|file| Arc::new(HeldFile::uncounted(file))),
        Err(_) => return Err(vec!["content_unreadable".into()]),
    };
    let object = FileObject {
        kind: match (change.op, change.kind) {
            (Op::Delete, _) => ObjectKind::Absent,
            (_, Kind::File) => ObjectKind::File,
            (_, Kind::Dir) => ObjectKind::Dir,
            (_, Kind::Symlink) => ObjectKind::Symlink,
        },
        size: change.size,
        mtime_ns: change.mtime_ns,
        staged: true,
        ..FileObject::ABSENT
    };
    let resource = Resource::File(FileResource {
        origin: change.from.as_ref().map(|f| mount.absolute(f)),
        content: file.is_some(),
        file,
        before: before(mount, change),
        verbatim: true,
        change: Some(about),
        ..FileResource::named(mount.absolute(&change.path), object)
    });
    let request = AccessRequest { action: Action::Commit, resource, entry: Entry::Commit, pid: None };
    if rehearsal {
        return pipeline.would_commit(session, request, word).map(|()| None).map_err(|r| r.reasons);
    }
    pipeline.commit(session, request, word).map(Some).map_err(|refusal| refusal.reasons)
}

/// The user's own version of a file that a change replaces, in its place or under another name.
fn before(mount: &LiveMount, change: &Change) -> Option<Arc<HeldFile>> {
    let path = match change.op {
        Op::Modify => &change.path,
        Op::Rename => change.from.as_ref().filter(|_| change.blob.is_some())?,
        _ => return None,
    };
    let file = own::open(mount, path)?;
    Some(Arc::new(HeldFile::uncounted(file)))
}

/// What is known better of what the change takes away than by its sizes.
fn removal(change: &Change, beside: &Beside<'_>) -> Option<(String, Value)> {
    let stays = beside.tidied.has(change) || beside.moves;
    (stays || beside.ruins).then(|| ("removes".to_owned(), json!(!stays)))
}

/// Whether the new place takes something out of a rule that protects it from being read: the file itself, however it came there, or one
/// in a directory that moves.
fn leaves_protection(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    (change, content): (&Change, Option<&File>),
) -> bool {
    let other_name = change.same_as.as_ref().map(|same| &same.path);
    let froms = [change.from.as_ref(), other_name, change.origin.as_ref()];
    let mut froms = froms.into_iter().flatten().filter(|from| **from != change.path);
    froms.any(|from| {
        let loosens = |below: &str| {
            let at = |path: &str| mount.absolute(&format!("{path}{below}"));
            let held = || match content {
                Some(content) => content.try_clone().ok(),
                None if change.kind == Kind::Dir && below.is_empty() => nothing(),
                None => own::open(mount, &format!("{from}{below}")),
            };
            pipeline.loosens(session, &at(from), &at(&change.path), &held)
        };
        if loosens("") {
            return true;
        }
        if change.kind != Kind::Dir {
            return false;
        }
        // What cannot be listed, or is more than can be looked at, may hold what is protected.
        match crate::overlay::names_below(&mount.root, from, MOST_MOVED) {
            Ok(Some(names)) => names.iter().any(|name| loosens(&format!("/{name}"))),
            Ok(None) | Err(_) => true,
        }
    })
}

/// Whether a file that got its values back may be read more freely than the one that they are from.
fn opens(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    (change, restored): (&Change, Option<&HeldFile>),
) -> bool {
    let from = change.from.as_ref().unwrap_or(&change.path);
    // Without the one they are from, nothing was put back.
    let (Some(after), Some(before)) = (restored, own::open(mount, from)) else { return false };
    pipeline.opens(session, (&mount.absolute(from), &before), (&mount.absolute(&change.path), after))
}

/// A file without content: what only names can say of what has none.
fn nothing() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Whether a link stays in its directory of dependencies, or leads to what the system or the workspace itself has at its own place.
fn where_it_leads(
    about: &mut Map<String, Value>,
    mount: &LiveMount,
    (change, target, end): (&Change, &str, Option<&str>),
) {
    let around = super::dependencies::around(mount, change).map(|(at, _)| Path::new(at));
    let stays = around.zip(end).is_some_and(|(around, end)| Path::new(end).starts_with(around));
    about.insert("link_in_dependencies".into(), json!(stays));
    let is_own = end.is_some() && Path::new(target).starts_with(&mount.source);
    about.insert("link_to_system".into(), json!(is_own || later::is_of_the_system(target)));
}

/// Facts about what a link, symbolic or a hard one, gives another name to.
fn other_names(
    map: &mut Map<String, Value>,
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    (change, beside): (&Change, &Beside<'_>),
) {
    if change.op != Op::Delete
        && let Some(target) = &change.target
    {
        let followed = beside.links.follow(mount, &change.path, target);
        map.insert("link_leaves_by_another".into(), json!(followed == Err(NoEnd::OnTheWay)));
        let end = followed.ok();
        where_it_leads(map, mount, (change, target, end.as_deref()));
        led_to(map, pipeline, session, mount, (change, end, beside.named));
    }
    if let Some(same) = change.same_as.as_ref().filter(|same| same.version.is_some()) {
        another_name(map, mount, (&change.path, &same.path), beside.named);
    }
}

/// What one more name of a file of the user's gives a name to: whoever writes to it in place writes there. In a repository git gives its
/// own objects several.
fn another_name(about: &mut Map<String, Value>, mount: &LiveMount, (path, own): (&str, &str), named: &Named) {
    let is_new_in_kind = repository::holds(mount, own) && !repository::holds(mount, path);
    about.insert("link_in_repository".into(), json!(is_new_in_kind));
    about.insert("link_runs_later".into(), json!(classes_of(own, false, named)));
}

/// The classes of what has this name already.
fn classes_of(path: &str, holds: bool, named: &Named) -> BTreeSet<&'static str> {
    let mut classes = later::classes(&Subject { path, holds, content: None });
    classes.extend(named.classes(path, holds));
    classes
}

/// Facts about what a link leads to, under its own name: it is written there, and read from there.
fn led_to(
    about: &mut Map<String, Value>,
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    (change, end, named): (&Change, Option<String>, &Named),
) {
    let Some(end) = end else { return };
    let is_file = own::open(mount, &end).is_some();
    // Of a directory, also by what is in it.
    let loosens = |below: &str| {
        let at = |path: &str| mount.absolute(&format!("{path}{below}"));
        // Whoever reads through a link reads what is at its end, under the name there.
        pipeline.loosens(session, &at(&end), &at(&change.path), &nothing)
    };
    about.insert("link_in_repository".into(), json!(repository::holds(mount, &end)));
    about.insert("link_runs_later".into(), json!(classes_of(&end, !is_file, named)));
    about.insert("link_unprotects".into(), json!(loosens("") || !is_file && loosens("/x")));
}

/// Categories of what the new name itself carries. A name has no context, so only what is sure counts.
fn in_name(pipeline: &Pipeline, path: &str) -> BTreeSet<String> {
    let detectors = pipeline.outgoing.detectors();
    chaperone_inspect::scan(detectors, path.as_bytes())
        .into_iter()
        .filter(|found| found.confidence >= SURE)
        .map(|found| detectors.info(found.detector).category.clone())
        .collect()
}
