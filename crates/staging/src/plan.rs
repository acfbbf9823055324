//! From changes in any order to steps that can be made one after the other.
//!
//! Deletions and the sources of renames are named as in the tree before the commit, everything else as in the tree
//! after it. The order follows from three rules: a directory goes after what leaves it, a name is taken after it is free,
//! and an object arrives after the directory that it arrives in.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::change::{BaseVersion, Change, Kind, Op};
use crate::{Error, Result};

/// Changes that one commit takes: bounds the journal and the memory of a recovery.
pub const MAX_CHANGES: usize = 200_000;

/// One effect on the tree that is atomic by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Index into the changes of the commit.
    pub change: usize,
    /// Where the effect happens, at the time of this step.
    pub path: String,
    pub action: Action,
    /// Of the content, or of a link's text, that this step moves or leaves as it is: an undo knows it again by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// A file or a symlink goes.
    Remove {
        base: BaseVersion,
    },
    /// An empty directory goes.
    RemoveDir {
        base: BaseVersion,
    },
    /// An object takes a free name.
    Move {
        from: String,
        base: BaseVersion,
    },
    /// A file or symlink takes the name of another one.
    MoveOver {
        from: String,
        base: BaseVersion,
        replaces: BaseVersion,
    },
    MakeDir {
        mode: u32,
    },
    /// Mode and modification time alone.
    Attributes {
        base: BaseVersion,
        mode: u32,
        mtime_ns: String,
    },
    /// New content, or a symlink's new text.
    Write {
        base: WriteBase,
    },
}

/// What a written name holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WriteBase {
    Nothing,
    Version(BaseVersion),
    /// The object that an earlier step of this change moved here.
    Moved(BaseVersion),
}

impl Step {
    /// Whether this step only rearranges names, and so goes before all content.
    pub fn is_structural(&self) -> bool {
        !matches!(self.action, Action::Write { .. })
    }
}

/// The steps of `changes`, structural ones first, and the indices of changes whose renames form a circle.
pub(crate) fn plan(changes: &[(usize, &Change)], bits: u32) -> Result<(Vec<Step>, Vec<usize>)> {
    if changes.len() > MAX_CHANGES {
        return Err(Error::TooManyChanges { count: changes.len(), limit: MAX_CHANGES });
    }
    let names = Names::of(changes)?;
    let (order, circle) = names.order(changes);
    let mut moves: Vec<(&str, &str)> = Vec::new();
    let mut structural = Vec::new();
    for position in order {
        let Some((index, change)) = changes.get(position) else { continue };
        let Some(action) = structural_action(change, &moves, bits) else { continue };
        if let (Op::Rename, Some(from)) = (change.op, &change.from) {
            moves.push((from, &change.path));
        }
        let path = match change.op {
            Op::Delete => now_at(&change.path, &moves),
            _ => change.path.clone(),
        };
        structural.push(Step { change: *index, path, action, sha256: None });
    }
    let circle: BTreeSet<usize> = circle.into_iter().collect();
    let writes = changes
        .iter()
        .enumerate()
        .filter(|(position, _)| !circle.contains(position))
        .filter_map(|(_, (index, change))| Some((index, *change, write_base(change)?)))
        .map(|(index, change, base)| Step {
            change: *index,
            path: change.path.clone(),
            action: Action::Write { base },
            sha256: None,
        });
    structural.extend(writes);
    let circle =
        circle.iter().filter_map(|position| changes.get(*position)).map(|(index, _)| *index).collect();
    Ok((structural, circle))
}

fn structural_action(change: &Change, moves: &[(&str, &str)], bits: u32) -> Option<Action> {
    Some(match (change.op, change.kind) {
        (Op::Delete, Kind::Dir) => Action::RemoveDir { base: change.base? },
        (Op::Delete, _) => Action::Remove { base: change.base? },
        (Op::Rename, _) => {
            let (from, base) = (now_at(change.from.as_deref()?, moves), change.base?);
            match change.replaces {
                Some(replaces) => Action::MoveOver { from, base, replaces },
                None => Action::Move { from, base },
            }
        }
        (Op::Create, Kind::Dir) => Action::MakeDir { mode: change.mode & bits },
        (Op::Modify, _) if write_base(change).is_none() => Action::Attributes {
            base: change.base?,
            mode: change.mode & bits,
            mtime_ns: change.mtime_ns.to_string(),
        },
        _ => return None,
    })
}

