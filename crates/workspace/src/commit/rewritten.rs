//! Redacted files that got another name and were written anew under it, as `mv` and then `sed -i` do. To the stage the old name goes and
//! an unknown file comes; by its placeholders that is the same file, and with the old name its values would go. So they would where
//! the file was packed, or its rows went to several others: then it waits for those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use chaperone_inspect::Signs;
use chaperone_pipeline::access::FileObject;
use chaperone_pipeline::inspection::Restored;
use chaperone_protocol::Failure;
use chaperone_staging::{Change, Kind, Op, Tree as Stage};

use super::diff::MAX_BYTES;
use super::own;
use super::site::{Site, stage, staged};
use crate::mount::LiveMount;

/// New files that are looked at, the smallest first, how many bytes they have together, and pairs of an old and a new one that are compared. Protects time.
const MOST_NEW: usize = 1_000;
const MOST_NEW_BYTES: u64 = 256 << 20;
const MOST_PAIRS: usize = 256;
/// How a placeholder begins.
const OPEN: &str = "[REDACTED:";

type Restores<'a> = &'a dyn Fn(Option<&File>, &File, (&str, &str)) -> Result<Restored, Failure>;

/// What stands in for files and for what the agent was given of them.
struct Look<'a> {
    /// What placeholders of the first file become where it is edited as the other, by their names; an error where that cannot be told.
    restores: Restores<'a>,
    /// Whether the agent would be given no more than a redacted copy of a file.
    is_guarded: &'a dyn Fn(&File, &str) -> bool,
}

/// What is staged, with what was written anew under another name.
pub(super) struct Rewritten {
    /// One new file for one old name is a change of that file.
    pub changes: Vec<Change>,
    /// Other files whose values are no more in them, each with those that have them by now.
    pub spread: BTreeMap<String, Vec<String>>,
}

impl Rewritten {
    /// # Errors
    /// When the stage cannot be read.
    pub fn of(site: &Site<'_>, mount: &LiveMount) -> Result<Self, Failure> {
        let (session, inspection) = (site.session, &site.pipeline.inspection);
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let restores = |original: Option<&File>, edited: &File, names: (&str, &str)| {
            let of = (session.id.as_str(), &session.snapshots);
            inspection.restored(original, edited, (&name(names.0), &name(names.1)), of)
        };
        let is_guarded = |file: &File, path: &str| {
            let object = FileObject { size: file.metadata().map_or(0, |m| m.len()), ..FileObject::ABSENT };
            inspection
                .inspect(file, &object, &name(path), &session.snapshots)
                .is_ok_and(|seen| !seen.findings.is_empty())
        };
        let look = Look { restores: &restores, is_guarded: &is_guarded };
        Ok(Self::by(mount, &stage(mount, site.wanted)?, staged(mount)?, &look))
    }

