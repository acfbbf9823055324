//! Text that an agent may have chosen, made safe to print: the one way from a name to the terminal.

use std::fmt;

use chaperone_protocol::display::is_deceptive;

/// A name, path, reason, host or argument that an agent may have chosen. Printing it shows every character that would
/// steer the terminal, hide, or reorder what stands beside it; comparing and sending it takes [`Untrusted::raw`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Untrusted<'a>(&'a str);

impl<'a> Untrusted<'a> {
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text as it is: to compare and to send, never to print.
    #[must_use]
    pub const fn raw(self) -> &'a str {
        self.0
    }
}

impl PartialEq<&str> for Untrusted<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::with_capacity(self.0.len());
        let mut before = None;
        for c in self.0.chars() {
            // Blanks in a row would push what follows to where the next line begins.
            if is_deceptive(c) || c == ' ' && before == Some(' ') {
                shown.extend(c.escape_unicode());
            } else {
                shown.push(c);
            }
            before = Some(c);
        }
        f.pad(&shown)
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A message of several lines: each is made safe, and each but the first is indented, so that none passes for a line of
/// the command's own.
#[must_use]
pub fn message(text: &str) -> String {
    let lines: Vec<String> = text.trim_end_matches('\n').split('\n').map(line).collect();
    lines.join("\n  ")
}

/// One line with its indentation, such as one of a diff: a tab stays one, or no Makefile could be read.
#[must_use]
pub fn line(text: &str) -> String {
    text.chars()
        .map(|c| if is_deceptive(c) && c != '\t' { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}

/// JSON as text, with everything that could steer a terminal as an escape of JSON: the same document.
#[must_use]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|u| shown.push_str(&format!("\\u{u:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A path as a word of the shell. What would steer the terminal is written as bash and zsh read it.
pub fn word(path: &str) -> String {
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path;
    }
    if Untrusted::new(&path).to_string() == path {
        return format!("'{}'", path.replace('\'', r"'\''"));
    }
    let byte = |b: u8| match b {
        b'\'' | b'\\' => format!("\\{}", char::from(b)),
        b'!'..=b'~' => char::from(b).to_string(),
        _ => format!("\\x{b:02x}"),
    };
    format!("$'{}'", path.bytes().map(byte).collect::<String>())
}

/// Names that steer a terminal, forge a line or hide, for the tests of everything that prints.
#[cfg(test)]
pub const HOSTILE: &[&str] = &[
    "clip\u{1b}]52;c;Y3VybCBldmls\u{7}board",
    "csi\u{1b}[2Jclear",
    "c1\u{9b}31mred",
    "line\nstaged    create innocent.csv",
    "return\rstaged    create innocent.csv",
    "mirror\u{202e}txt.exe",
    "zero\u{200b}width",
    "blanks                                                                          staged",
    "separator\u{2028}staged",
];

/// Whether printed text holds nothing but characters that stand where they are, in `lines` lines.
#[cfg(test)]
pub fn assert_plain(printed: &str, lines: usize) {
    assert_eq!(printed.trim_end_matches('\n').split('\n').count(), lines, "{printed:?}");
    assert!(!printed.chars().any(|c| c != '\n' && is_deceptive(c)), "{printed:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_one_plain_line() {
        for name in HOSTILE {
            let shown = Untrusted::new(name).to_string();
            assert_plain(&shown, 1);
            assert!(!shown.contains("  "), "{shown:?}");
            assert!(shown.contains("\\u{"), "{shown:?}");
            assert_plain(&format!("{:?}", Untrusted::new(name)), 1);
        }
    }

    #[test]
    fn an_ordinary_name_stays_as_it_is() {
        for name in ["out/report 2026.xlsx", "größe – 漢字.csv", "a\\b'\"c", ""] {
            assert_eq!(Untrusted::new(name).to_string(), name);
        }
        assert_eq!(format!("{:6}|", Untrusted::new("ab")), "ab    |");
    }

    #[test]
    fn a_second_line_of_a_message_is_indented() {
        assert_eq!(message("one\nstaged    create x\n"), "one\n  staged    create x");
        for name in HOSTILE {
            let shown = message(name);
            assert_plain(&shown, name.split('\n').count());
            assert!(shown.lines().skip(1).all(|l| l.starts_with("  ")), "{shown:?}");
        }
    }

    #[test]
    fn json_stays_the_same_document() {
        for name in HOSTILE.iter().chain(&["tag\u{e0041}"]) {
            let document = serde_json::json!({ "path": name });
            let shown = json(&document.to_string());
            assert_plain(&shown, 1);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
        }
    }

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        for (path, shown) in [
            ("a/b.txt", "a/b.txt"),
            ("--unseen", "./--unseen"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -r ~)", "'$(rm -r ~)'"),
            ("größe", "'größe'"),
            ("x\ny", r"$'x\x0ay'"),
            ("", "''"),
        ] {
            assert_eq!(word(path), shown);
        }
    }
}
