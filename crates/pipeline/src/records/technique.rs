//! The technique that an attempt speaks for: ATT&CK and ATLAS numbers of the log. Only a name for what was refused
//! already; nothing is decided here.

/// Of a refused system call.
#[must_use]
pub fn of_call(call: &str) -> &'static str {
    match call {
        "process_vm_readv" | "process_madvise" => "T1003.007",
        "ptrace" | "process_vm_writev" | "kcmp" | "pidfd_getfd" => "T1055.008",
        "init_module" | "finit_module" | "delete_module" => "T1547.006",
        "socket" | "socketpair" => "T1095",
        "keyctl" | "add_key" | "request_key" => "T1555",
        "clock_settime" | "settimeofday" | "adjtimex" | "clock_adjtime" => "T1070.006",
        "ioctl" => "T1674",
        _ => "T1611",
    }
}

/// Places in a directory, by a part of the lower-case path; the first that fits.
const PLACES: &[(&str, &str)] = &[
    ("/authorized_keys", "T1098.004"),
    ("/ld.so.preload", "T1574.006"),
    ("/environment.d/", "T1574.006"),
    ("/.pam_environment", "T1574.006"),
    ("/extensions/", "T1176"),
    (".xpi", "T1176"),
    ("/claude.md", "AML.T0080"),
    ("/agents.md", "AML.T0080"),
    ("/gemini.md", "AML.T0080"),
    ("/.cursorrules", "AML.T0080"),
    ("/.windsurfrules", "AML.T0080"),
    ("/.clinerules", "AML.T0080"),
    ("/copilot-instructions.md", "AML.T0080"),
    ("/.claude/", "AML.T0081"),
    ("/.codex/", "AML.T0081"),
    ("/.cursor/", "AML.T0081"),
    ("/.gemini/", "AML.T0081"),
    ("/.mcp.json", "AML.T0081"),
    ("/.vscode/", "AML.T0081"),
    ("/.idea/", "AML.T0081"),
    ("/.devcontainer/", "AML.T0081"),
    (".git/", "T1546"),
    ("/hooks/", "T1546"),
    ("/.husky/", "T1546"),
    (".timer", "T1053.006"),
    ("/cron", "T1053.003"),
    ("/dbus-1/", "T1543"),
    ("/systemd/", "T1543.002"),
    (".service", "T1543.002"),
    ("/autostart/", "T1547.013"),
    (".desktop", "T1547.013"),
    ("/.xprofile", "T1547.013"),
    ("/.xinitrc", "T1547.013"),
    ("/.xsession", "T1547.013"),
    ("/.bash", "T1546.004"),
    ("/.profile", "T1546.004"),
    ("/.zsh", "T1546.004"),
    ("/.zprofile", "T1546.004"),
    ("/.zlogin", "T1546.004"),
    ("/.kshrc", "T1546.004"),
    ("/fish/", "T1546.004"),
    ("/sudoers", "T1548.003"),
    ("/pam.d/", "T1556.003"),
    ("shadow", "T1003.008"),
    ("/.kube/", "T1552.007"),
    ("cookies", "T1539"),
    ("/logins.json", "T1555.003"),
    ("/key4.db", "T1555.003"),
    ("/login data", "T1555.003"),
    ("/web data", "T1555.003"),
    ("/.mozilla/", "T1555.003"),
    ("/google-chrome/", "T1555.003"),
    ("/.password-store/", "T1555.005"),
    (".kdbx", "T1555.005"),
    ("/keyrings/", "T1555"),
    ("/.config/gh/", "T1528"),
    ("/.ssh/", "T1552.004"),
    ("/.gnupg/", "T1552.004"),
    ("/id_", "T1552.004"),
    (".pem", "T1552.004"),
    (".key", "T1552.004"),
];

/// Services that carry data for whoever has an account, by the end of their names.
const SERVICES: &[(&str, &str)] = &[
    ("amazonaws.com", "T1567.002"),
    ("storage.googleapis.com", "T1567.002"),
    ("blob.core.windows.net", "T1567.002"),
    ("r2.cloudflarestorage.com", "T1567.002"),
    ("dropboxapi.com", "T1567.002"),
    ("dropbox.com", "T1567.002"),
    ("drive.google.com", "T1567.002"),
    ("mega.nz", "T1567.002"),
    ("transfer.sh", "T1567.002"),
    ("hooks.slack.com", "T1567.004"),
    ("discord.com", "T1567.004"),
    ("discordapp.com", "T1567.004"),
    ("webhook.office.com", "T1567.004"),
    ("webhook.site", "T1567.004"),
    ("pipedream.net", "T1567.004"),
    ("api.telegram.org", "T1567.004"),
    ("pastebin.com", "T1567.003"),
    ("gist.github.com", "T1567.001"),
];

