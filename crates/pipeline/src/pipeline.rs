//! The decision pipeline: the story of one request, read from top to bottom. Every adapter calls
//! [`Pipeline::begin`]; nothing else decides.
//!
//! 1. authenticate the session · 2. parse and 3. resolve are the adapter's: a [`Deed`] names a resolved object
//! 4. capability · 5. policy · 6. inspect, and decide again · 7. ask a person · 8. record the intent ·
//! 9. the adapter performs on the same descriptor · 10. [`Pipeline::outcome`].
//!
//! Whatever goes wrong on the way is a denial with a reason.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_inspect::Finding;
use chaperone_policy::{Decision, Effect};
use chaperone_vault::ApprovalRecord;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::approvals::{Answer, Approvals, Ended, Waiting};
use crate::clock;
use crate::inspection::{Inspected, Inspection};
use crate::program::Program;
use crate::records::{Note, Records};
use crate::session::{Refused, Session, Standing};
use crate::vault::Vault;
use chaperone_protocol::session::State;
use chaperone_protocol::{Ask, AskMode, Failure, FindingSummary, Scope, for_display};

/// Decisions remembered per session. Protects memory; beyond it they are made anew.
const REMEMBERED: usize = 20_000;
/// Longest resource name shown to a person, in characters.
const SHOWN: usize = 300;
/// Files that are named to the one who is asked.
const SHOWN_SOURCES: usize = 5;
/// Longest message to people shown to the one who is asked, in characters.
const SHOWN_TEXT: usize = 2_000;

/// What kind of thing a resolved path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    File,
    Dir,
    Symlink,
    Absent,
}

/// The resolved object: what was opened, not what was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Object {
    pub kind: ObjectKind,
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    /// It is the agent's own staged work.
    pub staged: bool,
}

impl Object {
    pub const ABSENT: Self = Self {
        kind: ObjectKind::Absent,
        dev: 0,
        ino: 0,
        nlink: 0,
        size: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        staged: false,
    };
}

/// One parsed and resolved request.
#[derive(Debug, Clone)]
pub struct Deed {
    /// An action of `contracts.md`: `read`, `write`, `list`, …
    pub action: &'static str,
    /// Absolute, normalised path in the cell.
    pub path: String,
    /// Where a rename goes.
    pub to: Option<String>,
    /// Where a renamed or linked object comes from, when that is not `path`.
    pub origin: Option<String>,
    pub object: Object,
    /// The object itself, open; content is read from here and nowhere else.
    pub file: Option<Arc<File>>,
    /// The request makes the content readable to the agent, or carries it to the person's folder.
    pub content: bool,
    /// The bytes cannot be replaced by redacted ones (an opening for writing, a commit).
    pub verbatim: bool,
    /// Facts about a change, for policy.
    pub change: Option<Value>,
    /// The asking process, where the transport tells it.
    pub pid: Option<u32>,
    /// `fs`, `rpc`, `commit`.
    pub entry: &'static str,
    /// What an elevation request says of itself.
    pub justification: Option<String>,
    /// What an action on the network is about; `path` then only says it to people.
    pub outbound: Option<Arc<Outbound>>,
}

impl Deed {
    /// An action on an object, and nothing else.
    #[must_use]
    pub fn on(entry: &'static str, action: &'static str, path: String, object: Object) -> Self {
        Self {
            action,
            path,
            to: None,
            origin: None,
            object,
            file: None,
            content: false,
            verbatim: false,
            change: None,
            pid: None,
            entry,
            justification: None,
            outbound: None,
        }
    }
}

/// The resolved object of an action on the network.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    /// The canonical name, or the address where there is none: of IPv6 without brackets, as capabilities have it.
    pub host: String,
    /// 0 for a query of a name.
    pub port: u16,
    /// What the connection goes to, pinned.
    pub addresses: Vec<std::net::IpAddr>,
    /// Of a request.
    pub method: Option<String>,
    /// Of a request: decoded and normalised, without its query.
    pub url_path: Option<String>,
    /// `input.net`.
    pub facts: Value,
    /// In what leaves.
    pub findings: Vec<Finding>,
    /// SHA-256 and length of what leaves.
    pub content: Option<([u8; 32], u64)>,
    /// Files of which passages leave, for the one who is asked.
    pub sources: Vec<String>,
    /// What is sent to people, for the one who is asked; never recorded.
    pub text: Option<String>,
    /// Something leaves the machine, so that the record has to be on disk before; see [`Authorized::on_disk`].
    pub leaves: bool,
}

