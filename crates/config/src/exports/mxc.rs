//! A configuration of Microsoft's execution containers, schema 0.8: AppContainer on Windows, Seatbelt on macOS, LXC on Linux.

use serde_json::{Value, json};

use super::quote;
use super::target::{ExportError, File};
use super::wall::Wall;

/// The schema that the members are of.
const VERSION: &str = "0.8.0-alpha";

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let mut notes = wall.notes();
    notes.push(
        "Its own authors call no policy of it a security boundary yet. It limits no memory and no processes."
            .to_owned(),
    );
    notes.push("Paths are those of the machine, not /workspace: which of them an agent sees elsewhere depends on the container.".to_owned());
    if wall.options.port.is_some() {
        notes.push("Programs are told of the broker by the variables of a proxy; whoever does not heed them reaches nothing.".to_owned());
    }
    let paths: Vec<String> = wall.shown.iter().map(|shown| wall.source(shown)).collect();
    let mut process = json!({ "commandLine": command_line(wall) });
    if let Some(first) = paths.first() {
        put(&mut process, "cwd", json!(first));
    }
    if let Some(seconds) = wall.seconds {
        let milliseconds = seconds.checked_mul(1000).filter(|ms| *ms <= u64::from(u32::MAX));
        let milliseconds = milliseconds.ok_or_else(|| {
            wall.unwritable("limits.time", &format!("{seconds}s"), "it takes at most 49 days")
        })?;
        put(&mut process, "timeout", json!(milliseconds));
    }
    let mut config = json!({
        "version": VERSION,
        "_comment": notes,
        "containment": "process",
        "process": process,
        "filesystem": { "readonlyPaths": paths, "readwritePaths": [], "deniedPaths": [] },
        "fallback": { "allowDaclMutation": false },
        "network": {
            "egress": { "default": "deny" },
            "ingress": { "default": "deny", "hostLoopback": "deny" },
        },
        "ui": { "disable": true, "clipboard": "none", "injection": false },
    });
    if let Some(port) = wall.options.port {
        put(&mut config, "runtimeConfig", json!({ "networkProxy": format!("http://127.0.0.1:{port}") }));
    }
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    Ok(vec![File { name: format!("{}.mxc.json", wall.title()), text }])
}

/// One line for the container's shell.
fn command_line(wall: &Wall<'_>) -> String {
    wall.command().into_iter().map(quote::shell).collect::<Vec<_>>().join(" ")
}

fn put(object: &mut Value, member: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}
