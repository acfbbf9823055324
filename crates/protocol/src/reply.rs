//! The broker's answers, one type for each request that has one. Their JSON is also what `--json` prints, so fields may be
//! added, never changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::request::Shown;
use crate::session::{Mode, State};

/// It was done, and there is nothing to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Who answers to a ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// Of the executable file: another one is another build, though its version may be the same.
    pub build: String,
    pub version: String,
    /// [`PROTOCOL`](crate::PROTOCOL) as that build has it.
    pub protocol: u32,
}

/// Whether the broker leaves, and what it has to do where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    pub leaves: bool,
    /// That run.
    pub sessions: usize,
    /// Other commands that it answers.
    pub others: usize,
}

/// A process of ours that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
}

/// The state of the broker and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The largest tree that the vault ever signed.
    pub last_signed: Option<SignedTree>,
    pub broker: Process,
    pub vault: VaultProcess,
    /// The revision of the policies in force.
    pub policy: String,
    /// Records of the audit log.
    pub records: u64,
    pub checkpoint_vkey: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTree {
    pub size: u64,
    /// Hex.
    pub root: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultProcess {
    pub pid: u32,
    pub alive: bool,
}

/// What a session of a profile would be shown over a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileShown {
    pub profile: String,
    /// What its cell would be made by.
    pub backend: String,
    pub workspace: PathBuf,
    pub mounts: Vec<MountShown>,
    /// Read-only, beside the mounts and what every cell shows.
    pub shown: Vec<Shown>,
}

/// A mount, and the directory that would be behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountShown {
    pub at: String,
    pub from: PathBuf,
    pub mode: Mode,
}

/// The policies were read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub revision: String,
}

/// The sessions that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    pub broker: Process,
    pub vault: Process,
    pub sessions: Vec<ListedSession>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedSession {
    pub id: String,
    pub name: String,
    pub profile: String,
    pub backend: String,
    pub state: State,
    pub init_pid: Option<u32>,
    pub exit: Option<i32>,
    pub cause: Option<String>,
    pub workspace: PathBuf,
    pub started: String,
    /// How many changes are staged, where that was asked for and can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<u64>,
    /// Why it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
}

/// What was removed of ended sessions, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    pub sessions: Vec<PrunedSession>,
    /// Sessions with nothing staged that stay because their commits can be undone.
    pub with_undo: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedSession {
    pub id: String,
    pub workspace: PathBuf,
    pub started: String,
    /// On disk.
    pub bytes: u64,
    /// Commits that cannot be undone any more.
    pub commits: u64,
}

/// How many sessions were told to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub stopped: u64,
}

/// A session's end: what its profile committed, what is still staged, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// At most [`ENDED_LISTED`], what was not committed first.
    pub committed: Vec<ChangeEntry>,
    /// At most [`ENDED_LISTED`].
    pub staged: Vec<ChangeEntry>,
    /// How many there are of both.
    #[serde(default)]
    pub totals: EndTotals,
    pub counters: EndCounters,
}

/// Changes that are listed at the end of a session: `changes` has all of them.
pub const ENDED_LISTED: usize = 1_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTotals {
    pub committed: u64,
    pub staged: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndCounters {
    pub reads: u64,
    pub denied: u64,
    /// Values of each kind that are likely secrets or personal data, and that were read unasked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub likely: BTreeMap<String, u64>,
    /// The first files that they are in; one more than is shown where there are others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub likely_in: Vec<String>,
}

/// A refusal as `why` shows it; repeated ones are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyEntry {
    pub time: String,
    pub action: String,
    pub resource: String,
    /// What the file was called in the user's directory, where the session gave it another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    pub rule: String,
    pub reasons: Vec<String>,
    pub advice: Option<String>,
    pub count: u64,
}

/// A staged change, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEntry {
    pub path: String,
    pub op: ChangeOp,
    /// Where a renamed object was.
    pub from: Option<String>,
    /// Bytes of the new content.
    pub size: u64,
    pub sha256: Option<String>,
    pub state: ChangeState,
    pub reasons: Vec<String>,
    /// Only of a change that the stage holds: one that was discarded or could not be staged has none.
    #[serde(flatten)]
    pub staged: Option<StagedDetail>,
    /// The directory of dependencies that it is in: one question for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a removal that waits: the new name that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
    /// What the change changes, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// How many lines of a text come and go, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<LineCounts>,
}

