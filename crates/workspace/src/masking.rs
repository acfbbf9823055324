//! Which files of a staged directory the agent may not read: found before it starts, and masked in its overlay.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource};
use chaperone_pipeline::inspection::nanoseconds;
use chaperone_pipeline::session::Refused;
use chaperone_pipeline::verdicts::Tag;
use chaperone_pipeline::{Pipeline, Refusal, Session};
use chaperone_protocol::{Failure, for_display};
use chaperone_quota::HeldFile;
use chaperone_staging::{BaseVersion, Kind};
use rustix::fs::OFlags;
use serde_json::json;

use crate::known::Known;
use crate::mount::LiveMount;
use crate::overlay::{Survey, open};
use crate::parallel;

/// Masked paths that `why` shows.
const SHOWN: usize = 20;
/// Files that are masked, each with a mount of its own; with more the directory is served by the broker.
const MAX_MASKED: usize = 2_000;
/// What `why` says of each: programs that come across it name causes that do not say so.
const STAYS: &str = "it is masked: opening, replacing, moving or removing it fails as \"permission denied\", \"busy\" or \
    \"read-only\"; leave it where it is (git stash -u -- . ':!NAME', git clean -e NAME), or let the user mount the directory \
    with mode = \"mediated\"";

/// The files of a surveyed directory that policy, with their content inspected, would not simply let the session read.
/// They are noted for `why` and in the log. What is known to be readable is not looked at again.
///
/// # Errors
/// When that cannot be recorded, or when there are too many.
pub fn masked(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    survey: &Survey,
) -> Result<Vec<String>, Failure> {
    let known = Known::of(pipeline, session, mount);
    let files = survey.iter().filter(|(_, version)| version.kind() == Some(Kind::File));
    let mut files: Vec<(&String, &BaseVersion)> = files.collect();
    let all = files.len();
    if let Some(known) = &known {
        known.leave_out(&mut files);
    }
    let refused = AtomicUsize::new(0);
    let looked = parallel::map(&files, |(path, version)| {
        if refused.load(Ordering::Relaxed) > MAX_MASKED {
            return Looked::Not;
        }
        let looked = look(pipeline, session, mount, known.as_ref(), (path, version));
        refused.fetch_add(usize::from(matches!(looked, Looked::Refused(_))), Ordering::Relaxed);
        looked
    });
    if refused.into_inner() > MAX_MASKED {
        return Err(Failure::new(
            "too_much_masked",
            format!("more than {MAX_MASKED} files of {} may not be read", mount.source.display()),
        )
        .advise("use mode = \"mediated\", or a directory without them"));
    }
    let (mut masked, mut list, mut lasting) = (Vec::new(), Vec::new(), Vec::new());
    for (looked, (path, _)) in looked.into_iter().zip(&files) {
        let refusal = match looked {
            Looked::Refused(refusal) => refusal,
            Looked::Readable(tag) => {
                lasting.extend(tag);
                continue;
            }
            Looked::Not => continue,
        };
        let at = format!("{}/{path}", mount.at);
        if masked.len() < SHOWN {
            let Refusal { failure, rule, reasons, .. } = &*refusal;
            let (shown, failure) = (for_display(&at, 300), failure.clone().advise(advice(failure)));
            session.refused(Refused::new(
                pipeline.clock.rfc3339(),
                "read",
                &shown,
                &failure,
                rule,
                reasons.clone(),
            ));
        }
        list.push(json!({ "path": at, "rule": refusal.rule, "reasons": refusal.reasons }));
        masked.push((*path).clone());
    }
    pipeline.verdicts.keep(&lasting);
    let payload =
        json!({ "readable": survey.len() - masked.len(), "known": all - files.len(), "masked": list });
    pipeline.records.event(session, "mask", &mount.at, &payload, chaperone_audit::Durability::Synced)?;
    Ok(masked)
}

fn advice(failure: &Failure) -> String {
    failure.advice.as_ref().map_or_else(|| STAYS.to_owned(), |own| format!("{own}; {STAYS}"))
}

/// What came of looking at a file.
enum Looked {
    /// With the verdict to keep, where it lasts.
    Readable(Option<Tag>),
    Refused(Box<Refusal>),
    /// There are too many already.
    Not,
}

fn look(
    pipeline: &Pipeline,
    session: &Arc<Session>,
    mount: &LiveMount,
    known: Option<&Known<'_>>,
    (path, version): (&str, &BaseVersion),
) -> Looked {
    let (request, file) = match reading(mount, path, &format!("{}/{path}", mount.at)) {
        Ok(reading) => reading,
        Err(e) => {
            let failure = Failure::new("cannot_open", format!("it cannot be opened: {e}"));
            return Looked::Refused(Box::new(failure.into()));
        }
    };
    let known = known.filter(|known| known.may_last(&**file, version));
    match pipeline.would_read(session, &request) {
        Ok(true) => Looked::Readable(
            known.filter(|known| known.has_lasted(&**file, version)).map(|known| known.tag(path, version)),
        ),
        Ok(false) => Looked::Readable(None),
        Err(refusal) => Looked::Refused(Box::new(refusal)),
    }
}

fn reading(mount: &LiveMount, path: &str, at: &str) -> io::Result<(AccessRequest, Arc<HeldFile>)> {
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
    let file = Arc::new(HeldFile::uncounted(File::from(file)));
    let resource = Resource::File(FileResource {
        file: Some(Arc::clone(&file)),
        content: true,
        verbatim: true,
        ..FileResource::named(at.to_owned(), object)
    });
    Ok((AccessRequest { action: Action::Read, resource, entry: Entry::FileSystem, pid: None }, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_says_what_a_mask_does_beside_what_policy_advises() {
        let failure = Failure::new("dotenv", "it holds more than plain settings");
        assert_eq!(advice(&failure), STAYS);
        assert!(advice(&failure.advise("use the vault")).starts_with("use the vault; it is masked: opening"));
        assert!(!STAYS.contains("  "), "{STAYS}");
    }
}
