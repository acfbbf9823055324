//! Policy as code: Rego decisions with reasons, obligations and advice. Pure: no clocks, files or sockets.
//!
//! Every package below `data.chaperone` that defines `decision` votes, and so does the `allow` of a package
//! `agent.access`; the strongest effect wins (deny > step_up > ask > allow). No vote, an error or a malformed decision
//! is a denial.
#![forbid(unsafe_code)]

mod assemble;
mod check;
mod compiled;
mod decision;
mod dialect;
mod engine;
mod explain;
mod lint;
mod literals;
mod source;
mod spots;
mod store;
mod testing;

pub use check::check;
pub use decision::{Decision, Effect, Obligation, Severity};
pub use engine::{Engine, MAX_INPUT, revision};
pub use explain::{Explanation, Vote, explain};
pub use source::{Kind, Problem, Source};
pub use store::Store;
pub use testing::{FailedTest, FileCoverage, TestReport, eval, test};