fn write_base(change: &Change) -> Option<WriteBase> {
    let has_content = change.blob.is_some() || change.target.is_some();
    match change.op {
        Op::Create if change.kind != Kind::Dir => Some(WriteBase::Nothing),
        Op::Modify if has_content => change.base.map(WriteBase::Version),
        Op::Rename if has_content => change.base.map(WriteBase::Moved),
        _ => None,
    }
}

/// Where an object of the original tree is after `moves`, made in that order.
fn now_at(original: &str, moves: &[(&str, &str)]) -> String {
    let mut path = original.to_owned();
    for (from, to) in moves {
        if let Some(below) = strip_folder(&path, from) {
            path = format!("{to}{below}");
        }
    }
    path
}

/// What follows `directory` in `path` (empty when they are equal), or `None` when it is not below.
pub(crate) fn strip_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Which change frees and which takes a name; values are positions in the list of changes.
struct Names<'a> {
    freed: HashMap<&'a str, usize>,
    taken: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn of(changes: &[(usize, &'a Change)]) -> Result<Self> {
        let mut names = Names { freed: HashMap::new(), taken: HashMap::new() };
        for (position, (_, change)) in changes.iter().enumerate() {
            let freed = change.leaves();
            let taken = (change.op != Op::Delete).then_some(change.path.as_str());
            for (name, map) in [(freed, &mut names.freed), (taken, &mut names.taken)] {
                if let Some(name) = name
                    && map.insert(name, position).is_some()
                {
                    return Err(Error::TwoChangesOfOneName { path: crate::printable::printable(name, 200) });
                }
            }
        }
        Ok(names)
    }

    /// Positions in an order that obeys the rules above, and those that no order can serve.
    fn order(&self, changes: &[(usize, &Change)]) -> (Vec<usize>, Vec<usize>) {
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); changes.len()];
        let mut waits: Vec<usize> = vec![0; changes.len()];
        for (before, after) in self.rules(changes) {
            if let (Some(list), Some(count)) = (followers.get_mut(before), waits.get_mut(after)) {
                list.push(after);
                *count += 1;
            }
        }
        let mut ready: BTreeSet<usize> = waits
            .iter()
            .enumerate()
            .filter(|(_, count)| **count == 0)
            .map(|(position, _)| position)
            .collect();
        let mut order = Vec::with_capacity(changes.len());
        while let Some(position) = ready.pop_first() {
            order.push(position);
            for after in followers.get(position).into_iter().flatten() {
                if let Some(count) = waits.get_mut(*after) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(*after);
                    }
                }
            }
        }
        let circle = waits.iter().enumerate().filter(|(_, count)| **count > 0).map(|(position, _)| position);
        (order, circle.collect())
    }

    fn rules(&self, changes: &[(usize, &Change)]) -> Vec<(usize, usize)> {
        let mut rules = Vec::new();
        for (position, (_, change)) in changes.iter().enumerate() {
            for folder in change.leaves().into_iter().flat_map(folders) {
                if let Some(&folder_goes) = self.freed.get(folder) {
                    let is_removed = changes.get(folder_goes).is_some_and(|(_, of)| of.op == Op::Delete);
                    if is_removed || change.op == Op::Delete {
                        rules.push((position, folder_goes));
                    }
                }
            }
            if change.op == Op::Delete {
                continue;
            }
            if let Some(&freed) = self.freed.get(change.path.as_str())
                && freed != position
            {
                rules.push((freed, position));
            }
            for folder in folders(&change.path) {
                if let Some(&arrives) = self.taken.get(folder) {
                    rules.push((arrives, position));
                }
            }
        }
        rules
    }
}

/// The directories above a path, nearest first.
pub(crate) fn folders(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(folder, _)| folder), |path| {
        path.rsplit_once('/').map(|(folder, _)| folder)
    })
}
