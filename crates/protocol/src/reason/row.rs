//! One row of the table, and how rows are written.

/// One code that a refusal, an alert, an error or a change of the program can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonCode {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// What happened.
    pub sentence: &'static str,
    /// What to do instead; empty where there is nothing.
    pub way_out: &'static str,
    /// A refusal for this reason raises an alert, whoever gives it. What else raises one is policy's word.
    pub alerts: bool,
}

/// The codes that come from one place.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub title: &'static str,
    pub about: &'static str,
    pub reasons: &'static [ReasonCode],
}

/// Rows of the table: `"code": "what happened" => "the way out";`, with `alerts` after the code where it raises one.
macro_rules! reasons {
    ($($code:literal $($alerts:ident)?: $sentence:literal => $way_out:literal;)*) => {
        &[$($crate::reason::row::ReasonCode {
            code: $code,
            sentence: $sentence,
            way_out: $way_out,
            alerts: $crate::reason::row::reasons!(@ $($alerts)?),
        }),*]
    };
    (@) => { false };
    (@ alerts) => { true };
}
pub(super) use reasons;
