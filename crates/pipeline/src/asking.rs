//! Step 7: the user is asked. The answer is signed over the digest of the exact action, and everything that was shown has to
//! hold still when it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaperone_capability::Action;
use chaperone_inspect::Finding;
use chaperone_policy::{Decision, Effect, Obligation};
use chaperone_protocol::{Ask, AskMode, Failure, FindingSummary, Leaves, Scope, for_display};
use chaperone_vault::ApprovalRecord;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::access::{AccessRequest, NetworkResource};
use crate::approvals::{Answer, Ended, Same, Waiting};
use crate::digest::{self, Bound};
use crate::granting::{ApprovalBasis, Authorized};
use crate::inspection::{Inspected, MOST_UNREAD, unchanged};
use crate::pipeline::Pipeline;
use crate::policy_input::{findings_of, risk_of};
use crate::program::Program;
use crate::refusal::{CANNOT_LOOK, Refusal};
use crate::resource::sorted;
use crate::session::{Allowance, Outflow, Session, StandingApproval};
use crate::steps::wants_inspection;

/// Longest resource name shown to the user, in characters.
const SHOWN: usize = 300;
/// Files that are named to the one who is asked; of more, how many there are.
const SHOWN_SOURCES: usize = 5;
/// Longest message to people shown to the one who is asked, in characters.
const SHOWN_TEXT: usize = 2_000;
/// What one standing answer lets leave in all, in bytes and in different values, of what was shown.
const STANDING_GROWTH: u32 = 10;

/// What a request came to.
#[derive(Debug)]
pub enum Admission {
    Granted(Authorized),
    /// The user must answer; nothing else waits meanwhile.
    Pending(Box<Pending>),
    Refused(Refusal),
}

/// An ask that waits.
#[derive(Debug)]
pub struct Pending {
    pub(crate) request: Arc<AccessRequest>,
    pub(crate) decision: Arc<Decision>,
    pub(crate) inspected: Option<Arc<Inspected>>,
    /// The capability that the session held when the user was asked.
    capability: Option<String>,
    pub(crate) waiting: Waiting,
}

impl Pipeline {
    /// A standing answer, the session's answer to every ask, or an ask that waits.
    pub(crate) fn ask(
        &self,
        session: &Session,
        request: &Arc<AccessRequest>,
        decision: Arc<Decision>,
        inspected: Option<Arc<Inspected>>,
    ) -> Result<Admission, Refusal> {
        if let Some(basis) = self.standing(session, request, &decision, inspected.as_deref())
            && let Some(now) = self.covered(session, request, &decision, inspected.as_ref(), basis.redact)?
        {
            return self
                .grant(session, request, &now, inspected.as_ref(), Some(&basis))
                .map(Admission::Granted);
        }
        let redactable =
            may_redact(&decision) && !request.as_file().is_some_and(|f| f.verbatim) && inspected.is_some();
        match session.ask {
            AskMode::Wait => {}
            AskMode::Deny => {
                let message = "this session answers every ask with no";
                return Err(Refusal::unanswered("ask_denied", message, &decision));
            }
            AskMode::Redact if redactable && decision.effect == Effect::Ask => {
                let basis = ApprovalBasis { approval: "ask=redact".to_owned(), redact: true };
                let now = self.covered(session, request, &decision, inspected.as_ref(), true)?;
                let now = now.ok_or_else(policy_changed)?;
                return self
                    .grant(session, request, &now, inspected.as_ref(), Some(&basis))
                    .map(Admission::Granted);
            }
            AskMode::Redact => {
                let message = "this session lets only redacted content pass";
                return Err(Refusal::unanswered("cannot_redact", message, &decision));
            }
        }
        if decision.effect == Effect::StepUp && !self.vault.second_factor()? {
            let message = "this needs the user's second factor, and none is enrolled";
            let mut refusal = Refusal::unanswered("no_second_factor", message, &decision);
            refusal.failure.advice = Some(
                "go on without it; the user enrols a PIN as second factor with: chaperone vault pin".into(),
            );
            return Err(refusal);
        }
        let ask = self.describe(session, request, &decision, inspected.as_deref(), redactable)?;
        let same = Same {
            ask: self.shared_key(session, request, &decision, inspected.as_deref()),
            standing: self.standing_key(session, request, inspected.as_deref(), &decision.reasons),
        };
        let waiting = self.approvals.ask(ask, same, session.ask_timeout)?;
        if waiting.is_first() {
            session.counters.asked.fetch_add(1, Ordering::Relaxed);
            self.records.asked(session, waiting.ask(), request)?;
        }
        let capability = session.capability_id();
        let request = Arc::clone(request);
        Ok(Admission::Pending(Box::new(Pending { request, decision, inspected, capability, waiting })))
    }

