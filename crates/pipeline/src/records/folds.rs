//! Repetitions in the file system: the same action on the same object with the same decision is recorded at once the first time.
//! Further ones are counted, and the count is recorded within a second or so.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::{Duration, Instant};

use chaperone_capability::Action;
use chaperone_policy::{Decision, Obligation};
use parking_lot::Mutex;

use crate::access::{AccessRequest, Entry, Resource};

/// How long after the last one an action is no repetition any more.
const TOGETHER: Duration = Duration::from_secs(1);
/// Actions of one session whose repetitions are counted. Protects memory; beyond it each is recorded.
const COUNTED: usize = 4_096;
/// Marks the number of an intent as a repetition of the one with that number.
const REPEATED: u64 = 1 << 63;

/// The repetitions of one session.
#[derive(Debug, Default)]
pub struct Folds(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    hasher: RandomState,
    /// What the first one was, to the number of its record.
    firsts: HashMap<u64, u64>,
    folds: HashMap<u64, Fold>,
    is_over: bool,
}

#[derive(Debug)]
struct Fold {
    key: Option<u64>,
    last: Instant,
    more: Option<Box<Repeated>>,
}

/// What was counted of one action since the last record of it.
#[derive(Debug, Clone)]
pub(super) struct Repeated {
    pub action: Action,
    pub resource: String,
    pub rule: Option<String>,
    pub reasons: Vec<String>,
    /// The record of the first one.
    pub intent: u64,
    pub begun: u64,
    pub ended: u64,
    pub failed: u64,
    pub bytes: u64,
    /// Milliseconds since 1970.
    pub first_ms: u64,
    pub last_ms: u64,
}

impl Folds {
    /// What an intent is a repetition by; nothing where each one is recorded: what was asked about, or told, or that leaves or
    /// reaches the user's files.
    pub(super) fn key(
        &self,
        request: &AccessRequest,
        decision: &Decision,
        released: (bool, Option<([u8; 32], u64)>),
    ) -> Option<u64> {
        let AccessRequest { action, resource: Resource::File(file), entry: Entry::FileSystem, .. } = request
        else {
            return None;
        };
        let told = |o: &Obligation| matches!(o, Obligation::Notify | Obligation::Alert { .. });
        if decision.obligations.iter().any(told) {
            return None;
        }
        let mut hasher = self.0.lock().hasher.build_hasher();
        (action, &file.path, &file.to, &file.origin, released).hash(&mut hasher);
        (&decision.rule, &decision.reasons, file.object.kind).hash(&mut hasher);
        // The agent's own work is another object with each write.
        (!file.object.staged).then_some(file.object).hash(&mut hasher);
        Some(hasher.finish())
    }

    /// Count an intent that repeats an earlier one; what it is called then.
    pub(super) fn repeats(
        &self,
        key: u64,
        (action, decision): (Action, &Decision),
        shown: impl FnOnce() -> String,
        now_ms: u64,
    ) -> Option<u64> {
        let mut table = self.0.lock();
        let first = *table.firsts.get(&key)?;
        let fold = table.folds.get_mut(&first)?;
        if fold.more.is_none() && fold.last.elapsed() >= TOGETHER {
            return None;
        }
        fold.last = Instant::now();
        let new = || {
            let (rule, reasons) = (Some(decision.rule.clone()), decision.reasons.clone());
            Repeated::new(action, shown(), first, now_ms).by(rule, reasons)
        };
        let more = fold.more.get_or_insert_with(|| Box::new(new()));
        more.begun += 1;
        more.last_ms = now_ms;
        Some(REPEATED | first)
    }

    /// An intent was recorded: what is the same repeats it.
    pub(super) fn first(&self, key: u64, seq: u64) {
        let mut table = self.0.lock();
        if table.is_over || table.folds.len() >= COUNTED {
            return;
        }
        if let Some(before) = table.firsts.insert(key, seq)
            && let Some(fold) = table.folds.get_mut(&before)
        {
            fold.key = None;
        }
        table.folds.insert(seq, Fold { key: Some(key), last: Instant::now(), more: None });
    }

    /// Count how a repetition ended; false when the outcome is that of a recorded intent. The second is whether what was counted
    /// is to be recorded now.
    pub(super) fn ended(
        &self,
        (intent, action): (u64, Action),
        (ok, bytes): (bool, u64),
        shown: impl FnOnce() -> String,
        now_ms: u64,
    ) -> (bool, bool) {
        if intent & REPEATED == 0 {
            return (false, false);
        }
        let mut table = self.0.lock();
        let first = intent & !REPEATED;
        let new = || Fold { key: None, last: Instant::now(), more: None };
        let fold = table.folds.entry(first).or_insert_with(new);
        let repeated = || Box::new(Repeated::new(action, shown(), first, now_ms));
        let more = fold.more.get_or_insert_with(repeated);
        *(if ok { &mut more.ended } else { &mut more.failed }) += 1;
        more.bytes += bytes;
        more.last_ms = now_ms;
        (true, table.is_over)
    }

    /// What was counted since the last time, in the order in which it began.
    pub(super) fn counted(&self) -> Vec<Repeated> {
        let mut table = self.0.lock();
        let mut counted: Vec<Repeated> =
            table.folds.values_mut().filter_map(|fold| fold.more.take()).map(|more| *more).collect();
        let Table { firsts, folds, .. } = &mut *table;
        folds.retain(|seq, fold| {
            let stays = fold.key.is_some() && fold.last.elapsed() < TOGETHER;
            if let Some(key) = fold.key.filter(|key| !stays && firsts.get(key) == Some(seq)) {
                firsts.remove(&key);
            }
            stays
        });
        counted.sort_by_key(|more| (more.first_ms, more.intent));
        counted
    }

    /// The log did not take these: they are counted still, and until it does, nothing repeats anything.
    pub(super) fn not_recorded(&self, counted: Vec<Repeated>) {
        let mut table = self.0.lock();
        table.firsts.clear();
        for more in counted {
            let new = || Fold { key: None, last: Instant::now(), more: None };
            let fold = table.folds.entry(more.intent).or_insert_with(new);
            let since = fold.more.take();
            fold.more = Some(Box::new(match since {
                Some(since) => more.and(&since),
                None => more,
            }));
        }
    }

    /// The session is over: nothing repeats anything any more, and outcomes that come still are recorded at once.
    pub fn close(&self) {
        let mut table = self.0.lock();
        table.is_over = true;
        table.firsts.clear();
    }
}

impl Repeated {
    fn new(action: Action, resource: String, intent: u64, now_ms: u64) -> Self {
        Self {
            action,
            resource,
            rule: None,
            reasons: Vec::new(),
            intent,
            begun: 0,
            ended: 0,
            failed: 0,
            bytes: 0,
            first_ms: now_ms,
            last_ms: now_ms,
        }
    }

    fn and(self, later: &Self) -> Self {
        Self {
            begun: self.begun + later.begun,
            ended: self.ended + later.ended,
            failed: self.failed + later.failed,
            bytes: self.bytes + later.bytes,
            last_ms: later.last_ms,
            ..self
        }
    }

    fn by(self, rule: Option<String>, reasons: Vec<String>) -> Self {
        Self { rule, reasons, ..self }
    }
}
