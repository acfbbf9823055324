//! How fast a session's queries for names are worked on. Each that is decided costs threads, records on disk and the system's resolver,
//! which all sessions share: so only so many a second are, few at once, and whoever asks the same again gets the same answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chaperone_egress::AllowSet;
use chaperone_egress::dns::{Answer, Question};
use chaperone_quota::Rate;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

/// Queries of one session that are decided and resolved at once: a little more than names are looked up at once.
pub(crate) const AT_WORK: usize = 24;
/// Queries that are decided in one go after a pause: a large page, or what a package manager asks for when it begins.
const BURST: u64 = 1_000;
/// Queries a second that are decided, after those.
const EACH_SECOND: u64 = 40;
/// Messages a second that are read at all; what comes faster waits in the kernel, or is lost there.
const READ_EACH_SECOND: u64 = 1_000;
/// How long an answer holds for whoever asks the same again.
const HOLDS_MS: u64 = 2_000;
/// Answers that are kept. Protects memory: a name has at most 253 bytes.
const KEPT: usize = 512;

/// What came of a query.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub answer: Answer,
    /// Of a name that may not be asked for: how it is shown, and the domain that it counts for.
    pub refused: Option<(String, String)>,
}

/// A query that is decided once, by the first who needs its answer.
pub(crate) type Slot = Arc<OnceCell<Known>>;

/// What to do with a query.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Decide it, and keep what comes of it here.
    Decide(Slot),
    /// The same was asked just now: what came of it, or comes of it.
    Again(Slot),
    /// More was asked than is worked on.
    TooMany,
}

/// The pace of one session.
#[derive(Debug)]
pub(crate) struct NamePace {
    inner: Mutex<Inner>,
    pub at_work: Semaphore,
}

#[derive(Debug)]
struct Inner {
    /// Of names that a rule of the session is for, which no flood of others takes from.
    allowed: Rate,
    others: Rate,
    read: Rate,
    recent: HashMap<Question, Recent>,
    /// What was not decided since somebody took account of it.
    uncounted: Uncounted,
}

#[derive(Debug)]
struct Recent {
    slot: Slot,
    since_ms: u64,
    /// By which rules: others may answer otherwise.
    rules: Arc<AllowSet>,
}

/// Queries that left no record of their own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uncounted {
    pub again: u64,
    pub too_many: u64,
    pub unreadable: u64,
}

impl Default for NamePace {
    fn default() -> Self {
        let inner = Inner {
            allowed: Rate::new(BURST, EACH_SECOND),
            others: Rate::new(BURST, EACH_SECOND),
            read: Rate::new(READ_EACH_SECOND, READ_EACH_SECOND),
            recent: HashMap::new(),
            uncounted: Uncounted::default(),
        };
        Self { inner: Mutex::new(inner), at_work: Semaphore::new(AT_WORK) }
    }
}

impl NamePace {
    /// What to do with a query that comes now; whether it is the first since account was taken that has no record of its own.
    pub fn turn(&self, question: &Question, rules: &Arc<AllowSet>, now_ms: u64) -> (Turn, bool) {
        let mut inner = self.inner.lock();
        let was = inner.uncounted;
        let turn = inner.turn(question, rules, now_ms);
        (turn, was == Uncounted::default() && inner.uncounted != was)
    }

    /// Whether a message that cannot be read is recorded by itself, and whether it is the first that is not.
    pub fn unreadable(&self, now_ms: u64) -> (bool, bool) {
        let mut inner = self.inner.lock();
        if inner.others.take(Duration::from_millis(now_ms)).is_ok() {
            return (true, false);
        }
        let is_first = inner.uncounted == Uncounted::default();
        inner.uncounted.unreadable += 1;
        (false, is_first)
    }

    /// How long to wait before the next message is read.
    pub fn wait_ms(&self, now_ms: u64) -> u64 {
        let mut inner = self.inner.lock();
        if inner.read.take(Duration::from_millis(now_ms)).is_ok() {
            0
        } else {
            1_000 / READ_EACH_SECOND.clamp(1, 1_000) + 9
        }
    }

    /// What was not recorded since the last call.
    pub fn take_account(&self) -> Uncounted {
        std::mem::take(&mut self.inner.lock().uncounted)
    }
}

impl Inner {
    fn turn(&mut self, question: &Question, rules: &Arc<AllowSet>, now_ms: u64) -> Turn {
        let holds = |r: &Recent| now_ms.saturating_sub(r.since_ms) < HOLDS_MS && Arc::ptr_eq(&r.rules, rules);
        if let Some(recent) = self.recent.get(question).filter(|r| holds(r)) {
            self.uncounted.again += 1;
            return Turn::Again(Arc::clone(&recent.slot));
        }
        let rate = if rules.may_resolve(&question.name) { &mut self.allowed } else { &mut self.others };
        if rate.take(Duration::from_millis(now_ms)).is_err() {
            self.uncounted.too_many += 1;
            return Turn::TooMany;
        }
        if self.recent.len() >= KEPT {
            self.recent.retain(|_, r| holds(r));
        }
        let slot = Slot::default();
        // Where so many differ, few are asked for again.
        if self.recent.len() < KEPT || self.recent.contains_key(question) {
            let recent = Recent { slot: Arc::clone(&slot), since_ms: now_ms, rules: Arc::clone(rules) };
            self.recent.insert(question.clone(), recent);
        }
        Turn::Decide(slot)
    }
}

