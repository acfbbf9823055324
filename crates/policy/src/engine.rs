//! A loaded set of policies, and decisions by it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;
use regorus::Value as RegoValue;
use regorus::rvm::RegoVM;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::assemble::{assemble, declares, package_of};
use crate::compiled::{Compiled, is_well_formed};
use crate::decision::{Decision, Effect};
use crate::source::{Problem, Source, builtin};

/// Largest input document, in bytes. Protects the evaluator; beyond it: denied.
pub const MAX_INPUT: usize = 256 * 1024;
/// Evaluators kept for threads that decide at once.
const KEPT: usize = 8;

/// A set of policies that loaded; immutable.
pub struct Engine {
    prepared: regorus::Engine,
    pub(crate) compiled: Option<Compiled>,
    idle: Mutex<Vec<Evaluator>>,
    /// `data.….decision` of each voter, with its package.
    voters: Vec<(String, String)>,
    /// A policy of the form `package agent.access` with `allow` votes, too.
    access: bool,
    revision: String,
    volatile: Volatile,
    outlives_sessions: bool,
    broken: bool,
}

/// What one thread evaluates with; each part is made when it is first needed.
#[derive(Default)]
struct Evaluator {
    interpreter: Option<regorus::Engine>,
    machine: Option<RegoVM>,
}

