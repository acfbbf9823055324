//! A refusal or fault as every part reports it.

use serde::{Deserialize, Serialize};

/// A refusal or fault, told so that the user can act on it.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Stable snake_case reason code, listed in `docs/reason-codes.md`.
    pub code: String,
    pub message: String,
    pub advice: Option<String>,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), advice: None }
    }

    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}
