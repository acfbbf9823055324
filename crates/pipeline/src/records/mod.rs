//! Everything that is recorded, in one place: what the pipeline decides becomes audit leaves, and is told to
//! whoever watches, in this order.

pub mod flood;
pub mod folds;
mod naming;
pub mod pace;
mod payload;
mod severity;
pub mod technique;

pub use payload::is_in_target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaperone_audit::{ACTIONS, Durability, EFFECTS, Entry, Phase, Source, class_uid as class, knows};
use chaperone_capability::Action;
use chaperone_policy::Decision;
use chaperone_protocol::{Ask, Event, Failure, Happened, for_display};
use chaperone_quota::DiskReserve;
use chaperone_vault::SignedApproval;
use serde::Serialize;
use serde_json::{Value, json};

use self::flood::Flood;
use self::folds::Repeated;
use self::naming::SHOWN;
use self::payload::{ContentPayload, IntentPayload, NetworkPayload, OutcomePayload};
use self::severity::{alerts, class_of, class_of_outcome, recorded, severity};
use crate::access::{AccessRequest, NetworkResource};
use crate::events::Bus;
use crate::inspection::Inspected;
use crate::ports::{AuditLog, Clock, Syncing, Vault};
use crate::refusal::Refusal;
use crate::session::{Refused, Session};

/// The reasons for which it is said what addresses a name has.
const NOT_PUBLIC: [&str; 2] = ["private_address", "metadata_address"];
/// Longest resource of an event, in characters.
const TOLD: usize = 300;

/// What an intent is made of.
#[derive(Debug)]
pub struct IntentRecord<'a> {
    pub request: &'a AccessRequest,
    pub decision: &'a Decision,
    pub approval: Option<&'a str>,
    pub inspected: Option<&'a Inspected>,
    pub redacted: bool,
    /// SHA-256 and length of the bytes that become readable, or that leave.
    pub content: Option<([u8; 32], u64)>,
}

/// How an authorised action ended.
#[derive(Debug)]
pub struct Outcome<'a> {
    pub intent: u64,
    pub action: Action,
    pub resource: &'a str,
    pub ok: bool,
    pub bytes: u64,
    pub detail: Option<Value>,
}

/// What is raised besides a single refusal.
#[derive(Debug)]
pub struct Alert<'a> {
    pub action: &'a str,
    pub resource: &'a str,
    pub rule: &'a str,
    pub reasons: &'a [String],
    pub technique: Option<&'a str>,
    pub severity: chaperone_policy::Severity,
}

/// The writer of the log and the teller of events.
pub struct Records {
    log: Arc<dyn AuditLog>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    pub bus: Arc<Bus>,
    policy_rev: parking_lot::RwLock<String>,
    /// Where the log is written.
    disk: Option<PathBuf>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Records {
    #[must_use]
    pub fn new(log: Arc<dyn AuditLog>, vault: Arc<dyn Vault>, bus: Arc<Bus>, clock: Arc<dyn Clock>) -> Self {
        Self { log, vault, clock, bus, policy_rev: parking_lot::RwLock::default(), disk: None }
    }

    /// Look at the room on the disk of this directory, where the log is written.
    #[must_use]
    pub fn on_disk_of(self, dir: &Path) -> Self {
        Self { disk: Some(dir.to_owned()), ..self }
    }

    /// The policy revision that records name from now on.
    pub fn set_policy(&self, revision: &str) {
        revision.clone_into(&mut self.policy_rev.write());
    }

    /// Record what is about to be done. It is in the log file when this returns. What leaves the machine, or changes the user's
    /// directory, comes with a ticket to wait for before it does.
    ///
    /// # Errors
    /// `audit_unavailable`: then nothing may be done.
    pub fn intent(
        &self,
        session: &Session,
        intent: &IntentRecord<'_>,
    ) -> Result<(u64, Option<Box<dyn Syncing>>), Failure> {
        let request = intent.request;
        let action = request.action.as_str();
        let released = (intent.redacted, intent.content);
        // What the user answered is never counted together.
        let key = match intent.approval {
            None => session.folds.key(request, intent.decision, released),
            Some(_) => None,
        };
        let repeats = key.and_then(|key| {
            let what = (request.action, intent.decision);
            session.folds.repeats(key, what, || naming::of_request(request), self.clock.now_ms())
        });
        if let Some(repeated) = repeats {
            self.tell_routine(session, intent);
            return Ok((repeated, None));
        }
        let mut entry = self.about(session, Phase::Intent, action, "allow");
        entry.resource = naming::of_request(request);
        entry.rule = Some(intent.decision.rule.clone());
        entry.reasons.clone_from(&intent.decision.reasons);
        entry.approval = intent.approval.map(str::to_owned);
        entry.class_uid = class_of(request);
        let content = match intent.content {
            Some((sha256, bytes)) => {
                Some(ContentPayload { bytes, fingerprint: self.vault.fingerprint(&sha256)? })
            }
            None => None,
        };
        let payload = IntentPayload::of(intent, content);
        let text = serde_json::to_vec(&payload).map_err(|e| unwritable(&e))?;
        session.pace.spend(entry.resource.len() + text.len());
        let waits = request.action == Action::Commit || request.as_network().is_some_and(|n| n.leaves);
        let (seq, ticket) = if waits {
            let ticket = self.log.append_then_sync(entry, Some(&text)).map_err(|e| unwritable(&e))?;
            (ticket.seq(), Some(ticket))
        } else {
            (self.log.append(entry, Some(&text), Durability::Logged).map_err(|e| unwritable(&e))?, None)
        };
        if let Some(key) = key {
            session.folds.first(key, seq);
        }
        self.tell_routine(session, intent);
        Ok((seq, ticket))
    }

    fn tell_routine(&self, session: &Session, intent: &IntentRecord<'_>) {
        if self.bus.wants_routine() {
            let (action, resource) = (intent.request.action.as_str().to_owned(), intent.request.shown(SHOWN));
            self.tell(session, || match intent.redacted {
                true => Happened::Redacted { action, resource },
                false => Happened::Allowed { action, resource },
            });
        }
    }

    /// Record what was counted of a session's repetitions.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn repeated(&self, session: &Session) -> Result<(), Failure> {
        let mut counted = session.folds.counted().into_iter();
        while let Some(more) = counted.next() {
            if let Err(failure) = self.append_repeated(session, &more) {
                session.folds.not_recorded(std::iter::once(more).chain(counted).collect());
                return Err(failure);
            }
        }
        Ok(())
    }

