//! Files of a policy set, and what can be wrong with them.

use std::fmt;

use serde::Serialize;

/// Where the policies that ship are.
const PACK: &str = "packs/policies";
/// The one of them that counts deletions.
const COMMIT: &str = "packs/policies/default/commit.rego";

/// Words by which a policy can depend on more than the request: such decisions are not remembered.
const VOLATILE: &[&str] = &["time", "counters", "rand", "uuid", "opa"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rego,
    /// A data document.
    Json,
    /// A data document.
    Yaml,
}

/// One file of a policy set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What errors name. Rego whose name ends in `_test.rego` holds tests and never votes.
    pub name: String,
    pub text: String,
    pub kind: Kind,
}

/// What is wrong with a policy set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub col: usize,
    pub message: String,
    pub suggestion: Option<String>,
    /// The set loads all the same.
    pub warning: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.warning { "warning: " } else { "" };
        write!(f, "{}:{}:{}: {weight}{}", self.file, self.line, self.col, self.message)?;
        self.suggestion.as_ref().map_or(Ok(()), |s| write!(f, "; {s}"))
    }
}

impl Source {
    pub(crate) fn is_test(&self) -> bool {
        self.kind == Kind::Rego && self.name.ends_with("_test.rego")
    }

    pub(crate) fn votes(&self) -> bool {
        self.kind == Kind::Rego && !self.is_test()
    }

    /// The document of a data file.
    pub(crate) fn document(&self) -> Option<regorus::Value> {
        match self.kind {
            Kind::Rego => None,
            Kind::Json => regorus::Value::from_json_str(&self.text).ok(),
            Kind::Yaml => regorus::Value::from_yaml_str(&self.text).ok(),
        }
    }

    /// It is one that ships, to the letter.
    pub(crate) fn ships(&self) -> bool {
        self.kind == Kind::Rego && chaperone_packs::below(PACK).any(|file| self.text == file.text)
    }

    /// It may decide otherwise on the same request at another time. Errs on the side of yes.
    pub(crate) fn is_volatile(&self) -> bool {
        self.text
            .lines()
            .filter(|l| !l.trim_start().starts_with('#'))
            .flat_map(|l| l.split(|c: char| !(c.is_alphanumeric() || c == '_')))
            .any(|word| VOLATILE.contains(&word))
    }

    /// It may decide otherwise on the same request in another session: it looks at the session's name, or at so much of the
    /// input at once that it might. Errs on the side of yes.
    pub(crate) fn may_name_session(&self) -> bool {
        let Some(code) = code_alone(&self.text) else { return true };
        let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let begins_field = |rest: &str| {
            let mut rest = rest.chars();
            rest.next() == Some('.') && rest.next().is_some_and(is_of_word)
        };
        let mut rest = code.as_str();
        while let Some(at) = rest.find(is_of_word) {
            let word = rest.get(at..).unwrap_or_default();
            let (word, after) = word.split_at(word.find(|c| !is_of_word(c)).unwrap_or(word.len()));
            if word == "id" || (matches!(word, "input" | "session") && !begins_field(after)) {
                return true;
            }
            rest = after;
        }
        false
    }

    /// The shipped policy on commits counts deletions, and says nothing of any other action.
    pub(crate) fn speaks_only_of_commits(&self) -> bool {
        chaperone_packs::text(COMMIT).is_ok_and(|text| self.text == text)
    }
}

/// A Rego text without its comments and without what stands in its strings; nothing where a string may hold code, or does not
/// end.
fn code_alone(text: &str) -> Option<String> {
    let mut code = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        code.push(c);
        match c {
            '$' => return None,
            '#' => code.extend(rest.by_ref().find(|c| *c == '\n')),
            '`' => {
                rest.by_ref().find(|c| *c == '`')?;
            }
            '"' => loop {
                match rest.next()? {
                    '\\' => {
                        rest.next()?;
                    }
                    '"' => break,
                    _ => {}
                }
            },
            _ => {}
        }
    }
    Some(code)
}

pub(crate) fn builtin() -> Vec<Source> {
    chaperone_packs::below(PACK)
        .map(|file| Source { name: file.name.to_owned(), text: file.text.to_owned(), kind: Kind::Rego })
        .collect()
}
