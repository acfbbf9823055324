//! The three ways out when the user and the agent changed the same thing.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::beneath::{Parent, split};
use crate::change::{Change, Kind, MAX_NAME_BYTES, Op};
use crate::commit::{Judge, Request, Tree};
use crate::error::{At, Result};
use crate::report::{Choice, Entry, Report, State};

/// How many `name.agent-N.ext` are tried: beyond it the directory is full of them and the user has to look.
const BESIDE_ATTEMPTS: usize = 1000;

impl Tree {
    /// Of `changes`, what is made with this one or not at all.
    pub fn parts<'c>(&self, change: &'c Change, changes: &'c [Change]) -> Vec<&'c Change> {
        self.together.parts(change, changes)
    }

    /// Settles the conflict of a change, with the others that are made with it. `KeepMine` changes nothing; the change stays staged.
    /// `KeepTheirs` commits over what is there now, which goes to the history. `WriteBoth` commits a new file `name.agent-N.ext`.
    /// The judge is asked again in both cases.
    pub fn resolve(&self, changes: &[&Change], choice: Choice, judge: Judge<'_>) -> Result<Report> {
        let history = self.open_history()?;
        let (mut resolved, mut kept) = (Vec::new(), Vec::new());
        for change in changes {
            let made = match choice {
                Choice::KeepMine => None,
                // A directory of a whole is none that the user changed: what is there already stays.
                Choice::KeepTheirs if changes.len() > 1 && change.kind == Kind::Dir => {
                    Some((*change).clone())
                }
                Choice::KeepTheirs => self.over_what_is_there(change)?,
                Choice::WriteBoth => self.beside(change)?,
            };
            match made {
                Some(made) => resolved.push(made),
                None => kept.push(kept_mine(change)),
            }
        }
        if resolved.is_empty() {
            return Ok(Report { commit: None, entries: kept, ..Report::default() });
        }
        let request = Request { changes: &resolved, blobs: &self.stage, undoes: None };
        let mut report = self.run(&history, &request, judge)?;
        report.entries.extend(kept);
        Ok(report)
    }

    fn over_what_is_there(&self, change: &Change) -> Result<Option<Change>> {
        let mut change = change.clone();
        let at = change.from.clone().unwrap_or_else(|| change.path.clone());
        let now = self.version_of(&at)?;
        if change.op == Op::Rename && now.is_some_and(|now| now.kind() != Some(change.kind)) {
            // What the user has under the old name by now is another object, and stays there. The agent's own comes without it.
            if change.blob.is_none() && change.target.is_none() {
                return Ok(None);
            }
            let there = self.version_of(&change.path)?;
            change.op = if there.is_some() { Op::Modify } else { Op::Create };
            (change.from, change.base, change.replaces) = (None, there, None);
            return Ok(Some(change));
        }
        match (change.op, now) {
            (Op::Create | Op::Modify, None) => (change.op, change.base) = (Op::Create, None),
            (Op::Create | Op::Modify, now) => (change.op, change.base) = (Op::Modify, now),
            (Op::Delete, None) => return Ok(None),
            (_, now) => change.base = now.or(change.base),
        }
        if change.op == Op::Rename {
            change.replaces = self.version_of(&change.path)?;
        }
        Ok(Some(change))
    }

    fn beside(&self, change: &Change) -> Result<Option<Change>> {
        let mut change = change.clone();
        for number in 1..=BESIDE_ATTEMPTS {
            let path = beside(&change.path, number);
            if self.version_of(&path)?.is_none() {
                change.path = path;
                (change.op, change.from, change.base, change.replaces) = (Op::Create, None, None, None);
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    fn version_of(&self, path: &str) -> Result<Option<crate::BaseVersion>> {
        match Parent::open(self.root.as_fd(), path) {
            Ok(parent) => parent.version().at("examine", path),
            // The commit says of each path what stands in its way.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(other) => Err(other).at("open the directory of", path),
        }
    }
}

/// `a/name.ext` as `a/name.agent-N.ext`, shortened when the name would be too long.
fn beside(path: &str, number: usize) -> String {
    let (folder, name) = split(path);
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let mark = format!(".agent-{number}");
    let mut stem = stem.to_owned();
    while stem.len() + mark.len() + extension.len() > MAX_NAME_BYTES && stem.pop().is_some() {}
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{stem}{mark}{extension}")
}

fn kept_mine(change: &Change) -> Entry {
    Entry {
        path: change.path.clone(),
        op: change.op,
        kind: change.kind,
        from: change.from.clone(),
        size: change.size,
        sha256: None,
        state: State::Refused,
        reasons: vec!["kept_mine".to_owned()],
        choices: Vec::new(),
        commit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn the_agents_version_lies_beside_with_the_same_extension() {
        assert_eq!(beside("out/report.xlsx", 2), "out/report.agent-2.xlsx");
        assert_eq!(beside("Makefile", 1), "Makefile.agent-1");
        assert_eq!(beside(".bashrc", 1), ".bashrc.agent-1");
        assert!(beside(&format!("{}.txt", "ä".repeat(124)), 1).len() <= 255);
    }
}