/// A path that was named, and the newest commit that took it, or something below it, and still stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedBefore {
    pub path: String,
    pub commit: u64,
}

/// Lines that a change adds and takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCounts {
    pub added: u64,
    pub removed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedDetail {
    pub kind: ObjectKind,
    /// How a conflict can be settled.
    pub choices: Vec<ConflictChoice>,
    /// The commit that made the change.
    pub commit: Option<u64>,
    /// What stands there now, where it is of another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<ObjectKind>,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The file of which it is one more name, a hard link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// Permission bits, in octal, where they change or are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeChange>,
}

/// Permission bits as `chmod` takes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeChange {
    pub old: Option<String>,
    pub new: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOp {
    Create,
    Modify,
    Delete,
    Rename,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    File,
    Dir,
    Symlink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    Staged,
    Committed,
    Refused,
    Conflict,
    Discarded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictChoice {
    KeepMine,
    KeepTheirs,
    WriteBoth,
}

/// The ask that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub id: String,
}

/// The claims of the capability that a session holds, and those of its elevations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityShown {
    pub claims: Value,
    pub elevations: Vec<Value>,
}

/// A new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    pub token: String,
    pub jti: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The `jti` of the token.
    pub revoked: String,
}

/// A checkpoint that was just signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Records of the log that it covers.
    pub size: u64,
    /// The signed note.
    pub checkpoint: String,
}

