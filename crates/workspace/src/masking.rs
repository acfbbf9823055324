//! Which files of a staged directory the agent may not read: found before it starts, and masked in its overlay.

use std::fs::File;
use std::io;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource};
use chaperone_pipeline::inspection::nanoseconds;
use chaperone_pipeline::session::Refused;
use chaperone_pipeline::{Pipeline, Refusal, Session, clock};
use chaperone_protocol::{Failure, for_display};
use chaperone_quota::HeldFile;
use chaperone_staging::Kind;
use rustix::fs::OFlags;
use serde_json::json;

use crate::mount::LiveMount;
use crate::overlay::{Survey, open};

/// Masked paths that `why` shows.
const SHOWN: usize = 20;
/// Files that are masked, each with a mount of its own; with more the directory is served by the broker.
const MAX_MASKED: usize = 2_000;
/// The files of a surveyed directory that policy, with their content inspected, would not simply let the session read.
/// They are noted for `why` and in the log.
///
/// # Errors
/// When that cannot be recorded, or when there are too many.
pub fn masked(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    survey: &Survey,
) -> Result<Vec<String>, Failure> {
    let mut masked = Vec::new();
    let mut list = Vec::new();
    for (path, version) in survey {
        if version.kind() != Some(Kind::File) {
            continue;
        }
        let at = format!("{}/{path}", mount.at);
        let refusal = match reading(mount, path, &at) {
            Ok(request) => pipeline.would_read(session, &request).err(),
            Err(e) => Some(Failure::new("cannot_open", format!("it cannot be opened: {e}")).into()),
        };
        let Some(refusal) = refusal else { continue };
        if masked.len() >= MAX_MASKED {
            return Err(Failure::new(
                "too_much_masked",
                format!("more than {MAX_MASKED} files of {} may not be read", mount.source.display()),
            )
            .advise("use mode = \"mediated\", or a directory without them"));
        }
        if masked.len() < SHOWN {
            let Refusal { failure, rule, reasons, .. } = &refusal;
            let shown = for_display(&at, 300);
            session.refused(Refused::new(clock::rfc3339(), "read", &shown, failure, rule, reasons.clone()));
        }
        list.push(json!({ "path": at, "rule": refusal.rule, "reasons": refusal.reasons }));
        masked.push(path.clone());
    }
    let payload = json!({ "readable": survey.len() - masked.len(), "masked": list });
    pipeline.records.event(session, "mask", &mount.at, &payload, chaperone_audit::Durability::Synced)?;
    Ok(masked)
}

fn reading(mount: &LiveMount, path: &str, at: &str) -> io::Result<AccessRequest> {
    let file = open(&mount.root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = rustix::fs::fstat(&file)?;
    let time = |seconds, nanos: u64| nanoseconds(seconds, nanos.into());
    let object = FileObject {
        kind: ObjectKind::File,
        dev: stat.st_dev,
        ino: stat.st_ino,
        nlink: stat.st_nlink,
        size: stat.st_size.cast_unsigned(),
        mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
        staged: false,
    };
    let file = FileResource {
        path: at.to_owned(),
        to: None,
        origin: None,
        object,
        file: Some(Arc::new(HeldFile::uncounted(File::from(file)))),
        content: true,
        verbatim: true,
        change: None,
    };
    let resource = Resource::File(file);
    Ok(AccessRequest { action: Action::Read, resource, entry: Entry::FileSystem, pid: None })
}