/// What a request came to.
#[derive(Debug)]
pub enum Step {
    Granted(Authorized),
    /// A person must answer; nothing else waits meanwhile.
    Pending(Box<Pending>),
    Refused(Refusal),
}

/// A denial as the agent learns it.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub failure: Failure,
    pub rule: String,
    pub reasons: Vec<String>,
    /// Policy wants the session stopped until the person has looked.
    pub suspend: bool,
}

/// Only the pipeline makes these; performers take nothing less.
#[derive(Debug)]
pub struct Authorized {
    /// Sequence number of the recorded intent.
    pub intent: u64,
    /// The exact bytes that were inspected, or their redaction; absent when policy wanted no inspection.
    pub released: Option<Released>,
    pub redacted: bool,
    pub findings: usize,
    sync: Option<chaperone_audit::SyncTicket>,
    _made_here: MadeHere,
}

impl Authorized {
    /// Wait until the intent of something that leaves is on disk. Before that a connection may be made, but nothing of the
    /// agent's may be sent. Blocks.
    ///
    /// # Errors
    /// `audit_unavailable`: then nothing may be sent.
    pub fn on_disk(&mut self) -> Result<(), Failure> {
        match self.sync.take() {
            Some(ticket) => ticket.wait().map(|_| ()).map_err(|e| crate::records::unwritable(&e)),
            None => Ok(()),
        }
    }
}

/// Nobody else can make one, so nobody else can make an [`Authorized`].
#[derive(Debug)]
struct MadeHere;

/// Exact bytes that may be read.
#[derive(Debug, Clone)]
pub struct Released {
    /// Identifies the bytes: SHA-256 of what is served.
    pub version: [u8; 32],
    pub file: Arc<File>,
    pub len: u64,
}

/// An ask that waits.
#[derive(Debug)]
pub struct Pending {
    deed: Deed,
    decision: Decision,
    inspected: Option<Arc<Inspected>>,
    waiting: Waiting,
}

/// What a remembered decision depends on besides policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DecisionKey {
    action: &'static str,
    path: String,
    to: Option<String>,
    object: Object,
    content: Option<[u8; 32]>,
    verbatim: bool,
    approved: Option<bool>,
}

/// A remembered decision and the policy it rests on.
#[derive(Debug, Clone)]
pub struct Decided {
    revision: String,
    decision: Arc<Decision>,
}

/// Everything a decision needs.
#[derive(Debug)]
pub struct Pipeline {
    pub policy: chaperone_policy::Store,
    pub records: Arc<Records>,
    pub approvals: Arc<Approvals>,
    pub inspection: Inspection,
    pub vault: Arc<Vault>,
    pub issuer: crate::authority::Issuer,
    pub ledgers: crate::authority::Ledgers,
}

impl Pipeline {
    /// Take a request through steps 1 and 4 to 8.
    pub fn begin(&self, session: &Arc<Session>, deed: Deed) -> Step {
        let step = catch_unwind(AssertUnwindSafe(|| self.decide_whole(session, &deed)));
        match step {
            Ok(Ok(step)) => step,
            Ok(Err(refusal)) => Step::Refused(self.refuse(session, &deed, refusal)),
            Err(_) => Step::Refused(self.refuse(session, &deed, internal())),
        }
    }

    fn decide_whole(&self, session: &Arc<Session>, deed: &Deed) -> Result<Step, Refusal> {
        session.authenticate().map_err(plain)?;
        self.capability(session, deed)?;
        let mut decision = self.policy_on(session, deed, None, None)?;
        let mut inspected = None;
        if deed.content && wants_inspection(&decision) {
            let seen = self.inspect(session, deed)?;
            decision = self.policy_on(session, deed, Some(&seen), None)?;
            inspected = Some(seen);
        }
        match decision.effect {
            Effect::Deny => Err(denied(&decision)),
            Effect::Allow => {
                self.grant(session, deed, &decision, inspected.as_ref(), None).map(Step::Granted)
            }
            Effect::Ask | Effect::StepUp => self.ask(session, deed, decision, inspected),
        }
    }