    /// Wait for the answer and go on from there.
    pub(crate) fn answer_of(
        &self,
        session: &Arc<Session>,
        pending: Pending,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Authorized, Refusal> {
        let Pending { request, decision: shown, inspected, capability, waiting } = pending;
        let ask = waiting.ask().clone();
        let answer = match waiting.wait(cancelled) {
            Ended::Answered(answer) => answer,
            Ended::TimedOut => {
                return Err(Refusal::unanswered("ask_timeout", "nobody answered in time", &shown));
            }
            Ended::Cancelled => {
                return Err(Refusal::unanswered("cancelled", "the request was withdrawn", &shown));
            }
        };
        let (word, pin) = match &answer {
            Answer::Approve { redact: true, pin_proof, .. } => ("redact", *pin_proof),
            Answer::Approve { pin_proof, .. } => ("approve", *pin_proof),
            Answer::Deny { .. } => ("deny", None),
        };
        let approval = waiting.recorded(|| {
            let record = approval_record(&ask, &answer, self.clock.now());
            let signed = self.vault.sign_approval(&record, pin)?;
            self.records.answered(session, &ask, word, &signed)
        })?;
        let (scope, redact) = match answer {
            Answer::Approve { scope, redact, .. } => (scope, redact),
            Answer::Deny { why } => return Err(denied_by_user(&ask, &shown, why.as_deref())),
        };
        let decision =
            self.still_holds(session, &request, (&ask, &shown, capability), inspected.as_ref(), redact)?;
        let basis = ApprovalBasis { approval, redact };
        let granted = self.grant(session, &request, &decision, inspected.as_ref(), Some(&basis))?;
        let key = self.standing_key(session, &request, inspected.as_deref(), &ask.reasons);
        if let Some(key) = key.filter(|_| waiting.stands_for(key)) {
            let left = leaving(&request).map(|shown| Allowance::of(shown, STANDING_GROWTH));
            session.keep_answer(StandingApproval { key, basis, left, until: None }, scope);
        }
        Ok(granted)
    }

    /// Everything that was shown must hold still, or ask for less: the user may have thought for a minute.
    fn still_holds(
        &self,
        session: &Session,
        request: &AccessRequest,
        (ask, shown, capability): (&Ask, &Decision, Option<String>),
        inspected: Option<&Arc<Inspected>>,
        redact: bool,
    ) -> Result<Arc<Decision>, Refusal> {
        session.authenticate()?;
        if self.clock.now() > ask.expires {
            return Err(changed("answer_expired", "the answer came after the request had expired"));
        }
        if session.capability_id() != capability {
            return Err(changed(
                "capability_changed",
                "the session holds another capability than when the user was asked",
            ));
        }
        self.capability(session, request)?;
        if let Some(file) = request.as_file()
            && let Some(open) = &file.file
            && !file.object.staged
            && !unchanged(open, &file.object)
        {
            return Err(changed("object_changed", "the file changed while the request waited"));
        }
        self.covered(session, request, shown, inspected, redact)?.ok_or_else(policy_changed)
    }

    /// What policy says of the request with its answer; nothing where it asks for more than `shown`.
    fn covered(
        &self,
        session: &Session,
        request: &AccessRequest,
        shown: &Decision,
        inspected: Option<&Arc<Inspected>>,
        redact: bool,
    ) -> Result<Option<Arc<Decision>>, Refusal> {
        let decision = self.policy_on(session, request, inspected, Some(redact))?;
        if decision.effect == Effect::Deny {
            return Err(Refusal::by_policy(&decision));
        }
        let is_unseen = inspected.is_none()
            && wants_inspection(&decision)
            && request.as_file().is_some_and(|f| f.content);
        let was_shown = decision.effect <= shown.effect
            && decision.obligations.iter().all(|o| o.was_shown_in(&shown.obligations));
        Ok((was_shown && !is_unseen).then_some(decision))
    }

    /// An earlier answer that covers exactly this.
    fn standing(
        &self,
        session: &Session,
        request: &AccessRequest,
        decision: &Decision,
        inspected: Option<&Inspected>,
    ) -> Option<ApprovalBasis> {
        if decision.effect != Effect::Ask {
            return None;
        }
        let key = self.standing_key(session, request, inspected, &decision.reasons)?;
        session.standing_answer(&key, leaving(request).as_ref())
    }

    /// What a standing answer is about: all that its digest binds, but what is new each time. An elevation is asked anew.
    fn standing_key(
        &self,
        session: &Session,
        request: &AccessRequest,
        inspected: Option<&Inspected>,
        reasons: &[String],
    ) -> Option<[u8; 32]> {
        let about = if covers_kind(request, inspected, reasons) {
            // What the user is told it covers: every file that cannot be looked into for the same reasons.
            json!({ "unread": inspected.map(|i| &*i.unread) })
        } else {
            request.resource.standing(inspected.is_some(), reasons)?
        };
        let key = json!({
            "action": request.action.as_str(), "about": about, "reasons": sorted(reasons.iter().map(String::as_str)),
            "content": inspected.filter(|_| !covers_kind(request, inspected, reasons)).map(|i| hex::encode(i.sha256)),
            "policy": self.policy.current().revision(), "capability": session.capability_id(),
        });
        Some(Sha256::digest(key.to_string().as_bytes()).into())
    }

    /// What makes two requests one question: the same action on the same content, under whatever names, asked for the same
    /// reasons. Where no content was looked at, the same request. What needs a PIN, and an elevation, is asked alone.
    fn shared_key(
        &self,
        session: &Session,
        request: &AccessRequest,
        decision: &Decision,
        inspected: Option<&Inspected>,
    ) -> Option<[u8; 32]> {
        if decision.effect != Effect::Ask {
            return None;
        }
        let about = match (request.as_file(), inspected) {
            (Some(file), Some(seen)) if file.to.is_none() && file.change.is_none() => {
                json!({ "content": hex::encode(seen.sha256), "verbatim": file.verbatim })
            }
            _ => {
                let standing = self.standing_key(session, request, inspected, &decision.reasons)?;
                json!({ "standing": hex::encode(standing), "resource": request.resource.bound() })
            }
        };
        let key = json!({
            "action": request.action.as_str(), "about": about, "rule": decision.rule, "reasons": decision.reasons,
            "obligations": decision.obligations, "policy": self.policy.current().revision(),
            "capability": session.capability_id(),
        });
        Some(Sha256::digest(key.to_string().as_bytes()).into())
    }

    fn describe(
        &self,
        session: &Session,
        request: &AccessRequest,
        decision: &Decision,
        inspected: Option<&Inspected>,
        redactable: bool,
    ) -> Result<Ask, Refusal> {
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|_| Refusal::internal())?;
        let expires = self.clock.now() + i64::try_from(session.ask_timeout.as_secs()).unwrap_or(i64::MAX / 2);
        let program = request.pid.map(|pid| Program::of(pid, *session.init_pid.read())).unwrap_or_default();
        let wish = request.as_elevation();
        // The wish says what about what, and for how long; its beginning and its end are never cut away.
        let resource = wish.map_or_else(|| request.shown(SHOWN), |wish| for_display(&wish.wish, SHOWN));
        let findings = findings_of(request, inspected);
        let network = request.as_network();
        let justification = wish.map(|wish| for_display(&wish.justification, SHOWN));
        Ok(Ask {
            id: hex::encode(nonce.get(..4).unwrap_or_default()),
            session: session.id.clone(),
            agent: for_display(&session.name, 60),
            action: request.action.as_str().to_owned(),
            resource,
            was: request.was(SHOWN),
            program: program.arguments,
            parents: program.parents,
            recent: session.recent.lock().iter().map(|r| for_display(r, SHOWN)).collect(),
            findings: findings.iter().map(summary).collect(),
            reasons: decision.reasons.clone(),
            rule: decision.rule.clone(),
            advice: decision.advice.clone(),
            risk: risk(findings, decision).to_owned(),
            effect: if decision.effect == Effect::StepUp { "step_up" } else { "ask" }.to_owned(),
            redactable,
            justification,
            sources: network.map(|n| shown_sources(&n.sources)).unwrap_or_default(),
            leaves: network.and_then(leaves),
            unread: inspected.map(|i| i.unread.to_vec()).unwrap_or_default(),
            covers_kind: covers_kind(request, inspected, &decision.reasons),
            text: network.and_then(|n| n.text.as_deref()).map(|t| for_display(t, SHOWN_TEXT)),
            digest: digest::of(&Bound {
                session: &session.id,
                request,
                content: inspected.map(|i| &i.sha256),
                policy: self.policy.current().revision(),
                capability: session.capability_id().as_deref(),
                nonce: &nonce,
                expires,
            }),
            expires,
        })
    }
}

