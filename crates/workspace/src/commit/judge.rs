//! One staged change on its way to the user's directory: its facts, what its format's validators say, and the decision.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource};
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_pipeline::{Pipeline, Session};
use chaperone_quota::HeldFile;
use chaperone_staging::{Change, Kind, Op};
use serde_json::{Value, json};

use crate::mount::LiveMount;

/// Bytes of the beginning of a file that facts are read from.
const HEAD: usize = 4096;
/// Objects in a directory that moves of which each is looked at.
const MOST_MOVED: usize = 20_000;
/// Confidence from which a value in a name counts.
const SURE: f32 = 0.85;

/// Who commits. What policy would ask about needs the user to name exactly that path; the rest stays staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Person,
    Profile,
}

/// One change through the pipeline: `Ok` with its intent, or the reasons against it.
pub(super) fn judge(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    change: &Change,
    content: Option<&File>,
    (by, word, removals): (By, &UsersWord<'_>, usize),
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
        map.insert("removals_in_commit".into(), json!(removals));
        map.insert("by".into(), json!(if by == By::Person { "person" } else { "profile" }));
        if change.op == Op::Rename {
            // Without new content it is the user's own that gets another place.
            map.insert("origin_known".into(), json!(change.blob.is_none()));
            map.insert("replaces".into(), json!(change.replaces.is_some()));
            map.insert(
                "leaves_protection".into(),
                json!(leaves_protection(pipeline, session, mount, change)),
            );
        }
        if matches!(change.op, Op::Create | Op::Rename) {
            map.insert("name_findings".into(), json!(in_name(pipeline, &change.path)));
        }
        if let Some(content) = content {
            validate(map, &change.path, &facts.type_by_magic, content);
            if chaperone_inspect::remote::loads(&change.path) {
                map.insert("remote_content".into(), json!(newly_loaded(mount, &change.path, content)));
            }
        }
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
        path: mount.absolute(&change.path),
        to: None,
        origin: change.from.as_ref().map(|f| mount.absolute(f)),
        object,
        content: file.is_some(),
        file,
        verbatim: true,
        change: Some(about),
    });
    let request = AccessRequest { action: Action::Commit, resource, entry: Entry::Commit, pid: None };
    pipeline.commit(session, request, word).map(|granted| granted.intent).map_err(|refusal| refusal.reasons)
}

/// Whether the move takes something out of a rule that protects it from being read: the file itself, or one in a directory
/// that moves.
fn leaves_protection(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    change: &Change,
) -> bool {
    let Some(from) = &change.from else { return false };
    let loosens = |below: &str| {
        let at = |path: &str| mount.absolute(&format!("{path}{below}"));
        pipeline.loosens(session, &at(from), &at(&change.path))
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
}

/// Categories of what the new name itself carries. A name has no context, so only what is sure counts.
fn in_name(pipeline: &Pipeline, path: &str) -> std::collections::BTreeSet<String> {
    let detectors = pipeline.outgoing.detectors();
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

/// How many addresses a document would load that the user's own version of it does not.
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