    /// Take a staged change to the person's folder through steps 5, 6 and 8. It rests on the person's own authority,
    /// not on the agent's capability; what policy asks about passes only when the person `named` exactly this path.
    ///
    /// # Errors
    /// The refusal; the change stays staged.
    pub fn commit(&self, session: &Arc<Session>, deed: Deed, named: bool) -> Result<Authorized, Refusal> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let mut decision = self.policy_on(session, &deed, None, None)?;
            let mut inspected = None;
            if deed.content && decision.effect != Effect::Deny {
                let seen = self.inspect(session, &deed)?;
                decision = self.policy_on(session, &deed, Some(&seen), None)?;
                inspected = Some(seen);
            }
            match decision.effect {
                Effect::Allow => self.grant(session, &deed, &decision, inspected.as_ref(), None),
                Effect::Ask if named => {
                    let by = By { approval: "person:commit".to_owned(), redact: false };
                    self.grant(session, &deed, &decision, inspected.as_ref(), Some(&by))
                }
                Effect::Ask => Err(unanswered("needs_your_word", "name this path to commit it", &decision)),
                Effect::StepUp => {
                    Err(unanswered("needs_second_factor", "this cannot be committed yet", &decision))
                }
                Effect::Deny => Err(denied(&decision)),
            }
        }));
        done.unwrap_or_else(|_| Err(internal())).map_err(|refusal| self.refuse(session, &deed, refusal))
    }

    /// Whether an action on a path would be denied whatever its content is; nothing is recorded.
    #[must_use]
    pub fn is_denied(&self, session: &Arc<Session>, action: &'static str, path: &str) -> bool {
        let deed = Deed::on("fs", action, path.to_owned(), Object::ABSENT);
        let decided = catch_unwind(AssertUnwindSafe(|| self.policy_on(session, &deed, None, None)));
        !matches!(decided, Ok(Ok(decision)) if decision.effect != Effect::Deny)
    }

    /// Whether the session may simply read a file as it is: what a person would be asked about may not. Nothing is
    /// recorded.
    ///
    /// # Errors
    /// The refusal that an attempt would get.
    pub fn would_read(&self, session: &Arc<Session>, deed: &Deed) -> Result<(), Refusal> {
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let mut decision = self.policy_on(session, deed, None, None)?;
            if wants_inspection(&decision) {
                let seen = self.inspect(session, deed)?;
                decision = self.policy_on(session, deed, Some(&seen), None)?;
            }
            match decision.effect {
                Effect::Allow if !demands_redaction(&decision) => Ok(()),
                Effect::Allow => {
                    Err(unanswered("cannot_redact", "only a redacted copy may be read", &decision))
                }
                Effect::Ask | Effect::StepUp => {
                    Err(unanswered("masked", "in a staged folder nobody is asked about reading", &decision))
                }
                Effect::Deny => Err(denied(&decision)),
            }
        }));
        decided.unwrap_or_else(|_| Err(internal()))
    }

    /// Wait for the person and go on from there. `cancelled` is polled; a cancelled request is withdrawn.
    ///
    /// # Errors
    /// The refusal that the agent gets.
    pub fn resume(
        &self,
        session: &Arc<Session>,
        pending: Pending,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Authorized, Refusal> {
        let Pending { deed, decision, inspected, waiting } = pending;
        let ask = waiting.ask().clone();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let answer = match waiting.wait(cancelled) {
                Ended::Answered(answer) => answer,
                Ended::TimedOut => {
                    return Err(unanswered("ask_timeout", "nobody answered in time", &decision));
                }
                Ended::Cancelled => {
                    return Err(unanswered("cancelled", "the request was withdrawn", &decision));
                }
            };
            self.answered(session, &ask, &deed, inspected.as_ref(), &answer)
        }));
        done.unwrap_or_else(|_| Err(internal())).map_err(|refusal| self.refuse(session, &deed, refusal))
    }

    /// Record how an authorised action ended (step 10).
    ///
    /// # Errors
    /// `audit_unavailable` when the log cannot be written.
    pub fn outcome(&self, session: &Session, done: &Done<'_>) -> Result<(), Failure> {
        self.records.outcome(session, done)
    }

    // ---- step 4

    fn capability(&self, session: &Session, deed: &Deed) -> Result<(), Refusal> {
        let now = clock::unix();
        if let Some(outbound) = &deed.outbound {
            return crate::authority::permit_outbound(session, &self.ledgers, deed.action, outbound, now)
                .map_err(uncovered);
        }
        let mut paths = vec![deed.path.as_str()];
        paths.extend(deed.to.as_deref());
        paths.extend(deed.origin.as_deref());
        for path in paths {
            crate::authority::permit(session, &self.ledgers, deed.action, path, now).map_err(uncovered)?;
        }
        Ok(())
    }

    // ---- step 5

    fn policy_on(
        &self,
        session: &Session,
        deed: &Deed,
        inspected: Option<&Arc<Inspected>>,
        approved: Option<bool>,
    ) -> Result<Arc<Decision>, Refusal> {
        let engine = self.policy.current();
        let key = DecisionKey {
            action: deed.action,
            path: deed.path.clone(),
            to: deed.to.clone(),
            object: deed.object,
            content: inspected.map(|i| i.sha256),
            verbatim: deed.verbatim,
            approved,
        };
        let rememberable = deed.change.is_none() && deed.origin.is_none() && deed.outbound.is_none();
        if rememberable
            && let Some(known) = session.decided.lock().get(&key)
            && known.revision == engine.revision()
        {
            return Ok(Arc::clone(&known.decision));
        }
        let mut decision = engine.decide(&policy_input(session, deed, inspected, approved));
        if let Some(origin) = &deed.origin {
            // A renamed object is judged by where it came from, too: a new name does not launder it.
            let under_old_name = Deed { path: origin.clone(), origin: None, ..deed.clone() };
            let other = engine.decide(&policy_input(session, &under_old_name, inspected, approved));
            if other.effect > decision.effect {
                decision = other;
            }
        }
        let decision = Arc::new(decision);
        if rememberable && decision.cacheable {
            let mut decided = session.decided.lock();
            if decided.len() >= REMEMBERED {
                decided.clear();
            }
            decided.insert(
                key,
                Decided { revision: engine.revision().to_owned(), decision: Arc::clone(&decision) },
            );
        }
        Ok(decision)
    }

    // ---- step 6

    fn inspect(&self, session: &Session, deed: &Deed) -> Result<Arc<Inspected>, Refusal> {
        let file = deed.file.as_ref().ok_or_else(internal)?;
        let name = deed.path.rsplit('/').next().unwrap_or_default();
        self.inspection.inspect(file, &deed.object, name, &session.dir).map_err(plain)
    }

    // ---- step 7

    fn ask(
        &self,
        session: &Arc<Session>,
        deed: &Deed,
        decision: Arc<Decision>,
        inspected: Option<Arc<Inspected>>,
    ) -> Result<Step, Refusal> {
        let content = subject_of(deed, inspected.as_ref(), &decision.reasons);
        if decision.effect == Effect::Ask
            && let Some(standing) = session.standing_answer(deed.action, &deed.path, content)
        {
            let by = By { approval: standing.approval, redact: standing.redact };
            return self.grant(session, deed, &decision, inspected.as_ref(), Some(&by)).map(Step::Granted);
        }
        let redactable = may_redact(&decision) && !deed.verbatim && inspected.is_some();
        match session.ask {
            AskMode::Deny => {
                return Err(unanswered("ask_denied", "this session answers every ask with no", &decision));
            }
            AskMode::Redact if redactable && decision.effect == Effect::Ask => {
                let by = By { approval: "ask=redact".to_owned(), redact: true };
                return self
                    .grant(session, deed, &decision, inspected.as_ref(), Some(&by))
                    .map(Step::Granted);
            }
            AskMode::Redact => {
                return Err(unanswered(
                    "cannot_redact",
                    "this session lets only redacted content pass",
                    &decision,
                ));
            }
            AskMode::Wait => {}
        }
        if decision.effect == Effect::StepUp && !self.vault.second_factor().map_err(plain)? {
            let mut refusal = unanswered(
                "no_second_factor",
                "this needs the person's second factor, and none is enrolled",
                &decision,
            );
            refusal.failure.advice = Some(
                "go on without it; the person enrols a PIN as second factor with: chaperone vault pin".into(),
            );
            return Err(refusal);
        }
        session.counters.asked.fetch_add(1, Ordering::Relaxed);
        let ask = self.describe(session, deed, &decision, inspected.as_deref(), redactable)?;
        let waiting = self.approvals.ask(ask, session.ask_timeout).map_err(plain)?;
        self.records.asked(session, &waiting, deed).map_err(plain)?;
        let decision = Arc::unwrap_or_clone(decision);
        Ok(Step::Pending(Box::new(Pending { deed: deed.clone(), decision, inspected, waiting })))
    }

    fn describe(
        &self,
        session: &Session,
        deed: &Deed,
        decision: &Decision,
        inspected: Option<&Inspected>,
        redactable: bool,
    ) -> Result<Ask, Refusal> {
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|_| internal())?;
        let expires = clock::unix() + i64::try_from(session.ask_timeout.as_secs()).unwrap_or(i64::MAX);
        let program = deed.pid.map(|pid| Program::of(pid, *session.init_pid.read())).unwrap_or_default();
        let resource = match &deed.to {
            Some(to) => format!("{} → {to}", deed.path),
            None => deed.path.clone(),
        };
        Ok(Ask {
            id: hex::encode(nonce.get(..4).unwrap_or_default()),
            session: session.id.clone(),
            agent: for_display(&session.name, 60),
            action: deed.action.to_owned(),
            resource: for_display(&resource, SHOWN),
            program: program.arguments,
            parents: program.parents,
            recent: session.recent.lock().iter().map(|r| for_display(r, SHOWN)).collect(),
            findings: findings_of(deed, inspected).iter().map(summary).collect(),
            reasons: decision.reasons.clone(),
            rule: decision.rule.clone(),
            advice: decision.advice.clone(),
            risk: risk(findings_of(deed, inspected), decision).to_owned(),
            effect: if decision.effect == Effect::StepUp { "step_up" } else { "ask" }.to_owned(),
            redactable,
            justification: deed.justification.as_ref().map(|j| for_display(j, SHOWN)),
            sources: deed
                .outbound
                .iter()
                .flat_map(|o| &o.sources)
                .take(SHOWN_SOURCES)
                .map(|s| for_display(s, SHOWN))
                .collect(),
            text: deed.outbound.as_ref().and_then(|o| o.text.as_deref()).map(|t| for_display(t, SHOWN_TEXT)),
            digest: self.digest(session, deed, inspected, &nonce, expires),
            expires,
        })
    }

    /// What an approval signs: action, resolved object, content, policy revision, capability, nonce, expiry.
    fn digest(
        &self,
        session: &Session,
        deed: &Deed,
        inspected: Option<&Inspected>,
        nonce: &[u8],
        expires: i64,
    ) -> String {
        let capability = session.capability.read().as_ref().map(|h| h.verified.claims().jti.clone());
        let bound = json!({
            "v": 1, "session": session.id, "action": deed.action, "path": deed.path, "to": deed.to,
            "dev": deed.object.dev, "ino": deed.object.ino, "size": deed.object.size,
            "mtime_ns": deed.object.mtime_ns.to_string(), "ctime_ns": deed.object.ctime_ns.to_string(),
            "content": inspected.map(|i| hex::encode(i.sha256)), "change": deed.change,
            "outbound": deed.outbound.as_ref().map(|o| json!({
                "host": o.host, "port": o.port, "addresses": o.addresses, "method": o.method, "path": o.url_path,
                "content": o.content.map(|(sha256, _)| hex::encode(sha256)), "facts": o.facts,
            })),
            "policy": self.policy.current().revision(), "capability": capability,
            "nonce": hex::encode(nonce), "expires": expires,
        });
        format!("sha256:{}", hex::encode(Sha256::digest(bound.to_string().as_bytes())))
    }

    fn answered(
        &self,
        session: &Arc<Session>,
        ask: &Ask,
        deed: &Deed,
        inspected: Option<&Arc<Inspected>>,
        answer: &Answer,
    ) -> Result<Authorized, Refusal> {
        let (word, pin) = match answer {
            Answer::Approve { redact: true, pin_proof, .. } => ("redact", *pin_proof),
            Answer::Approve { pin_proof, .. } => ("approve", *pin_proof),
            Answer::Deny { .. } => ("deny", None),
        };
        let signed = self.vault.sign_approval(&approval_record(ask, answer), pin).map_err(plain)?;
        let approval = self.records.answered(session, ask, word, &signed).map_err(plain)?;
        let Answer::Approve { scope, redact, .. } = answer else {
            let Answer::Deny { why } = answer else { return Err(internal()) };
            let told = why.as_deref().map_or_else(String::new, |w| format!(": {}", for_display(w, SHOWN)));
            return Err(Refusal {
                failure: Failure::new("person_denied", format!("the person said no{told}")),
                rule: ask.rule.clone(),
                reasons: vec!["person_denied".into()],
                suspend: false,
            });
        };
        // Everything that was shown must still hold: the person may have thought for a minute.
        session.authenticate().map_err(plain)?;
        self.capability(session, deed)?;
        if let Some(file) = &deed.file
            && !deed.object.staged
            && !crate::inspection::unchanged(file, &deed.object)
        {
            return Err(plain(
                Failure::new("object_changed", "the file changed while the request waited")
                    .advise("ask again"),
            ));
        }
        let decision = self.policy_on(session, deed, inspected, Some(*redact))?;
        if decision.effect == Effect::Deny {
            return Err(denied(&decision));
        }
        let by = By { approval: approval.clone(), redact: *redact };
        let granted = self.grant(session, deed, &decision, inspected, Some(&by))?;
        session.keep_answer(
            Standing {
                action: deed.action.to_owned(),
                resource: deed.path.clone(),
                redact: *redact,
                approval,
                content: subject_of(deed, inspected, &ask.reasons),
                until: None,
            },
            *scope,
        );
        Ok(granted)
    }

    // ---- step 8

    fn grant(
        &self,
        session: &Session,
        deed: &Deed,
        decision: &Decision,
        inspected: Option<&Arc<Inspected>>,
        by: Option<&By>,
    ) -> Result<Authorized, Refusal> {
        let must_redact = by.map_or_else(|| demands_redaction(decision), |b| b.redact);
        if must_redact && deed.verbatim {
            return Err(plain(
                Failure::new(
                    "cannot_redact",
                    "only a redacted copy may be read, and this opening would expose the original",
                )
                .advise("open it read-only, or write to a new file"),
            ));
        }
        let released = match (inspected, must_redact) {
            (Some(seen), false) => Some(seen.released()),
            (Some(seen), true) => {
                let name = deed.path.rsplit('/').next().unwrap_or_default();
                Some(self.inspection.redacted(seen, name, &session.dir).map_err(plain)?)
            }
            (None, true) => return Err(internal()),
            (None, false) => None,
        };
        let findings = findings_of(deed, inspected.map(AsRef::as_ref)).len();
        if let Some(released) = released.as_ref().filter(|_| deed.action == "read")
            && let Some(told) = session.on_release.get()
        {
            told.released(&deed.path, released);
        }
        let (intent, sync) = self
            .records
            .intent(
                session,
                &Note {
                    deed,
                    decision,
                    approval: by.map(|b| b.approval.as_str()),
                    inspected: inspected.map(AsRef::as_ref),
                    redacted: must_redact,
                    content: released
                        .as_ref()
                        .map(|r| (r.version, r.len))
                        .or_else(|| deed.outbound.as_ref().and_then(|o| o.content)),
                },
            )
            .map_err(plain)?;
        session.touched(&format!("{} {}", deed.action, deed.path));
        Ok(Authorized { intent, released, redacted: must_redact, findings, sync, _made_here: MadeHere })
    }

    /// Stop every process of the session's cell until the user resumes it.
    pub fn suspend(&self, session: &Session, (rule, why): (&str, &str)) {
        *session.state.write() = State::Suspended;
        if let Some(cell) = session.cell.get() {
            cell.suspend();
        }
        self.records.alert(session, "suspend", &session.id, rule, &[why.to_owned()], None);
        self.records.tell(session, || json!({ "kind": "suspended", "reasons": [why] }));
    }

    // ---- refusals

    /// Record a refusal and count it; an agent that hammers the wall is suspended.
    pub fn refuse(&self, session: &Arc<Session>, deed: &Deed, refusal: Refusal) -> Refusal {
        let shown = Refused::new(
            clock::rfc3339(),
            deed.action,
            &for_display(&deed.path, SHOWN),
            &refusal.failure,
            &refusal.rule,
            refusal.reasons.clone(),
        );
        let (count, hammers) = session.refused(shown);
        self.records.refused(session, deed, &refusal, count);
        // Programs try names and hosts again and again by themselves; the network has a limit of its own, in policy.
        let why = if refusal.suspend {
            Some((refusal.rule.as_str(), "policy stops a session that goes on like this"))
        } else if hammers && deed.outbound.is_none() {
            Some(("broker.hammering", "the same refusal twenty times within a minute"))
        } else {
            None
        };
        if let Some(why) = why
            && *session.state.read() == State::Running
        {
            self.suspend(session, why);
        }
        refusal
    }
}

