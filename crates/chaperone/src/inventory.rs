//! `inventory`: what a profile gives, by risk; and the agents and MCP servers found on this machine.

use std::path::PathBuf;
use std::sync::LazyLock;

use chaperone_config::Dirs;
use chaperone_config::Profile;
use chaperone_protocol::session::Mode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::Inventory;
use crate::report::Report;
use crate::show;

static KNOWN: LazyLock<Known> = LazyLock::new(|| chaperone_packs::table("packs/agents.toml"));

/// What is looked for on this machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Agents, by their program on PATH.
    programs: Vec<String>,
    /// Where MCP clients keep their servers, relative to the home.
    mcp_files: Vec<PathBuf>,
}

pub fn inventory(args: &Inventory) -> Result<u8, Report> {
    let dirs = Dirs::from_environment().map_err(Report::of)?;
    let folder = dirs.config.join("profiles");
    let mut rows = Vec::new();
    let names = match &args.profile {
        Some(name) => vec![name.clone()],
        None => Profile::names(&folder),
    };
    for name in names {
        match Profile::find(&name, &folder) {
            Ok(profile) => rows.extend(of_profile(&profile)),
            Err(e) if args.profile.is_some() => return Err(Report::of(e)),
            Err(e) => rows.push(json!({ "risk": "low", "of": format!("profile {name}"),
                "capability": "none: it cannot be used", "on": e.to_string(), "why": e.to_string() })),
        }
    }
    if args.profile.is_none() {
        rows.extend(found_here());
    }
    rows.sort_by_key(|r| match show::text(r, "risk").raw() {
        "high" => 0,
        "medium" => 1,
        _ => 2,
    });
    if args.json {
        show::json(&Value::Array(rows));
        return Ok(0);
    }
    let mut table = vec![["RISK", "OF", "CAPABILITY", "ON"].map(str::to_owned).to_vec()];
    table.extend(
        rows.iter()
            .map(|r| ["risk", "of", "capability", "on"].map(|f| show::text(r, f).raw().to_owned()).to_vec()),
    );
    show::table(&table);
    Ok(0)
}

fn of_profile(profile: &Profile) -> Vec<Value> {
    let row = |risk: &str, capability: &str, on: &str, why: &str| json!({ "risk": risk, "of": format!("profile {}", profile.name), "capability": capability, "on": on, "why": why });
    let mut rows = Vec::new();
    for mount in &profile.mounts {
        for action in &mount.actions {
            let (risk, why) = match (mount.mode, action.as_str()) {
                (Mode::ReadOnly, "read" | "list") => ("low", "read-only and not inspected"),
                (Mode::ReadOnly, _) => continue,
                (Mode::Mediated, "list") => ("low", "names only"),
                (Mode::Mediated, "read") => ("medium", "every open is decided and inspected"),
                (Mode::Staged, "read" | "list") => ("medium", "not inspected at each open"),
                (_, "delete" | "rename") => ("medium", "staged, undoable"),
                _ => ("medium", "staged, validated at commit, undoable"),
            };
            rows.push(row(risk, action, &mount.path, why));
        }
    }
    if profile.commit.at_end {
        rows.push(row("medium", "commit", "at the end, what policy allows without asking", "undoable"));
    }
    if profile.debug {
        rows.push(row("high", "ptrace", "processes of the same cell", "a larger kernel surface"));
    }
    for name in profile.environment.set.keys() {
        rows.push(row("high", "environment", name, "a value the agent can read"));
    }
    for rule in &profile.network.allow {
        let (risk, why) = if rule.pass_through || !rule.needs_requests() {
            ("high", "what is sent is counted, not seen")
        } else {
            ("medium", "every request is decided and what is sent is looked at")
        };
        rows.push(row(risk, "connect", &rule.host().to_string(), why));
    }
    for service in &profile.network.services {
        rows.push(row(
            "medium",
            "connect",
            &format!("service {service}"),
            "by the allow-list of the service",
        ));
    }
    rows.push(row(
        "low",
        "exec",
        "programs inside the cell",
        "no keys, nothing of the host, no network but what is named",
    ));
    rows
}

/// Agents and MCP servers that run with all of the user's rights today.
fn found_here() -> Vec<Value> {
    let mut rows = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for agent in &KNOWN.programs {
        if let Some(at) = std::env::split_paths(&path).map(|p| p.join(agent)).find(|p| p.is_file()) {
            rows.push(
                json!({ "risk": "high", "of": format!("agent {agent}"), "capability": "everything you can do",
                "on": at, "why": "runs outside a cell unless started with: chaperone run --" }),
            );
        }
    }
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return rows };
    for file in &KNOWN.mcp_files {
        let at = home.join(file);
        let Ok(text) = std::fs::read_to_string(&at) else { continue };
        for server in servers(&text) {
            rows.push(json!({ "risk": "high", "of": format!("MCP server {server}"), "capability": "everything you can do",
                "on": at, "why": "started by its client outside a cell" }));
        }
    }
    rows
}

/// The names of MCP servers in a client's configuration, JSON or TOML.
fn servers(text: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(text)
        .ok()
        .or_else(|| toml::from_str::<toml::Value>(text).ok().and_then(|t| serde_json::to_value(t).ok()))
        .unwrap_or(Value::Null);
    ["mcpServers", "mcp_servers", "servers"]
        .iter()
        .filter_map(|key| parsed.get(key)?.as_object())
        .flat_map(|m| m.keys().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_found_in_json_and_toml() {
        assert_eq!(servers(r#"{"mcpServers":{"files":{"command":"x"}}}"#), ["files"]);
        assert_eq!(servers("[mcp_servers.web]\ncommand = \"x\"\n"), ["web"]);
        assert!(servers("not a configuration {").is_empty());
    }
}
