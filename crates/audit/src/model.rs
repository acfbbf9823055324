//! The event model: every field of a leaf is named here and nowhere else.
use serde::{Deserialize, Serialize};

/// Largest leaf in bytes: the u16 length prefix of C2SP entry bundles; beyond it an append is refused.
pub const MAX_LEAF: usize = 65_535;

/// OCSF 1.8 classes.
pub mod class_uid {
    pub const FILE: u32 = 1001;
    pub const PROCESS: u32 = 1007;
    pub const DETECTION: u32 = 2004;
    pub const AUTHORIZE_SESSION: u32 = 3003;
    pub const ENTITY_MANAGEMENT: u32 = 3004;
    pub const NETWORK: u32 = 4001;
    pub const HTTP: u32 = 4002;
    pub const DNS: u32 = 4003;
    pub const API: u32 = 6003;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Intent,
    Outcome,
    #[default]
    Event,
    Alert,
}

/// The part of Chaperone that saw the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Broker,
    Fs,
    Cell,
    Vault,
    Policy,
    Console,
    Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    #[default]
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// What a caller records; the log adds `seq`, `commitment`, `sealed` and `key_id`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970 UTC.
    #[serde(skip)]
    pub time_ms: u64,
    pub session: String,
    pub agent: String,
    pub source: Source,
    /// Counts from 0 within (source, session); `None` when the source does not count.
    pub source_seq: Option<u64>,
    pub class_uid: u32,
    pub phase: Phase,
    /// For an outcome, the `seq` of its intent.
    pub intent: Option<u64>,
    pub action: String,
    pub effect: String,
    pub reasons: Vec<String>,
    pub rule: Option<String>,
    pub technique: Option<String>,
    pub severity: Severity,
    pub resource: String,
    pub policy_rev: Option<String>,
    pub capability: Option<String>,
    pub approval: Option<String>,
}

/// One record as hashed into the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub v: u32,
    pub seq: u64,
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    #[serde(flatten)]
    pub entry: Entry,
    /// HMAC-SHA-256 of the payload under its salt, hex.
    pub commitment: Option<String>,
    /// SHA-256 of the encrypted payload, hex, so that integrity needs no key.
    pub sealed: Option<String>,
    pub key_id: Option<String>,
}

impl Leaf {
    /// Canonical JSON: sorted keys, no white space, integers only.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let e = &self.entry;
        serde_json::to_vec(&Canonical {
            action: &e.action,
            agent: &e.agent,
            approval: e.approval.as_deref(),
            capability: e.capability.as_deref(),
            class_uid: e.class_uid,
            commitment: self.commitment.as_deref(),
            effect: &e.effect,
            intent: e.intent,
            key_id: self.key_id.as_deref(),
            phase: e.phase,
            policy_rev: e.policy_rev.as_deref(),
            reasons: &e.reasons,
            resource: &e.resource,
            rule: e.rule.as_deref(),
            sealed: self.sealed.as_deref(),
            seq: self.seq,
            session: &e.session,
            severity: e.severity,
            source: e.source,
            source_seq: e.source_seq,
            technique: e.technique.as_deref(),
            time: &self.time,
            v: self.v,
        })
    }

    /// Reads a leaf; refuses one that is not in canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let leaf: Self = serde_json::from_slice(bytes).ok()?;
        (leaf.to_bytes().ok()? == bytes).then_some(leaf)
    }
}

/// A leaf with its fields in the order of their names.
#[derive(Serialize)]
struct Canonical<'a> {
    action: &'a str,
    agent: &'a str,
    approval: Option<&'a str>,
    capability: Option<&'a str>,
    class_uid: u32,
    commitment: Option<&'a str>,
    effect: &'a str,
    intent: Option<u64>,
    key_id: Option<&'a str>,
    phase: Phase,
    policy_rev: Option<&'a str>,
    reasons: &'a [String],
    resource: &'a str,
    rule: Option<&'a str>,
    sealed: Option<&'a str>,
    seq: u64,
    session: &'a str,
    severity: Severity,
    source: Source,
    source_seq: Option<u64>,
    technique: Option<&'a str>,
    time: &'a str,
    v: u32,
}

/// `ms` since 1970 as RFC 3339 UTC of fixed width, so that text order is time order.
pub fn rfc3339_millis(ms: u64) -> String {
    let (days, rest) = ((ms / 86_400_000).min(2_932_896), ms % 86_400_000); // year 9999
    // Howard Hinnant, "chrono-compatible low-level date algorithms": civil_from_days.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let y = yoe + era * 400 + u64::from(m <= 2);
    let (h, mi, s, f) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{y:04}-{m:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{f:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_every_field_in_the_order_of_their_names() {
        let entry = Entry {
            session: "s\u{7f}\n".into(),
            reasons: vec!["a".into(), "b\"".into()],
            rule: Some("r".into()),
            intent: Some(7),
            source_seq: Some(0),
            ..Entry::default()
        };
        let leaf = Leaf {
            v: 1,
            seq: u64::MAX,
            time: rfc3339_millis(1_700_000_000_123),
            entry,
            commitment: Some("c".into()),
            sealed: None,
            key_id: Some("k".into()),
        };
        let sorted = serde_json::to_vec(&serde_json::to_value(&leaf).unwrap()).unwrap();
        assert_eq!(leaf.to_bytes().unwrap(), sorted);
    }
}
