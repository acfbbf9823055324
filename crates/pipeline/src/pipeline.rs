//! The decision pipeline: the story of one request, read from top to bottom. Every adapter calls [`Pipeline::begin`], or
//! [`Pipeline::commit`] for a staged change; nothing else allows anything. (An adapter may refuse what it cannot carry.)
//!
//! 1. authenticate the session · 2. parse and 3. resolve are the adapter's: an [`AccessRequest`] names a resolved resource ·
//! 4. capability · 5. policy · 6. inspect, and decide again · 7. ask the user · 8. record the intent ·
//! 9. the adapter performs what the [`Authorized`] names · 10. [`Pipeline::outcome`].
//!
//! Whatever goes wrong on the way is a denial with a reason.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_inspect::outgoing::Outgoing;
use chaperone_policy::{Decision, Effect};
use chaperone_protocol::Failure;

use crate::access::{AccessRequest, Entry, FileObject};
use crate::approvals::Approvals;
use crate::asking::{Admission, Pending};
use crate::authority::{Issuer, Ledgers};
use crate::granting::{ApprovalBasis, Authorized, demands_redaction};
use crate::inspection::Inspected;
use crate::ports::{Clock, Inspect, Policies, Vault};
use crate::records::{Outcome, Records};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::steps::{Repeats, wants_inspection};
pub use crate::users_word::{Unseen, UsersWord};
use crate::verdicts::Verdicts;

/// Everything a decision needs.
#[derive(Debug)]
pub struct Pipeline {
    pub policy: Arc<dyn Policies>,
    pub records: Arc<Records>,
    pub approvals: Arc<Approvals>,
    pub inspection: Arc<dyn Inspect>,
    /// Looks at what leaves.
    pub outgoing: Arc<Outgoing>,
    pub vault: Arc<dyn Vault>,
    pub issuer: Issuer,
    pub ledgers: Ledgers,
    pub clock: Arc<dyn Clock>,
    /// What need not be looked at again.
    pub verdicts: Arc<Verdicts>,
}

impl Pipeline {
    /// Take a request through steps 1 and 4 to 8.
    pub fn begin(&self, session: &Arc<Session>, request: AccessRequest) -> Admission {
        let request = Arc::new(request);
        let admitted = guarded(|| {
            self.keep_pace(session, &request);
            session.authenticate()?;
            self.capability(session, &request)?;
            let (decision, inspected) = self.judge(session, &request, wants_inspection)?;
            decided(&decision, |needs| match needs {
                Needs::Nothing => {
                    self.grant(session, &request, &decision, inspected.as_ref(), None).map(Admission::Granted)
                }
                Needs::Consent | Needs::SecondFactor => self
                    .ask(session, &request, Arc::clone(&decision), inspected.clone())
                    .map_err(|refusal| refusal.of_reading(inspected.as_deref())),
            })
        });
        admitted.unwrap_or_else(|refusal| Admission::Refused(self.refuse(session, &request, refusal)))
    }

