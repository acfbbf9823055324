//! Files of a policy set, and what can be wrong with them.

use std::fmt;

use serde::Serialize;

const BUILTIN: &[(&str, &str)] = &[
    ("packs/policies/default/mounts.rego", include_str!("../../../packs/policies/default/mounts.rego")),
    ("packs/policies/default/findings.rego", include_str!("../../../packs/policies/default/findings.rego")),
    ("packs/policies/default/files.rego", include_str!("../../../packs/policies/default/files.rego")),
    (
        "packs/policies/default/credentials.rego",
        include_str!("../../../packs/policies/default/credentials.rego"),
    ),
    (COMMIT.0, COMMIT.1),
    ("packs/policies/default/floor.rego", include_str!("../../../packs/policies/default/floor.rego")),
    ("packs/policies/default/requests.rego", include_str!("../../../packs/policies/default/requests.rego")),
    ("packs/policies/default/network.rego", include_str!("../../../packs/policies/default/network.rego")),
    ("packs/policies/default/issuers.rego", include_str!("../../../packs/policies/default/issuers.rego")),
    ("packs/policies/default/tools.rego", include_str!("../../../packs/policies/default/tools.rego")),
    (
        "packs/policies/spreadsheet/spreadsheet.rego",
        include_str!("../../../packs/policies/spreadsheet/spreadsheet.rego"),
    ),
    (
        "packs/policies/default/mounts_test.rego",
        include_str!("../../../packs/policies/default/mounts_test.rego"),
    ),
    (
        "packs/policies/default/files_test.rego",
        include_str!("../../../packs/policies/default/files_test.rego"),
    ),
    (
        "packs/policies/default/credentials_test.rego",
        include_str!("../../../packs/policies/default/credentials_test.rego"),
    ),
    (
        "packs/policies/default/commit_test.rego",
        include_str!("../../../packs/policies/default/commit_test.rego"),
    ),
    (
        "packs/policies/default/floor_test.rego",
        include_str!("../../../packs/policies/default/floor_test.rego"),
    ),
    (
        "packs/policies/default/issuers_test.rego",
        include_str!("../../../packs/policies/default/issuers_test.rego"),
    ),
    (
        "packs/policies/default/tools_test.rego",
        include_str!("../../../packs/policies/default/tools_test.rego"),
    ),
    (
        "packs/policies/default/requests_test.rego",
        include_str!("../../../packs/policies/default/requests_test.rego"),
    ),
    (
        "packs/policies/default/network_test.rego",
        include_str!("../../../packs/policies/default/network_test.rego"),
    ),
    (
        "packs/policies/spreadsheet/spreadsheet_test.rego",
        include_str!("../../../packs/policies/spreadsheet/spreadsheet_test.rego"),
    ),
];

const COMMIT: (&str, &str) =
    ("packs/policies/default/commit.rego", include_str!("../../../packs/policies/default/commit.rego"));

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
#[derive(Debug, Clone)]
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
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.col, self.message)?;
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
        self.kind == Kind::Rego && BUILTIN.iter().any(|(_, text)| self.text == *text)
    }

    /// It may decide otherwise on the same request at another time. Errs on the side of yes.
    pub(crate) fn is_volatile(&self) -> bool {
        self.text
            .lines()
            .filter(|l| !l.trim_start().starts_with('#'))
            .flat_map(|l| l.split(|c: char| !(c.is_alphanumeric() || c == '_')))
            .any(|word| VOLATILE.contains(&word))
    }

    /// The shipped policy on commits counts deletions, and says nothing of any other action.
    pub(crate) fn speaks_only_of_commits(&self) -> bool {
        self.text == COMMIT.1
    }
}

pub(crate) fn builtin() -> Vec<Source> {
    BUILTIN
        .iter()
        .map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned(), kind: Kind::Rego })
        .collect()
}