/// How an authorised action ended.
#[derive(Debug)]
pub struct Done<'a> {
    pub intent: u64,
    pub action: &'static str,
    pub path: &'a str,
    pub ok: bool,
    pub bytes: u64,
    pub detail: Option<Value>,
}

struct By {
    approval: String,
    redact: bool,
}

fn policy_input(
    session: &Session,
    deed: &Deed,
    inspected: Option<&Arc<Inspected>>,
    approved: Option<bool>,
) -> Value {
    let mount = session.mount_of(&deed.path).and_then(|(i, _)| session.mounts.get(i));
    let counters = &session.counters;
    let held = session.capability.read().clone();
    let mut input = json!({
        "action": deed.action,
        "agent": session.name,
        "sub": session.name,
        "path": deed.path,
        "resource": {
            "kind": match deed.object.kind {
                ObjectKind::File => "file", ObjectKind::Dir => "dir", ObjectKind::Symlink => "symlink", ObjectKind::Absent => "absent",
            },
            "dev": deed.object.dev, "ino": deed.object.ino, "nlink": deed.object.nlink, "size": deed.object.size,
            "staged": deed.object.staged, "real_path": deed.path,
            "mount": mount.map(|m| m.at.as_str()), "mode": mount.map(|m| m.mode),
        },
        "elevated": crate::authority::is_elevated(session, deed.action, &deed.path),
        "mount_actions": mount.map(|m| m.actions.as_slice()).unwrap_or_default(),
        "capability": held.map(|h| json!(h.verified.claims())),
        "session": {
            "id": session.id, "profile": session.profile.name, "backend": session.profile.backend,
            "interactive": session.interactive, "attestation": "none",
            "counters": {
                "reads": counters.reads.load(Ordering::Relaxed), "writes": counters.writes.load(Ordering::Relaxed),
                "deletes": counters.deletes.load(Ordering::Relaxed), "denied": counters.denied.load(Ordering::Relaxed),
            },
        },
        "entry": deed.entry,
        "content": deed.content,
        "verbatim": deed.verbatim,
        "inspected": inspected.is_some(),
        "risk": risk_of(findings_of(deed, inspected.map(AsRef::as_ref))),
        "time": clock::unix(),
    });
    if let Value::Object(map) = &mut input {
        if let Some(to) = &deed.to {
            map.insert("to".into(), json!(to));
        }
        if let Some(seen) = inspected {
            map.insert("findings".into(), seen.for_policy());
        }
        if let Some(change) = &deed.change {
            map.insert("change".into(), change.clone());
        }
        if let Some(outbound) = &deed.outbound {
            map.insert("host".into(), json!(outbound.host));
            map.insert("port".into(), json!(outbound.port));
            map.insert("net".into(), outbound.facts.clone());
            map.insert("findings".into(), crate::inspection::for_policy(&outbound.findings));
            if let (Some(method), Some(path)) = (&outbound.method, &outbound.url_path) {
                map.insert("method".into(), json!(method));
                let scheme = if outbound.facts["tls"] == true { "https" } else { "http" };
                // Only an IPv6 address has colons.
                let host = if outbound.host.contains(':') {
                    format!("[{}]", outbound.host)
                } else {
                    outbound.host.clone()
                };
                map.insert(
                    "url".into(),
                    json!(format!("{scheme}://{host}:{}{path}", outbound.port).to_lowercase()),
                );
            }
        }
        if let Some(redact) = approved {
            map.insert("approved".into(), json!({ "effect": "ask", "redact": redact }));
        }
    }
    input
}

