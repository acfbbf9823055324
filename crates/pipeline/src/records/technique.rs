//! The technique that an attempt speaks for: ATT&CK and ATLAS numbers of the log, as data in `packs/techniques.toml`. Only
//! a name for what was refused already; nothing is decided here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

static TECHNIQUES: LazyLock<Techniques> = LazyLock::new(|| chaperone_packs::table("packs/techniques.toml"));

/// Of a refused system call.
#[must_use]
pub fn of_call(call: &str) -> &'static str {
    TECHNIQUES.calls.of(call)
}

/// Of a refused request, by its action, the rule and reasons of its refusal and the path it was about.
#[must_use]
pub fn of_refusal(action: &str, rule: &str, reasons: &[String], path: &str) -> Option<&'static str> {
    // The user's no has a reason of its own; the rule still tells what was asked for.
    let first = rule.rsplit('.').next().unwrap_or(rule);
    let has = |reason: &str| first == reason || reasons.iter().any(|r| r == reason);
    let path = path.to_lowercase();
    if let Some(technique) = of_network(action, has, &path) {
        return Some(technique);
    }
    let leads_out = || path.contains("..") || !path.starts_with("/workspace");
    let of_files = |row: &&Row| row.reasons.iter().any(|r| has(r)) && (!row.outside || leads_out());
    if let Some(row) = TECHNIQUES.files.iter().find(of_files) {
        let place = || TECHNIQUES.places.iter().find(|(part, _)| path.contains(part));
        return Some(row.by_place.then(place).flatten().map_or(&row.technique, |(_, technique)| technique));
    }
    (action == "elevate").then_some("T1548")
}

/// Of what would have left by the network.
fn of_network(action: &str, has: impl Fn(&str) -> bool, resource: &str) -> Option<&'static str> {
    if !matches!(action, "resolve" | "connect" | "request") {
        return None;
    }
    if let Some((_, technique)) = TECHNIQUES.leaving.iter().find(|(reason, _)| has(reason)) {
        return Some(technique);
    }
    if !has("host_not_allowed") && !has("private_address") {
        return None;
    }
    let (host, port) = match resource.rsplit_once(':') {
        Some((host, port)) if action == "connect" => (host, Some(port)),
        _ => (resource, None),
    };
    let is_below =
        |end: &str| host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if let Some((_, technique)) = TECHNIQUES.services.iter().find(|(end, _)| is_below(end)) {
        return Some(technique);
    }
    Some(match port {
        Some("22") => TECHNIQUES.ports.of("22"),
        _ if has("private_address") => TECHNIQUES.ports.of("private"),
        port => TECHNIQUES.ports.of(port.unwrap_or("none")),
    })
}

/// Pairs of what is looked for and the technique.
type Pairs = Vec<(String, String)>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Techniques {
    places: Pairs,
    services: Pairs,
    leaving: Pairs,
    calls: ByName,
    ports: ByName,
    files: Vec<Row>,
}

/// A technique by name, and one for every other name.
#[derive(Debug, Deserialize)]
struct ByName {
    other: String,
    #[serde(flatten)]
    named: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    reasons: Vec<String>,
    technique: String,
    /// Only of a path that leads out of the workspace.
    #[serde(default)]
    outside: bool,
    /// That of the place, where it has one, comes first.
    #[serde(default)]
    by_place: bool,
}

impl ByName {
    fn of(&self, name: &str) -> &str {
        self.named.get(name).unwrap_or(&self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reason: &str, path: &str) -> Option<&'static str> {
        of_refusal("commit", "some.rule", &[reason.to_owned()], path)
    }

    #[test]
    fn a_refusal_names_the_technique_of_its_place() {
        assert_eq!(of("floor_persistence", "/workspace/.ssh/authorized_keys"), Some("T1098.004"));
        assert_eq!(of("credential_store", "/workspace/.SSH/ID_RSA"), Some("T1552.004"));
        assert_eq!(of("runs_later", "/workspace/.Git/Hooks/pre-commit"), Some("T1546"));
        assert_eq!(of("runs_later", "/workspace/.config/systemd/user/x.timer"), Some("T1053.006"));
        assert_eq!(of("runs_later", "/workspace/Makefile"), Some("T1204.002"));
        assert_eq!(of("bad_path", "/workspace/../etc/passwd"), Some("T1611"));
        assert_eq!(of("bad_path", "/workspace//a"), None);
    }

    #[test]
    fn a_call_names_its_technique_and_an_unknown_one_that_of_the_kernel() {
        assert_eq!(of_call("ptrace"), "T1055.008");
        assert_eq!(of_call("bpf"), "T1611");
    }

    #[test]
    fn an_ordinary_refusal_names_none() {
        assert_eq!(of("not_in_profile", "/workspace/notes.txt"), None);
    }

    #[test]
    fn what_would_leave_by_the_network_names_its_technique() {
        let of = |action: &str, reasons: &[&str], to: &str| {
            let reasons: Vec<_> = reasons.iter().map(|r| (*r).to_owned()).collect();
            of_refusal(action, "some.rule", &reasons, to)
        };
        for (action, reasons, to, technique) in [
            ("resolve", &["host_not_allowed"][..], "attacker.example", "T1041"),
            ("resolve", &["host_not_allowed"], "bucket.s3.amazonaws.com", "T1567.002"),
            ("resolve", &["host_not_allowed"], "notdiscord.com", "T1041"),
            ("resolve", &["host_not_allowed", "dns_tunnel"], "00ff.attacker.example", "T1071.004"),
            ("connect", &["host_not_allowed"], "hooks.slack.com:443", "T1567.004"),
            ("connect", &["host_not_allowed"], "192.0.2.1:443", "T1071.001"),
            ("connect", &["host_not_allowed"], "[2001:db8::1]:21", "T1048.003"),
            ("connect", &["host_not_allowed"], "192.0.2.1:4444", "T1571"),
            ("connect", &["host_not_allowed", "private_address"], "10.0.0.1:445", "T1046"),
            ("connect", &["host_not_allowed", "private_address"], "10.0.0.1:22", "T1021.004"),
            ("connect", &["host_not_allowed", "metadata_address"], "169.254.169.254:80", "T1552.005"),
            ("connect", &["fronting"], "a.example:443", "T1090.004"),
            ("connect", &["odd_protocol"], "a.example:443", "T1571"),
            ("connect", &["over_budget"], "a.example:443", "T1030"),
            ("request", &["bad_request"], "a.example:80", "T1071.001"),
            ("request", &["request_not_allowed"], "POST http://a.example:80/b", "T1567"),
            ("request", &["secret_leaves"], "POST http://a.example:80/b", "T1041"),
            ("request", &["hidden_data_leaves", "passage_leaves"], "POST http://a.example:80/b", "T1027"),
        ] {
            assert_eq!(of(action, reasons, to), Some(technique), "{action} {reasons:?} {to}");
        }
        assert_eq!(of("connect", &["unknown_address"], "198.18.0.9:80"), None);
    }

    #[test]
    fn a_users_no_and_an_elevation_are_named_by_rule_and_action() {
        let no = ["user_denied".to_owned()];
        assert_eq!(of_refusal("read", "chaperone.files.personal_data", &no, "/workspace/a"), Some("T1005"));
        assert_eq!(of_refusal("elevate", "capability.not_permitted", &[], "/workspace"), Some("T1548"));
    }
}
