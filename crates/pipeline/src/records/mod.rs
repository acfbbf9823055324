//! Everything that is recorded, in one place: what the pipeline decides becomes audit leaves, and is told to
//! whoever watches, in this order.

pub mod flood;
pub mod technique;

use std::sync::Arc;

use chaperone_audit::{Durability, Entry, Log, Phase, Severity, Source, SyncTicket, class_uid as class};
use chaperone_inspect::Finding;
use chaperone_policy::Decision;
use chaperone_vault::SignedApproval;
use serde::Serialize;
use serde_json::{Value, json};

use crate::approvals::Waiting;
use crate::clock;
use crate::events::Bus;
use crate::inspection::Inspected;
use crate::pipeline::{Deed, Done, Outbound, Refusal};
use crate::records::flood::Flood;
use crate::session::Session;
use crate::vault::Vault;
use chaperone_protocol::Failure;
use chaperone_protocol::{Ask, for_display};

/// What an intent is made of.
#[derive(Debug)]
pub struct Note<'a> {
    pub deed: &'a Deed,
    pub decision: &'a Decision,
    pub approval: Option<&'a str>,
    pub inspected: Option<&'a Inspected>,
    pub redacted: bool,
    /// SHA-256 and length of the bytes that become readable.
    pub content: Option<([u8; 32], u64)>,
}

/// The writer of the log and the teller of events.
pub struct Records {
    log: Arc<Log>,
    vault: Arc<Vault>,
    pub bus: Arc<Bus>,
    policy_rev: parking_lot::RwLock<String>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

impl Records {
    #[must_use]
    pub fn new(log: Arc<Log>, vault: Arc<Vault>, bus: Arc<Bus>) -> Self {
        Self { log, vault, bus, policy_rev: parking_lot::RwLock::default() }
    }

    /// The policy revision that records name from now on.
    pub fn set_policy(&self, revision: &str) {
        revision.clone_into(&mut self.policy_rev.write());
    }

    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Record what is about to be done. Reads, lists and staged changes are in the log file when this returns; what
    /// changes something is on disk. What leaves the machine comes with a ticket to wait for before it does.
    ///
    /// # Errors
    /// `audit_unavailable`: then nothing may be done.
    pub fn intent(&self, session: &Session, note: &Note<'_>) -> Result<(u64, Option<SyncTicket>), Failure> {
        let deed = note.deed;
        let mut entry = self.about(session, Phase::Intent, deed.action, "allow");
        entry.resource = shown(deed);
        entry.rule = Some(note.decision.rule.clone());
        entry.reasons.clone_from(&note.decision.reasons);
        entry.approval = note.approval.map(str::to_owned);
        entry.class_uid = class_of(deed);
        let content = match note.content {
            Some((sha256, bytes)) => {
                Some(ContentPayload { bytes, fingerprint: self.vault.fingerprint(&sha256)? })
            }
            None => None,
        };
        let payload = IntentPayload {
            entry: deed.entry,
            path: &deed.path,
            to: deed.to.as_deref(),
            origin: deed.origin.as_deref(),
            redacted: note.redacted,
            dev: deed.object.dev,
            ino: deed.object.ino,
            size: deed.object.size,
            pid: deed.pid,
            content,
            findings: note.inspected.map(|i| &*i.findings),
            change: deed.change.as_ref(),
            outbound: deed.outbound.as_deref().map(OutboundPayload::of),
        };
        let text = serde_json::to_vec(&payload).map_err(|e| unwritable(&e))?;
        let (seq, ticket) = if deed.outbound.as_ref().is_some_and(|o| o.leaves) {
            let ticket = self.log.append_async_sync(entry, Some(&text)).map_err(|e| unwritable(&e))?;
            (ticket.seq, Some(ticket))
        } else {
            let durability = if deed.action == "commit" { Durability::Synced } else { Durability::Logged };
            (self.log.append_json(entry, Some(&text), durability).map_err(|e| unwritable(&e))?, None)
        };
        let kind = if note.redacted { "redacted" } else { "allowed" };
        if self.bus.wants_routine() {
            self.tell_all(
                session,
                true,
                json!({ "kind": kind, "action": deed.action, "resource": shown(deed) }),
            );
        }
        Ok((seq, ticket))
    }

    /// Record how it ended.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn outcome(&self, session: &Session, done: &Done<'_>) -> Result<(), Failure> {
        let mut entry =
            self.about(session, Phase::Outcome, done.action, if done.ok { "allow" } else { "failed" });
        entry.intent = Some(done.intent);
        entry.resource = for_display(done.path, 1024);
        entry.class_uid = match done.action {
            "connect" | "publish" => class::NETWORK,
            "request" => class::HTTP,
            "resolve" => class::DNS,
            _ => class::FILE,
        };
        let payload = OutcomePayload { bytes: done.bytes, detail: done.detail.as_ref() };
        self.append_text(entry, &payload, Durability::Logged).map(|_| ())
    }