/// Of what would have left by the network. What shows in the content, or in where it really goes, says more than that the
/// host is not allowed, so it comes first.
fn of_network(action: &str, has: impl Fn(&str) -> bool, resource: &str) -> Option<&'static str> {
    const SPEAKING: &[(&str, &str)] = &[
        ("hidden_data_leaves", "T1027"),
        ("secret_leaves", "T1041"),
        ("registered_value_leaves", "T1041"),
        ("passage_leaves", "T1041"),
        ("personal_data_leaves", "T1041"),
        ("cannot_inspect", "T1027"),
        ("dns_tunnel", "T1071.004"),
        ("fronting", "T1090.004"),
        ("metadata_address", "T1552.005"),
        ("over_budget", "T1030"),
        ("odd_protocol", "T1571"),
        ("bad_request", "T1071.001"),
        ("bad_body", "T1071.001"),
        ("request_not_allowed", "T1567"),
        ("message_to_people", "T1048"),
    ];
    if !matches!(action, "resolve" | "connect" | "request") {
        return None;
    }
    if let Some((_, technique)) = SPEAKING.iter().find(|(reason, _)| has(reason)) {
        return Some(technique);
    }
    if !has("host_not_allowed") && !has("private_address") {
        return None;
    }
    let (host, port) = match resource.rsplit_once(':') {
        Some((host, port)) if action == "connect" => (host, port.parse::<u16>().ok()),
        _ => (resource, None),
    };
    let is_below =
        |end: &str| host.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if let Some((_, technique)) = SERVICES.iter().find(|(end, _)| is_below(end)) {
        return Some(technique);
    }
    Some(match port {
        Some(22) => "T1021.004",
        _ if has("private_address") => "T1046",
        None => "T1041",
        Some(80 | 443) => "T1071.001",
        Some(20 | 21) => "T1048.003",
        Some(53 | 853) => "T1071.004",
        Some(25 | 465 | 587) => "T1071.003",
        Some(_) => "T1571",
    })
}

/// Of a refused request, by its action, the rule and reasons of its refusal and the path it was about.
#[must_use]
pub fn of_refusal(action: &str, rule: &str, reasons: &[String], path: &str) -> Option<&'static str> {
    // A person's no has a reason of its own; the rule still tells what was asked for.
    let first = rule.rsplit('.').next().unwrap_or(rule);
    let has = |reason: &str| first == reason || reasons.iter().any(|r| r == reason);
    let path = path.to_lowercase();
    let place = || PLACES.iter().find(|(part, _)| path.contains(part)).map(|(_, technique)| *technique);
    if let Some(technique) = of_network(action, has, &path) {
        return Some(technique);
    }
    if has("external_formula") || has("csv_formula") || has("loads_remote_content") {
        return Some("T1567");
    }
    if has("path_escape") || has("link_leaves_folder") {
        return Some("T1611");
    }
    if has("bad_path") && (path.contains("..") || !path.starts_with("/workspace")) {
        return Some("T1611");
    }
    if has("floor_persistence") || has("runs_later") || has("executable") {
        return Some(place().unwrap_or("T1204.002"));
    }
    if has("credential_store") || has("dotenv") || has("tokens_file") {
        return Some(place().unwrap_or("T1552.001"));
    }
    if has("macro") {
        return Some("T1204.002");
    }
    if has("secret_in_name") || has("personal_data_in_name") {
        return Some("T1048");
    }
    if has("deceptive_name") {
        return Some("T1036");
    }
    if has("secret_in_content") {
        return Some("T1552.001");
    }
    if has("personal_data") {
        return Some("T1005");
    }
    if has("many_deletes") {
        return Some("T1485");
    }
    (action == "elevate").then_some("T1548")
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
    fn a_persons_no_and_an_elevation_are_named_by_rule_and_action() {
        let no = ["denied_by_person".to_owned()];
        assert_eq!(of_refusal("read", "chaperone.files.personal_data", &no, "/workspace/a"), Some("T1005"));
        assert_eq!(of_refusal("elevate", "capability.not_permitted", &[], "/workspace"), Some("T1548"));
    }
}