    fn by(mount: &LiveMount, stage: &Stage, all: Vec<Change>, look: &Look<'_>) -> Self {
        let is_small = |c: &&Change| c.kind == Kind::File && c.size <= MAX_BYTES;
        let is_written = |c: &Change| c.blob.is_some() && c.size > 0;
        let gone: Vec<&Change> = all.iter().filter(is_small).filter(|c| c.op == Op::Delete).collect();
        // What the user has, and becomes another.
        let changed: Vec<&Change> = all
            .iter()
            .filter(is_small)
            .filter(|c| matches!(c.op, Op::Modify | Op::Rename) && is_written(c))
            .collect();
        let comes =
            |c: &&Change| matches!(c.op, Op::Create | Op::Modify) && is_written(c) && c.same_as.is_none();
        let most = if gone.is_empty() && changed.is_empty() { 0 } else { MOST_NEW };
        let content = |change: &Change| stage.look(change, MAX_BYTES).ok().and_then(|(_, file)| file);
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut opaque: BTreeSet<&str> = BTreeSet::new();
        let mut left = MOST_PAIRS;
        let mut news: Vec<&Change> = all.iter().filter(is_small).filter(comes).collect();
        news.sort_by_key(|change| change.size);
        let mut room = MOST_NEW_BYTES;
        let fits = |change: &&&Change| {
            let left = room.checked_sub(change.size);
            room = left.unwrap_or_default();
            left.is_some()
        };
        for new in news.iter().take(most).take_while(fits) {
            // Most hold none, and need no copy that stays as it is.
            if new.blob.as_deref().is_some_and(|blob| has_no_signs(blob, &new.path)) {
                continue;
            }
            let Some(file) = content(new) else { continue };
            // Of its own version, where it has one.
            let own = own::open(mount, &new.path);
            let is_opaque = match (look.restores)(own.as_ref(), &file, (&new.path, &new.path)) {
                Ok(back) if back.report.foreign == 0 => continue,
                Ok(_) => false,
                Err(_) => true,
            };
            opaque.extend(is_opaque.then_some(new.path.as_str()));
            let tags = if is_opaque { BTreeSet::new() } else { placeholders(&file) };
            let olds = gone.iter().chain(&changed).filter(|old| old.path != new.path);
            for old in olds.take(left) {
                left -= 1;
                let from = old.from.as_deref().unwrap_or(&old.path);
                let Some(original) = own::open(mount, from) else { continue };
                let has_it = match is_opaque {
                    // What is packed does not say whose it is.
                    true => old.op == Op::Delete && (look.is_guarded)(&original, from),
                    false => (look.restores)(Some(&original), &file, (from, &new.path))
                        .is_ok_and(|back| back.report.restored > 0),
                };
                let loses = || {
                    let still = content(old).map(|file| placeholders(&file)).unwrap_or_default();
                    let missing = only(&tags.difference(&still).cloned().collect::<Vec<_>>())?;
                    let back = (look.restores)(Some(&original), &missing, (from, &new.path)).ok()?;
                    Some(back.report.restored > 0)
                };
                if has_it && (old.op == Op::Delete || loses() == Some(true)) {
                    found.entry(old.path.clone()).or_default().push(new.path.clone());
                }
            }
        }
        let opaque = opaque.into_iter().map(str::to_owned).collect();
        Self::joined(all, found, &opaque)
    }

    /// One new file for one old name is that file.
    fn joined(mut all: Vec<Change>, found: BTreeMap<String, Vec<String>>, opaque: &BTreeSet<String>) -> Self {
        let op = |path: &String| all.iter().find(|c| c.path == *path).map(|c| c.op);
        let is_same = |old: &String, new: &[String]| {
            let [new] = new else { return false };
            let others = found.iter().filter(|(other, _)| *other != old);
            !opaque.contains(new)
                && op(old) == Some(Op::Delete)
                && op(new) == Some(Op::Create)
                && others.into_iter().all(|(_, of)| !of.contains(new))
        };
        let same: Vec<(String, String)> = found
            .iter()
            .filter(|(old, new)| is_same(old, new))
            .filter_map(|(old, new)| Some((old.clone(), new.first()?.clone())))
            .collect();
        let mut spread = found;
        for (old, new) in same {
            spread.remove(&old);
            let Some(at) = all.iter().position(|c| c.path == old && c.op == Op::Delete) else { continue };
            let base = all.remove(at).base;
            for change in all.iter_mut().filter(|c| c.path == new) {
                (change.op, change.from, change.base, change.origin) =
                    (Op::Rename, Some(old.clone()), base, None);
            }
        }
        Self { changes: all, spread }
    }
}

fn has_no_signs(blob: &Path, path: &str) -> bool {
    own::staged(blob).is_some_and(|file| Signs::of(&file, path).is_ok_and(|signs| signs == Signs::None))
}

/// A file of these placeholders alone; nothing of none.
fn only(placeholders: &[String]) -> Option<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("placeholders", flags).ok()?);
    let text: String = placeholders.iter().map(|placeholder| format!("{placeholder}\n")).collect();
    file.write_all(text.as_bytes()).ok()?;
    file.rewind().ok()?;
    (!placeholders.is_empty()).then_some(file)
}