fn wants_inspection(decision: &Decision) -> bool {
    decision.obligations.iter().any(|o| o.kind == "inspect") && decision.effect != Effect::Deny
}

fn may_redact(decision: &Decision) -> bool {
    decision.obligations.iter().any(|o| o.kind == "redact")
}

fn demands_redaction(decision: &Decision) -> bool {
    decision.effect == Effect::Allow && may_redact(decision)
}

/// What is known of the content of a request: of the file, or of what leaves.
fn findings_of<'a>(deed: &'a Deed, inspected: Option<&'a Inspected>) -> &'a [Finding] {
    match (inspected, &deed.outbound) {
        (Some(inspected), _) => &inspected.findings,
        (None, Some(outbound)) => &outbound.findings,
        (None, None) => &[],
    }
}

fn summary(finding: &Finding) -> FindingSummary {
    FindingSummary {
        detector: finding.detector.clone(),
        category: finding.category.clone(),
        severity: finding.severity.clone(),
        confidence: finding.confidence,
        count: finding.count,
        place: finding.where_.clone(),
        fingerprint: finding.fingerprint.clone(),
    }
}

/// What a person's answer is about beyond the object: this very content; for a request what was found in it, as a
/// conversation sends the same passages again with each turn. A message to people is a new one each time.
fn subject_of(deed: &Deed, inspected: Option<&Arc<Inspected>>, reasons: &[String]) -> Option<[u8; 32]> {
    if let Some(inspected) = inspected {
        return Some(inspected.sha256);
    }
    let outbound = deed.outbound.as_deref()?;
    let (sha256, _) = outbound.content?;
    if reasons.iter().any(|r| r == "message_to_people") {
        return Some(sha256);
    }
    let sorted = |mut list: Vec<&str>| {
        list.sort_unstable();
        list.dedup();
        list.join("\0")
    };
    let found = outbound.findings.iter().map(|f| f.detector.as_str()).collect();
    let subject = [
        sorted(reasons.iter().map(String::as_str).collect()),
        sorted(outbound.sources.iter().map(String::as_str).collect()),
        sorted(found),
        outbound.facts["unread"].to_string(),
    ];
    Some(Sha256::digest(subject.join("\u{1}").as_bytes()).into())
}