/// One record of the log, with its payload in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditShown {
    pub leaf: Value,
    pub payload: Option<Value>,
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    /// The reply prints as `shape`, and is read back from it.
    fn pin<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(reply: T, shape: Value) {
        assert_eq!(serde_json::to_value(&reply).unwrap(), shape);
        assert_eq!(serde_json::from_value::<T>(shape).unwrap(), reply);
    }

    #[test]
    fn the_state_of_the_broker() {
        let mut status = Status {
            last_signed: Some(SignedTree { size: 7, root: "ab".into() }),
            broker: Process { pid: 1 },
            vault: VaultProcess { pid: 2, alive: true },
            policy: "rev".into(),
            records: 9,
            checkpoint_vkey: "key".into(),
        };
        let mut shape = json!({
            "last_signed": { "size": 7, "root": "ab" }, "broker": { "pid": 1 }, "vault": { "pid": 2, "alive": true },
            "policy": "rev", "records": 9, "checkpoint_vkey": "key",
        });
        pin(status.clone(), shape.clone());
        status.last_signed = None;
        shape["last_signed"] = Value::Null;
        pin(status, shape);
        pin(Reloaded { revision: "rev".into() }, json!({ "revision": "rev" }));
        pin(Done {}, json!({}));
    }

    #[test]
    fn sessions_and_their_end() {
        let listed = ListedSession {
            id: "s".into(),
            name: "agent".into(),
            profile: "default".into(),
            backend: "native".into(),
            state: State::Running,
            init_pid: Some(3),
            exit: None,
            cause: None,
            workspace: "/w".into(),
            started: "t".into(),
            staged: None,
            suspended: None,
        };
        let sessions =
            Sessions { broker: Process { pid: 1 }, vault: Process { pid: 2 }, sessions: vec![listed] };
        let shape = json!({ "broker": { "pid": 1 }, "vault": { "pid": 2 }, "sessions": [{
            "id": "s", "name": "agent", "profile": "default", "backend": "native", "state": "running", "init_pid": 3,
            "exit": null, "cause": null, "workspace": "/w", "started": "t",
        }] });
        pin(sessions, shape);
        pin(CommittedBefore { path: "a".into(), commit: 1 }, json!({ "path": "a", "commit": 1 }));
        pin(Stopped { stopped: 2 }, json!({ "stopped": 2 }));
        pin(
            Here { build: "0.1.0 1:2:3".into(), version: "0.1.0".into(), protocol: 1 },
            json!({ "build": "0.1.0 1:2:3", "version": "0.1.0", "protocol": 1 }),
        );
        pin(
            Shutdown { leaves: false, sessions: 1, others: 2 },
            json!({ "leaves": false, "sessions": 1, "others": 2 }),
        );
        let one = PrunedSession {
            id: "s".into(),
            workspace: "/w".into(),
            started: "t".into(),
            bytes: 4,
            commits: 1,
        };
        pin(
            Pruned { sessions: vec![one], with_undo: 2 },
            json!({ "sessions": [{ "id": "s", "workspace": "/w", "started": "t", "bytes": 4, "commits": 1 }], "with_undo": 2 }),
        );
        let ended = Ended {
            committed: Vec::new(),
            staged: Vec::new(),
            totals: EndTotals { committed: 2, staged: 3 },
            counters: EndCounters {
                reads: 4,
                denied: 1,
                likely: BTreeMap::from([("jwt".into(), 2)]),
                likely_in: vec!["a".into()],
            },
        };
        pin(
            ended,
            json!({ "committed": [], "staged": [], "totals": { "committed": 2, "staged": 3 }, "counters": { "reads": 4, "denied": 1, "likely": { "jwt": 2 }, "likely_in": ["a"] } }),
        );
    }

    #[test]
    fn a_refusal_as_why_shows_it() {
        let entry = WhyEntry {
            time: "t".into(),
            action: "read".into(),
            resource: "/w/a".into(),
            was: None,
            rule: "r".into(),
            reasons: vec!["pii".into()],
            advice: None,
            count: 2,
        };
        let shape = json!({ "time": "t", "action": "read", "resource": "/w/a", "rule": "r", "reasons": ["pii"],
            "advice": null, "count": 2 });
        pin(entry, shape);
    }

    #[test]
    fn a_change_shows_its_kind_choices_and_commit_only_while_the_stage_holds_it() {
        let mut entry = ChangeEntry {
            path: "a".into(),
            op: ChangeOp::Create,
            from: None,
            size: 0,
            sha256: None,
            state: ChangeState::Discarded,
            reasons: Vec::new(),
            staged: None,
            group: None,
            moved_to: None,
            diff: None,
            lines: None,
        };
        let mut shape = json!({ "path": "a", "op": "create", "from": null, "size": 0, "sha256": null,
            "state": "discarded", "reasons": [] });
        pin(entry.clone(), shape.clone());
        let choices = vec![ConflictChoice::KeepMine, ConflictChoice::KeepTheirs, ConflictChoice::WriteBoth];
        entry.staged = Some(StagedDetail {
            kind: ObjectKind::File,
            choices,
            commit: None,
            was: None,
            target: None,
            same_as: None,
            mode: None,
        });
        shape["kind"] = json!("file");
        shape["choices"] = json!(["keep_mine", "keep_theirs", "write_both"]);
        shape["commit"] = Value::Null;
        pin(entry.clone(), shape.clone());
        entry.diff = Some("+x\n".into());
        entry.group = Some("vendor".into());
        shape["diff"] = json!("+x\n");
        entry.lines = Some(LineCounts { added: 1, removed: 0 });
        shape["lines"] = json!({ "added": 1, "removed": 0 });
        shape["group"] = json!("vendor");
        pin(entry, shape);
    }

    #[test]
    fn the_words_for_changes() {
        pin(
            vec![ChangeOp::Create, ChangeOp::Modify, ChangeOp::Delete, ChangeOp::Rename],
            json!(["create", "modify", "delete", "rename"]),
        );
        pin(vec![ObjectKind::File, ObjectKind::Dir, ObjectKind::Symlink], json!(["file", "dir", "symlink"]));
        pin(
            vec![
                ChangeState::Staged,
                ChangeState::Committed,
                ChangeState::Refused,
                ChangeState::Conflict,
                ChangeState::Discarded,
            ],
            json!(["staged", "committed", "refused", "conflict", "discarded"]),
        );
    }

    #[test]
    fn approvals_capabilities_and_the_log() {
        pin(Answered { id: "a".into() }, json!({ "id": "a" }));
        pin(
            CapabilityShown { claims: json!({ "sub": "a" }), elevations: vec![json!({ "sub": "b" })] },
            json!({ "claims": { "sub": "a" }, "elevations": [{ "sub": "b" }] }),
        );
        pin(Minted { token: "t".into(), jti: "j".into() }, json!({ "token": "t", "jti": "j" }));
        pin(Revoked { revoked: "j".into() }, json!({ "revoked": "j" }));
        pin(Checkpoint { size: 3, checkpoint: "note".into() }, json!({ "size": 3, "checkpoint": "note" }));
        pin(
            AuditShown { leaf: json!({ "seq": 1 }), payload: None },
            json!({ "leaf": { "seq": 1 }, "payload": null }),
        );
    }
}
