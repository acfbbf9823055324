//! Step 8: the intent is recorded, and only then is there an [`Authorized`]. No other file can make one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chaperone_capability::Action;
use chaperone_policy::{Decision, Effect, Obligation};
use chaperone_protocol::{Failure, counted};

use crate::access::{AccessRequest, FileResource, NetworkResource};
use crate::inspection::Inspected;
use crate::pipeline::Pipeline;
use crate::policy_input::findings_of;
use crate::ports::Syncing;
use crate::records::{IntentRecord, unwritable};
use crate::refusal::Refusal;
use crate::session::Session;
pub use crate::snapshots::Released;

/// A request that was decided, and whose intent is recorded. Performers take nothing less, and act on what it names.
#[derive(Debug)]
pub struct Authorized {
    request: Arc<AccessRequest>,
    /// Sequence number of the recorded intent.
    pub intent: u64,
    /// The exact bytes that were inspected, or their redaction; absent when policy wanted no inspection.
    pub released: Option<Released>,
    pub redacted: bool,
    pub findings: usize,
    sync: Option<Box<dyn Syncing>>,
}

/// On what an `ask` was passed.
#[derive(Debug, Clone)]
pub struct ApprovalBasis {
    pub approval: String,
    pub redact: bool,
}

impl Authorized {
    #[must_use]
    pub fn request(&self) -> &AccessRequest {
        &self.request
    }

    /// The file that was decided on; nothing when it was something else.
    #[must_use]
    pub fn file(&self) -> Option<&FileResource> {
        self.request.as_file()
    }

    /// The destination that was decided on; nothing when it was something else.
    #[must_use]
    pub fn network(&self) -> Option<&NetworkResource> {
        self.request.as_network()
    }

    /// What to wait for before anything of the agent's may be sent, or be in the user's directory. A connection may be made, and
    /// other changes be judged, meanwhile.
    pub fn syncing(&mut self) -> IntentSync {
        IntentSync(self.sync.take())
    }
}

/// The intent of something that leaves or is committed, on its way to the disk. Those of before are there with it.
#[derive(Debug)]
#[must_use = "nothing may be sent or committed before it was waited for"]
pub struct IntentSync(Option<Box<dyn Syncing>>);

impl IntentSync {
    /// Blocks until it is there.
    ///
    /// # Errors
    /// `audit_unavailable`: then nothing may be sent.
    pub fn wait(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), |ticket| ticket.wait().map_err(|e| unwritable(&e)))
    }
}

impl Pipeline {
    /// Record the intent and release what was asked for.
    pub(crate) fn grant(
        &self,
        session: &Session,
        request: &Arc<AccessRequest>,
        decision: &Decision,
        inspected: Option<&Arc<Inspected>>,
        basis: Option<&ApprovalBasis>,
    ) -> Result<Authorized, Refusal> {
        // Whatever the user answered, policy that meanwhile lets only a redacted copy pass gets one.
        let redact = basis.is_some_and(|b| b.redact) || demands_redaction(decision);
        let released = self.release(session, request, inspected, redact)?;
        let taken = take_from_budget(session, decision, released.as_ref())?;
        let content = released.as_ref().map(|r| (r.version, r.len));
        let (intent, sync) = self.records.intent(
            session,
            &IntentRecord {
                request,
                decision,
                approval: basis.map(|b| b.approval.as_str()),
                inspected: inspected.map(AsRef::as_ref),
                redacted: redact,
                content: content.or_else(|| request.as_network().and_then(|n| n.content)),
            },
        )?;
        if let Some(taken) = taken {
            taken.keep();
        }
        if decision.obligations.contains(&Obligation::Notify) {
            self.records.notice(session, request, decision);
        }
        if let Some(released) = released.as_ref().filter(|_| request.action == Action::Read)
            && let Some(told) = session.on_release.get()
        {
            // What was read is told of by the name that the user knows it by, when it leaves again or comes before an ask.
            told.released(request.known_as(), released);
        }
        if let Some(seen) = inspected.filter(|_| request.action == Action::Read && !redact && basis.is_none())
        {
            session.likely.add(&seen.findings, request.known_as());
        }
        let subject = if request.action == Action::Read { request.known_as() } else { request.subject() };
        session.touched(&format!("{} {subject}", request.action.as_str()));
        let findings = findings_of(request, inspected.map(AsRef::as_ref)).len();
        Ok(Authorized { request: Arc::clone(request), intent, released, redacted: redact, findings, sync })
    }

    fn release(
        &self,
        session: &Session,
        request: &AccessRequest,
        inspected: Option<&Arc<Inspected>>,
        redact: bool,
    ) -> Result<Option<Released>, Refusal> {
        let verbatim = request.as_file().is_some_and(|f| f.verbatim);
        match (inspected, redact) {
            (_, true) if verbatim => Err(Failure::new(
                "cannot_redact",
                "only a redacted copy may be read, and this opening would expose the original",
            )
            .advise("open it read-only, or write to a new file")
            .into()),
            (Some(seen), false) => Ok(Some(seen.released())),
            (Some(seen), true) => {
                // As what it was, whatever it is called by now.
                let origin = request.as_file().and_then(|f| f.origin.as_deref());
                let name = file_name(origin.unwrap_or_else(|| request.subject()));
                Ok(Some(self.inspection.redacted(seen, name, (&session.id, &session.snapshots))?))
            }
            (None, true) => {
                Err(Failure::new("cannot_redact", "only a redacted copy would do, and this has none").into())
            }
            (None, false) => Ok(None),
        }
    }
}

/// A budget of policy's: no more bytes are released in this session than it says.
fn take_from_budget<'a>(
    session: &'a Session,
    decision: &Decision,
    released: Option<&Released>,
) -> Result<Option<Taken<'a>>, Refusal> {
    let limit = decision.obligations.iter().filter_map(|o| match o {
        Obligation::Budget { bytes } => Some(*bytes),
        _ => None,
    });
    let (Some(limit), Some(released)) = (limit.min(), released) else { return Ok(None) };
    let counter = &session.counters.bytes_released;
    let fits = |before: u64| before.checked_add(released.len).filter(|after| *after <= limit);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map_err(|before| {
        Refusal::by_policy(decision).because(
            "over_budget",
            format!("policy lets this session read {}, and {before} were read", counted(limit, "byte")),
        )
    })?;
    Ok(Some(Taken { counter, bytes: released.len }))
}

/// Bytes of a budget, which come back when what they were taken for is not recorded.
struct Taken<'a> {
    counter: &'a AtomicU64,
    bytes: u64,
}

impl Taken<'_> {
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Whether an allow holds for a redacted copy alone.
#[must_use]
pub fn demands_redaction(decision: &Decision) -> bool {
    decision.effect == Effect::Allow && decision.obligations.contains(&Obligation::Redact)
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
