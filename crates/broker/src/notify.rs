//! Desktop notifications: what cannot wait until somebody looks at a terminal. By `notify-send`, which every desktop's
//! notification service understands; where there is no desktop, nobody is told this way.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use chaperone_pipeline::events::Bus;

/// At most one of a kind in so much time: an agent must not flood a person's screen.
const PACE: Duration = Duration::from_secs(3);
/// How long a notification may take to be taken.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the desktop is looked for anew when nothing happens.
const TICK: Duration = Duration::from_secs(60);

/// Tell alerts, asks and suspensions on the person's desktop, if there is one.
pub fn start(bus: &Arc<Bus>) {
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() || !is_there() {
        return;
    }
    let events = bus.watch(None, false);
    let tell = move || {
        let mut last: HashMap<String, Instant> = HashMap::new();
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => {
                    let Some((title, text)) = words(&event) else { continue };
                    let kind = event["kind"].as_str().unwrap_or_default();
                    if last.get(kind).is_some_and(|at| at.elapsed() < PACE) {
                        continue;
                    }
                    last.insert(kind.to_owned(), Instant::now());
                    show(&title, &text);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    // Without a thread the terminal and the log still tell.
    std::thread::Builder::new().name("notify".into()).spawn(tell).ok();
}

fn is_there() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("notify-send").is_file())
}

/// Title and text of an event that a person should know of at once. Hosts and paths are in it, contents never.
fn words(event: &Value) -> Option<(String, String)> {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let reasons: Vec<&str> =
        event["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).take(3).collect();
    let about = format!("{} {} ({})", text("action"), text("resource"), reasons.join(", "));
    let session = text("session");
    match text("kind") {
        "asked" => {
            Some((format!("Chaperone asks: {}", text("action")), format!("{about}\nchaperone approvals")))
        }
        "alert" => Some(("Chaperone: alert".to_owned(), format!("{about}\nsession {session}"))),
        "suspended" => Some((
            "Chaperone: session suspended".to_owned(),
            format!("{}\nchaperone resume {session}", reasons.join(", ")),
        )),
        _ => None,
    }
}

fn show(title: &str, text: &str) {
    // Markup of the agent's making must stay text.
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let child = Command::new("notify-send")
        .args(["--app-name=chaperone", "--urgency=critical", "--", title, &text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return };
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            _ => return,
        }
    }
    // A desktop that does not answer is not waited for.
    child.kill().ok();
    child.wait().ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_cannot_wait_is_shown() {
        let alert = json!({ "kind": "alert", "action": "connect", "resource": "evil.example:443", "reasons": ["many_connections"], "session": "abc" });
        assert_eq!(words(&alert).unwrap().1, "connect evil.example:443 (many_connections)\nsession abc");
        assert!(words(&json!({ "kind": "asked", "action": "read", "resource": "/workspace/a" })).is_some());
        for kind in ["refused", "allowed", "ended", "answered"] {
            assert!(words(&json!({ "kind": kind })).is_none());
        }
    }
}