/// The placeholders that stand in a text.
fn placeholders(file: &File) -> BTreeSet<String> {
    let bytes = own::read(file, usize::try_from(MAX_BYTES).unwrap_or(usize::MAX)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let ends = |rest: &str| rest.find(']').and_then(|end| rest.get(..=end).map(str::to_owned));
    text.match_indices(OPEN).filter_map(|(at, _)| ends(text.get(at..)?)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use chaperone_staging::BaseVersion;

    use super::super::looked::tests::Directory;
    use super::*;

    /// As if `[REDACTED:name]` in a text were a placeholder of the file that says `name`.
    fn restores(original: Option<&File>, mut edited: &File, _: (&str, &str)) -> Result<Restored, Failure> {
        let mut text = String::new();
        edited.read_to_string(&mut text).unwrap();
        std::io::Seek::rewind(&mut edited).unwrap();
        if text.starts_with("PK") {
            return Err(Failure::new("cannot_restore", ""));
        }
        let mut says = String::new();
        if let Some(mut file) = original {
            file.rewind().unwrap();
            file.read_to_string(&mut says).unwrap();
        }
        let mut back = Restored::default();
        let own = format!("[REDACTED:{says}]");
        back.report.restored = text.matches(&own).count() as u64;
        back.report.foreign = text.matches(OPEN).count() as u64 - back.report.restored;
        Ok(back)
    }

    fn of(files: &[(&str, &str)], gone: &[&str], comes: &[(&str, &str)]) -> Rewritten {
        let directory = Directory::new(files);
        std::fs::create_dir_all(&directory.mount.stage_dir).unwrap();
        let mut all = Vec::new();
        for path in gone {
            let stat = rustix::fs::lstat(directory.mount.source.join(path)).unwrap();
            let mut change = Change::blank((*path).to_owned(), Op::Delete, Kind::File);
            change.base = Some(BaseVersion::of(&stat));
            all.push(change);
        }
        for (path, text) in comes {
            let at = directory.mount.stage_dir.join(path);
            std::fs::write(&at, text).unwrap();
            let op = if files.iter().any(|(own, _)| own == path) { Op::Modify } else { Op::Create };
            let mut change = Change::blank((*path).to_owned(), op, Kind::File);
            (change.blob, change.size) = (Some(at), text.len() as u64);
            all.push(change);
        }
        let stage = super::super::site::stage(&directory.mount, None).unwrap();
        let look = Look { restores: &restores, is_guarded: &|_, path| path != "plain" };
        Rewritten::by(&directory.mount, &stage, all, &look)
    }

    fn waits(rewritten: &Rewritten) -> Vec<(&str, Vec<&str>)> {
        rewritten
            .spread
            .iter()
            .map(|(old, new)| (old.as_str(), new.iter().map(String::as_str).collect()))
            .collect()
    }

    const TWO: &[(&str, &str)] = &[("a", "one"), ("b", "two"), ("plain", "x")];

    #[test]
    fn a_file_that_was_moved_and_then_written_anew_is_the_same_file() {
        let rewritten = of(TWO, &["a", "b"], &[("c", "x [REDACTED:one]")]);
        assert!(rewritten.spread.is_empty());
        let told: Vec<_> = rewritten.changes.iter().map(|c| (c.op, c.from.as_deref(), &*c.path)).collect();
        assert_eq!(told, [(Op::Delete, None, "b"), (Op::Rename, Some("a"), "c")]);
        assert!(rewritten.changes[1].base.is_some());
    }

    #[test]
    fn a_file_whose_values_are_in_others_waits_for_all_of_those() {
        let split = of(TWO, &["a"], &[("c", "x [REDACTED:one]"), ("d", "y [REDACTED:one]")]);
        assert_eq!((split.changes.len(), waits(&split)), (3, vec![("a", vec!["c", "d"])]));
        let joined = of(TWO, &["a", "b"], &[("c", "[REDACTED:one] [REDACTED:two]")]);
        assert_eq!((joined.changes.len(), waits(&joined)), (3, vec![("a", vec!["c"]), ("b", vec!["c"])]));
        let others = of(TWO, &["a"], &[("c", "no"), ("d", "[REDACTED:other]")]);
        assert_eq!((others.changes.len(), waits(&others)), (3, vec![]));
    }

    #[test]
    fn what_is_packed_is_waited_for_by_all_that_was_redacted() {
        let packed = of(TWO, &["a", "plain"], &[("c.zip", "PK\u{3}\u{4}")]);
        assert_eq!((packed.changes.len(), waits(&packed)), (3, vec![("a", vec!["c.zip"])]));
    }

    #[test]
    fn a_file_that_gave_a_part_of_its_values_away_waits_for_that_part() {
        let with = |rest: &str| of(TWO, &[], &[("a", rest), ("c", "[REDACTED:one]")]);
        assert_eq!(waits(&with("nothing is left")), [("a", vec!["c"])]);
        // A copy takes nothing away, whatever else it has.
        let with_own = of(TWO, &[], &[("a", "[REDACTED:one] stays"), ("b", "[REDACTED:two] [REDACTED:one]")]);
        assert!(waits(&with_own).is_empty());
        assert!(waits(&with("[REDACTED:one] stays")).is_empty());
    }
}
