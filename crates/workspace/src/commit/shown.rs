//! Staged changes as they are shown: paths as in the workspace, words of the protocol.

use chaperone_protocol::reply::{
    ChangeEntry, ChangeOp, ChangeState, ConflictChoice, ModeChange, ObjectKind, StagedDetail,
};
use chaperone_staging::{Change, Choice, Entry, Kind, Op, State};

use super::dependencies;
use crate::mount::LiveMount;

/// A change that the stage holds, or held until now.
pub(super) fn of_entry(mount: &LiveMount, entry: &Entry, change: Option<&Change>) -> ChangeEntry {
    ChangeEntry {
        path: shown_path(mount, &entry.path),
        op: op(entry.op),
        from: entry.from.as_ref().map(|f| shown_path(mount, f)),
        size: entry.size,
        sha256: entry.sha256.clone(),
        state: state(entry.state),
        reasons: entry.reasons.clone(),
        staged: Some(StagedDetail {
            kind: kind(entry.kind),
            choices: entry.choices.iter().map(|c| choice(*c)).collect(),
            commit: entry.commit,
            was: change.and_then(|c| c.base?.kind().filter(|was| *was != c.kind)).map(kind),
            target: change.and_then(|c| c.target.clone()),
            same_as: change.and_then(|c| c.same_as.as_ref()).map(|same| shown_path(mount, &same.path)),
            mode: change.and_then(mode),
        }),
        group: dependencies::around_path(mount, &entry.path, entry.kind == Kind::Dir)
            .map(|(at, _)| shown_path(mount, at)),
        moved_to: None,
        diff: None,
        lines: None,
    }
}

/// Permission bits that are not as they were, or not those of most files.
fn mode(change: &Change) -> Option<ModeChange> {
    if change.op == Op::Delete || change.kind == Kind::Symlink {
        return None;
    }
    let bits = |mode: u32| mode & 0o7777;
    let usual = if change.kind == Kind::Dir { 0o755 } else { 0o644 };
    let old = change.base.filter(|base| base.kind() == Some(change.kind)).map(|base| bits(base.mode));
    (old.unwrap_or(usual) != bits(change.mode)).then(|| ModeChange {
        old: old.map(|old| format!("{old:04o}")),
        new: format!("{:04o}", bits(change.mode)),
    })
}

pub(super) fn discarded(mount: &LiveMount, change: &Change) -> ChangeEntry {
    ChangeEntry {
        path: shown_path(mount, &change.path),
        op: op(change.op),
        from: change.from.as_ref().map(|f| shown_path(mount, f)),
        size: change.size,
        sha256: None,
        state: ChangeState::Discarded,
        reasons: Vec::new(),
        staged: None,
        group: None,
        moved_to: None,
        diff: None,
        lines: None,
    }
}

pub(super) fn shown_path(mount: &LiveMount, path: &str) -> String {
    if mount.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", mount.prefix) }
}

fn op(op: Op) -> ChangeOp {
    match op {
        Op::Create => ChangeOp::Create,
        Op::Modify => ChangeOp::Modify,
        Op::Delete => ChangeOp::Delete,
        Op::Rename => ChangeOp::Rename,
    }
}

fn kind(kind: Kind) -> ObjectKind {
    match kind {
        Kind::File => ObjectKind::File,
        Kind::Dir => ObjectKind::Dir,
        Kind::Symlink => ObjectKind::Symlink,
    }
}

fn state(state: State) -> ChangeState {
    match state {
        State::Staged => ChangeState::Staged,
        State::Committed => ChangeState::Committed,
        State::Refused => ChangeState::Refused,
        State::Conflict => ChangeState::Conflict,
    }
}

fn choice(choice: Choice) -> ConflictChoice {
    match choice {
        Choice::KeepMine => ConflictChoice::KeepMine,
        Choice::KeepTheirs => ConflictChoice::KeepTheirs,
        Choice::WriteBoth => ConflictChoice::WriteBoth,
    }
}