fn risk_of(findings: &[Finding]) -> &'static str {
    let severity = |s: &str| findings.iter().any(|f| f.severity.as_str() == s);
    if severity("high") || severity("critical") {
        "high"
    } else if severity("medium") {
        "medium"
    } else {
        "low"
    }
}

fn risk(findings: &[Finding], decision: &Decision) -> &'static str {
    match (risk_of(findings), decision.effect) {
        ("low", Effect::StepUp) => "high",
        ("low", Effect::Ask) => "medium",
        (known, _) => known,
    }
}

fn denied(decision: &Decision) -> Refusal {
    let code = decision.reasons.first().cloned().unwrap_or_else(|| "denied".into());
    let mut failure = Failure::new(&code, format!("policy denies this: {}", decision.reasons.join(", ")));
    failure.advice.clone_from(&decision.advice);
    let suspend = decision.obligations.iter().any(|o| o.kind == "suspend");
    Refusal { failure, rule: decision.rule.clone(), reasons: decision.reasons.clone(), suspend }
}

fn unanswered(code: &str, message: &str, decision: &Decision) -> Refusal {
    let mut failure = Failure::new(code, format!("{message} ({})", decision.reasons.join(", ")));
    failure.advice.clone_from(&decision.advice);
    let mut reasons = vec![code.to_owned()];
    reasons.extend(decision.reasons.iter().cloned());
    Refusal { failure, rule: decision.rule.clone(), reasons, suspend: false }
}

