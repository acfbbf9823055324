//! The making of directories, and what is said where one is missing.

use std::sync::atomic::Ordering;

use chaperone_capability::Action;
use chaperone_fs::ObjectKind as FsKind;
use chaperone_protocol::{Failure, for_display};
use rustix::io::Errno;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, Place, anew, errno};
use crate::tools;

impl Call<'_> {
    /// Make a directory with those above it that are missing, each decided for itself.
    pub(super) async fn create_directory(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::Write, &a.path)?;
        let place = self.place(&path)?;
        for above in ends(&place.below).filter_map(|end| place.below.get(..end)) {
            if !is_directory(&place, above)? {
                self.make(&format!("{}/{above}", place.mount.at), cancelled).await?;
            }
        }
        self.make(&path, cancelled).await?;
        Ok(json!({ "path": path, "state": "staged" }))
    }

    /// Decide and make; where the place is another by the time of the act, decide anew.
    async fn make(&self, path: &str, cancelled: &CancellationToken) -> Result<(), Failure> {
        anew(move || self.make_once(path, cancelled)).await
    }

    async fn make_once(&self, path: &str, cancelled: &CancellationToken) -> Result<(), Failure> {
        let place = self.place(path)?;
        let at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        let is_there = at.is_dir();
        if at.object().is_some() && !is_there {
            return Err(errno(Errno::NOTDIR, path));
        }
        // What is there already is decided on, too: nothing of the tree is told to who may not make it.
        let granted = self.ask(self.asked_of(Action::Write, path, &at), cancelled).await?;
        if is_there {
            return self.done(&granted, Action::Write, path, true, 0);
        }
        self.tools.session.counters.writes.fetch_add(1, Ordering::Relaxed);
        let made = place.tree.make_directory(&granted, &at);
        self.invalidate(&place);
        self.done(&granted, Action::Write, path, made.is_ok(), 0)?;
        made.map_err(|e| errno(e, path))
    }
}

/// Whether something can be made at a place: the directory that is to hold it is there.
pub(super) fn has_a_directory(place: &Place<'_>) -> Result<(), Failure> {
    for above in ends(&place.below).filter_map(|end| place.below.get(..end)) {
        if !is_directory(place, above)? {
            let parent = place.below.rsplit_once('/').map_or("", |(parent, _)| parent);
            let parent = for_display(&format!("{}/{parent}", place.mount.at), 300);
            return Err(Failure::new("not_found", format!("the directory {parent} does not exist"))
                .advise("make it with create_directory first"));
        }
    }
    Ok(())
}

/// Whether there is a directory, or nothing.
fn is_directory(place: &Place<'_>, below: &str) -> Result<bool, Failure> {
    match place.tree.attributes(below) {
        Ok(seen) if seen.object.kind == FsKind::Dir => Ok(true),
        Ok(_) => Err(errno(Errno::NOTDIR, &format!("{}/{below}", place.mount.at))),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(errno(e, &format!("{}/{below}", place.mount.at))),
    }
}

/// Where the directories above the last name of a path end.
fn ends(path: &str) -> impl Iterator<Item = usize> {
    path.match_indices('/').map(|(at, _)| at)
}
