//! What the user was shown of staged changes, and whether a change is that still. An agent that runs on can make another of
//! it between the look and the commit.

use std::collections::HashMap;
use std::fs::File;

use chaperone_pipeline::pipeline::Unseen;
use chaperone_staging::{Change, Kind, Op};

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
pub struct ShownChanges(HashMap<String, Vec<Shown>>);

/// What a commit is held against.
#[derive(Debug, Clone, Copy)]
pub enum Review<'a> {
    /// Nothing: the agent is over and nobody looked before, or the user says so.
    Free,
    /// The agent runs on, and nobody looked.
    Missing,
    /// What the user was shown. Of an agent that is over, what was shown in part counts, too: without a look all would pass.
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

    /// Where it is, and where it was.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str()).chain(self.from.as_deref())
    }
}

impl ShownChanges {
    /// The user looked (again). What they saw before and the whole of this look would have had counts no more: what is no longer
    /// there was not approved of by being seen once.
    pub fn see(&mut self, looked: Vec<Shown>, covered: &dyn Fn(&Shown) -> bool) {
        self.0.retain(|_, known| {
            known.retain(|shown| !covered(shown));
            !known.is_empty()
        });
        let mut new: HashMap<String, Vec<Shown>> = HashMap::new();
        for shown in looked {
            new.entry(shown.path.clone()).or_default().push(shown);
        }
        self.0.extend(new);
    }

    /// What was committed, thrown away or taken back was decided on; the same change made anew is another one.
    pub fn forget<'a>(&mut self, paths: impl Iterator<Item = &'a str>) {
        for path in paths {
            self.0.remove(path);
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
        let Some(known) = shown.0.get(&shown_path(mount, &change.path)) else {
            return Some(Unseen::NeverShown);
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