#[cfg(test)]
mod tests {
    use chaperone_egress::dns::RecordType;
    use chaperone_egress::{Host, Rule};

    use super::*;

    fn rules() -> Arc<AllowSet> {
        Arc::new(AllowSet::new(vec![Rule::of_text("a.example").unwrap()]))
    }

    fn question(name: &str) -> Question {
        Question { name: Host::Name(name.to_owned()), kind: RecordType::A }
    }

    /// How many of so many queries, one a millisecond, are decided.
    fn decided(queries: u64, name: impl Fn(u64) -> String) -> (u64, Uncounted) {
        let (pace, rules) = (NamePace::default(), rules());
        let turns =
            (0..queries).filter(|n| matches!(pace.turn(&question(&name(*n)), &rules, *n).0, Turn::Decide(_)));
        (turns.count() as u64, pace.take_account())
    }

    #[test]
    fn who_asks_the_same_for_ever_is_decided_on_now_and_then() {
        let (decided, rest) = decided(20_000, |_| "a.example".to_owned());
        assert_eq!(decided, 20_000 / HOLDS_MS);
        assert_eq!(rest, Uncounted { again: 20_000 - decided, ..Uncounted::default() });
    }

    #[test]
    fn who_asks_for_ever_new_names_is_held_to_a_rate() {
        let (decided, rest) = decided(20_000, |n| format!("n{n}.a.example"));
        assert!((BURST..=BURST + 21 * EACH_SECOND).contains(&decided), "{decided}");
        assert_eq!(rest, Uncounted { too_many: 20_000 - decided, ..Uncounted::default() });
    }

    #[test]
    fn a_flood_of_other_names_takes_nothing_from_what_is_allowed() {
        let (pace, rules) = (NamePace::default(), rules());
        for n in 0..2 * BURST {
            pace.turn(&question(&format!("n{n}.example")), &rules, 0);
        }
        assert!(matches!(pace.turn(&question("other.example"), &rules, 0).0, Turn::TooMany));
        assert!(matches!(pace.turn(&question("a.example"), &rules, 0).0, Turn::Decide(_)));
    }

    #[test]
    fn ordinary_programs_are_always_answered() {
        let (pace, rules) = (NamePace::default(), rules());
        // A large page asks for sixty names of two types every ten seconds.
        for page in 0..20u64 {
            for n in 0..120 {
                let (turn, _) =
                    pace.turn(&question(&format!("n{n}.p{page}.example")), &rules, page * 10_000 + n);
                assert!(matches!(turn, Turn::Decide(_)));
            }
        }
        assert!((0..200).all(|n| pace.wait_ms(300_000 + n) == 0));
    }

    #[test]
    fn an_answer_holds_for_the_rules_that_gave_it() {
        let (pace, before, granted) = (NamePace::default(), rules(), rules());
        let ask = |rules: &Arc<AllowSet>, now| pace.turn(&question("a.example"), rules, now).0;
        assert!(matches!(ask(&before, 0), Turn::Decide(_)));
        assert!(matches!(ask(&before, 1), Turn::Again(_)));
        assert!(matches!(ask(&granted, 2), Turn::Decide(_)), "a grant counts at once");
        assert!(matches!(ask(&before, 3), Turn::Decide(_)));
    }

    #[test]
    fn what_has_no_record_of_its_own_is_told_of_once_until_it_was_counted() {
        let (pace, rules) = (NamePace::default(), rules());
        let ask = || pace.turn(&question("a.example"), &rules, 0).1;
        assert_eq!([ask(), ask(), ask()], [false, true, false]);
        assert_eq!(pace.take_account(), Uncounted { again: 2, ..Uncounted::default() });
        assert!(ask());
        let unrecorded = (0..2 * BURST).filter(|_| !pace.unreadable(0).0).count() as u64;
        assert_eq!(unrecorded, BURST, "they count with the others");
    }

    #[test]
    fn messages_are_read_no_faster_than_they_are_dealt_with() {
        let pace = NamePace::default();
        let waits = (0..5 * READ_EACH_SECOND).filter(|_| pace.wait_ms(0) > 0).count() as u64;
        assert_eq!(waits, 4 * READ_EACH_SECOND);
        assert_eq!(pace.wait_ms(1_000), 0);
    }
}