fn uncovered(failure: Failure) -> Refusal {
    Refusal {
        rule: format!("capability.{}", failure.code),
        reasons: vec![failure.code.clone()],
        failure,
        suspend: false,
    }
}

/// A refusal by the broker itself, whatever policy says.
#[must_use]
pub fn plain(failure: Failure) -> Refusal {
    Refusal {
        rule: format!("broker.{}", failure.code),
        reasons: vec![failure.code.clone()],
        failure,
        suspend: false,
    }
}

fn internal() -> Refusal {
    plain(Failure::new("internal_error", "a fault inside the broker; the request was denied"))
}

/// What the vault signs of an answer.
fn approval_record(ask: &Ask, answer: &Answer) -> ApprovalRecord {
    let (approved, scope, redact) = match answer {
        Answer::Approve { scope, redact, .. } => (true, *scope, *redact),
        Answer::Deny { .. } => (false, Scope::Once, false),
    };
    ApprovalRecord {
        id: ask.id.clone(),
        session: ask.session.clone(),
        action_digest: ask.digest.trim_start_matches("sha256:").to_owned(),
        effect: if ask.effect == "step_up" {
            chaperone_vault::Effect::StepUp
        } else {
            chaperone_vault::Effect::Ask
        },
        answer: if approved { chaperone_vault::Answer::Approve } else { chaperone_vault::Answer::Deny },
        scope: match scope {
            Scope::Once => "once",
            Scope::Session => "session",
            Scope::For(_) => "until",
        }
        .to_owned(),
        obligations: if redact { vec!["redact".to_owned()] } else { Vec::new() },
        time: u64::try_from(clock::unix()).unwrap_or(0),
        expires: u64::try_from(ask.expires).unwrap_or(0),
    }
}
