//! What can be seen wrong with a policy without running it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::assemble::{declares, package_of};
use crate::source::{Kind, Problem, Source};
use crate::spots::{problem, without_strings};

/// Words that stand before a parenthesis without being functions.
const KEYWORDS: &[&str] =
    &["if", "in", "not", "some", "every", "with", "as", "else", "contains", "default", "import", "print"];

/// Traps of the language that make a rule say less than it seems to: a set with one of them does not load.
pub(crate) fn silent_failures(sources: &[Source], engine: &regorus::Engine) -> Vec<Problem> {
    let set = Set { sources, engine };
    let mut problems = set.globs_without_delimiters();
    problems.extend(set.undefined_references(true));
    problems.extend(set.unknown_functions());
    problems
}

/// What loads and is hardly meant: references to data that nothing defines, which may come later, and policies without a voice.
pub(crate) fn warnings(sources: &[Source], engine: &regorus::Engine) -> Vec<Problem> {
    let set = Set { sources, engine };
    let mut problems = set.undefined_references(false);
    problems.extend(set.without_a_voice());
    problems.iter_mut().for_each(|problem| problem.warning = true);
    problems
}

struct Set<'a> {
    sources: &'a [Source],
    engine: &'a regorus::Engine,
}

impl Set<'_> {
    fn policies(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|s| s.votes())
    }

    fn globs_without_delimiters(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for source in self.policies() {
            let code = without_strings(&source.text);
            for (at, _) in code.match_indices("glob.match") {
                let call: String = code
                    .get(at..)
                    .unwrap_or_default()
                    .chars()
                    .filter(|c| !c.is_whitespace())
                    .take(400)
                    .collect();
                let arguments = call.split(')').next().unwrap_or_default();
                if arguments.contains(",[],") {
                    let what = "glob.match without delimiters never crosses a slash here, so the rule silently fails";
                    problems.push(problem(source, at, what, "pass [\"/\"]"));
                }
            }
        }
        problems
    }

    /// References to data that no module and no document defines; under `not` they are silently true.
    fn undefined_references(&self, only_negated: bool) -> Vec<Problem> {
        let documents: Vec<Value> = self.sources.iter().filter_map(document).collect();
        let mut problems = Vec::new();
        for source in self.policies() {
            let code = without_strings(&source.text);
            for (at, _) in code.match_indices("data.") {
                let before = code.get(..at).unwrap_or_default();
                if before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.')) {
                    continue;
                }
                let path: String = code
                    .get(at + 5..)
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
                    .collect();
                let path = path.trim_end_matches('.');
                let negated = before.trim_end().ends_with("not");
                if (only_negated && !negated) || self.is_defined(path, &documents) {
                    continue;
                }
                let message = if negated {
                    format!("`not data.{path}` is always true: nothing defines data.{path}")
                } else {
                    format!("nothing defines data.{path}")
                };
                problems.push(problem(source, at, &message, "check the spelling, or add the data file"));
            }
        }
        problems
    }

    fn is_defined(&self, path: &str, documents: &[Value]) -> bool {
        let wanted: Vec<&str> = path.split('.').collect();
        let in_documents = documents.iter().any(|document| {
            let mut at = document;
            wanted.iter().all(|name| match at.get(name) {
                Some(below) => {
                    at = below;
                    true
                }
                None => false,
            })
        });
        in_documents
            || self.policies().any(|source| {
                let package = package_of(self.engine, source);
                let package: Vec<&str> = package.split('.').collect();
                match wanted.strip_prefix(package.as_slice()) {
                    Some(rest) => rest.first().is_none_or(|rule| declares(self.engine, source, rule)),
                    None => package.starts_with(&wanted),
                }
            })
    }

    /// Files whose package neither votes nor is spoken of: most likely a misspelt `decision`, or another package than was meant.
    fn without_a_voice(&self) -> Vec<Problem> {
        let package = |source: &Source| package_of(self.engine, source);
        let has_a_voice = |own: &Source| {
            let name = package(own);
            let decides = if name == "agent.access" { "allow" } else { "decision" };
            let votes = name == "agent.access" || name == "chaperone" || name.starts_with("chaperone.");
            let named = format!("data.{name}");
            self.policies().any(|other| {
                let same = package(other) == name;
                (same && votes && declares(self.engine, other, decides))
                    || (!same && without_strings(&other.text).contains(&named))
            })
        };
        let silent = self.policies().filter(|source| !source.ships() && !has_a_voice(source));
        silent
            .map(|source| {
                let at = without_strings(&source.text).find("package").unwrap_or_default();
                let what = format!("package {} has no vote, and nothing refers to it", package(source));
                problem(source, at, &what, "a package chaperone.NAME votes by its rule `decision`")
            })
            .collect()
    }

    /// Functions that are neither defined nor built in; the language finds out only when it gets there.
    fn unknown_functions(&self) -> Vec<Problem> {
        let mut known = std::collections::HashMap::new();
        let mut problems = Vec::new();
        for source in self.policies() {
            let code = without_strings(&source.text);
            let package = package_of(self.engine, source);
            let imported = imports(&code);
            for (at, _) in code.match_indices('(') {
                let before = code.get(..at).unwrap_or_default();
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
                let name = before.rsplit(|c: char| !is_name(c)).next().unwrap_or_default();
                let root = name.split('.').next().unwrap_or_default();
                let is_call = root.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if !is_call
                    || KEYWORDS.contains(&name)
                    || matches!(root, "data" | "input")
                    || imported.contains(&root)
                {
                    continue;
                }
                let own = self.policies().any(|other| {
                    package_of(self.engine, other) == package && declares(self.engine, other, root)
                });
                if own || *known.entry(name.to_owned()).or_insert_with(|| is_builtin(name)) {
                    continue;
                }
                let message = format!("there is no function {name}");
                problems.push(problem(
                    source,
                    at - name.len(),
                    &message,
                    "check the spelling; functions that reach out are left out",
                ));
            }
        }
        problems
    }
}

fn is_builtin(name: &str) -> bool {
    let call = || {
        regorus::Engine::new().eval_query(format!("{name}()"), false).map(|_| ()).map_err(|e| e.to_string())
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Err(message)) => !message.contains("could not find function"),
        Ok(Ok(())) | Err(_) => true,
    }
}

fn imports(code: &str) -> Vec<&str> {
    code.lines()
        .filter_map(|l| l.trim().strip_prefix("import "))
        .filter_map(|l| l.split_whitespace().last())
        .filter_map(|l| l.rsplit('.').next())
        .collect()
}

fn document(source: &Source) -> Option<Value> {
    match source.kind {
        Kind::Rego => None,
        Kind::Json => serde_json::from_str(&source.text).ok(),
        Kind::Yaml => {
            let value = regorus::Value::from_yaml_str(&source.text).ok()?;
            serde_json::from_str(&value.to_json_str().ok()?).ok()
        }
    }
}
