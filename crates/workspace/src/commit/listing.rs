//! The staged changes of a session, for whoever looks at them.

use std::fs::File;

use chaperone_protocol::Failure;
use chaperone_protocol::reply::ChangeEntry;
use chaperone_staging::{Change, Entry, Tree as Stage};

use super::review::Shown;
use super::rewritten::Rewritten;
use super::site::{Site, bring_up_to_date, failure, left_out, stage, staged};
use super::{chosen, diff, placeholders, shown};
use crate::mount::{LiveMount, Mounts};

/// Of a file that the user changed after the agent began from it.
const MEANWHILE: &str = "changed_meanwhile";
const YOURS: &str = "  you changed this file meanwhile: what goes here may be yours, and a commit asks which version to keep\n";

/// How much is told of each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// What it is.
    #[default]
    Names,
    /// How many lines come and go, too; nothing of the contents.
    Numbers,
    /// The difference itself.
    Differences,
}

/// What somebody wants to see.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// All when empty.
    pub paths: &'a [String],
    pub detail: Detail,
}

/// The staged changes of a session one by one, as `changes --json` prints them, each with what is remembered of it: of a look
/// that has numbers alone nothing is. Where `each` fails, it ends.
///
/// # Errors
/// When the stage cannot be read, or that of `each`.
pub fn changes(
    site: &Site<'_>,
    look: Look<'_>,
    each: &mut dyn FnMut(ChangeEntry, Option<Shown>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for (mount, name) in bring_up_to_date(site.mounts, site.over)? {
        if chosen::has(mount, &name, look.paths) {
            each(left_out(mount, &name), None)?;
        }
    }
    let mut allowance = diff::Allowance::default();
    for mount in site.mounts.list() {
        let stage = stage(mount, site.wanted)?;
        for change in chosen::of(mount, &Rewritten::of(site, mount)?.changes, look.paths) {
            let (entry, seen) = one(site, (mount, &stage), &change, (look.detail, &mut allowance))?;
            each(entry, seen)?;
        }
    }
    Ok(())
}

fn one(
    site: &Site<'_>,
    (mount, stage): (&LiveMount, &Stage),
    change: &Change,
    (detail, allowance): (Detail, &mut diff::Allowance),
) -> Result<(ChangeEntry, Option<Shown>), Failure> {
    let most = if detail == Detail::Names { 0 } else { diff::MAX_BYTES };
    let (entry, content): (Entry, _) = stage.look(change, most).map_err(failure)?;
    let mut told = shown::of_entry(mount, &entry, Some(change));
    // A part of a difference is not the change.
    let mut whole = true;
    if detail != Detail::Names {
        let back = placeholders::restored((site.pipeline, site.session), mount, change, content.as_ref());
        let (file, note) = diff::with_values(&back, content.as_ref());
        let size = file.and_then(|f| f.metadata().ok()).map_or(entry.size, |m| m.len());
        let lines = |file: &File| site.pipeline.inspection.lines(file, &change.path);
        let difference = diff::of(mount, change, (file, size), &lines, allowance);
        (told.lines, whole) = (difference.lines, difference.whole);
        let meanwhile = told.reasons.iter().any(|reason| reason == MEANWHILE);
        let yours = if meanwhile { YOURS } else { "" };
        told.diff = (detail == Detail::Differences).then(|| format!("{note}{yours}{}", difference.text));
    }
    let seen = (detail != Detail::Numbers).then(|| Shown::of(mount, change, entry.sha256, whole));
    Ok((told, seen))
}

/// How many changes a session has staged. What no commit can take is none.
///
/// # Errors
/// When the stage cannot be read.
pub fn count(site: &Site<'_>) -> Result<u64, Failure> {
    bring_up_to_date(site.mounts, site.over)?;
    let mut sum = 0;
    for mount in site.mounts.list() {
        sum += staged(mount)?.len() as u64;
    }
    Ok(sum)
}

/// Whether a look at these paths would have had what was shown before, were it still there.
#[must_use]
pub fn covers(mounts: &Mounts, paths: &[String], shown: &Shown) -> bool {
    paths.is_empty() || mounts.list().iter().any(|mount| shown.was_meant(mount, paths))
}
