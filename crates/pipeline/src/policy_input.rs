//! What policies are told of a request: `input`, as `docs/policy.md` describes it.

use std::sync::atomic::Ordering;

use chaperone_inspect::Finding;
use serde_json::{Map, Value, json};

use crate::access::{AccessRequest, FileObject};
use crate::inspection::Inspected;
use crate::session::Session;

/// The input document. `approved` holds the user's answer to an ask: whether a redacted copy was chosen. `elevated` says that
/// the user granted this action for a while.
#[must_use]
pub fn policy_input(
    session: &Session,
    request: &AccessRequest,
    inspected: Option<&Inspected>,
    approved: Option<bool>,
    elevated: bool,
    now: i64,
) -> Value {
    let path = request.subject();
    let mount = session.mount_of(path).and_then(|(i, _)| session.mounts.get(i));
    let counters = &session.counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let held = session.capability.read().clone();
    let file = request.as_file();
    let object = file.map_or(FileObject::ABSENT, |f| f.object);
    let mut input = Map::new();
    let mut put = |name: &str, value: Value| input.insert(name.to_owned(), value);
    put("action", json!(request.action.as_str()));
    put("agent", json!(session.name));
    put("sub", json!(session.name));
    put("path", json!(path));
    put(
        "resource",
        json!({
            "kind": object.kind.as_str(), "dev": object.dev, "ino": object.ino, "nlink": object.nlink,
            "size": object.size, "staged": object.staged, "real_path": path,
            "mount": mount.map(|m| m.at.as_str()), "mode": mount.map(|m| m.mode),
        }),
    );
    put("elevated", json!(elevated));
    put("mount_actions", json!(mount.map(|m| m.actions.as_slice()).unwrap_or_default()));
    put("capability", json!(held.map(|h| json!(h.verified.claims()))));
    put(
        "session",
        json!({
            "id": session.id, "profile": session.profile.name, "backend": session.backend,
            "reads": session.profile.inspection.reads,
            "interactive": session.interactive, "attestation": "none",
            "counters": {
                "reads": count(&counters.reads), "writes": count(&counters.writes),
                "deletes": count(&counters.deletes), "denied": count(&counters.denied),
            },
        }),
    );
    put("entry", json!(request.entry.as_str()));
    put("content", json!(file.is_some_and(|f| f.content)));
    put("verbatim", json!(file.is_some_and(|f| f.verbatim)));
    put("inspected", json!(inspected.is_some()));
    put("risk", json!(risk_of(findings_of(request, inspected))));
    put("time", json!(now));
    if let Some(to) = request.leads_to() {
        put("to", json!(to));
    }
    if let Some(seen) = inspected {
        put("findings", seen.for_policy());
        put("unread", json!(seen.unread));
    }
    if let Some(redact) = approved {
        put("approved", json!({ "effect": "ask", "redact": redact }));
    }
    request.resource.tell(request.action, &mut input);
    Value::Object(input)
}

/// What is known of the content of a request: of the file, or of what leaves.
#[must_use]
pub fn findings_of<'a>(request: &'a AccessRequest, inspected: Option<&'a Inspected>) -> &'a [Finding] {
    match (inspected, request.as_network()) {
        (Some(inspected), _) => &inspected.findings,
        (None, Some(network)) => &network.findings,
        (None, None) => &[],
    }
}

/// The risk of findings, as policy is told it.
#[must_use]
pub fn risk_of(findings: &[Finding]) -> &'static str {
    let severity = |s: &str| findings.iter().any(|f| f.severity.as_str() == s);
    if severity("high") || severity("critical") {
        "high"
    } else if severity("medium") {
        "medium"
    } else {
        "low"
    }
}
