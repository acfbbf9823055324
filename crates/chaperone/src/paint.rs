//! Colours of our own for a terminal. What is painted was made safe before: these are the only control sequences that are printed.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, stdout};

const STRONG: &str = "1";
const ADDED: &str = "32";
const REMOVED: &str = "31";
const PLACE: &str = "36";

/// Whether there are colours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paint(bool);

impl Paint {
    /// For standard output, unless the user or the terminal wants none.
    pub fn of_output() -> Self {
        Self(stdout().is_terminal() && is_wanted(&|name| env::var_os(name)))
    }

    #[cfg(test)]
    pub const fn always() -> Self {
        Self(true)
    }

    /// The line that says what a change is.
    pub fn heading(self, line: &str) -> String {
        self.with(STRONG, line)
    }

    /// A line of a difference, by what it begins with.
    pub fn difference(self, line: &str) -> String {
        match line.chars().next() {
            Some('+') => self.added(line),
            Some('-') => self.removed(line),
            Some('@') => self.with(PLACE, line),
            _ => line.to_owned(),
        }
    }

    pub fn added(self, text: &str) -> String {
        self.with(ADDED, text)
    }

    pub fn removed(self, text: &str) -> String {
        self.with(REMOVED, text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{colour}m{text}\u{1b}[m") } else { text.to_owned() }
    }
}

fn is_wanted(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    let has_colours = variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    has_colours && variable("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_colours_where_nobody_wants_them() {
        let wanted = |set: &[(&str, &str)]| {
            is_wanted(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
        };
        assert!(wanted(&[("TERM", "xterm")]) && wanted(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        for none in [&[][..], &[("TERM", "")], &[("TERM", "dumb")], &[("TERM", "xterm"), ("NO_COLOR", "1")]] {
            assert!(!wanted(none), "{none:?}");
        }
    }

    #[test]
    fn each_painted_line_ends_as_plain_text() {
        for line in ["+a", "-a", "@@ -1 +1 @@"] {
            let painted = Paint::always().difference(line);
            assert!(painted.starts_with("\u{1b}[3") && painted.ends_with("\u{1b}[m"), "{painted:?}");
            assert_eq!(Paint::default().difference(line), line);
        }
        assert_eq!(Paint::always().difference(" a"), " a");
    }
}