/// When decisions depend on more than the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Volatile {
    Never,
    AtCommit,
    Always,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Engine {
    /// Load and dry-run a set.
    ///
    /// # Errors
    /// Every problem with file, line and, where there is one, a suggestion.
    pub fn load(sources: Vec<Source>) -> Result<Self, Vec<Problem>> {
        let prepared = assemble(&sources, false)?;
        let mut problems = crate::dialect::lost_statements(&sources, &prepared);
        problems.extend(crate::lint::silent_failures(&sources, &prepared));
        problems.extend(crate::literals::malformed_decisions(&sources));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut voters: Vec<(String, String)> = Vec::new();
        let mut access = false;
        for source in sources.iter().filter(|s| s.votes()) {
            let package = package_of(&prepared, source);
            let defines = |rule: &str| declares(&prepared, source, rule);
            if (package == "chaperone" || package.starts_with("chaperone.")) && defines("decision") {
                let rule = format!("data.{package}.decision");
                if !voters.iter().any(|(known, _)| *known == rule) {
                    voters.push((rule, package.clone()));
                }
            }
            access |= package == "agent.access" && defines("allow");
        }
        let mut volatile = Volatile::Never;
        for source in sources.iter().filter(|s| s.votes() && s.is_volatile()) {
            let this = if source.speaks_only_of_commits() { Volatile::AtCommit } else { Volatile::Always };
            volatile = volatile.max(this);
        }
        let compiled = Compiled::of(&sources, &prepared, &voters);
        let engine = Self {
            prepared,
            compiled,
            idle: Mutex::default(),
            voters,
            access,
            revision: revision(&sources),
            volatile,
            outlives_sessions: !sources.iter().any(|s| s.votes() && !s.ships() && s.may_name_session()),
            broken: false,
        };
        // Unknown builtins and wrong types show only when they are evaluated.
        let problems = engine.dry_run();
        if problems.is_empty() { Ok(engine) } else { Err(problems) }
    }

    /// Denies everything: what stands in where a set did not load.
    #[must_use]
    pub fn closed(sources: &[Source]) -> Self {
        Self {
            prepared: regorus::Engine::new(),
            compiled: None,
            idle: Mutex::default(),
            voters: Vec::new(),
            access: false,
            revision: revision(sources),
            volatile: Volatile::Always,
            outlives_sessions: false,
            broken: true,
        }
    }

    /// The policies that ship.
    #[must_use]
    pub fn builtin_sources() -> Vec<Source> {
        builtin()
    }

    /// SHA-256 over all sources.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether no policy tells one session from another by its name: the same input but for that is decided alike.
    #[must_use]
    pub fn outlives_sessions(&self) -> bool {
        self.outlives_sessions
    }

    /// Decide. Never panics; whatever goes wrong is `policy_error`.
    pub fn decide(&self, input: &Value) -> Decision {
        let mut votes = self.votes(input);
        let Some(strongest) = votes.iter().map(|d| d.effect).max() else {
            let reason = if self.broken { "policy_error" } else { "no_policy" };
            return Decision::denied(reason, reason);
        };
        // Of the strongest, the first decides; the others add their reasons. Obligations of all votes hold; on a denial,
        // those that say something to it.
        let mut obligations: Vec<_> = votes.iter().flat_map(|d| d.obligations.clone()).collect();
        if strongest == Effect::Deny {
            obligations.retain(|o| o.holds_on_denial());
        }
        votes.retain(|d| d.effect == strongest);
        let mut votes = votes.into_iter();
        let Some(mut decision) = votes.next() else {
            return Decision::denied("policy_error", "policy_error");
        };
        for other in votes {
            decision.reasons.extend(other.reasons.into_iter().filter(|r| !r.is_empty()));
            decision.advice = decision.advice.or(other.advice);
        }
        let mut seen = std::collections::HashSet::new();
        decision.reasons.retain(|r| seen.insert(r.clone()));
        decision.obligations.clear();
        for obligation in obligations {
            if !decision.obligations.contains(&obligation) {
                decision.obligations.push(obligation);
            }
        }
        let commits = input.get("action").and_then(Value::as_str) == Some("commit");
        decision.cacheable &= match self.volatile {
            Volatile::Never => true,
            Volatile::AtCommit => !commits,
            Volatile::Always => false,
        };
        decision
    }

    /// What each policy says of an input.
    pub(crate) fn votes(&self, input: &Value) -> Vec<Decision> {
        if self.broken {
            return Vec::new();
        }
        let error = |package: &str| Decision::denied("policy_error", &format!("{package}.policy_error"));
        let text = input.to_string();
        if text.len() > MAX_INPUT {
            return vec![Decision::denied("input_too_large", "policy.input_too_large")];
        }
        let compiled = self.compiled.as_ref().filter(|_| is_well_formed(input));
        let evaluate = || {
            let input = RegoValue::from(input.clone());
            let mut evaluator = self.idle.lock().pop().unwrap_or_default();
            let mut votes = Vec::new();
            for (rule, package) in &self.voters {
                match self.evaluate(compiled, &mut evaluator, rule, &input) {
                    Some(RegoValue::Undefined) => {}
                    Some(value) => {
                        let document = serde_json::to_value(&value).ok();
                        let parsed = document.and_then(|d| Decision::parse(&d, package));
                        votes.push(parsed.unwrap_or_else(|| error(package)));
                    }
                    None => votes.push(error(package)),
                }
            }
            if self.access {
                votes.push(match self.evaluate(None, &mut evaluator, "data.agent.access.allow", &input) {
                    Some(RegoValue::Bool(true)) => Decision { effect: Effect::Allow, ..allowed() },
                    Some(RegoValue::Bool(false) | RegoValue::Undefined) => {
                        Decision::denied("not_allowed", "agent.access.allow")
                    }
                    _ => error("agent.access"),
                });
            }
            let mut idle = self.idle.lock();
            if idle.len() < KEPT {
                idle.push(evaluator);
            }
            votes
        };
        // A builtin that panics is a denial, not the end of the broker.
        catch_unwind(AssertUnwindSafe(evaluate)).unwrap_or_else(|_| vec![error("policy")])
    }

    /// The value of one rule; `None` when evaluating it fails.
    fn evaluate(
        &self,
        compiled: Option<&Compiled>,
        with: &mut Evaluator,
        rule: &str,
        input: &RegoValue,
    ) -> Option<RegoValue> {
        if let Some((compiled, entry)) = compiled.and_then(|c| Some((c, c.entry(rule)?))) {
            let mut machine = with.machine.take().or_else(|| compiled.machine())?;
            machine.set_input(input.clone());
            let value = machine.execute_entry_point_by_index(entry).ok()?;
            with.machine = Some(machine);
            return Some(value);
        }
        let mut interpreter = with.interpreter.take().unwrap_or_else(|| self.prepared.clone());
        interpreter.set_input(input.clone());
        let value = interpreter.eval_rule(rule.to_owned()).ok()?;
        with.interpreter = Some(interpreter);
        Some(value)
    }

    fn dry_run(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for action in [
            "read", "write", "append", "list", "delete", "rename", "commit", "exec", "publish", "connect",
            "resolve", "request", "sign", "decrypt", "tool", "plugin", "elevate",
        ] {
            let input = serde_json::json!({
                "action": action, "agent": "dry-run", "sub": "dry-run", "path": "/workspace/dry/run.csv", "to": "/workspace/dry/to",
                "resource": { "kind": "file", "dev": 1, "ino": 1, "nlink": 1, "size": 1, "staged": false, "mount": "/workspace" },
                "mount_actions": ["read", "list", "write", "append", "delete", "rename"], "content": true, "inspected": true,
                "findings": [{ "detector": "us_ssn", "category": "pii", "severity": "high", "confidence": 0.9, "count": 3 }],
                "session": { "id": "x", "profile": "default", "backend": "x", "interactive": false, "counters": { "reads": 0, "writes": 0, "deletes": 0, "denied": 0 } },
                "change": { "op": "modify", "executable": false, "becomes_executable": false, "shebang": null, "type_by_magic": "text" },
                "entry": "fs", "risk": "low", "time": 0
            });
            for vote in self.votes(&input).iter().filter(|v| v.reasons == ["policy_error"]) {
                let file = vote.rule.trim_end_matches(".policy_error").to_owned();
                let message = format!(
                    "evaluating this package for action {action:?} fails or gives no decision document"
                );
                problems.push(Problem {
                    file,
                    line: 1,
                    col: 1,
                    message,
                    suggestion: Some("try it with: chaperone policy eval".into()),
                    warning: false,
                });
            }
        }
        problems.dedup();
        problems
    }
}

fn allowed() -> Decision {
    Decision {
        effect: Effect::Allow,
        reasons: vec!["allowed".into()],
        obligations: Vec::new(),
        advice: None,
        rule: "agent.access.allow".into(),
        cacheable: true,
    }
}

/// What tells a set of sources from another.
#[must_use]
pub fn revision(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        for part in [&source.name, &source.text] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hex::encode(hash.finalize())
}
