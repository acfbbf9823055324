//! Asks that wait for a person, and their answers.
//!
//! An ask blocks one operation. It is answered once, times out to a denial, dies with its operation's
//! cancellation, and is bound to the digest of the exact action: what is performed is what was shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use chaperone_protocol::{Ask, Failure, Scope};

/// Most asks that wait at once, over all sessions. Protects the user from a flood; beyond it: denied.
pub const MAX_PENDING: usize = 64;
/// How often a waiting operation looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// A person's answer.
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

/// All asks that wait.
#[derive(Debug, Default)]
pub struct Approvals {
    waiting: Mutex<HashMap<String, (Ask, Sender<Answer>)>>,
}

/// One ask's waiting end. Dropping it withdraws the ask.
#[derive(Debug)]
pub struct Waiting {
    approvals: Arc<Approvals>,
    ask: Ask,
    answers: Receiver<Answer>,
    until: Instant,
}

impl Approvals {
    /// Put an ask before the user.
    ///
    /// # Errors
    /// `too_many_asks` beyond [`MAX_PENDING`].
    pub fn ask(self: &Arc<Self>, ask: Ask, timeout: Duration) -> Result<Waiting, Failure> {
        let (sender, answers) = mpsc::channel();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_PENDING {
            return Err(Failure::new(
                "too_many_asks",
                format!("{MAX_PENDING} requests wait for an answer already"),
            )
            .advise("wait until the user has answered the earlier requests"));
        }
        waiting.insert(ask.id.clone(), (ask.clone(), sender));
        Ok(Waiting { approvals: Arc::clone(self), ask, answers, until: Instant::now() + timeout })
    }

    /// The asks that wait, oldest expiry first.
    pub fn pending(&self) -> Vec<Ask> {
        let by_age: BTreeMap<(i64, String), Ask> =
            self.waiting.lock().values().map(|(a, _)| ((a.expires, a.id.clone()), a.clone())).collect();
        by_age.into_values().collect()
    }

    /// One ask by its id or an unambiguous beginning of it.
    ///
    /// # Errors
    /// `no_such_ask` when none or several match.
    pub fn find(&self, id: &str) -> Result<Ask, Failure> {
        let waiting = self.waiting.lock();
        let mut matching = waiting.values().filter(|(a, _)| a.id.starts_with(id)).map(|(a, _)| a);
        match (matching.next(), matching.next()) {
            (Some(ask), None) if !id.is_empty() => Ok(ask.clone()),
            _ => Err(Failure::new("no_such_ask", format!("no single request waits under {id:?}"))
                .advise("list what waits with: chaperone approvals")),
        }
    }

    /// Give the answer to one ask.
    ///
    /// # Errors
    /// `no_such_ask` when it was answered, timed out or withdrawn meanwhile.
    pub fn answer(&self, id: &str, answer: Answer) -> Result<(), Failure> {
        let gone = || Failure::new("no_such_ask", format!("the request {id} no longer waits"));
        let (_, sender) = self.waiting.lock().remove(id).ok_or_else(gone)?;
        sender.send(answer).map_err(|_| gone())
    }

    /// Withdraw every ask of a session.
    pub fn withdraw_session(&self, session: &str) {
        self.waiting.lock().retain(|_, (ask, _)| ask.session != session);
    }
}

impl Waiting {
    /// What waits. Only what waits already is told to anyone: an answer may come at once.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Wait for the answer. `cancelled` is looked at every few milliseconds.
    pub fn wait(self, cancelled: &dyn Fn() -> bool) -> Ended {
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ended::TimedOut;
            }
            match self.answers.recv_timeout(left.min(CANCEL_POLL)) {
                Ok(answer) => return Ended::Answered(answer),
                Err(RecvTimeoutError::Disconnected) => return Ended::Cancelled,
                Err(RecvTimeoutError::Timeout) if cancelled() => return Ended::Cancelled,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.approvals.waiting.lock().remove(&self.ask.id);
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
            text: None,
            digest: String::new(),
            expires: 0,
        }
    }

    #[test]
    fn an_answer_reaches_the_operation_that_waits_and_only_once() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Duration::from_secs(5)).unwrap();
        let yes = Answer::Approve { scope: Scope::Once, redact: false, pin_proof: None };
        approvals.answer("abc", yes.clone()).unwrap();
        assert!(approvals.answer("abc", yes.clone()).is_err());
        assert_eq!(waiting.wait(&|| false), Ended::Answered(yes));
    }

    #[test]
    fn an_unanswered_ask_times_out_and_no_longer_waits() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Duration::from_millis(30)).unwrap();
        assert_eq!(waiting.wait(&|| false), Ended::TimedOut);
        assert!(approvals.pending().is_empty());
    }

    #[test]
    fn a_cancelled_operation_withdraws_its_ask() {
        let approvals = Arc::new(Approvals::default());
        let waiting = approvals.ask(ask("abc"), Duration::from_secs(50)).unwrap();
        assert_eq!(waiting.wait(&|| true), Ended::Cancelled);
        assert!(approvals.find("abc").is_err());
    }

    #[test]
    fn a_flood_of_asks_is_bounded() {
        let approvals = Arc::new(Approvals::default());
        let kept: Vec<_> = (0..MAX_PENDING)
            .map(|i| approvals.ask(ask(&format!("{i}")), Duration::from_secs(5)).unwrap())
            .collect();
        assert_eq!(approvals.ask(ask("more"), Duration::from_secs(5)).unwrap_err().code, "too_many_asks");
        drop(kept);
        assert!(approvals.ask(ask("more"), Duration::from_secs(5)).is_ok());
    }
}