/// Whether an answer for the session is about a kind of content: the user is asked to read a file for no other reason than
/// that it cannot be looked into.
fn covers_kind(request: &AccessRequest, inspected: Option<&Inspected>, reasons: &[String]) -> bool {
    let is_read = request.action == Action::Read
        && request.as_file().is_some_and(|f| f.change.is_none() && f.to.is_none() && f.origin.is_none());
    is_read
        && inspected.is_some_and(|i| (1..=MOST_UNREAD).contains(&i.unread.len()))
        && !reasons.is_empty()
        && reasons.iter().all(|reason| reason == CANNOT_LOOK)
}

fn changed(code: &str, message: &str) -> Refusal {
    Failure::new(code, message).advise("ask again; the user is shown what is so now").into()
}

fn policy_changed() -> Refusal {
    changed("policy_changed", "policy asks for more by now than what the user was shown")
}

/// What leaves with a request; nothing does with what stays.
fn leaving(request: &AccessRequest) -> Option<Outflow> {
    let network = request.as_network()?;
    let (_, body) = network.content?;
    // What the address and the headers say leaves, too.
    let bytes = body.saturating_add(network.facts.request().head_bytes);
    Some(Outflow { bytes, values: network.findings.iter().flat_map(|f| f.values.iter().copied()).collect() })
}

