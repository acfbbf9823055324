//! The single steps of the story in [`crate::pipeline`].

use std::sync::Arc;
use std::time::Duration;

use chaperone_inspect::endings;
use chaperone_policy::{Decision, Effect, Obligation};
use chaperone_protocol::session::State;
use chaperone_protocol::{Failure, for_display};

use crate::access::{AccessRequest, Entry, FileObject, FileResource, Resource};
use crate::authority;
use crate::granting::{demands_redaction, file_name};
use crate::inspection::Inspected;
use crate::pipeline::{Pipeline, contained};
use crate::policy_input::policy_input;
use crate::refusal::Refusal;
use crate::session::{Refused, Session};

/// Decisions remembered per session. Protects memory; beyond it they are made anew.
const REMEMBERED: usize = 20_000;
/// How long a session that is held to its pace sleeps before it looks whether it still runs.
const MOST_WAIT: Duration = Duration::from_millis(100);
/// Longest resource name that is kept of a refusal, in characters.
const SHOWN: usize = 300;

/// What a remembered decision depends on besides policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DecisionKey {
    action: chaperone_capability::Action,
    path: String,
    to: Option<String>,
    object: FileObject,
    asks_content: bool,
    content: Option<[u8; 32]>,
    verbatim: bool,
    approved: Option<bool>,
    /// An elevation ends by itself.
    elevated: bool,
    entry: &'static str,
}

/// Whether a refusal counts as a repetition of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    Counted,
    Not,
}

/// A remembered decision and the policy it rests on.
#[derive(Debug, Clone)]
pub struct Decided {
    revision: String,
    decision: Arc<Decision>,
}

impl Pipeline {
    /// Step 4. What policy says of a request that the capability refuses still follows: an alert, a suspension.
    pub(crate) fn capability(&self, session: &Session, request: &AccessRequest) -> Result<(), Refusal> {
        let refused = match authority::permit(session, &self.ledgers, request, self.clock.now()) {
            Ok(()) => return Ok(()),
            Err(failure) => Refusal::by_capability(failure),
        };
        let also = self.policy_on(session, request, None, None).ok();
        let obligations = also.map(|d| d.obligations.clone()).unwrap_or_default();
        Err(Refusal { obligations, ..refused })
    }

    /// One that fills the log waits for its own records; when the log's disk is down to its reserve, it is stopped.
    pub(crate) fn keep_pace(&self, session: &Session, request: &AccessRequest) {
        if request.entry == Entry::FileSystem {
            while let Some(wait) = session.pace.wait()
                && *session.state.read() == State::Running
            {
                std::thread::sleep(wait.min(MOST_WAIT));
            }
        }
        if !self.records.has_room(session) {
            self.suspend(session, ("broker.log_full", "log_full"));
        }
    }

    /// Step 5: every policy votes on the resolved resource.
    pub(crate) fn policy_on(
        &self,
        session: &Session,
        request: &AccessRequest,
        inspected: Option<&Arc<Inspected>>,
        approved: Option<bool>,
    ) -> Result<Arc<Decision>, Refusal> {
        let policies = self.policy.current();
        let now = self.clock.now();
        let is_elevated =
            |request: &AccessRequest| authority::is_elevated(session, &self.ledgers, request, now);
        let key = decision_key(request, inspected, approved, is_elevated(request));
        if let Some(key) = &key
            && let Some(known) = session.decided.lock().get(key)
            && known.revision == policies.revision()
        {
            return Ok(Arc::clone(&known.decision));
        }
        let inspected = inspected.map(AsRef::as_ref);
        let decide = |request: &AccessRequest| {
            let elevated = is_elevated(request);
            policies.decide(&policy_input(session, request, inspected, approved, elevated, now))
        };
        let mut decision = decide(request);
        if let Some(under_old_name) = under_old_name(request) {
            // A renamed object is judged by where it came from, too: a new name does not launder it.
            decision = decision.and(decide(&under_old_name));
        }
        let decision = Arc::new(decision);
        if let Some(key) = key.filter(|_| decision.cacheable) {
            let mut decided = session.decided.lock();
            if decided.len() >= REMEMBERED {
                decided.clear();
            }
            let revision = policies.revision().to_owned();
            decided.insert(key, Decided { revision, decision: Arc::clone(&decision) });
        }
        Ok(decision)
    }

    /// Step 6: the exact bytes, and what is in them. Those of a renamed object are read as its old name would have them, too.
    pub(crate) fn inspect(
        &self,
        session: &Session,
        request: &AccessRequest,
    ) -> Result<Arc<Inspected>, Refusal> {
        let resource = request.as_file().ok_or_else(Refusal::internal)?;
        let file = resource.file.as_ref().ok_or_else(Refusal::internal)?;
        let name = file_name(&resource.path);
        let seen = self.inspection.inspect(file, &resource.object, name, &session.snapshots)?;
        // Of the copy, which nobody can change meanwhile; what is known of the object itself is known by its name.
        let copy = FileObject { staged: true, ..resource.object };
        let origin = resource.origin.as_deref().filter(|origin| endings(origin) != endings(name));
        let seen = match origin {
            Some(origin) => {
                let there =
                    self.inspection.inspect(&seen.file, &copy, file_name(origin), &session.snapshots)?;
                Arc::new(seen.also_read_as(&there))
            }
            None => seen,
        };
        let Some(before) = resource.before.as_ref().filter(|_| !seen.findings.is_empty()) else {
            return Ok(seen);
        };
        // Of what cannot be looked into, nothing is known to have been there.
        match self.inspection.inspect(before, &copy, name, &session.snapshots) {
            Ok(before) => Ok(Arc::new(seen.without_what_was(&before))),
            Err(_) => Ok(seen),
        }
    }

