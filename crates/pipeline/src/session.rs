//! One run of one agent in one cell: its mounts, capability, counters, and last refusals.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chaperone_capability::Verified;
use chaperone_quota::Quota;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use chaperone_config::Profile;
use chaperone_protocol::reply::WhyEntry;
use chaperone_protocol::session::{MountRecord, State};
use chaperone_protocol::{AskMode, Failure, Scope};

use crate::granting::ApprovalBasis;
use crate::ports::{CellHandle, OnRelease};
use crate::records::flood::RefusalFlood;
use crate::records::folds::Folds;
use crate::records::pace::Pace;
use crate::remembered::Remembered;
use crate::snapshots::Snapshots;
use crate::steps::{Decided, DecisionKey};

/// Refusals kept for `why`. Protects memory; older ones stay in the audit log.
const KEPT_REFUSALS: usize = 100;
/// Last touched resources shown with an ask.
const KEPT_RECENT: usize = 5;
/// This many refusals of one kind within [`REPEAT_WINDOW`] suspend the session.
pub const REPEAT_LIMIT: u32 = 20;
/// See [`REPEAT_LIMIT`].
pub const REPEAT_WINDOW: Duration = Duration::from_secs(60);

/// Attempts whose repetitions are counted. Protects memory; beyond it, those that ended are forgotten, then all.
const COUNTED_ATTEMPTS: usize = 10_000;

/// A refusal that is kept for `why`.
#[derive(Debug, Clone)]
pub struct Refused {
    shown: WhyEntry,
}

/// What leaves with a request.
#[derive(Debug, Clone, Default)]
pub struct Outflow {
    pub bytes: u64,
    /// The different values that were found in it, see [`chaperone_inspect::Finding::values`].
    pub values: HashSet<u64>,
}

/// What an answer lets leave in all, however it is cut into requests.
#[derive(Debug, Clone)]
pub struct Allowance {
    bytes: u64,
    /// Those that were shown, and those that left since.
    values: HashSet<u64>,
    most_values: usize,
}

impl Allowance {
    /// So many times what the user was shown.
    #[must_use]
    pub fn of(shown: Outflow, times: u32) -> Self {
        let most_values = shown.values.len().saturating_mul(times as usize);
        Self { bytes: shown.bytes.saturating_mul(times.into()), values: shown.values, most_values }
    }

    fn covers(&self, leaving: &Outflow) -> bool {
        let new = leaving.values.difference(&self.values).count();
        leaving.bytes <= self.bytes && self.values.len() + new <= self.most_values
    }

    fn take(&mut self, leaving: &Outflow) {
        self.bytes = self.bytes.saturating_sub(leaving.bytes);
        self.values.extend(&leaving.values);
    }
}

/// An answer of the user's that still holds.
#[derive(Debug, Clone)]
pub struct StandingApproval {
    /// What it covers: see `asking`.
    pub key: [u8; 32],
    pub basis: ApprovalBasis,
    /// What may still leave by it, where something leaves.
    pub left: Option<Allowance>,
    pub until: Option<Instant>,
}

#[derive(Debug, Default)]
pub struct Counters {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub deletes: AtomicU64,
    pub asked: AtomicU64,
    pub denied: AtomicU64,
    pub bytes_read: AtomicU64,
    /// Bytes of files that became readable, for budgets.
    pub bytes_released: AtomicU64,
}