    /// Record an ask that waits, then let the person see it.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn asked(&self, session: &Session, waiting: &Waiting, deed: &Deed) -> Result<(), Failure> {
        let ask = waiting.ask();
        let mut entry = self.about(session, Phase::Event, deed.action, &ask.effect);
        entry.resource.clone_from(&ask.resource);
        entry.rule = Some(ask.rule.clone());
        entry.reasons.clone_from(&ask.reasons);
        entry.approval = Some(ask.id.clone());
        entry.severity = severity(&ask.risk);
        let recorded = Ask { text: None, ..ask.clone() };
        self.append(entry, Some(&json!({ "ask": recorded })), Durability::Logged)?;
        self.tell(session, || {
            json!({ "kind": "asked", "id": ask.id, "action": ask.action, "resource": ask.resource,
                    "reasons": ask.reasons, "findings": ask.findings, "ask": ask })
        });
        Ok(())
    }

    /// Record a person's signed answer, on disk before it takes effect. Returns the approval's name in records.
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
        let mut entry =
            self.about(session, Phase::Event, "approve", if answer == "deny" { "deny" } else { "allow" });
        entry.resource.clone_from(&ask.resource);
        entry.approval = Some(ask.id.clone());
        entry.class_uid = class::ENTITY_MANAGEMENT;
        self.append(entry, Some(&json!({ "signed": signed })), Durability::Synced)?;
        self.tell(session, || {
            json!({ "kind": "answered", "id": ask.id, "action": ask.action, "resource": ask.resource, "answer": answer })
        });
        Ok(ask.id.clone())
    }

    /// Record a refusal. The first of a kind is written at once; repetitions at powers of two, with their count, so
    /// that an agent that hammers cannot flood the log. A log that cannot be written changes nothing: it is denied.
    pub fn refused(&self, session: &Session, deed: &Deed, refusal: &Refusal, count: u64) {
        if !count.is_power_of_two() {
            return;
        }
        if deed.outbound.is_some() {
            match session.flood.count() {
                Flood::No => {}
                Flood::Counted => return,
                Flood::Told(count) => {
                    let reasons = ["many_refusals".to_owned(), format!("{count} within a minute")];
                    return self.alert(
                        session,
                        deed.action,
                        &session.id,
                        "net.flood",
                        &reasons,
                        Some("T1499"),
                    );
                }
            }
        }
        let mut reasons = refusal.reasons.clone();
        let reached = deed.outbound.as_deref().and_then(reached).map(str::to_owned);
        reasons.extend(reached.filter(|r| !refusal.reasons.contains(r)));
        let serious = is_serious(&reasons);
        let mut entry = self.about(session, Phase::Outcome, deed.action, "deny");
        entry.resource = shown(deed);
        entry.rule = Some(refusal.rule.clone());
        entry.reasons.clone_from(&reasons);
        entry.class_uid = class_of(deed);
        entry.severity = if serious { Severity::High } else { Severity::Medium };
        let about = deed.to.as_deref().unwrap_or(&deed.path);
        let technique = technique::of_refusal(deed.action, &refusal.rule, &reasons, about);
        entry.technique = technique.map(str::to_owned);
        let payload = json!({ "entry": deed.entry, "count": count, "message": refusal.failure.message, "pid": deed.pid,
                              "outbound": deed.outbound.as_deref().map(OutboundPayload::of) });
        let written = self.append(entry, Some(&payload), Durability::Logged);
        self.tell(session, || {
            json!({ "kind": "refused", "action": deed.action, "resource": shown(deed), "reasons": reasons,
                    "rule": refusal.rule, "advice": refusal.failure.advice, "count": count, "logged": written.is_ok() })
        });
        // Hosts and names are endless: of one kind, the first few are raised, then those at powers of two.
        if serious && (deed.outbound.is_none() || session.flood.is_raised(technique.unwrap_or(&refusal.rule)))
        {
            self.alert(session, deed.action, &shown(deed), &refusal.rule, &reasons, technique);
        }
    }

    /// Raise an alert: a record of its own, told at once.
    pub fn alert(
        &self,
        session: &Session,
        action: &str,
        resource: &str,
        rule: &str,
        reasons: &[String],
        technique: Option<&str>,
    ) {
        let mut entry = self.about(session, Phase::Alert, action, "deny");
        entry.resource = for_display(resource, 1024);
        entry.rule = Some(rule.to_owned());
        entry.reasons = reasons.to_vec();
        entry.severity = Severity::High;
        entry.class_uid = class::DETECTION;
        entry.technique = technique.map(str::to_owned);
        let written = self.append(entry, None, Durability::Logged);
        self.tell(session, || {
            json!({ "kind": "alert", "action": action, "resource": for_display(resource, 300), "reasons": reasons,
                    "rule": rule, "technique": technique, "logged": written.is_ok() })
        });
    }

    /// A decoy in the cell was touched.
    pub fn decoy(&self, session: &Session, path: &str, technique: &str, count: u64) {
        let reasons = vec!["credential_decoy".to_owned(), format!("touched {count} times")];
        self.note_refusal(
            session,
            "read",
            path,
            "cell.decoy",
            "this is a decoy: no credential is in the cell",
        );
        self.alert(session, "read", path, "cell.decoy", &reasons, Some(technique));
    }

    /// A system call was refused.
    pub fn call(&self, session: &Session, call: &'static str, count: u64) {
        let reasons = vec!["refused_call".to_owned(), format!("count {count}")];
        self.note_refusal(session, "exec", call, "cell.seccomp", "programs in a cell work without this call");
        self.alert(session, "exec", call, "cell.seccomp", &reasons, Some(technique::of_call(call)));
    }

    /// Packets that the cell's network rules refused.
    pub fn packet(&self, session: &Session, to: &str, count: u64, raise: bool) {
        let advice = "only TCP and DNS leave a cell; programs fall back to them";
        self.note_refusal(session, "connect", to, "cell.packet", advice);
        let reasons = vec!["refused_packet".to_owned(), format!("count {count}")];
        if raise {
            return self.alert(session, "connect", to, "cell.packet", &reasons, Some("T1095"));
        }
        let mut entry = self.about(session, Phase::Outcome, "connect", "deny");
        entry.resource = for_display(to, 1024);
        entry.rule = Some("cell.packet".to_owned());
        entry.reasons = reasons;
        entry.class_uid = class::NETWORK;
        // It was refused by the kernel; a log that cannot be written denies whatever comes next.
        self.append(entry, None, Durability::Logged).ok();
    }

    /// Keep a refusal of the cell itself for `why`.
    fn note_refusal(&self, session: &Session, action: &str, resource: &str, rule: &str, advice: &str) {
        let code = rule.rsplit('.').next().unwrap_or(rule);
        let failure = Failure::new(code, code).advise(advice);
        let shown = crate::session::Refused::new(
            clock::rfc3339(),
            action,
            &for_display(resource, 300),
            &failure,
            rule,
            vec![code.to_owned()],
        );
        session.refused(shown);
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
        let mut entry = self.about(session, Phase::Event, action, "allow");
        entry.resource = for_display(resource, 1024);
        entry.class_uid = class::AUTHORIZE_SESSION;
        self.append(entry, Some(payload), durability)
    }

    /// Record that another set of policies comes into force, on disk before it does.
    ///
    /// # Errors
    /// `audit_unavailable`.
    pub fn policy_changes(&self, revision: &str) -> Result<u64, Failure> {
        let entry = Entry {
            time_ms: clock::unix_ms(),
            session: String::new(),
            agent: String::new(),
            source: Source::Broker,
            source_seq: None,
            class_uid: class::API,
            phase: Phase::Event,
            intent: None,
            action: "policy".to_owned(),
            effect: "allow".to_owned(),
            reasons: Vec::new(),
            rule: None,
            technique: None,
            severity: Severity::Informational,
            resource: revision.to_owned(),
            policy_rev: Some(self.policy_rev.read().clone()),
            capability: None,
            approval: None,
        };
        self.append(entry, None, Durability::Synced)
    }

    /// Tell the watchers; never instead of recording.
    pub fn tell(&self, session: &Session, event: impl FnOnce() -> Value) {
        self.tell_all(session, false, event());
    }

    fn tell_all(&self, session: &Session, routine: bool, mut event: Value) {
        if let Value::Object(map) = &mut event {
            map.insert("session".into(), json!(session.id));
        }
        self.bus.tell(&session.id, routine, &event);
    }

    fn about(&self, session: &Session, phase: Phase, action: &str, effect: &str) -> Entry {
        Entry {
            time_ms: clock::unix_ms(),
            session: session.id.clone(),
            agent: for_display(&session.name, 200),
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
            severity: Severity::Informational,
            resource: String::new(),
            policy_rev: Some(self.policy_rev.read().clone()),
            capability: session.capability.read().as_ref().map(|h| h.verified.claims().jti.clone()),
            approval: None,
        }
    }

    fn append(&self, entry: Entry, payload: Option<&Value>, durability: Durability) -> Result<u64, Failure> {
        self.log.append(entry, payload, durability).map_err(|e| unwritable(&e))
    }

    fn append_text(
        &self,
        entry: Entry,
        payload: &impl Serialize,
        durability: Durability,
    ) -> Result<u64, Failure> {
        let text = serde_json::to_vec(payload).map_err(|e| unwritable(&e))?;
        self.log.append_json(entry, Some(&text), durability).map_err(|e| unwritable(&e))
    }
}

