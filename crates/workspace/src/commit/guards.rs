//! Files that keep something from happening: settings with what an agent or an editor may not do, hooks that check, where packages
//! come from, filters of git. To write them anew is asked about as what runs later; to take them away is no less.

use std::collections::HashSet;

use chaperone_staging::{Change, Kind, Op};

use super::repository::up_from;
use crate::later;

/// Those that go while what they guard stays.
#[derive(Debug, Default)]
pub(super) struct Guards<'a>(HashSet<&'a str>);

impl<'a> Guards<'a> {
    /// Of what these changes do together. `new_name` is that of what a removal only moves.
    pub fn by(changes: &'a [Change], new_name: &dyn Fn(&Change) -> Option<String>) -> Self {
        let comes = |change: &Change| match change.op {
            Op::Rename => Some(change.path.clone()),
            _ => new_name(change),
        };
        let directories: HashSet<&str> =
            changes.iter().filter(|change| change.kind == Kind::Dir).filter_map(Change::leaves).collect();
        let files = || changes.iter().filter(|change| change.kind != Kind::Dir);
        let moved: HashSet<&str> = files()
            .filter(|change| comes(change).is_some())
            .filter_map(Change::leaves)
            .flat_map(|path| up_from(path).skip(1))
            .collect();
        let goes_alone = |change: &&'a Change| {
            let guarded = change.leaves().and_then(later::guarded);
            guarded.is_some_and(|directory| {
                if !up_from(directory).any(|at| directories.contains(at)) {
                    return true;
                }
                // One whose files come to other names stays, under another name; there it has to come, too.
                let still = comes(change).is_some_and(|new| later::guarded(&new).is_some());
                moved.contains(directory) && !still
            })
        };
        Self(files().filter(goes_alone).filter_map(Change::leaves).collect())
    }

    pub fn goes(&self, change: &Change) -> bool {
        change.leaves().is_some_and(|path| self.0.contains(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guards_a_directory_that_stays_does_not_go_unseen() {
        let gone = |path: &str, kind| Change::blank(path.to_owned(), Op::Delete, kind);
        let moved = |from: &str, path: &str, kind| Change {
            from: Some(from.to_owned()),
            ..Change::blank(path.to_owned(), Op::Rename, kind)
        };
        let changes = [
            gone(".gitattributes", Kind::File),
            gone("a/.npmrc", Kind::File),
            moved(".claude/settings.json", "old/settings.json", Kind::File),
            gone(".git/hooks/pre-commit", Kind::File),
            // The project goes with what guards it, is moved with it, or never was anybody's own.
            gone("b/.npmrc", Kind::File),
            gone("b", Kind::Dir),
            moved("c", "d", Kind::Dir),
            gone("c/.claude/settings.json", Kind::File),
            gone("node_modules/x/.npmrc", Kind::File),
            gone(".git/hooks/pre-push.sample", Kind::File),
            gone("notes.txt", Kind::File),
            Change::blank(".npmrc".to_owned(), Op::Modify, Kind::File),
            // Another directory gets all of a project but what guards it.
            moved("e/src/a.rs", "e2/src/a.rs", Kind::File),
            gone("e/.npmrc", Kind::File),
            gone("e", Kind::Dir),
            // Or all of it.
            moved("f/src/a.rs", "f2/src/a.rs", Kind::File),
            moved("f/.npmrc", "f2/.npmrc", Kind::File),
            gone("f", Kind::Dir),
        ];
        let guards = Guards::by(&changes, &|_| None);
        let asked: Vec<&str> =
            changes.iter().filter(|change| guards.goes(change)).map(|change| &*change.path).collect();
        let wanted = [".gitattributes", "a/.npmrc", "old/settings.json", ".git/hooks/pre-commit", "e/.npmrc"];
        assert_eq!(asked, wanted);
    }
}