#[derive(Debug)]
pub struct Session {
    plan: SessionPlan,
    pub state: RwLock<State>,
    /// Held while the session is suspended, held or resumed: its state and its cell change together. How many hold its cell still
    /// while they look at what it made.
    pausing: Mutex<usize>,
    /// PID 1 of the cell, by which an ask names the programs in it.
    pub init_pid: RwLock<Option<u32>>,
    pub capability: RwLock<Option<Arc<ActiveCapability>>>,
    pub grants: RwLock<Vec<Arc<ActiveCapability>>>,
    /// When each narrower capability expires that was made from this session's, as far as they still hold.
    pub attenuations: Mutex<Vec<u64>>,
    pub standing: Mutex<Vec<StandingApproval>>,
    pub counters: Counters,
    pub snapshots: Snapshots,
    /// What is likely and interrupted nothing, for the end of the session.
    pub likely: Remembered,
    refusals: Mutex<VecDeque<Refused>>,
    /// Of what the user tried to commit, each kind once: the last of it, and how many others.
    kept_back: Mutex<VecDeque<(Refused, u64)>>,
    /// Why it was suspended last.
    suspension: Mutex<Option<WhyEntry>>,
    /// Refused attempts: when their repetitions began to be counted, and how many came since.
    attempts: Mutex<HashMap<[u8; 32], (Instant, u32)>>,
    pub recent: Mutex<VecDeque<String>>,
    /// Decisions that hold until policy, answers or the object change.
    pub decided: Mutex<HashMap<DecisionKey, Decided>>,
    /// Refusals of the network, counted so that they cannot flood the log.
    pub flood: RefusalFlood,
    /// What repeats itself in the file system, counted between two records of it.
    pub folds: Folds,
    /// How fast it writes to the log.
    pub pace: Pace,
    /// Set once when the session is opened.
    pub on_release: OnceLock<Arc<dyn OnRelease>>,
    /// Set once when the session has its cell.
    pub cell: OnceLock<Arc<dyn CellHandle>>,
}

/// What a session is made of: it stays as it is for as long as there is the session, which is read like it.
#[derive(Debug)]
pub struct SessionPlan {
    pub id: String,
    /// The agent's name, `sub` of its capability.
    pub name: String,
    pub profile: Profile,
    /// What its cell is made by, or `NO_CELL`; its profile may name another.
    pub backend: String,
    pub workspace: PathBuf,
    pub command: Vec<String>,
    pub interactive: bool,
    pub ask: AskMode,
    pub ask_timeout: Duration,
    pub started: String,
    pub dir: PathBuf,
    pub mounts: Vec<MountRecord>,
    /// What it holds of the broker, and how much it may.
    pub quota: Arc<Quota>,
}

/// A capability with its verified claims.
#[derive(Debug)]
pub struct ActiveCapability {
    pub token: String,
    pub verified: Verified,
}

impl Deref for Session {
    type Target = SessionPlan;

    fn deref(&self) -> &SessionPlan {
        &self.plan
    }
}

impl Session {
    /// From running to suspended, with what stops the cell, and why. `false`: it did not run.
    pub fn suspend(&self, why: Refused, stop: impl FnOnce()) -> bool {
        let _alone = self.pausing.lock();
        if !self.turn(State::Running, State::Suspended) {
            return false;
        }
        *self.suspension.lock() = Some(why.shown);
        stop();
        true
    }

    /// Why it is suspended, while it is.
    #[must_use]
    pub fn suspension(&self) -> Option<WhyEntry> {
        let why = self.suspension.lock().clone();
        why.filter(|_| *self.state.read() == State::Suspended)
    }

    /// From suspended to running, with what lets the cell go on; where that fails, it stays suspended. Nothing: it was not
    /// suspended.
    pub fn resume<E>(&self, thaw: impl FnOnce() -> Result<(), E>) -> Option<Result<(), E>> {
        let held = self.pausing.lock();
        // What the cell asks for first must not meet a session that is suspended still.
        if !self.turn(State::Suspended, State::Running) {
            return None;
        }
        // The last one who holds it lets it go on.
        let gone_on = if *held == 0 { thaw() } else { Ok(()) };
        if gone_on.is_err() {
            self.turn(State::Running, State::Suspended);
        }
        Some(gone_on)
    }

    /// Holds the cell still, with what stops it, until [`Self::release`]; the session is not suspended by that. `false`: it does not
    /// run.
    pub fn hold(&self, stop: impl FnOnce()) -> bool {
        let mut held = self.pausing.lock();
        if *self.state.read() != State::Running {
            return false;
        }
        stop();
        *held += 1;
        true
    }

    /// The last release of what was held lets the cell go on, unless the session was suspended meanwhile.
    pub fn release(&self, thaw: impl FnOnce()) {
        let mut held = self.pausing.lock();
        *held = held.saturating_sub(1);
        if *held == 0 && *self.state.read() == State::Running {
            thaw();
        }
    }

    /// From one state to another; a session that ended meanwhile stays so.
    fn turn(&self, from: State, to: State) -> bool {
        let mut state = self.state.write();
        let is_from = *state == from;
        if is_from {
            *state = to;
        }
        is_from
    }

