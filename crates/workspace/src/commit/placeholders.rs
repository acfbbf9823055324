//! What a redacted copy left out, put back where the agent kept its placeholders.

use std::fs::File;
use std::sync::Arc;

use chaperone_pipeline::inspection::Restored;
use chaperone_pipeline::{Pipeline, Session};
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;
use chaperone_staging::{Change, Kind, Verdict};

use super::own::open;
use crate::mount::LiveMount;

/// The content of a change with the user's values, as far as its placeholders are of the version that is there.
///
/// # Errors
/// `cannot_restore`: it holds placeholders, and they cannot be followed.
pub(super) fn restored(
    (pipeline, session): (&Pipeline, &Arc<Session>),
    mount: &LiveMount,
    change: &Change,
    content: Option<&File>,
) -> Result<Restored, Failure> {
    let Some(content) = content.filter(|_| change.kind == Kind::File && change.blob.is_some()) else {
        return Ok(Restored::default());
    };
    let before = change.from.as_deref().unwrap_or(&change.path);
    let original = open(mount, before);
    // As it was read, whatever it is called by now.
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let of = (session.id.as_str(), &session.snapshots);
    pipeline.inspection.restored(original.as_ref(), content, (&name(before), &name(&change.path)), of)
}

/// A change that may be committed, with the user's values where it has any. They are held until they are written.
pub(super) fn verdict(back: Restored, held: &mut Vec<Arc<HeldFile>>) -> Verdict {
    let Some(file) = back.file else { return Verdict::Commit };
    let again = file.try_clone();
    held.push(file);
    match again {
        Ok(file) => Verdict::Replace(file),
        Err(_) => Verdict::Refuse { reasons: vec!["content_unreadable".into()] },
    }
}
