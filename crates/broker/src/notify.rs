//! Desktop notifications: what cannot wait until somebody looks at a terminal. By `notify-send`, which every desktop's
//! notification service understands; where there is no desktop, nobody is told this way.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use chaperone_pipeline::events::Bus;
use chaperone_protocol::{Event, Happened};

/// At most one of a kind in so much time: an agent must not flood the user's screen.
const PACE: Duration = Duration::from_secs(3);
/// Reasons that are shown.
const SHOWN_REASONS: usize = 3;
/// How long a notification may take to be taken.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the desktop is looked for anew when nothing happens.
const TICK: Duration = Duration::from_secs(60);

/// Tell alerts, asks and suspensions on the user's desktop, if there is one.
pub fn start(bus: &Arc<Bus>) {
    if std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() || !is_there() {
        return;
    }
    let events = bus.watch(None, false);
    let tell = move || {
        let mut last: HashMap<&'static str, Instant> = HashMap::new();
        loop {
            match events.recv_timeout(TICK) {
                Ok(event) => {
                    let Some((kind, title, text)) = words(&event) else { continue };
                    if last.get(kind).is_some_and(|at| at.elapsed() < PACE) {
                        continue;
                    }
                    last.insert(kind, Instant::now());
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

/// Title and text of an event that the user should know of at once. Hosts and paths are in it, contents never.
fn words(event: &Event) -> Option<(&'static str, String, String)> {
    let session = &event.session;
    let about = |action: &str, resource: &str, reasons: &[String]| {
        format!("{action} {resource} ({})", first(reasons))
    };
    match &event.what {
        Happened::Asked { action, resource, reasons, ask, .. } => {
            let was = ask.was.as_ref().map_or_else(String::new, |was| format!("\nwas {was}"));
            let text = format!("{}{was}\nchaperone approvals", about(action, resource, reasons));
            Some(("asked", format!("Chaperone asks: {action}"), text))
        }
        Happened::Alert { action, resource, reasons, .. } => {
            let text = format!("{}\nsession {session}", about(action, resource, reasons));
            Some(("alert", "Chaperone: alert".to_owned(), text))
        }
        Happened::Suspended { reasons } => {
            let text = format!("{}\nchaperone resume {session}", first(reasons));
            Some(("suspended", "Chaperone: session suspended".to_owned(), text))
        }
        _ => None,
    }
}

fn first(reasons: &[String]) -> String {
    reasons.iter().take(SHOWN_REASONS).map(String::as_str).collect::<Vec<_>>().join(", ")
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

    #[test]
    fn only_what_cannot_wait_is_shown() {
        let alert = Happened::Alert {
            action: "connect".into(),
            resource: "evil.example:443".into(),
            reasons: vec!["many_connections".into()],
            rule: "net.many_connections".into(),
            technique: None,
            severity: "high".into(),
            logged: true,
        };
        let (_, _, text) = words(&Event::of("abc", alert)).unwrap();
        assert_eq!(text, "connect evil.example:443 (many_connections)\nsession abc");
        let suspended = Happened::Suspended { reasons: vec![] };
        assert!(words(&Event::of("abc", suspended)).is_some());
        let quiet = [
            Happened::Allowed { action: "read".into(), resource: "/workspace/a".into() },
            Happened::Ended { cause: "exit".into(), code: 0 },
            Happened::Watching,
        ];
        assert!(quiet.into_iter().all(|what| words(&Event::of("abc", what)).is_none()));
    }
}
