//! Staged changes on their way to the person's folder: each is a deed of its own, with its content, its facts and
//! what the format's validators say.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use chaperone_staging::{Change, Choice, Entry, Kind, Op, Report, Tree as Stage, Undo, Verdict};
use serde_json::{Value, json};

use crate::lifecycle;
use crate::pipeline::{Deed, Done, Object, ObjectKind};
use crate::server::Broker;
use crate::session::{LiveMount, Session};
use crate::wire::Failure;

/// Bytes of the beginning of a file that facts are read from.
const HEAD: usize = 4096;
/// Confidence from which a value in a name counts.
const SURE: f32 = 0.85;

/// Who commits. What policy would ask about needs the person to name exactly that path; the rest stays staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Person,
    Profile,
}

/// The staged changes of a session, as `changes --json` prints them.
///
/// # Errors
/// When the stage cannot be read.
pub fn changes(session: &Session, diff: bool) -> Result<Vec<Value>, Failure> {
    let mut shown: Vec<Value> = bring_up_to_date(session)?
        .iter()
        .map(|(mount, name)| {
            json!({ "path": shown_path(mount, name), "op": Op::Create, "from": null, "size": 0, "sha256": null,
                    "state": "refused", "reasons": ["cannot_be_staged"] })
        })
        .collect();
    for mount in &session.mounts {
        let changes = staged(mount)?;
        let entries = stage(mount)?.staged(&changes).map_err(failure)?;
        for (entry, change) in entries.iter().zip(&changes) {
            let mut value = entry_json(mount, entry);
            if diff && let Value::Object(map) = &mut value {
                map.insert("diff".into(), json!(crate::difference::of(mount, change)));
            }
            shown.push(value);
        }
    }
    Ok(shown)
}

/// Commit what was staged at `paths` (all when empty).
///
/// # Errors
/// When the stage or the folder cannot be used; a single path's refusal is in the report.
pub fn commit(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    paths: &[String],
    choice: Option<&str>,
    by: By,
) -> Result<Vec<Value>, Failure> {
    bring_up_to_date(session)?;
    let mut shown = Vec::new();
    for mount in &session.mounts {
        let version = mount.tree.as_ref().map(|tree| tree.version());
        let changes: Vec<Change> = staged(mount)?.into_iter().filter(|c| chosen(mount, c, paths)).collect();
        if changes.is_empty() {
            continue;
        }
        let stage = stage(mount)?;
        let mut intents = Vec::new();
        let mut judge = |change: &Change, content: Option<&File>| {
            // What policy would ask about is settled by the person naming exactly that path.
            let named = by == By::Person
                && paths.iter().any(|p| relative(mount, p).as_deref() == Some(&*change.path));
            match judge(broker, session, mount, change, content, (by, named)) {
                Ok(intent) => {
                    intents.push((change.path.clone(), intent));
                    Verdict::Commit
                }
                Err(reasons) => Verdict::Refuse { reasons },
            }
        };
        let mut report = stage.commit(&changes, &mut judge).map_err(failure)?;
        if let Some(choice) = choice {
            resolve(&stage, &mut report, &changes, choice, &mut judge)?;
        }
        let settled: Vec<String> = report
            .entries
            .iter()
            .filter(|e| e.state == chaperone_staging::State::Committed)
            .flat_map(|e| std::iter::once(e.path.clone()).chain(e.from.clone()))
            .collect();
        for (path, intent) in intents {
            let ok = report.entry(&path).is_some_and(|e| e.state == chaperone_staging::State::Committed);
            let size = report.entry(&path).map_or(0, |e| e.size);
            let absolute = absolute(mount, &path);
            broker.pipeline.outcome(
                session,
                &Done { intent, action: "commit", path: &absolute, ok, bytes: size, detail: None },
            )?;
        }
        if let (Some(tree), Some(version)) = (&mount.tree, version) {
            let failed = |e: std::io::Error| Failure::new("stage_unavailable", e.to_string());
            if let Some(overlay) = &mount.overlay {
                overlay.committed(&mount.root, &settled).map_err(failed)?;
            }
            tree.committed(&settled, version).map_err(|e| failed(e.into()))?;
        }
        refresh(session, mount, &settled);
        shown.extend(report.entries.iter().map(|e| entry_json(mount, e)));
    }
    Ok(shown)
}