    #[must_use]
    pub fn new(plan: SessionPlan, state: State, init_pid: Option<u32>) -> Self {
        Self {
            snapshots: Snapshots::new(&plan.dir, &plan.quota),
            plan,
            state: RwLock::new(state),
            pausing: Mutex::default(),
            init_pid: RwLock::new(init_pid),
            capability: RwLock::default(),
            grants: RwLock::default(),
            attenuations: Mutex::default(),
            standing: Mutex::default(),
            counters: Counters::default(),
            likely: Remembered::default(),
            refusals: Mutex::default(),
            kept_back: Mutex::default(),
            suspension: Mutex::default(),
            attempts: Mutex::default(),
            recent: Mutex::default(),
            decided: Mutex::default(),
            flood: RefusalFlood::default(),
            folds: Folds::default(),
            pace: Pace::default(),
            on_release: OnceLock::new(),
            cell: OnceLock::new(),
        }
    }

    /// The last refusals, newest first, as `why --json` prints them; before them, why it is suspended, and after them, what commits
    /// kept back.
    #[must_use]
    pub fn why(&self) -> Vec<WhyEntry> {
        let refusals = self.refusals.lock();
        self.suspension()
            .into_iter()
            .chain(refusals.iter().rev().map(|refused| refused.shown.clone()))
            .chain(self.kept_back.lock().iter().rev().map(|(last, others)| last.among(*others)))
            .collect()
    }

