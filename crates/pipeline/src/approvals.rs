//! Asks that wait for the user, and their answers.
//!
//! An ask blocks one operation. It is answered once, times out to a denial, dies with its operation's
//! cancellation, and is bound to the digest of the exact action: what is performed is what was shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use chaperone_protocol::{Ask, Failure, Scope};

/// Most asks of one session that wait at once. Protects the user from a flood; beyond it: denied. Each session has its own,
/// so that none is used up by another.
pub const MAX_OPEN: usize = 8;
/// Most operations of one session that wait for answers, those that share one included. Protects the broker's threads.
pub const MAX_WAITING: usize = 64;
/// How often a waiting operation looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// The user's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Approve { scope: Scope, redact: bool, pin_proof: Option<[u8; 16]> },
    Deny { why: Option<String> },
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Answered(Answer),
    TimedOut,
    Cancelled,
}

/// What makes two asks one, and what a standing answer to them is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Same {
    /// Operations of this key share one ask; none is asked alone.
    pub ask: Option<[u8; 32]>,
    pub standing: Option<[u8; 32]>,
}

/// All asks that wait.
#[derive(Debug, Default)]
pub struct Approvals {
    open: Mutex<HashMap<String, Open>>,
}

/// An ask, and how many operations wait for its answer.
#[derive(Debug)]
struct Open {
    question: Arc<Question>,
    waiting: usize,
}

#[derive(Debug)]
struct Question {
    ask: Ask,
    same: Same,
    until: Instant,
    fate: Mutex<Fate>,
    changed: Condvar,
    /// The approval's name in records, once one of those that wait has recorded it.
    recorded: Mutex<Option<Result<String, Failure>>>,
}

#[derive(Debug, Clone)]
enum Fate {
    Waits,
    Answered(Answer),
    Withdrawn,
}

/// One operation's waiting end. When the last one of an ask is dropped, the ask is withdrawn.
#[derive(Debug)]
pub struct Waiting {
    approvals: Arc<Approvals>,
    question: Arc<Question>,
    is_first: bool,
}

impl Approvals {
    /// Put an ask before the user, or wait with those who asked the same.
    ///
    /// # Errors
    /// `too_many_asks` beyond [`MAX_OPEN`] or [`MAX_WAITING`] of the session.
    pub fn ask(self: &Arc<Self>, ask: Ask, same: Same, timeout: Duration) -> Result<Waiting, Failure> {
        let mut open = self.open.lock();
        let (mut asks, mut waiting) = (0, 0);
        for other in open.values().filter(|o| o.question.ask.session == ask.session) {
            asks += 1;
            waiting += other.waiting;
        }
        if waiting >= MAX_WAITING {
            return Err(too_many(MAX_WAITING));
        }
        let shared = open.values_mut().find(|o| {
            same.ask.is_some() && o.question.same.ask == same.ask && o.question.ask.session == ask.session
        });
        if let Some(shared) = shared {
            shared.waiting += 1;
            let question = Arc::clone(&shared.question);
            return Ok(Waiting { approvals: Arc::clone(self), question, is_first: false });
        }
        if asks >= MAX_OPEN {
            return Err(too_many(MAX_OPEN));
        }
        let id = ask.id.clone();
        let question = Arc::new(Question {
            ask,
            same,
            until: Instant::now() + timeout,
            fate: Mutex::new(Fate::Waits),
            changed: Condvar::new(),
            recorded: Mutex::default(),
        });
        open.insert(id, Open { question: Arc::clone(&question), waiting: 1 });
        Ok(Waiting { approvals: Arc::clone(self), question, is_first: true })
    }

    /// The asks that wait, oldest expiry first.
    pub fn pending(&self) -> Vec<Ask> {
        let open = self.open.lock();
        let asks = open.values().map(|o| &o.question.ask);
        let by_age: BTreeMap<(i64, String), Ask> =
            asks.map(|a| ((a.expires, a.id.clone()), a.clone())).collect();
        by_age.into_values().collect()
    }