    /// Wait for the user and go on from there. `cancelled` is polled; a cancelled request is withdrawn.
    ///
    /// # Errors
    /// The refusal that the agent gets.
    pub fn resume(
        &self,
        session: &Arc<Session>,
        pending: Pending,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Authorized, Refusal> {
        let (request, shown) = (Arc::clone(&pending.request), Arc::clone(&pending.decision));
        let seen = pending.inspected.clone();
        // One no to many at once is one refusal for whoever counts them.
        let repeats = if pending.waiting.is_first() { Repeats::Counted } else { Repeats::Not };
        guarded(|| self.answer_of(session, pending, cancelled))
            .map_err(|refusal| refusal.under(&shown).of_reading(seen.as_deref()))
            .map_err(|refusal| self.refuse_as(session, &request, refusal, repeats))
    }

    /// Take a staged change to the user's directory through steps 5, 6 and 8. It rests on the user's own authority, not on
    /// the agent's capability; what policy asks about passes only when the user `named` exactly this path, or confirmed every
    /// reason. One that is `unseen` is not what the user was shown.
    ///
    /// # Errors
    /// The refusal; the change stays staged.
    pub fn commit(
        &self,
        session: &Arc<Session>,
        request: AccessRequest,
        word: &UsersWord<'_>,
    ) -> Result<Authorized, Refusal> {
        let request = Arc::new(request);
        let granted = guarded(|| {
            self.decide_on_commit(session, &request, word, |decision, inspected, basis| {
                self.grant(session, &request, decision, inspected, basis)
            })
        });
        granted.map_err(|refusal| self.refuse(session, &request, refusal))
    }

    /// Whether a staged change would pass [`Self::commit`]. Nothing is recorded.
    ///
    /// # Errors
    /// The refusal that it would get.
    pub fn would_commit(
        &self,
        session: &Arc<Session>,
        request: AccessRequest,
        word: &UsersWord<'_>,
    ) -> Result<(), Refusal> {
        guarded(|| {
            self.decide_on_commit(
                session,
                &Arc::new(request),
                word,
                |decision, _, _| match demands_redaction(decision) {
                    true => Err(Failure::new("cannot_redact", "only a redacted copy may pass").into()),
                    false => Ok(()),
                },
            )
        })
    }

    fn decide_on_commit<T>(
        &self,
        session: &Arc<Session>,
        request: &Arc<AccessRequest>,
        word: &UsersWord<'_>,
        grant: impl FnOnce(&Decision, Option<&Arc<Inspected>>, Option<&ApprovalBasis>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if let Some(unseen) = word.unseen {
            return Err(unseen.refusal());
        }
        let (decision, inspected) = self.judge(session, request, |_: &Decision| true)?;
        let granted = decided(&decision, |needs| match needs {
            Needs::Nothing => grant(&decision, inspected.as_ref(), None),
            Needs::Consent if word.covers(&decision) => {
                let basis = ApprovalBasis { approval: "user:commit".to_owned(), redact: false };
                grant(&decision, inspected.as_ref(), Some(&basis))
            }
            Needs::Consent => Err(Refusal::unanswered(
                "confirmation_required",
                "pass the path or the reason explicitly to commit it",
                &decision,
            )),
            Needs::SecondFactor => {
                Err(Refusal::unanswered("needs_second_factor", "this cannot be committed yet", &decision))
            }
        });
        granted.map_err(|refusal| refusal.saying(inspected.as_deref()))
    }

    /// Whether the session may simply read a file as it is: what the user would be asked about may not. Nothing is recorded.
    /// Says whether that holds as long as input and policy do not change.
    ///
    /// # Errors
    /// The refusal that an attempt would get.
    pub fn would_read(&self, session: &Arc<Session>, request: &AccessRequest) -> Result<bool, Refusal> {
        guarded(|| {
            let (decision, seen) = self.judge(session, request, wants_inspection)?;
            let read = decided(&decision, |needs| match needs {
                Needs::Nothing if !demands_redaction(&decision) => Ok(decision.cacheable),
                Needs::Nothing => {
                    let message = "only a redacted copy may be read";
                    Err(Refusal::unanswered("cannot_redact", message, &decision))
                }
                Needs::Consent | Needs::SecondFactor => {
                    let message = "in a staged directory nobody is asked about reading";
                    Err(Refusal::unanswered("masked", message, &decision))
                }
            });
            read.map_err(|refusal| refusal.of_reading(seen.as_deref()))
        })
    }

    /// Whether an action on a path would be denied whatever its content is. Nothing is recorded.
    #[must_use]
    pub fn is_denied(&self, session: &Arc<Session>, action: Action, path: &str) -> bool {
        let request = AccessRequest::file(Entry::FileSystem, action, path.to_owned(), FileObject::ABSENT);
        let decided = guarded(|| self.policy_on(session, &request, None, None));
        decided.map_or(true, |decision| decision.effect == Effect::Deny)
    }

    /// Record how an authorised action ended (step 10).
    ///
    /// # Errors
    /// `audit_unavailable` when the log cannot be written.
    pub fn outcome(&self, session: &Session, outcome: &Outcome<'_>) -> Result<(), Failure> {
        guarded(|| Ok(self.records.outcome(session, outcome)?)).map_err(|refusal| refusal.failure)
    }
}

/// What a decision that is no denial still needs of the user.
enum Needs {
    Nothing,
    Consent,
    SecondFactor,
}

/// Go on as a decision says; whatever is refused then stays under what the decision demands.
fn decided<T>(decision: &Decision, then: impl FnOnce(Needs) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let went = match decision.effect {
        Effect::Deny => Err(Refusal::by_policy(decision)),
        Effect::Allow => then(Needs::Nothing),
        Effect::Ask => then(Needs::Consent),
        Effect::StepUp => then(Needs::SecondFactor),
    };
    went.map_err(|refusal| refusal.under(decision))
}

/// A fault in what follows a decision changes nothing of it.
pub(crate) fn contained(follows: impl FnOnce()) {
    catch_unwind(AssertUnwindSafe(follows)).ok();
}

/// A panic on the way to a decision is a denial.
pub(crate) fn guarded<T>(decide: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(decide)).unwrap_or_else(|_| Err(Refusal::internal()))
}
