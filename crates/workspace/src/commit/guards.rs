//! Files that keep something from happening: settings with what an agent or an editor may not do, hooks that check, where packages
//! come from, filters of git. To write them anew is asked about as what runs later; to take them away is no less.

use std::collections::HashSet;

use chaperone_staging::{Change, Kind, Op};

use crate::later;

/// Those that go while what they guard stays.
#[derive(Debug, Default)]
pub(super) struct Guards<'a>(HashSet<&'a str>);

impl<'a> Guards<'a> {
    /// Of what these changes do together.
    pub fn by(changes: &'a [Change]) -> Self {
        let goes = |change: &'a Change| match change.op {
            Op::Delete => Some(change.path.as_str()),
            Op::Rename => change.from.as_deref(),
            Op::Create | Op::Modify => None,
        };
        let directories: HashSet<&str> =
            changes.iter().filter(|change| change.kind == Kind::Dir).filter_map(goes).collect();
        let stays = |directory: &str| {
            let mut above =
                std::iter::successors(Some(directory), |at| at.rsplit_once('/').map(|(up, _)| up));
            !above.any(|at| directories.contains(at))
        };
        let guards = changes.iter().filter(|change| change.kind != Kind::Dir).filter_map(goes);
        Self(guards.filter(|path| later::guarded(path).is_some_and(stays)).collect())
    }

    pub fn goes(&self, change: &Change) -> bool {
        let path = if change.op == Op::Rename { change.from.as_ref() } else { Some(&change.path) };
        matches!(change.op, Op::Delete | Op::Rename) && path.is_some_and(|path| self.0.contains(&**path))
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
        ];
        let guards = Guards::by(&changes);
        let asked: Vec<&str> =
            changes.iter().filter(|change| guards.goes(change)).map(|change| &*change.path).collect();
        assert_eq!(asked, [".gitattributes", "a/.npmrc", "old/settings.json", ".git/hooks/pre-commit"]);
    }
}