    /// One ask by its id or an unambiguous beginning of it.
    ///
    /// # Errors
    /// `no_such_ask` when none or several match.
    pub fn find(&self, id: &str) -> Result<Ask, Failure> {
        let open = self.open.lock();
        let mut matching = open.values().map(|o| &o.question.ask).filter(|a| a.id.starts_with(id));
        match (matching.next(), matching.next()) {
            (Some(ask), None) if !id.is_empty() => Ok(ask.clone()),
            _ => {
                Err(Failure::new("no_such_ask", format!("no pending request matches {id:?}, or several do"))
                    .advise("list them with: chaperone approvals"))
            }
        }
    }

    /// Give the answer to one ask: all operations that wait for it get it.
    ///
    /// # Errors
    /// `no_such_ask` when it was answered, timed out or withdrawn meanwhile.
    pub fn answer(&self, id: &str, answer: Answer) -> Result<(), Failure> {
        let answered = self.open.lock().remove(id);
        let open = answered
            .ok_or_else(|| Failure::new("no_such_ask", format!("the request {id} no longer waits")))?;
        open.question.becomes(Fate::Answered(answer));
        Ok(())
    }

    /// Withdraw every ask of a session.
    pub fn withdraw_session(&self, session: &str) {
        self.open.lock().retain(|_, open| {
            let stays = open.question.ask.session != session;
            if !stays {
                open.question.becomes(Fate::Withdrawn);
            }
            stays
        });
    }
}

fn too_many(limit: usize) -> Failure {
    Failure::new("too_many_asks", format!("{limit} requests of this session wait for an answer already"))
        .advise("wait until the user has answered the earlier requests")
}

impl Question {
    fn becomes(&self, fate: Fate) {
        *self.fate.lock() = fate;
        self.changed.notify_all();
    }
}