/// The class of the event (OCSF) that a request is.
fn class_of(deed: &Deed) -> u32 {
    match (deed.action, deed.entry) {
        ("resolve", _) => class::DNS,
        ("connect" | "publish", _) => class::NETWORK,
        ("request", _) => class::HTTP,
        (_, "rpc") => class::API,
        _ => class::FILE,
    }
}

pub(crate) fn unwritable(error: &dyn std::error::Error) -> Failure {
    Failure::new("audit_unavailable", format!("the audit log cannot be written: {error}"))
        .advise("nothing is allowed until it can; see chaperone doctor")
}

/// The encrypted part of an intent.
#[derive(Serialize)]
struct IntentPayload<'a> {
    entry: &'a str,
    path: &'a str,
    to: Option<&'a str>,
    origin: Option<&'a str>,
    redacted: bool,
    dev: u64,
    ino: u64,
    size: u64,
    pid: Option<u32>,
    content: Option<ContentPayload>,
    findings: Option<&'a [Finding]>,
    change: Option<&'a Value>,
    outbound: Option<OutboundPayload<'a>>,
}

/// What an action on the network was about. What leaves is known by its length and fingerprint alone.
#[derive(Serialize)]
struct OutboundPayload<'a> {
    host: &'a str,
    port: u16,
    addresses: &'a [std::net::IpAddr],
    method: Option<&'a str>,
    url_path: Option<&'a str>,
    facts: &'a Value,
    findings: &'a [Finding],
}