    /// Steps 5 and 6: policy on the resource and, where it wants its content inspected, on that, too.
    pub(crate) fn judge(
        &self,
        session: &Session,
        request: &AccessRequest,
        wants: fn(&Decision) -> bool,
    ) -> Result<(Arc<Decision>, Option<Arc<Inspected>>), Refusal> {
        let decision = self.policy_on(session, request, None, None)?;
        let has_content = request.as_file().is_some_and(|f| f.content);
        if !has_content || decision.effect == Effect::Deny || !wants(&decision) {
            return Ok((decision, None));
        }
        let seen = self.inspect(session, request).map_err(|refusal| refusal.under(&decision))?;
        Ok((self.policy_on(session, request, Some(&seen), None)?, Some(seen)))
    }

    /// Record a refusal and count it; an agent that goes on with the same refused attempt is suspended.
    pub fn refuse(&self, session: &Session, request: &AccessRequest, refusal: Refusal) -> Refusal {
        self.refuse_as(session, request, refusal, Repeats::Counted)
    }

    pub(crate) fn refuse_as(
        &self,
        session: &Session,
        request: &AccessRequest,
        refusal: Refusal,
        repeats: Repeats,
    ) -> Refusal {
        let shown = Refused::new(
            self.told_at(),
            request.action.as_str(),
            &for_display(request.subject(), SHOWN),
            &refusal.failure,
            &refusal.rule,
            refusal.reasons.clone(),
        );
        let shown = shown.was(request.was(SHOWN));
        // What the user tries to commit is no request of the agent's.
        let is_users = request.entry == Entry::Commit;
        let count = if is_users {
            session.keep_back(shown);
            1
        } else {
            session.refused(shown)
        };
        let repeats = repeats == Repeats::Counted
            && !is_users
            && session.repeats(request.action.as_str(), &refusal.rule, &attempted(request));
        contained(|| self.records.refused(session, request, &refusal, count));
        // Programs try names and hosts again and again by themselves; the network has a limit of its own, in policy.
        let why = if refusal.suspends() {
            Some((refusal.rule.as_str(), "policy stops a session that goes on like this"))
        } else if repeats && request.as_network().is_none() {
            Some(("broker.repeated_denials", "the same refusal twenty times within a minute"))
        } else {
            None
        };
        if let Some(why) = why {
            self.suspend(session, why);
        }
        refusal
    }

    /// When a refusal was; nothing where the clock is broken, which is no reason to let anything through.
    fn told_at(&self) -> String {
        let mut at = String::new();
        contained(|| at = self.clock.rfc3339());
        at
    }

    /// Stop every process of a running session's cell until the user resumes it.
    pub fn suspend(&self, session: &Session, (rule, why): (&str, &str)) {
        let stop = || {
            if let Some(cell) = session.cell.get() {
                contained(|| cell.suspend());
            }
        };
        let id = &session.id;
        let failure = Failure::new("session_suspended", why)
            .advise(format!("to let it go on: chaperone resume {id}; to end it: chaperone stop {id}"));
        let shown = Refused::new(self.told_at(), "suspend", id, &failure, rule, vec![why.to_owned()]);
        if !session.suspend(shown, stop) {
            return;
        }
        contained(|| self.records.suspended(session, rule, why));
    }
}

/// What is attempted, by which repetitions are told: an object whatever it is called by now, otherwise a name. What is wished for the
/// agent makes up: each wish is one more of the same.
fn attempted(request: &AccessRequest) -> String {
    if request.as_elevation().is_some() {
        return String::new();
    }
    match request.as_file().map(|file| file.object) {
        Some(object) if object.ino != 0 => format!("{}:{}", object.dev, object.ino),
        _ => for_display(request.subject(), SHOWN),
    }
}

/// Whether policy wants the content looked into before it decides. A budget and a redaction hold for bytes that were looked at.
pub(crate) fn wants_inspection(decision: &Decision) -> bool {
    let budget = |o: &Obligation| matches!(o, Obligation::Inspect | Obligation::Budget { .. });
    decision.obligations.iter().any(budget) || demands_redaction(decision)
}

/// What a decision may be remembered by; nothing where it depends on more.
fn decision_key(
    request: &AccessRequest,
    inspected: Option<&Arc<Inspected>>,
    approved: Option<bool>,
    elevated: bool,
) -> Option<DecisionKey> {
    match &request.resource {
        Resource::File(FileResource {
            path,
            to,
            origin: None,
            object,
            content,
            verbatim,
            change: None,
            ..
        }) => Some(DecisionKey {
            action: request.action,
            path: path.clone(),
            to: to.clone(),
            object: *object,
            asks_content: *content,
            content: inspected.map(|i| i.sha256),
            verbatim: *verbatim,
            approved,
            elevated,
            entry: request.entry.as_str(),
        }),
        _ => None,
    }
}

fn under_old_name(request: &AccessRequest) -> Option<AccessRequest> {
    let file = request.as_file()?;
    let origin = file.origin.clone()?;
    let resource = Resource::File(FileResource { path: origin, origin: None, ..file.clone() });
    Some(AccessRequest { resource, ..request.clone() })
}
