//! The user's answer to a question, typed at the terminal.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::show::text;

/// How long a question stands before an answer is heard.
const STOOD: Duration = Duration::from_secs(1);
/// How long the keys are quiet before it.
const QUIET: Duration = Duration::from_millis(500);
/// Characters of an id that are typed with an answer, at least.
const SHORT_ID: usize = 4;
/// Longest answer, in bytes; what is typed beyond it is not heard.
const MAX_LINE: usize = 200;

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Once,
    Session,
    Redact,
    Deny,
}

/// An answer that is being typed. Keys that were meant for the agent can neither answer nor be lost: nothing is heard
/// until the question has stood for a while and the keys were quiet, and then only a word with the id of the question,
/// which nobody could know before it was shown. What came earlier or later is kept for the agent.
#[derive(Debug)]
pub struct Answering {
    id: String,
    /// The words that may be typed with the id.
    words: Vec<(&'static str, Choice)>,
    shown: Instant,
    last_key: Instant,
    open: bool,
    line: Vec<u8>,
    kept: Vec<u8>,
}

impl Answering {
    /// To a question that stands on the screen since `now`.
    #[must_use]
    pub fn new(ask: &Value, now: Instant) -> Self {
        let mut words = Vec::new();
        // What needs a PIN is not answered here with a yes.
        if !needs_pin(ask) {
            if ask["redactable"].as_bool() == Some(true) {
                words.push(("redacted", Choice::Redact));
            }
            words.push(("yes", Choice::Once));
            // An elevation is asked about every time.
            if text(ask, "action").raw() != "elevate" {
                words.push(("session", Choice::Session));
            }
        }
        let id = text(ask, "id").raw().to_owned();
        Self { id, words, shown: now, last_key: now, open: false, line: Vec::new(), kept: Vec::new() }
    }

    /// How long until an answer can be typed; nothing when it can.
    #[must_use]
    pub fn opens_in(&self, now: Instant) -> Option<Duration> {
        let due = (self.shown + STOOD).max(self.last_key + QUIET);
        (!self.open).then(|| due.saturating_duration_since(now))
    }

    /// Listen from now on; what is printed before the answer.
    pub fn open(&mut self) -> String {
        self.open = true;
        let id: String = self.id.chars().take(SHORT_ID).collect();
        let words: Vec<String> = self.words.iter().map(|(word, _)| format!("{word} {id}")).collect();
        if words.is_empty() {
            return "  no (Enter), or answer with the PIN elsewhere: ".to_owned();
        }
        format!("  type {}; anything else is a no: ", words.join(", "))
    }

    /// Keys that were typed; `echo` gets what is to be shown of them. The answer, once the line is whole.
    pub fn keys(&mut self, keys: &[u8], now: Instant, echo: &mut Vec<u8>) -> Option<Choice> {
        self.last_key = now;
        if !self.open {
            self.kept.extend_from_slice(keys);
            return None;
        }
        for (at, key) in keys.iter().enumerate() {
            let choice = match key {
                b'\r' | b'\n' => self.choice(),
                // Ctrl-C, Ctrl-D and Ctrl-Z.
                0x03 | 0x04 | 0x1a => Choice::Deny,
                0x08 | 0x7f => {
                    if self.line.pop().is_some() {
                        echo.extend_from_slice(b"\x08 \x08");
                    }
                    continue;
                }
                _ => {
                    if self.line.len() < MAX_LINE {
                        self.line.push(*key);
                        echo.push(if key.is_ascii_graphic() || *key == b' ' { *key } else { b'?' });
                    }
                    continue;
                }
            };
            self.kept.extend_from_slice(keys.get(at + 1..).unwrap_or_default());
            return Some(choice);
        }
        None
    }

    /// What was typed for the agent.
    #[must_use]
    pub fn into_kept(self) -> Vec<u8> {
        self.kept
    }