/// Throw staged changes away.
///
/// # Errors
/// When the stage cannot be written.
pub fn discard(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    paths: &[String],
) -> Result<Vec<Value>, Failure> {
    let mut shown = Vec::new();
    for mount in &session.mounts {
        let Some(tree) = &mount.tree else { continue };
        let version = tree.version();
        let gone: Vec<Change> = staged(mount)?.into_iter().filter(|c| chosen(mount, c, paths)).collect();
        let names: Vec<String> =
            gone.iter().flat_map(|c| std::iter::once(c.path.clone()).chain(c.from.clone())).collect();
        broker.pipeline.records.event(
            session,
            "discard",
            &mount.at,
            &json!({ "paths": names }),
            chaperone_audit::Durability::Synced,
        )?;
        let changed =
            tree.discard(&names, version).map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
        refresh(session, mount, &names);
        for change in gone.into_iter().filter(|change| !changed.contains(&change.path)) {
            shown.push(json!({ "path": shown_path(mount, &change.path), "op": change.op,
                "from": change.from.as_ref().map(|f| shown_path(mount, f)),
                "size": change.size, "sha256": null, "state": "discarded", "reasons": [] }));
        }
    }
    Ok(shown)
}

/// Take commits back.
///
/// # Errors
/// When the history cannot be used; a single path's conflict is in the report.
pub fn undo(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    commit: Option<u64>,
    paths: &[String],
    force: bool,
) -> Result<Vec<Value>, Failure> {
    let mut shown = Vec::new();
    for mount in &session.mounts {
        let wanted: Vec<String> = paths.iter().filter_map(|p| relative(mount, p)).collect();
        if !paths.is_empty() && wanted.is_empty() {
            continue;
        }
        let which = Undo { commit, paths: (!paths.is_empty()).then_some(wanted) };
        broker.pipeline.records.event(
            session,
            "undo",
            &mount.at,
            &json!({ "commit": commit, "paths": which.paths, "force": force }),
            chaperone_audit::Durability::Synced,
        )?;
        let report = match stage(mount)?.undo(&which, force) {
            Ok(report) => report,
            // Another mount of the session may have the commit.
            Err(_) if session.mounts.len() > 1 && commit.is_some() => continue,
            Err(e) => return Err(failure(e)),
        };
        let touched: Vec<String> = report.entries.iter().map(|e| e.path.clone()).collect();
        refresh(session, mount, &touched);
        shown.extend(report.entries.iter().map(|e| entry_json(mount, e)));
    }
    Ok(shown)
}

/// One change through the pipeline: `Ok` with its intent, or the reasons against it.
fn judge(
    broker: &Arc<Broker>,
    session: &Arc<Session>,
    mount: &LiveMount,
    change: &Change,
    content: Option<&File>,
    (by, named): (By, bool),
) -> Result<u64, Vec<String>> {
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
        map.insert("by".into(), json!(if by == By::Person { "person" } else { "profile" }));
        if change.op == Op::Rename {
            // Without new content it is the person's own that gets another place.
            map.insert("origin_known".into(), json!(change.blob.is_none()));
            map.insert("replaces".into(), json!(change.replaces.is_some()));
        }
        if matches!(change.op, Op::Create | Op::Rename) {
            map.insert("name_findings".into(), json!(in_name(broker, &change.path)));
        }
        if let Some(content) = content {
            validate(map, &change.path, &facts.type_by_magic, content);
            if chaperone_inspect::remote::loads(&change.path) {
                map.insert("remote_content".into(), json!(newly_loaded(mount, &change.path, content)));
            }
        }
    }
    let file = match content.map(File::try_clone).transpose() {
        Ok(file) => file.map(Arc::new),
        Err(_) => return Err(vec!["content_unreadable".into()]),
    };
    let object = Object {
        kind: match (change.op, change.kind) {
            (Op::Delete, _) => ObjectKind::Absent,
            (_, Kind::File) => ObjectKind::File,
            (_, Kind::Dir) => ObjectKind::Dir,
            (_, Kind::Symlink) => ObjectKind::Symlink,
        },
        size: change.size,
        mtime_ns: change.mtime_ns,
        staged: true,
        ..Object::ABSENT
    };
    let deed = Deed {
        origin: change.from.as_ref().map(|f| absolute(mount, f)),
        content: file.is_some(),
        file,
        verbatim: true,
        change: Some(about),
        ..Deed::on("commit", "commit", absolute(mount, &change.path), object)
    };
    broker
        .pipeline
        .commit(session, deed, named)
        .map(|granted| granted.intent)
        .map_err(|refusal| refusal.reasons)
}

