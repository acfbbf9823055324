//! What the user was shown of staged changes, and whether a change is that still. An agent that runs on can make another of
//! it between the look and the commit.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;

use chaperone_pipeline::pipeline::Unseen;
use chaperone_staging::{Change, Kind, Op};

use super::chosen::{chosen, has, relative};
use super::shown::shown_path;
use crate::mount::LiveMount;

/// All of one change that the user was shown: where, what, and the content by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    path: String,
    from: Option<String>,
    op: Op,
    kind: Kind,
    was: Option<Kind>,
    target: Option<String>,
    mode: u32,
    /// Of new content.
    sha256: Option<String>,
    /// All of the difference was there, not only a part.
    whole: bool,
}

/// What the user was shown of a session, by path; of what was shown twice, the last.
#[derive(Debug, Default)]
pub struct ShownChanges {
    known: HashMap<String, Vec<Shown>>,
    /// What they looked at, as they named it.
    looked_at: BTreeSet<String>,
    /// They looked at everything.
    at_all: bool,
}

/// What a commit is held against.
#[derive(Debug, Clone, Copy)]
pub enum Review<'a> {
    /// Nothing: the agent is over and nobody looked before, or the user says so.
    Free,
    /// The agent runs on, and nobody looked.
    Missing,
    /// What the user was shown. Of an agent that is over, what was shown in part counts, too, and what they did not look at passes:
    /// without a look all would.
    Against { shown: &'a ShownChanges, over: bool },
}

impl Shown {
    pub(super) fn of(mount: &LiveMount, change: &Change, sha256: Option<String>, whole: bool) -> Self {
        Self {
            path: shown_path(mount, &change.path),
            from: change.from.as_ref().map(|from| shown_path(mount, from)),
            op: change.op,
            kind: change.kind,
            was: change.base.and_then(|base| base.kind()),
            target: change.target.clone(),
            mode: change.mode & 0o7777,
            sha256,
            whole,
        }
    }

    /// Whether one of these paths names it, or a directory above it, by the new or the old name.
    pub(super) fn was_meant(&self, mount: &LiveMount, wanted: &[String]) -> bool {
        // It has its path as in the workspace.
        let paths = std::iter::once(self.path.as_str()).chain(self.from.as_deref());
        paths.filter_map(|path| relative(mount, path)).any(|path| has(mount, &path, wanted))
    }
}

impl ShownChanges {
    /// The user looked (again) at these paths, at all when there are none. What they saw before and the whole of this look would have
    /// had counts no more: what is no longer there was not approved of by being seen once.
    pub fn see(&mut self, paths: &[String], looked: Vec<Shown>, covered: &dyn Fn(&Shown) -> bool) {
        self.at_all |= paths.is_empty();
        self.looked_at.extend(paths.iter().cloned());
        self.known.retain(|_, known| {
            known.retain(|shown| !covered(shown));
            !known.is_empty()
        });
        let mut new: HashMap<String, Vec<Shown>> = HashMap::new();
        for shown in looked {
            new.entry(shown.path.clone()).or_default().push(shown);
        }
        self.known.extend(new);
    }

    /// Whether they looked at everything.
    #[must_use]
    pub const fn is_of_all(&self) -> bool {
        self.at_all
    }

    fn is_looked_at(&self, mount: &LiveMount, change: &Change) -> bool {
        self.at_all || self.looked_at.iter().any(|path| chosen(mount, change, std::slice::from_ref(path)))
    }

    /// What was committed, thrown away or taken back was decided on; the same change made anew is another one.
    pub fn forget<'a>(&mut self, paths: impl Iterator<Item = &'a str>) {
        for path in paths {
            self.known.remove(path);
        }
    }
}

impl Review<'_> {
    /// Why a change, with the content that will be there, is not what the user was shown; nothing when it is.
    pub(super) fn of(&self, mount: &LiveMount, change: &Change, content: Option<&File>) -> Option<Unseen> {
        let (shown, over) = match self {
            Self::Free => return None,
            Self::Missing => return Some(Unseen::NeverShown),
            Self::Against { shown, over } => (shown, *over),
        };
        let Some(known) = shown.known.get(&shown_path(mount, &change.path)) else {
            return (!over || shown.is_looked_at(mount, change)).then_some(Unseen::NeverShown);
        };
        let is_new = change.blob.is_some();
        // What cannot be read is not what was shown.
        let sha256 = content.filter(|_| is_new).map(|c| chaperone_staging::sha256(c).unwrap_or_default());
        let now = |whole| Shown::of(mount, change, sha256.clone(), whole);
        if known.contains(&now(true)) || over && known.contains(&now(false)) {
            return None;
        }
        Some(if known.contains(&now(false)) { Unseen::NeverShown } else { Unseen::Differs })
    }
}

#[cfg(test)]
mod tests {
    use super::super::looked::tests::Directory;
    use super::*;

    #[test]
    fn a_look_at_some_is_none_at_the_others_and_forbids_them_only_while_the_agent_runs() {
        let directory = Directory::new(&[]);
        let change = |path: &str| Change::blank(path.to_owned(), Op::Delete, Kind::File);
        let seen = |change: &Change| Shown::of(&directory.mount, change, None, true);
        let mut shown = ShownChanges::default();
        shown.see(&["d".to_owned()], vec![seen(&change("d/a"))], &|_| false);
        let unseen = |shown: &ShownChanges, path: &str, over: bool| {
            Review::Against { shown, over }.of(&directory.mount, &change(path), None).is_some()
        };
        assert!(!unseen(&shown, "d/a", false) && unseen(&shown, "b", false) && !unseen(&shown, "b", true));
        // What they looked at had not this one.
        assert!(unseen(&shown, "d/new", true) && !shown.is_of_all());
        shown.see(&[], vec![], &|_| false);
        assert!(unseen(&shown, "b", true) && shown.is_of_all());
    }
}