    fn append_repeated(&self, session: &Session, more: &Repeated) -> Result<(), Failure> {
        let mut entry = self.about(session, Phase::Event, more.action.as_str(), "allow");
        entry.resource.clone_from(&more.resource);
        entry.rule.clone_from(&more.rule);
        entry.reasons.clone_from(&more.reasons);
        entry.reasons.extend(["repeated".to_owned(), format!("count {}", more.begun)]);
        if more.failed > 0 {
            "failed".clone_into(&mut entry.effect);
            entry.reasons.push(format!("failed {}", more.failed));
        }
        entry.class_uid = class_of_outcome(more.action);
        let payload = json!({ "repeated": { "intent": more.intent, "begun": more.begun, "ended": more.ended,
            "failed": more.failed, "bytes": more.bytes, "first_ms": more.first_ms, "last_ms": more.last_ms } });
        session.pace.spend(entry.resource.len());
        self.append(entry, Some(&payload), Durability::Logged).map(drop)
    }

    /// Whether a session may go on writing: the log's disk has more than its reserve. Of what is left then, those who write
    /// little have a part.
    pub(crate) fn has_room(&self, session: &Session) -> bool {
        let Some(dir) = self.disk.as_ref().filter(|_| session.pace.is_look_due()) else { return true };
        // A disk that cannot be looked at is told by the write.
        let Ok((free, reserve)) = DiskReserve::look(dir) else { return true };
        free >= reserve || (free >= reserve / 4 && !session.pace.is_fast())
    }