/// Categories of what the new name itself carries. A name has no context, so only what is sure counts.
fn in_name(broker: &Arc<Broker>, path: &str) -> std::collections::BTreeSet<String> {
    let detectors = broker.pipeline.inspection.outgoing.detectors();
    chaperone_inspect::scan(detectors, path.as_bytes())
        .into_iter()
        .filter(|found| found.confidence >= SURE)
        .map(|found| detectors.info(found.detector).category.clone())
        .collect()
}

/// What the format's own validators say: workbooks that reach out, CSV cells that are formulas.
fn validate(about: &mut serde_json::Map<String, Value>, path: &str, magic: &str, content: &File) {
    let lower = path.to_lowercase();
    let is_workbook =
        magic == "xlsx" || [".xlsx", ".xlsm", ".xltx", ".xlsb"].iter().any(|e| lower.ends_with(e));
    if is_workbook {
        let mut reader = content;
        let limits = chaperone_inspect::workbook::Limits::default();
        let judged = std::io::Seek::rewind(&mut reader).map_err(|e| e.to_string()).and_then(|()| {
            chaperone_inspect::workbook::validate_xlsx(&mut reader, &limits).map_err(|e| e.code().to_owned())
        });
        if let Err(code) = judged {
            about.insert("workbook_refusal".into(), json!(code));
        }
    } else if [".csv", ".tsv"].iter().any(|e| lower.ends_with(e)) {
        let mut reader = content;
        let cells = std::io::Seek::rewind(&mut reader)
            .and_then(|()| chaperone_inspect::workbook::validate_csv(reader));
        match cells {
            Ok(cells) => drop(about.insert("formula_cells".into(), json!(cells.len()))),
            Err(_) => drop(about.insert("workbook_refusal".into(), json!("unreadable_csv"))),
        }
    }
}

/// How many addresses a document would load that the person's own version of it does not.
fn newly_loaded(mount: &LiveMount, path: &str, content: &File) -> usize {
    let read = |file: &File| {
        let mut bytes = vec![0; chaperone_inspect::remote::MOST];
        let got = file.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(got);
        chaperone_inspect::remote::addresses(&bytes)
    };
    let how = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::CLOEXEC;
    // What cannot be opened loads nothing yet.
    let before = rustix::fs::openat2(&mount.root, path, flags, rustix::fs::Mode::empty(), how)
        .map(|fd| read(&File::from(fd)))
        .unwrap_or_default();
    read(content).difference(&before).count()
}

fn resolve(
    stage: &Stage,
    report: &mut Report,
    changes: &[Change],
    choice: &str,
    judge: &mut dyn FnMut(&Change, Option<&File>) -> Verdict,
) -> Result<(), Failure> {
    let choice = match choice {
        "mine" => Choice::KeepMine,
        "theirs" => Choice::KeepTheirs,
        _ => Choice::WriteBoth,
    };
    for entry in &mut report.entries {
        if entry.state == chaperone_staging::State::Conflict
            && let Some(change) = changes.iter().find(|c| c.path == entry.path)
        {
            let settled = stage.resolve(change, choice, judge).map_err(failure)?;
            if let Some(new) = settled.entries.into_iter().next() {
                *entry = new;
            }
        }
    }
    Ok(())
}