/// How much leaves, as the user is shown it.
fn leaves(network: &NetworkResource) -> Option<Leaves> {
    let (_, body) = network.content?;
    let facts = network.facts.request();
    Some(Leaves {
        body,
        head: facts.head_bytes,
        passages: facts.passages as u64,
        query: network.query.as_deref().map(|query| for_display(query, SHOWN)),
    })
}

fn shown_sources(sources: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = sources.iter().take(SHOWN_SOURCES).map(|s| for_display(s, SHOWN)).collect();
    if sources.len() > SHOWN_SOURCES {
        shown.push(format!("and {} more", sources.len() - SHOWN_SOURCES));
    }
    shown
}

fn summary(finding: &Finding) -> FindingSummary {
    FindingSummary {
        detector: finding.detector.clone(),
        category: finding.category.clone(),
        severity: finding.severity.clone(),
        confidence: finding.confidence,
        count: finding.count,
        place: finding.place.to_string(),
        fingerprint: finding.fingerprint.clone(),
    }
}

fn may_redact(decision: &Decision) -> bool {
    decision.obligations.contains(&Obligation::Redact)
}

fn risk(findings: &[Finding], decision: &Decision) -> &'static str {
    match (risk_of(findings), decision.effect) {
        ("low", Effect::StepUp) => "high",
        ("low", Effect::Ask) => "medium",
        (known, _) => known,
    }
}

fn denied_by_user(ask: &Ask, shown: &Decision, why: Option<&str>) -> Refusal {
    let told = why.map_or_else(String::new, |w| format!(": {}", for_display(w, SHOWN)));
    Refusal {
        failure: Failure::new("user_denied", format!("the user said no{told}")),
        rule: ask.rule.clone(),
        reasons: vec!["user_denied".into()],
        obligations: shown.obligations.iter().filter(|o| !o.restricts()).cloned().collect(),
    }
}

/// What the vault signs of an answer.
fn approval_record(ask: &Ask, answer: &Answer, now: i64) -> ApprovalRecord {
    let (approved, scope, redact) = match answer {
        Answer::Approve { scope, redact, .. } => (true, *scope, *redact),
        Answer::Deny { .. } => (false, Scope::Once, false),
    };
    let scope = match scope {
        Scope::Once => "once",
        Scope::Session => "session",
        Scope::For(_) => "until",
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
        scope: scope.to_owned(),
        obligations: if redact { vec!["redact".to_owned()] } else { Vec::new() },
        time: u64::try_from(now).unwrap_or(0),
        expires: u64::try_from(ask.expires).unwrap_or(0),
    }
}