    /// Record how it ended.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn outcome(&self, session: &Session, outcome: &Outcome<'_>) -> Result<(), Failure> {
        let shown = || naming::of_text(outcome.resource);
        match session.folds.ended(
            (outcome.intent, outcome.action),
            (outcome.ok, outcome.bytes),
            shown,
            self.clock.now_ms(),
        ) {
            (true, true) => return self.repeated(session),
            (true, false) => return Ok(()),
            (false, _) => {}
        }
        let effect = if outcome.ok { "allow" } else { "failed" };
        let mut entry = self.about(session, Phase::Outcome, outcome.action.as_str(), effect);
        entry.intent = Some(outcome.intent);
        entry.resource = naming::of_text(outcome.resource);
        entry.class_uid = class_of_outcome(outcome.action);
        session.pace.spend(entry.resource.len());
        let payload = OutcomePayload { bytes: outcome.bytes, detail: outcome.detail.as_ref() };
        self.append(entry, Some(&payload), Durability::Logged).map(|_| ())
    }

    /// Tell of what is allowed and what policy wants noticed.
    pub fn notice(&self, session: &Session, request: &AccessRequest, decision: &Decision) {
        self.tell(session, || Happened::Notice {
            action: request.action.as_str().to_owned(),
            resource: request.shown(SHOWN),
            reasons: decision.reasons.clone(),
        });
    }

    /// Record an ask that waits, then let the user see it.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn asked(&self, session: &Session, ask: &Ask, request: &AccessRequest) -> Result<(), Failure> {
        let mut entry = self.about(session, Phase::Event, request.action.as_str(), &ask.effect);
        entry.resource.clone_from(&ask.resource);
        entry.rule = Some(ask.rule.clone());
        entry.reasons.clone_from(&ask.reasons);
        entry.approval = Some(ask.id.clone());
        entry.severity = severity(&ask.risk);
        let to_record = Ask { text: None, ..ask.clone() };
        self.append(entry, Some(&json!({ "ask": to_record })), Durability::Logged)?;
        self.tell(session, || Happened::Asked {
            id: ask.id.clone(),
            action: ask.action.clone(),
            resource: ask.resource.clone(),
            reasons: ask.reasons.clone(),
            findings: ask.findings.clone(),
            ask: Box::new(ask.clone()),
        });
        Ok(())
    }

    /// Record the user's signed answer, on disk before it takes effect. Returns the approval's name in records.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn answered(
        &self,
        session: &Session,
        ask: &Ask,
        answer: &str,
        signed: &SignedApproval,
    ) -> Result<String, Failure> {
        let effect = if answer == "deny" { "deny" } else { "allow" };
        let mut entry = self.about(session, Phase::Event, "approve", effect);
        entry.resource.clone_from(&ask.resource);
        entry.approval = Some(ask.id.clone());
        entry.class_uid = class::ENTITY_MANAGEMENT;
        self.append(entry, Some(&json!({ "signed": signed })), Durability::Synced)?;
        self.tell(session, || Happened::Answered {
            id: ask.id.clone(),
            action: ask.action.clone(),
            resource: ask.resource.clone(),
            answer: answer.to_owned(),
        });
        Ok(ask.id.clone())
    }

    /// Record a refusal. The first of a kind is written at once; repetitions at powers of two, with their count, so
    /// that an agent that repeats itself cannot flood the log. A log that cannot be written changes nothing: it is denied.
    pub fn refused(&self, session: &Session, request: &AccessRequest, refusal: &Refusal, count: u64) {
        if !count.is_power_of_two() {
            return;
        }
        let action = request.action.as_str();
        let network = request.as_network();
        if network.is_some() {
            match session.flood.count() {
                Flood::No => {}
                Flood::Counted => return,
                Flood::Told(count) => return self.flooded(session, action, count),
            }
        }
        let mut reasons = refusal.reasons.clone();
        let reached = network.and_then(|n| n.facts.reached()).map(str::to_owned);
        reasons.extend(reached.filter(|r| !refusal.reasons.contains(r)));
        // For the user alone: what a name leads to is nothing that the agent learns.
        let is_not_public = network.filter(|_| reasons.iter().any(|r| NOT_PUBLIC.contains(&r.as_str())));
        reasons.extend(is_not_public.and_then(NetworkResource::leads_where));
        let raised = alerts(&refusal.obligations, &reasons);
        let mut entry = self.about(session, Phase::Outcome, action, "deny");
        entry.resource = naming::of_request(request);
        entry.rule = Some(refusal.rule.clone());
        entry.reasons.clone_from(&reasons);
        entry.class_uid = class_of(request);
        entry.severity = raised.map_or(chaperone_audit::Severity::Medium, recorded);
        let about = request.leads_to().unwrap_or(request.subject());
        let technique = technique::of_refusal(action, &refusal.rule, &reasons, about);
        entry.technique = technique.map(str::to_owned);
        let payload = json!({ "entry": request.entry.as_str(), "count": count, "message": refusal.failure.message,
                              "pid": request.pid, "outbound": network.map(NetworkPayload::of) });
        session.pace.spend(entry.resource.len());
        let written = self.append(entry, Some(&payload), Durability::Logged);
        self.tell(session, || Happened::Refused {
            action: action.to_owned(),
            resource: request.shown(SHOWN),
            reasons: reasons.clone(),
            rule: refusal.rule.clone(),
            advice: refusal.failure.advice.clone(),
            count,
            logged: written.is_ok(),
        });
        let Some(severity) = raised else { return };
        // Hosts and names are endless: of one kind, the first few are raised, then those at powers of two.
        if network.is_none() || session.flood.is_raised(technique.unwrap_or(&refusal.rule)) {
            let (resource, rule) = (request.shown(SHOWN), refusal.rule.as_str());
            let alert = Alert { action, resource: &resource, rule, reasons: &reasons, technique, severity };
            self.alert(session, &alert);
        }
    }

    fn flooded(&self, session: &Session, action: &str, count: u64) {
        let reasons = ["many_refusals".to_owned(), format!("{count} within a minute")];
        self.alert(
            session,
            &Alert {
                action,
                resource: &session.id,
                rule: "net.flood",
                reasons: &reasons,
                technique: Some("T1499"),
                severity: chaperone_policy::Severity::High,
            },
        );
    }

    /// Raise an alert: a record of its own, told at once.
    pub fn alert(&self, session: &Session, alert: &Alert<'_>) {
        let mut entry = self.about(session, Phase::Alert, alert.action, "deny");
        entry.resource = for_display(alert.resource, SHOWN);
        entry.rule = Some(alert.rule.to_owned());
        entry.reasons = alert.reasons.to_vec();
        entry.severity = recorded(alert.severity);
        entry.class_uid = class::DETECTION;
        entry.technique = alert.technique.map(str::to_owned);
        let written = self.append(entry, None::<&Value>, Durability::Logged);
        self.tell(session, || Happened::Alert {
            action: alert.action.to_owned(),
            resource: for_display(alert.resource, TOLD),
            reasons: alert.reasons.to_vec(),
            rule: alert.rule.to_owned(),
            technique: alert.technique.map(str::to_owned),
            severity: severity::name(alert.severity).to_owned(),
            logged: written.is_ok(),
        });
    }

    /// The session was stopped until the user resumes it.
    pub fn suspended(&self, session: &Session, rule: &str, why: &str) {
        let reasons = [why.to_owned()];
        self.alert(
            session,
            &Alert {
                action: "suspend",
                resource: &session.id,
                rule,
                reasons: &reasons,
                technique: None,
                severity: chaperone_policy::Severity::High,
            },
        );
        self.tell(session, || Happened::Suspended { reasons: reasons.to_vec() });
    }

    /// A decoy in the cell was touched.
    pub fn decoy(&self, session: &Session, path: &str, technique: &str, count: u64) {
        let reasons = ["credential_decoy".to_owned(), format!("touched {count} times")];
        let advice = "this is a decoy: no credential is in the cell";
        self.keep_for_why(session, "read", path, "cell.decoy", advice);
        self.alert_of_cell(session, ("read", path, "cell.decoy"), &reasons, technique);
    }

    /// A program looked for its own credentials, where a decoy is.
    pub fn decoy_of_its_own(&self, session: &Session, path: &str, technique: &str, program: &str) {
        let mut entry = self.about(session, Phase::Outcome, "read", "deny");
        entry.resource = for_display(path, SHOWN);
        entry.rule = Some("cell.decoy".to_owned());
        entry.reasons = vec!["own_credentials".to_owned(), format!("by {}", for_display(program, 60))];
        entry.technique = Some(technique.to_owned());
        // There is nothing in it; a log that cannot be written denies whatever comes next.
        self.append(entry, None::<&Value>, Durability::Logged).ok();
    }

    /// A system call was refused.
    pub fn call(&self, session: &Session, call: &str, count: u64) {
        let reasons = ["refused_call".to_owned(), format!("count {count}")];
        let advice = match call {
            "ptrace" | "process_vm_readv" | "process_vm_writev" | "kcmp" => {
                "for a debugger or a tracer the user starts with --profile debug"
            }
            _ => "programs in a cell work without this call",
        };
        self.keep_for_why(session, "exec", call, "cell.seccomp", advice);
        self.alert_of_cell(session, ("exec", call, "cell.seccomp"), &reasons, technique::of_call(call));
    }

    /// Packets that the cell's network rules refused.
    pub fn packet(&self, session: &Session, to: &str, count: u64, raise: bool) {
        let advice = "only TCP and DNS leave a cell; programs fall back to them";
        self.keep_for_why(session, "connect", to, "cell.packet", advice);
        let reasons = ["refused_packet".to_owned(), format!("count {count}")];
        if raise {
            return self.alert_of_cell(session, ("connect", to, "cell.packet"), &reasons, "T1095");
        }
        let mut entry = self.about(session, Phase::Outcome, "connect", "deny");
        entry.resource = for_display(to, SHOWN);
        entry.rule = Some("cell.packet".to_owned());
        entry.reasons = reasons.to_vec();
        entry.class_uid = class::NETWORK;
        // It was refused by the kernel; a log that cannot be written denies whatever comes next.
        self.append(entry, None::<&Value>, Durability::Logged).ok();
    }

    fn alert_of_cell(
        &self,
        session: &Session,
        (action, resource, rule): (&str, &str, &str),
        reasons: &[String],
        technique: &str,
    ) {
        let severity = chaperone_policy::Severity::High;
        let technique = Some(technique);
        self.alert(session, &Alert { action, resource, rule, reasons, technique, severity });
    }

    /// Keep a refusal of the cell itself for `why`.
    fn keep_for_why(&self, session: &Session, action: &str, resource: &str, rule: &str, advice: &str) {
        let code = rule.rsplit('.').next().unwrap_or(rule);
        let failure = Failure::new(code, code).advise(advice);
        let resource = for_display(resource, TOLD);
        let reasons = vec![code.to_owned()];
        session.refused(Refused::new(self.clock.rfc3339(), action, &resource, &failure, rule, reasons));
    }

    /// Record an event of the session itself, on disk before it takes effect when it grants something.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn event(
        &self,
        session: &Session,
        action: &str,
        resource: &str,
        payload: &Value,
        durability: Durability,
    ) -> Result<u64, Failure> {
        self.append(self.event_of(session, action, resource), Some(payload), durability)
    }

    /// The same, which is on disk when what is returned was waited for.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn event_then_sync(
        &self,
        session: &Session,
        action: &str,
        resource: &str,
        payload: &Value,
    ) -> Result<Box<dyn Syncing>, Failure> {
        let text = serde_json::to_vec(payload).map_err(|e| unwritable(&e))?;
        let entry = self.event_of(session, action, resource);
        self.log.append_then_sync(entry, Some(&text)).map_err(|e| unwritable(&e))
    }

    fn event_of(&self, session: &Session, action: &str, resource: &str) -> Entry {
        let mut entry = self.about(session, Phase::Event, action, "allow");
        entry.resource = for_display(resource, 1024);
        entry.class_uid = class::AUTHORIZE_SESSION;
        entry
    }

    /// Record that another set of policies comes into force, on disk before it does.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn policy_changes(&self, revision: &str) -> Result<u64, Failure> {
        let mut entry = self.blank(Phase::Event, "policy", "allow");
        entry.resource = revision.to_owned();
        self.append(entry, None::<&Value>, Durability::Synced)
    }

    /// Tell the watchers; never instead of recording.
    pub fn tell(&self, session: &Session, what: impl FnOnce() -> Happened) {
        self.bus.tell(&Event::of(&session.id, what()));
    }

    fn about(&self, session: &Session, phase: Phase, action: &str, effect: &str) -> Entry {
        let mut entry = self.blank(phase, action, effect);
        entry.session.clone_from(&session.id);
        entry.agent = for_display(&session.name, 200);
        entry.capability = session.capability_id();
        entry
    }

    fn blank(&self, phase: Phase, action: &str, effect: &str) -> Entry {
        debug_assert!(knows(ACTIONS, action), "no query of the log can ask for the action {action}");
        debug_assert!(knows(EFFECTS, effect), "no query of the log can ask for the effect {effect}");
        Entry {
            time_ms: self.clock.now_ms(),
            session: String::new(),
            agent: String::new(),
            source: Source::Broker,
            source_seq: None,
            class_uid: class::API,
            phase,
            intent: None,
            action: action.to_owned(),
            effect: effect.to_owned(),
            reasons: Vec::new(),
            rule: None,
            technique: None,
            severity: chaperone_audit::Severity::Informational,
            resource: String::new(),
            policy_rev: Some(self.policy_rev.read().clone()),
            capability: None,
            approval: None,
        }
    }

    fn append(
        &self,
        entry: Entry,
        payload: Option<&impl Serialize>,
        durability: Durability,
    ) -> Result<u64, Failure> {
        let text = payload.map(serde_json::to_vec).transpose().map_err(|e| unwritable(&e))?;
        self.log.append(entry, text.as_deref(), durability).map_err(|e| unwritable(&e))
    }
}

/// The log cannot be written: nothing is allowed.
#[must_use]
pub fn unwritable(error: &dyn std::error::Error) -> Failure {
    Failure::new("audit_unavailable", format!("the audit log cannot be written: {error}"))
        .advise("nothing is allowed until it can; see chaperone doctor")
}