fn staged(mount: &LiveMount) -> Result<Vec<Change>, Failure> {
    match &mount.tree {
        Some(tree) => tree.changes().map_err(|e| Failure::new("stage_unavailable", e.to_string())),
        None => Ok(Vec::new()),
    }
}

fn stage(mount: &LiveMount) -> Result<Stage, Failure> {
    let history: PathBuf = mount.stage_dir.join("history");
    Ok(Stage::new(again(&mount.root)?, history, mount.stage_dir.clone()))
}

fn again(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| Failure::new("no_descriptor", e.to_string()))
}

/// What the agent did until now comes into the stage, however it did it. Returns what cannot come, by its mount.
///
/// # Errors
/// When it cannot be taken over; it stays where it is.
pub fn bring_up_to_date(session: &Session) -> Result<Vec<(&LiveMount, String)>, Failure> {
    sync_mappings(session)?;
    let mut left_out = Vec::new();
    for mount in &session.mounts {
        let (Some(tree), Some(overlay)) = (&mount.tree, &mount.overlay) else { continue };
        let names = overlay.take_over(tree, lifecycle::is_over(session)).map_err(|e| {
            Failure::new("stage_unavailable", format!("what the agent wrote cannot be taken over: {e}"))
                .advise("free some room on the disk, and try again")
        })?;
        left_out.extend(names.into_iter().map(|name| (mount, name)));
    }
    Ok(left_out)
}

fn sync_mappings(session: &Session) -> Result<(), Failure> {
    for server in session.servers.lock().iter() {
        server.sync_mappings().map_err(|e| {
            Failure::new("stage_busy", format!("what the agent wrote by a mapping cannot be taken over: {e}"))
                .advise("try again, or stop the session first")
        })?;
    }
    Ok(())
}

/// The kernel of a running cell forgets what it knew of paths that changed from outside.
fn refresh(session: &Session, mount: &LiveMount, paths: &[String]) {
    let trees = session.mounts.iter().filter(|m| m.served().is_some());
    for (server, of) in session.servers.lock().iter().zip(trees) {
        if of.at == mount.at {
            paths.iter().for_each(|p| server.invalidate(p));
        }
    }
}

/// Whether the person named the change, or a folder above it, by the new or the old name.
fn chosen(mount: &LiveMount, change: &Change, wanted: &[String]) -> bool {
    let is_in = |path: &str, folder: &str| {
        folder.is_empty()
            || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    wanted.is_empty()
        || wanted
            .iter()
            .filter_map(|w| relative(mount, w))
            .any(|w| is_in(&change.path, &w) || change.from.as_deref().is_some_and(|from| is_in(from, &w)))
}

/// A path as a person names it (in the workspace, or as the agent sees it), relative to the mount.
fn relative(mount: &LiveMount, path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    let rest = match path.strip_prefix(&mount.at) {
        Some(rest) => rest,
        None if mount.prefix.is_empty() => return Some(path.to_owned()),
        None => path.strip_prefix(&mount.prefix)?,
    };
    if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix('/').map(str::to_owned) }
}

fn absolute(mount: &LiveMount, path: &str) -> String {
    format!("{}/{path}", mount.at)
}

fn shown_path(mount: &LiveMount, path: &str) -> String {
    if mount.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", mount.prefix) }
}

fn entry_json(mount: &LiveMount, entry: &Entry) -> Value {
    json!({
        "path": shown_path(mount, &entry.path), "op": entry.op, "kind": entry.kind,
        "from": entry.from.as_ref().map(|f| shown_path(mount, f)), "size": entry.size, "sha256": entry.sha256,
        "state": entry.state, "reasons": entry.reasons, "choices": entry.choices, "commit": entry.commit,
    })
}

fn failure(error: chaperone_staging::Error) -> Failure {
    Failure::new("stage_unavailable", error.to_string())
}
