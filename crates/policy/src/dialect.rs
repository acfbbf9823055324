//! Statements of the language's older form that stand for nothing their author meant.
//!
//! The older form is read because published policies are written in it. In it `if`, `contains`, `in` and `every` are names
//! like any other, and a name that stands alone is a rule: what follows a forgotten import or stands in a misspelt one is
//! parsed, and says nothing. A condition that is lost this way makes its rule hold always.

use regorus::unstable::{Import, Rule, RuleHead};

use crate::source::{Kind, Problem, Source};
use crate::spots::{problem, without_strings};

const KEYWORDS: &[&str] = &["if", "contains", "in", "every"];

const V1: &str = "write `import rego.v1` below the package";
const STATEMENTS: &str =
    "a statement is an import, a default, or a rule with a value or a body; check the spelling";

/// In the order of files and lines, one for each line.
pub(crate) fn lost_statements(sources: &[Source], engine: &regorus::Engine) -> Vec<Problem> {
    let mut engine = engine.clone();
    let mut problems = Vec::new();
    for module in engine.get_modules().iter().filter(|module| !module.rego_v1) {
        let file = module.package.span.source.get_path();
        let written = |source: &&Source| source.kind == Kind::Rego && source.name == *file;
        let Some(source) = sources.iter().find(written) else { continue };
        let mut found = names_for_keywords(source, &module.imports);
        for rule in module.policy.iter().filter(|rule| says_nothing(rule)) {
            let text = rule.span().text().trim();
            let what = format!("`{text}` stands alone: it is no statement, and says nothing");
            found.push(problem(source, rule.span().start as usize, &what, STATEMENTS));
        }
        found.sort_by_key(|problem| (problem.line, problem.col));
        found.dedup_by_key(|problem| problem.line);
        problems.extend(found);
    }
    problems
}

/// A rule of a head alone. Of `p["x"]` the older form makes a set, which is something.
fn says_nothing(rule: &Rule) -> bool {
    let Rule::Spec { head, bodies, .. } = rule else { return false };
    let is_bare = match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.is_none(),
        RuleHead::Set { key, .. } => key.is_none(),
    };
    is_bare && bodies.is_empty()
}

/// Where a word that looks like a keyword is none, because nothing imports it.
fn names_for_keywords(source: &Source, imports: &[Import]) -> Vec<Problem> {
    let imported: Vec<String> = imports.iter().map(|import| import.refr.span().text().to_owned()).collect();
    let is_keyword = |word: &str| {
        imported.iter().any(|import| match import.strip_prefix("future.keywords") {
            Some("") => true,
            // `every` brings `in` with it.
            Some(one) => one == format!(".{word}") || (one == ".every" && word == "in"),
            None => false,
        })
    };
    let code = without_strings(&source.text);
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let mut problems = Vec::new();
    for word in KEYWORDS.iter().filter(|word| !is_keyword(word)) {
        for (at, _) in code.match_indices(word) {
            let (before, after) = (code.get(..at).unwrap_or_default(), code.get(at + word.len()..));
            let after = after.unwrap_or_default();
            let is_call = after.starts_with(['(', '[']);
            if before.ends_with(is_part) || after.starts_with(is_part) || is_call {
                continue;
            }
            let what = format!("`{word}` is no keyword in this file, so what it should say is lost");
            problems.push(problem(source, at, &what, V1));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    fn refused(text: &str) -> Vec<(usize, String)> {
        let source = Source { name: "own.rego".into(), text: text.into(), kind: Kind::Rego };
        let sources = Engine::builtin_sources().into_iter().chain([source]).collect();
        let problems = Engine::load(sources).err().unwrap_or_default();
        problems.into_iter().map(|p| (p.line, p.message)).collect()
    }

    #[test]
    fn a_condition_that_would_be_lost_is_a_problem_with_its_line() {
        let rule = "decision := {\"effect\": \"deny\"} if startswith(input.path, \"/workspace/payroll/\")\n";
        for (text, line, word) in [
            (format!("package chaperone.own\nimprt rego.v1\n\n{rule}"), 2, "`imprt` stands alone"),
            (format!("package chaperone.own\n\n{rule}"), 3, "`if` is no keyword"),
            (format!("package chaperone.own\nimport future.keywords.in\n{rule}"), 3, "`if` is no keyword"),
            ("package chaperone.own\n\nreasons contains \"x\"\n".to_owned(), 3, "`contains` is no keyword"),
            ("package chaperone.own\n\nallow {\n\tinput.x\n}\nif {\n\tinput.y\n}\n".to_owned(), 6, "`if`"),
            ("package chaperone.own\nallow {\n\tinput.x\n}\nhelper(1)\n".to_owned(), 5, "`helper(1)` stands"),
            ("package chaperone.own\ndata.chaperone.findings\n".to_owned(), 2, "stands alone"),
            ("package chaperone.own\nimport rego.v1\nallow\n".to_owned(), 3, "body or assignment"),
        ] {
            let found = refused(&text);
            let is_there = found.iter().any(|(at, what)| *at == line && what.contains(word));
            assert!(is_there, "{text}: {found:?}");
        }
    }

    #[test]
    fn a_policy_in_the_older_form_that_says_what_it_seems_to_loads() {
        for text in [
            "package agent.access\n\ndefault allow = false\n\nallow {\n\tinput.agent == \"a\" # if in doubt\n}\n",
            "package own\nimport future.keywords\nx := 1 if 1 in [1]\ny contains \"a\" if every n in [1] { n > 0 }\n",
            "package own\nimport future.keywords.every\nx { every n in [1] { n > 0 } }\n",
            "package own\nx[\"a\"]\nx[\"if\"]\ny { contains(input.path, \"in\") }\nz = input.in\nf(a) = a { a }\n",
        ] {
            assert_eq!(refused(text), [], "{text}");
        }
    }
}