    fn choice(&self) -> Choice {
        let typed = String::from_utf8_lossy(&self.line).to_ascii_lowercase();
        let mut parts = typed.split_ascii_whitespace();
        let (Some(word), Some(id), None) = (parts.next(), parts.next(), parts.next()) else {
            return Choice::Deny;
        };
        if id.len() < SHORT_ID || !self.id.starts_with(id) {
            return Choice::Deny;
        }
        self.words.iter().find(|(known, _)| *known == word).map_or(Choice::Deny, |(_, choice)| *choice)
    }
}

pub(super) fn needs_pin(ask: &Value) -> bool {
    text(ask, "effect") == "step_up"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "6cb1d2e3";

    fn ask() -> Value {
        json!({ "action": "read", "resource": "/workspace/x", "redactable": true, "effect": "ask", "id": ID })
    }

    /// Keys at their times (ms after the question was drawn): the answer, and what is kept for the agent.
    fn typed(keys: &[(u64, &[u8])]) -> (Option<Choice>, Vec<u8>) {
        let start = Instant::now();
        let mut answering = Answering::new(&ask(), start);
        let mut choice = None;
        for (ms, bytes) in keys {
            let now = start + Duration::from_millis(*ms);
            if answering.opens_in(now) == Some(Duration::ZERO) {
                answering.open();
            }
            match choice {
                None => choice = answering.keys(bytes, now, &mut Vec::new()),
                // After the answer the terminal is the agent's again.
                Some(_) => answering.kept.extend_from_slice(bytes),
            }
        }
        (choice, answering.into_kept())
    }

    /// The text key by key, every `step` ms from `from` on.
    fn at_intervals(text: &[u8], from: u64, step: u64) -> Vec<(u64, &[u8])> {
        text.chunks(1).enumerate().map(|(i, key)| (from + i as u64 * step, key)).collect()
    }

    #[test]
    fn what_is_typed_for_the_agent_never_says_yes() {
        let paste = "yes\rsession\ro\ry\rs\rok\rgo\rls\ryes yes\rsession all\r".repeat(10);
        let texts = [
            "no\r",
            "ls\r",
            "go\r",
            "o\r",
            "y\r",
            "yes\r",
            "s\r",
            "session\r",
            "\r",
            "once\r",
            "r\r",
            &paste,
        ];
        for text in texts {
            for step in [0, 1, 5, 80, 150, 200, 300, 499, 500, 700, 1500] {
                for from in [0, 5, 200, 400, 999, 1000, 1001, 3000] {
                    let (choice, _) = typed(&at_intervals(text.as_bytes(), from, step));
                    assert!(
                        matches!(choice, None | Some(Choice::Deny)),
                        "{text:?} from {from} every {step}: {choice:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn keys_in_flight_are_kept_for_the_agent_whole() {
        let lines = "line\r".repeat(100);
        for step in [80, 150, 300] {
            for text in ["no\r", "ls\r", "go\r", "\u{3}", "\u{1b}[A", &lines] {
                let (choice, kept) = typed(&at_intervals(text.as_bytes(), 5, step));
                assert_eq!((choice, kept), (None, text.as_bytes().to_vec()), "{text:?} every {step}");
            }
        }
    }

    #[test]
    fn the_word_with_the_id_is_the_answer_and_what_follows_it_is_the_agents() {
        for (line, choice) in [
            ("yes 6cb1\r", Choice::Once),
            ("  YES 6CB1D2E3 \n", Choice::Once),
            ("session 6cb1d\r", Choice::Session),
            ("redacted 6cb1\r", Choice::Redact),
            ("yex\x7fs 6cb1\r", Choice::Once),
        ] {
            assert_eq!(
                typed(&[(0, b"ahead\r"), (1000, line.as_bytes()), (1001, b"after")]),
                (Some(choice), b"ahead\rafter".to_vec()),
                "{line:?}"
            );
        }
        assert_eq!(typed(&[(1000, b"yes 6cb1\rls\r")]), (Some(Choice::Once), b"ls\r".to_vec()));
    }

    #[test]
    fn whatever_else_is_typed_is_a_no_without_a_second_try() {
        for line in [
            "\r",
            "n\r",
            "yes\r",
            "y 6cb1\r",
            "yes 6cb\r",
            "yes 6cb2\r",
            "yes 6cb1d2e34\r",
            "6cb1\r",
            "yes6cb1\r",
            "yes 6cb1 now\r",
            "\u{1b}[200~yes 6cb1\r",
            "once 6cb1\r",
            "\u{3}",
            "\u{4}",
            "yes  \r",
        ] {
            let (choice, kept) = typed(&[(1000, line.as_bytes()), (1600, b"yes 6cb1\r")]);
            assert_eq!((choice, kept.as_slice()), (Some(Choice::Deny), &b"yes 6cb1\r"[..]), "{line:?}");
        }
        let long = [b"yes 6cb1".as_slice(), &[b' '; 500], b"\r"].concat();
        assert_eq!(typed(&[(1000, &long)]).0, Some(Choice::Once));
        let long = [&[b'x'; 500], b"yes 6cb1\r".as_slice()].concat();
        assert_eq!(typed(&[(1000, &long)]).0, Some(Choice::Deny));
    }

    #[test]
    fn an_elevation_is_not_answered_for_the_session() {
        let mut elevation = ask();
        elevation["action"] = "elevate".into();
        let start = Instant::now();
        let mut answering = Answering::new(&elevation, start);
        let offered = answering.open();
        assert!(offered.contains("yes 6cb1") && !offered.contains("session"), "{offered}");
        assert_eq!(answering.keys(b"session 6cb1\r", start, &mut Vec::new()), Some(Choice::Deny));
    }

    #[test]
    fn an_answer_is_heard_only_after_a_second_and_half_a_second_of_quiet() {
        assert_eq!(typed(&[(999, b"yes 6cb1\r")]), (None, b"yes 6cb1\r".to_vec()));
        assert_eq!(typed(&[(900, b"x"), (1399, b"yes 6cb1\r")]).0, None);
        assert_eq!(typed(&[(900, b"x"), (1400, b"yes 6cb1\r")]).0, Some(Choice::Once));
    }

    #[test]
    fn what_needs_a_pin_is_not_allowed_by_a_word() {
        let mut ask = ask();
        ask["effect"] = json!("step_up");
        let now = Instant::now();
        let mut answering = Answering::new(&ask, now);
        assert!(!answering.open().contains("yes"));
        assert_eq!(answering.keys(b"yes 6cb1\r", now, &mut Vec::new()), Some(Choice::Deny));
    }

    #[test]
    fn redaction_is_not_offered_where_it_cannot_be() {
        let mut ask = ask();
        ask["redactable"] = json!(false);
        let now = Instant::now();
        let mut answering = Answering::new(&ask, now);
        assert!(!answering.open().contains("redacted"));
        assert_eq!(answering.keys(b"redacted 6cb1\r", now, &mut Vec::new()), Some(Choice::Deny));
    }
}
