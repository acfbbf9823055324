//! The one report type at the edge: what failed, why, and what to do next.

use std::fmt;

use crate::untrusted::{self, Untrusted};

#[derive(Debug)]
pub struct Report {
    pub message: String,
    pub code: Option<String>,
    pub advice: Option<String>,
    /// The exit code this ends the command with.
    pub exit: u8,
}

impl Report {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None, advice: None, exit: 1 }
    }

    /// From any error, with its causes.
    pub fn of(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(e) = cause {
            let text = e.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = e.source();
        }
        Self::new(message)
    }

    #[must_use]
    pub fn exit(mut self, code: u8) -> Self {
        self.exit = code;
        self
    }

    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaperone: {}", untrusted::message(&self.message))?;
        if let Some(code) = &self.code {
            write!(f, " ({})", Untrusted::new(code))?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  {}", untrusted::message(advice))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};

    #[test]
    fn a_hostile_name_cannot_forge_a_line_of_a_report() {
        for name in HOSTILE {
            let shown = Report::new(*name).advise(*name).to_string();
            assert_plain(&shown, 2 * name.split('\n').count());
            assert!(shown.lines().skip(1).all(|l| l.starts_with("  ")), "{shown:?}");
        }
    }
}