impl Waiting {
    /// What waits. Only what waits already is told to anyone: an answer may come at once.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.question.ask
    }

    /// Whether the user is asked on account of this operation; others wait with it.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether a standing answer to what the user was shown is about the same as this.
    #[must_use]
    pub fn stands_for(&self, key: Option<[u8; 32]>) -> bool {
        key.is_some() && self.question.same.standing == key
    }

    /// Wait for the answer. `cancelled` is looked at every few milliseconds.
    pub fn wait(&self, cancelled: &dyn Fn() -> bool) -> Ended {
        let mut fate = self.question.fate.lock();
        loop {
            match &*fate {
                Fate::Answered(answer) => return Ended::Answered(answer.clone()),
                Fate::Withdrawn => return Ended::Cancelled,
                Fate::Waits => {}
            }
            let left = self.question.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ended::TimedOut;
            }
            if self.question.changed.wait_for(&mut fate, left.min(CANCEL_POLL)).timed_out() {
                let is_cancelled = parking_lot::MutexGuard::unlocked(&mut fate, cancelled);
                if is_cancelled && matches!(*fate, Fate::Waits) {
                    return Ended::Cancelled;
                }
            }
        }
    }

    /// The approval's name in records. The answer is recorded once, by whichever operation comes first.
    ///
    /// # Errors
    /// What `record` failed with; then it failed for all.
    pub fn recorded(&self, record: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
        self.question.recorded.lock().get_or_insert_with(record).clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut open = self.approvals.open.lock();
        let id = &self.question.ask.id;
        if let Some(entry) = open.get_mut(id).filter(|o| Arc::ptr_eq(&o.question, &self.question)) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                open.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(id: &str) -> Ask {
        Ask {
            id: id.into(),
            session: "s".into(),
            agent: "a".into(),
            action: "read".into(),
            resource: "/workspace/x".into(),
            was: None,
            program: vec![],
            parents: vec![],
            recent: vec![],
            findings: vec![],
            reasons: vec![],
            rule: String::new(),
            advice: None,
            risk: "low".into(),
            effect: "ask".into(),
            redactable: false,
            justification: None,
            sources: vec![],
            leaves: None,
            unread: vec![],
            covers_kind: false,
            text: None,
            digest: String::new(),
            expires: 0,
        }
    }

    #[test]
    fn an_answer_reaches_the_operation_that_waits_and_only_once() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Same::default(), Duration::from_secs(5)).unwrap();
        let yes = Answer::Approve { scope: Scope::Once, redact: false, pin_proof: None };
        approvals.answer("abc", yes.clone()).unwrap();
        assert!(approvals.answer("abc", yes.clone()).is_err());
        assert_eq!(waiting.wait(&|| false), Ended::Answered(yes));
    }

    #[test]
    fn an_unanswered_ask_times_out_and_no_longer_waits() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Same::default(), Duration::from_millis(30)).unwrap();
        assert_eq!(waiting.wait(&|| false), Ended::TimedOut);
        drop(waiting);
        assert!(approvals.pending().is_empty());
    }

    #[test]
    fn a_cancelled_operation_withdraws_its_ask() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Same::default(), Duration::from_secs(50)).unwrap();
        assert_eq!(waiting.wait(&|| true), Ended::Cancelled);
        drop(waiting);
        assert!(approvals.find("abc").is_err());
    }

    fn of(session: &str, id: &str) -> Ask {
        Ask { session: session.into(), ..ask(id) }
    }

    fn same(key: u8) -> Same {
        Same { ask: Some([key; 32]), standing: None }
    }

    #[test]
    fn a_flood_of_asks_is_bounded_and_takes_nothing_from_another_session() {
        let approvals = Arc::new(Approvals::default());
        let put = |ask: Ask| approvals.ask(ask, Same::default(), Duration::from_secs(5));
        let kept: Vec<_> = (0..MAX_OPEN).map(|i| put(ask(&format!("{i}"))).unwrap()).collect();
        assert_eq!(put(ask("more")).unwrap_err().code, "too_many_asks");
        let others: Vec<_> = (0..30).map(|i| put(of(&format!("t{i}"), &format!("t{i}"))).unwrap()).collect();
        assert_eq!(approvals.pending().len(), MAX_OPEN + others.len());
        drop(kept);
        assert!(put(ask("more")).is_ok());
    }

    #[test]
    fn those_who_ask_the_same_share_one_ask_and_its_answer() {
        let approvals = Arc::new(Approvals::default());
        let put = |id: &str| approvals.ask(ask(id), same(1), Duration::from_secs(5)).unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|i| put(&format!("{i}"))).collect();
        assert_eq!(waiting.iter().filter(|w| w.is_first()).count(), 1);
        assert_eq!(approvals.pending().len(), 1);
        let more = approvals.ask(ask("more"), same(1), Duration::from_secs(5));
        assert_eq!(more.unwrap_err().code, "too_many_asks");
        let no = Answer::Deny { why: None };
        approvals.answer(&approvals.pending()[0].id, no.clone()).unwrap();
        let mut recorded = 0;
        for one in &waiting {
            assert_eq!(one.wait(&|| false), Ended::Answered(no.clone()));
            let record = || {
                recorded += 1;
                Ok("record".to_owned())
            };
            assert_eq!(one.recorded(record).unwrap(), "record");
        }
        assert_eq!(recorded, 1);
        // The next is a question of its own.
        assert!(put("next").is_first());
    }

    #[test]
    fn another_content_or_session_is_asked_about_by_itself() {
        let approvals = Arc::new(Approvals::default());
        let first = approvals.ask(ask("a"), same(1), Duration::from_secs(5)).unwrap();
        let others = [
            approvals.ask(ask("b"), same(2), Duration::from_secs(5)).unwrap(),
            approvals.ask(of("t", "c"), same(1), Duration::from_secs(5)).unwrap(),
            approvals.ask(ask("d"), Same::default(), Duration::from_secs(5)).unwrap(),
            approvals.ask(ask("e"), Same::default(), Duration::from_secs(5)).unwrap(),
        ];
        assert!(first.is_first() && others.iter().all(Waiting::is_first));
    }

    #[test]
    fn an_ask_waits_on_while_one_of_those_who_share_it_does() {
        let approvals = Arc::new(Approvals::default());
        let first = approvals.ask(ask("a"), same(1), Duration::from_secs(5)).unwrap();
        let second = approvals.ask(ask("b"), same(1), Duration::from_secs(5)).unwrap();
        drop(first);
        assert_eq!(approvals.pending().len(), 1);
        drop(second);
        assert!(approvals.pending().is_empty());
    }
}
