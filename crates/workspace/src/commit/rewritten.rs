//! Redacted files that got another name and were written anew under it, as `mv` and then `sed -i` do. To the stage the old name goes and
//! an unknown file comes; by its placeholders that is the same file, and with the old name its values would go.

use std::collections::BTreeMap;
use std::fs::File;

use chaperone_pipeline::inspection::Restored;
use chaperone_protocol::Failure;
use chaperone_staging::{Change, Kind, Op, Tree as Stage};

use super::diff::MAX_BYTES;
use super::own;
use super::site::{Site, stage, staged};
use crate::mount::LiveMount;

/// New files that are looked at, and pairs of an old and a new one that are compared. Protects time.
const MOST_NEW: usize = 1_000;
const MOST_PAIRS: usize = 256;

/// What placeholders of a file become where it is edited under another name.
type Restores<'a> = &'a dyn Fn(Option<&File>, &File, (&str, &str)) -> Option<Restored>;

/// What is staged, with what was written anew under another name.
pub(super) struct Rewritten {
    /// One new file for one old name is a change of that file.
    pub changes: Vec<Change>,
    /// Other old names that go, each with the new files that stand for its values.
    pub held: BTreeMap<String, Vec<String>>,
}

impl Rewritten {
    /// # Errors
    /// When the stage cannot be read.
    pub fn of(site: &Site<'_>, mount: &LiveMount) -> Result<Self, Failure> {
        let session = site.session;
        let restores = |original: Option<&File>, edited: &File, names: (&str, &str)| {
            let of = (session.id.as_str(), &session.snapshots);
            let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let names = (name(names.0), name(names.1));
            site.pipeline.inspection.restored(original, edited, (&names.0, &names.1), of).ok()
        };
        Ok(Self::by(mount, &stage(mount, site.wanted)?, staged(mount)?, &restores))
    }

    fn by(mount: &LiveMount, stage: &Stage, mut all: Vec<Change>, restores: Restores<'_>) -> Self {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let is_small = |c: &&Change| c.kind == Kind::File && c.size <= MAX_BYTES;
        let gone: Vec<&Change> = all.iter().filter(is_small).filter(|c| c.op == Op::Delete).collect();
        let comes = |c: &&Change| {
            matches!(c.op, Op::Create | Op::Modify) && c.blob.is_some() && c.size > 0 && c.same_as.is_none()
        };
        let mut left = MOST_PAIRS;
        for new in all.iter().filter(is_small).filter(comes).take(if gone.is_empty() { 0 } else { MOST_NEW })
        {
            let Ok((_, Some(content))) = stage.look(new, MAX_BYTES) else { continue };
            // Of its own version, where it has one.
            let own = own::open(mount, &new.path);
            let Some(report) = restores(own.as_ref(), &content, (&new.path, &new.path)) else { continue };
            if report.report.foreign == 0 {
                continue;
            }
            for old in gone.iter().take(left) {
                left -= 1;
                let original = own::open(mount, &old.path);
                let back = original.and_then(|file| restores(Some(&file), &content, (&old.path, &new.path)));
                if back.is_some_and(|back| back.report.restored > 0) {
                    found.entry(old.path.clone()).or_default().push(new.path.clone());
                }
            }
        }
        let alone = |old: &String, new: &String| {
            found.iter().all(|(other, of)| other == old || !of.contains(new))
                && all.iter().any(|c| c.path == *new && c.op == Op::Create)
        };
        let (same, held): (BTreeMap<_, _>, BTreeMap<_, _>) = found
            .clone()
            .into_iter()
            .partition(|(old, new)| matches!(new.as_slice(), [new] if alone(old, new)));
        for (old, new) in same {
            let Some(at) = all.iter().position(|c| c.path == old && c.op == Op::Delete) else { continue };
            let base = all.remove(at).base;
            for change in all.iter_mut().filter(|c| new.contains(&c.path)) {
                (change.op, change.from, change.base, change.origin) =
                    (Op::Rename, Some(old.clone()), base, None);
            }
        }
        Self { changes: all, held }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use chaperone_staging::BaseVersion;

    use super::super::looked::tests::Directory;
    use super::*;

    /// As if `<name>` in a text were a placeholder of the file that says `name`.
    fn restores(original: Option<&File>, mut edited: &File, _: (&str, &str)) -> Option<Restored> {
        let mut text = String::new();
        edited.read_to_string(&mut text).unwrap();
        std::io::Seek::rewind(&mut edited).unwrap();
        let mut says = String::new();
        if let Some(mut file) = original {
            file.read_to_string(&mut says).unwrap();
        }
        let mut back = Restored::default();
        let own = format!("<{says}>");
        back.report.restored = text.matches(&own).count() as u64;
        back.report.foreign = text.matches('<').count() as u64 - back.report.restored;
        Some(back)
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
            let mut change = Change::blank((*path).to_owned(), Op::Create, Kind::File);
            (change.blob, change.size) = (Some(at), text.len() as u64);
            all.push(change);
        }
        let stage = super::super::site::stage(&directory.mount, None).unwrap();
        Rewritten::by(&directory.mount, &stage, all, &restores)
    }

    #[test]
    fn a_file_that_was_moved_and_then_written_anew_is_the_same_file() {
        let Rewritten { changes, held } = of(&[("a", "one"), ("b", "two")], &["a", "b"], &[("c", "x <one>")]);
        assert!(held.is_empty());
        let told: Vec<_> = changes.iter().map(|c| (c.op, c.from.as_deref(), &*c.path)).collect();
        assert_eq!(told, [(Op::Delete, None, "b"), (Op::Rename, Some("a"), "c")]);
        assert!(changes[1].base.is_some());
    }

    #[test]
    fn a_file_whose_values_are_in_several_stays_until_they_are_settled() {
        let Rewritten { changes, held } =
            of(&[("a", "one"), ("b", "two")], &["a"], &[("c", "x <one>"), ("d", "y <one>")]);
        assert_eq!(changes.len(), 3);
        assert_eq!(held, [("a".to_owned(), vec!["c".to_owned(), "d".to_owned()])].into());
        let Rewritten { changes, held } =
            of(&[("a", "one"), ("b", "two")], &["a", "b"], &[("c", "<one> <two>")]);
        assert_eq!((changes.len(), held.len()), (3, 2));
        let Rewritten { changes, held } = of(&[("a", "one")], &["a"], &[("c", "plain"), ("d", "<other>")]);
        assert_eq!((changes.len(), held.len()), (3, 0));
    }
}