impl<'a> OutboundPayload<'a> {
    fn of(outbound: &'a Outbound) -> Self {
        Self {
            // A name that carries something is not written down.
            host: if outbound.facts["tunnel"].is_string() { "…" } else { &outbound.host },
            port: outbound.port,
            addresses: &outbound.addresses,
            method: outbound.method.as_deref(),
            // A path that carries something is not written down.
            url_path: outbound
                .url_path
                .as_deref()
                .filter(|_| !outbound.findings.iter().any(|f| is_in_target(&f.where_))),
            facts: &outbound.facts,
            findings: &outbound.findings,
        }
    }
}

#[derive(Serialize)]
struct ContentPayload {
    bytes: u64,
    fingerprint: String,
}

/// The encrypted part of an outcome.
#[derive(Serialize)]
struct OutcomePayload<'a> {
    bytes: u64,
    detail: Option<&'a Value>,
}

/// The resource of a leaf: the agent's own path, made safe to show.
fn shown(deed: &Deed) -> String {
    match &deed.to {
        Some(to) => format!("{} → {}", for_display(&deed.path, 1024), for_display(to, 1024)),
        None => for_display(&deed.path, 1024),
    }
}

/// Refusals that a person should know of at once.
fn is_serious(reasons: &[String]) -> bool {
    reasons.iter().any(|r| {
        r.contains("credential")
            || r.contains("secret")
            || r.contains("floor")
            || r.contains("escape")
            || r == "path_escape"
            || r.contains("external_formula")
            || r == "loads_remote_content"
            || r.contains("runs_later")
            || r.contains("persistence")
            || r == "link_leaves_folder"
            || r.ends_with("_in_name")
            || SERIOUS_OUTBOUND.contains(&r.as_str())
    })
}

/// Of the network, what no program does by accident.
const SERIOUS_OUTBOUND: &[&str] = &[
    "passage_leaves",
    "registered_value_leaves",
    "hidden_data_leaves",
    "dns_tunnel",
    "fronting",
    "metadata_address",
    "private_address",
    "over_budget",
];

/// What a destination that is not public reaches: whichever check refused it first, the log should say so.
fn reached(outbound: &Outbound) -> Option<&'static str> {
    if outbound.facts["named"] == true {
        return None;
    }
    match outbound.facts["reaches"].as_str()? {
        "public" | "nothing" => None,
        "metadata" => Some("metadata_address"),
        _ => Some("private_address"),
    }
}

/// Whether something that was seen at a place may stand in the path or the query of a request.
#[must_use]
pub fn is_in_target(place: &str) -> bool {
    // Whatever is not known to be elsewhere is taken to be there.
    !["body", "header ", "message"].iter().any(|known| place.starts_with(known))
}

fn severity(risk: &str) -> Severity {
    match risk {
        "high" => Severity::High,
        "medium" => Severity::Medium,
        _ => Severity::Low,
    }
}