    /// The mount that holds an absolute cell path, and the path below it.
    #[must_use]
    pub fn mount_of<'p>(&self, path: &'p str) -> Option<(usize, &'p str)> {
        self.mounts
            .iter()
            .enumerate()
            .filter_map(|(i, m)| {
                let rest = path.strip_prefix(m.at.as_str())?;
                if rest.is_empty() {
                    Some((m.at.len(), i, ""))
                } else {
                    rest.strip_prefix('/').map(|r| (m.at.len(), i, r))
                }
            })
            .max_by_key(|(length, _, _)| *length)
            .map(|(_, i, rest)| (i, rest))
    }

    /// Only a running session may do anything.
    ///
    /// # Errors
    /// `session_suspended` or `session_ended`.
    pub fn authenticate(&self) -> Result<(), Failure> {
        match *self.state.read() {
            State::Running => Ok(()),
            State::Suspended => Err(Failure::new("session_suspended", "this session is suspended")
                .advise(format!("ask the user to run: chaperone resume {}", self.id))),
            State::Starting | State::Ended => Err(Failure::new("session_ended", "this session does not run")),
        }
    }

    /// Remember what was touched, for the context of asks.
    pub fn touched(&self, what: &str) {
        let mut recent = self.recent.lock();
        if recent.back().is_some_and(|last| last == what) {
            return;
        }
        if recent.len() == KEPT_RECENT {
            recent.pop_front();
        }
        recent.push_back(what.to_owned());
    }

    /// Count a refusal of the agent's and keep it for `why`. Returns how often this one happened.
    pub fn refused(&self, refusal: Refused) -> u64 {
        self.counters.denied.fetch_add(1, Ordering::Relaxed);
        self.keep(refusal)
    }

    /// Keep for `why` what a commit kept back. A thousand files of one kind are one line, and push nothing else out.
    pub fn keep_back(&self, refusal: Refused) {
        let mut kept = self.kept_back.lock();
        let new = &refusal.shown;
        let same = |(r, _): &(Refused, u64)| r.shown.rule == new.rule && r.shown.reasons == new.reasons;
        let known = kept.iter().position(same).and_then(|at| kept.remove(at));
        let mut refusal = refusal;
        let others = known.map_or(0, |(last, others)| {
            let is_same = last.shown.resource == refusal.shown.resource;
            refusal.shown.count += if is_same { last.shown.count } else { 0 };
            others + u64::from(!is_same)
        });
        if kept.len() == KEPT_REFUSALS {
            kept.pop_front();
        }
        kept.push_back((refusal, others));
    }

    /// Keep a refusal for `why`. Returns how often this one happened.
    fn keep(&self, refusal: Refused) -> u64 {
        let mut kept = self.refusals.lock();
        let new = &refusal.shown;
        let same = |r: &&mut Refused| {
            r.shown.action == new.action && r.shown.resource == new.resource && r.shown.rule == new.rule
        };
        if let Some(known) = kept.iter_mut().find(same) {
            known.shown.count += 1;
            known.shown.time = refusal.shown.time;
            return known.shown.count;
        }
        if kept.len() == KEPT_REFUSALS {
            kept.pop_front();
        }
        kept.push_back(refusal);
        1
    }

    /// Count a refused attempt on something; whether it is repeated too often.
    pub fn repeats(&self, action: &str, rule: &str, on: &str) -> bool {
        let now = Instant::now();
        let is_over = |start: Instant| now.duration_since(start) >= REPEAT_WINDOW;
        let key = Sha256::digest(format!("{action}\0{rule}\0{on}").as_bytes()).into();
        let mut attempts = self.attempts.lock();
        if attempts.len() >= COUNTED_ATTEMPTS {
            attempts.retain(|_, (start, _)| !is_over(*start));
            if attempts.len() >= COUNTED_ATTEMPTS {
                attempts.clear();
            }
        }
        let (start, hits) = attempts.entry(key).or_insert((now, 0));
        if is_over(*start) {
            (*start, *hits) = (now, 0);
        }
        *hits += 1;
        *hits >= REPEAT_LIMIT
    }

    /// The user lets a suspended session go on: it begins anew.
    pub fn forget_refusals(&self) {
        self.refusals.lock().clear();
        self.kept_back.lock().clear();
        self.attempts.lock().clear();
    }

    /// It is over: what was kept for its next request goes.
    pub fn forget(&self) {
        self.attempts.lock().clear();
        self.standing.lock().clear();
        self.grants.write().clear();
        self.attenuations.lock().clear();
        *self.decided.lock() = HashMap::new();
        self.recent.lock().clear();
        self.snapshots.forget();
    }

    /// What `why` tells of `before` is told of this one.
    pub fn stand_for(&self, before: &Self) {
        *self.refusals.lock() = std::mem::take(&mut *before.refusals.lock());
        *self.kept_back.lock() = std::mem::take(&mut *before.kept_back.lock());
        self.likely.stand_for(&before.likely);
    }

    /// An answer of the user's that covers this still, if any: what leaves by it is taken from what it lets leave.
    #[must_use]
    pub fn standing_answer(&self, key: &[u8; 32], leaving: Option<&Outflow>) -> Option<ApprovalBasis> {
        let mut standing = self.standing.lock();
        standing.retain(|s| s.until.is_none_or(|t| t > Instant::now()));
        let found = standing.iter_mut().find(|s| s.key == *key)?;
        if let (Some(left), Some(leaving)) = (&mut found.left, leaving) {
            if !left.covers(leaving) {
                return None;
            }
            left.take(leaving);
        }
        Some(found.basis.clone())
    }

    /// Keep an answer for as long as it said.
    pub fn keep_answer(&self, mut standing: StandingApproval, scope: Scope) {
        match scope {
            Scope::Once => return,
            Scope::Session => standing.until = None,
            // What ends after time itself ends with the session.
            Scope::For(seconds) => standing.until = Instant::now().checked_add(Duration::from_secs(seconds)),
        }
        let mut kept = self.standing.lock();
        // Operations that shared one ask give its answer once.
        kept.retain(|known| known.key != standing.key);
        kept.push(standing);
    }

    /// The id of the capability that the session holds.
    #[must_use]
    pub fn capability_id(&self) -> Option<String> {
        self.capability.read().as_ref().map(|held| held.verified.claims().jti.clone())
    }
}

impl Refused {
    #[must_use]
    pub fn new(
        time: String,
        action: &str,
        resource: &str,
        failure: &Failure,
        rule: &str,
        reasons: Vec<String>,
    ) -> Self {
        let shown = WhyEntry {
            time,
            action: action.to_owned(),
            resource: resource.to_owned(),
            was: None,
            rule: rule.to_owned(),
            reasons,
            advice: failure.advice.clone(),
            count: 1,
        };
        Self { shown }
    }

    /// With what the file was called before the session gave it another name.
    #[must_use]
    pub fn was(mut self, was: Option<String>) -> Self {
        self.shown.was = was;
        self
    }

    fn among(&self, others: u64) -> WhyEntry {
        let mut shown = self.shown.clone();
        if others > 0 {
            let word = if others == 1 { "other" } else { "others" };
            shown.resource = format!("{} and {others} {word}", shown.resource);
            (shown.was, shown.count) = (None, others + 1);
        }
        shown
    }
}
