//! Profiles: what a kind of task needs, as TOML (see `docs/operator-guide.md`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chaperone_egress::Rule;
use chaperone_protocol::session::Mode;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Largest profile file read. Protects the broker from a mistaken path.
const MAX_PROFILE: u64 = 256 * 1024;

/// Where the profiles that ship are.
const PACK: &str = "packs/profiles";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// What makes its cells; without one the strongest there is.
    pub backend: Option<String>,
    #[serde(default, rename = "mount")]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub network: Network,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub environment: Environment,
    #[serde(default)]
    pub cache: Cache,
    #[serde(default)]
    pub toolchains: Toolchains,
    #[serde(default)]
    pub require: Require,
    #[serde(default)]
    pub commit: Commit,
    #[serde(default)]
    pub inspection: Inspection,
    /// Allows ptrace inside the cell, for debuggers.
    #[serde(default)]
    pub debug: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where the agent sees it; below `/workspace`.
    pub path: String,
    /// The user's directory; relative to the workspace. Defaults to the same place in the workspace.
    pub from: Option<PathBuf>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default = "all_actions")]
    pub actions: Vec<String>,
    /// Names that policy denies do not appear in listings.
    #[serde(default)]
    pub hide_denied: bool,
    /// Lets the kernel delay writes; then only fsync acknowledges them.
    #[serde(default)]
    pub write_back: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Hosts that may be reached, and how.
    #[serde(default)]
    pub allow: Vec<Rule>,
    /// Allow-lists by service: `pypi`, `npm`, `github-read`, `anthropic`…
    #[serde(default)]
    pub services: Vec<String>,
    /// The proxy that leads out of this machine, `none`, or what the environment says.
    pub proxy: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes with a unit: `2GiB`.
    pub memory: Option<String>,
    pub processes: Option<u64>,
    /// Per cent of one processor: `200%`.
    pub cpu: Option<String>,
    /// `90s`, `30m`, `2h`.
    pub time: Option<String>,
    pub upload_bytes: Option<String>,
    /// Connections and requests in any minute.
    pub requests_per_minute: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    #[serde(default = "default_pass")]
    pub pass: Vec<String>,
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { pass: default_pass(), set: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    #[serde(default)]
    pub tools: Vec<String>,
    /// What a session adds is there for the next one over the same workspace; never in the user's own cache.
    #[serde(default)]
    pub keep: bool,
}

/// Beside the toolchains of the user's PATH that are known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchains {
    /// Directories that are shown read-only and are in the cell's PATH.
    #[serde(default)]
    pub add: Vec<String>,
    /// Names of toolchains, and directories, that are not shown.
    #[serde(default)]
    pub remove: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// Least Landlock ABI.
    pub landlock: Option<u32>,
    /// Limits must be enforced by a cgroup.
    #[serde(default)]
    pub cgroup: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Commit at the end of the session whatever policy allows without asking.
    #[serde(default)]
    pub at_end: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspection {
    /// What a finding must be to interrupt reading.
    #[serde(default)]
    pub reads: Reads,
}

/// Findings that interrupt reading; policy's input is `session.reads`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    #[default]
    Certain,
    /// Likely ones, too.
    Likely,
}

/// Why a profile cannot be used: file, line and, where one is near, a suggestion.
#[derive(Debug, Error)]
pub enum ProfileError {
    #[error("no profile named {name:?}; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("{file}: {source}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file}:{line}: {message}{suggestion}")]
    Parse { file: String, line: usize, message: String, suggestion: String },
    #[error("{file}: {message}")]
    Invalid { file: String, message: String },
}

fn all_actions() -> Vec<String> {
    ["read", "write", "append", "list", "delete", "rename"].map(str::to_owned).to_vec()
}

fn default_pass() -> Vec<String> {
    ["LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM", "TZ", "NO_COLOR"].map(str::to_owned).to_vec()
}

impl Profile {
    /// Find a profile by name: the user's own directory first, then the ones that ship.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn find(name: &str, folder: &Path) -> Result<Self, ProfileError> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(unknown(name, folder));
        }
        let own = folder.join(format!("{name}.toml"));
        match std::fs::metadata(&own) {
            Ok(meta) => {
                if meta.len() > MAX_PROFILE {
                    return Err(ProfileError::Invalid {
                        file: own.display().to_string(),
                        message: format!("larger than {MAX_PROFILE} bytes"),
                    });
                }
                let text = std::fs::read_to_string(&own)
                    .map_err(|source| ProfileError::Read { file: own.clone(), source })?;
                Self::parse(&text, &own.display().to_string())
            }
            // A link of the user's that leads nowhere stands for a profile that is gone, not for another one.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !own.is_symlink() => {
                shipped().find(|(known, _)| *known == name).map_or_else(
                    || Err(unknown(name, folder)),
                    |(_, text)| Self::parse(text, &format!("{name}.toml")),
                )
            }
            Err(source) => Err(ProfileError::Read { file: own, source }),
        }
    }

    /// Every profile name there is, the user's and the shipped, sorted.
    #[must_use]
    pub fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = shipped().map(|(name, _)| name.to_owned()).collect();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Some(stem) = entry.file_name().to_str().and_then(|n| n.strip_suffix(".toml")) {
                names.push(stem.to_owned());
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// Parse and validate; `file` is what errors name.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn parse(text: &str, file: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |s| text.get(..s.start).unwrap_or("").matches('\n').count() + 1);
            let message = e.message().to_owned();
            let suggestion = suggest(&message).map_or_else(String::new, |s| format!("; did you mean `{s}`?"));
            ProfileError::Parse { file: file.to_owned(), line, message, suggestion }
        })?;
        profile.validate(file)?;
        Ok(profile)
    }

    fn validate(&self, file: &str) -> Result<(), ProfileError> {
        let invalid = |message: String| Err(ProfileError::Invalid { file: file.to_owned(), message });
        for mount in &self.mounts {
            let normal = mount.path == "/workspace" || mount.path.starts_with("/workspace/");
            if !normal || mount.path.split('/').any(|s| s == "." || s == "..") || mount.path.contains("//") {
                return invalid(format!(
                    "mount path {:?} must be /workspace or below it, without . or ..",
                    mount.path
                ));
            }
            for action in &mount.actions {
                if !["read", "write", "append", "list", "delete", "rename"].contains(&action.as_str()) {
                    let hint = nearest(action, &["read", "write", "append", "list", "delete", "rename"])
                        .map_or_else(String::new, |s| format!("; did you mean {s:?}?"));
                    return invalid(format!("mount {}: unknown action {action:?}{hint}", mount.path));
                }
            }
        }
        for rule in &self.network.allow {
            if rule.inject.is_some() {
                return invalid(format!(
                    "network.allow: {}: inject: this version adds no credentials to requests; pass the agent's own key in [environment]",
                    rule.host()
                ));
            }
        }
        self.limits.upload().map_err(|m| ProfileError::Invalid { file: file.to_owned(), message: m })?;
        if self.limits.requests_per_minute == Some(0) {
            return invalid(
                "limits.requests_per_minute: 0 would refuse every connection; allow no host instead"
                    .to_owned(),
            );
        }
        self.limits.bytes().map_err(|m| ProfileError::Invalid { file: file.to_owned(), message: m })?;
        self.limits.seconds().map_err(|m| ProfileError::Invalid { file: file.to_owned(), message: m })?;
        self.limits.cpu_percent().map_err(|m| ProfileError::Invalid { file: file.to_owned(), message: m })?;
        Ok(())
    }
}

impl Limits {
    /// The memory limit in bytes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn bytes(&self) -> Result<Option<u64>, String> {
        self.memory
            .as_deref()
            .map(|t| bytes(t).ok_or_else(|| format!("limits.memory {t:?}: write it like \"2GiB\"")))
            .transpose()
    }

    /// The limit of what leaves, in bytes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn upload(&self) -> Result<Option<u64>, String> {
        self.upload_bytes
            .as_deref()
            .map(|t| bytes(t).ok_or_else(|| format!("limits.upload_bytes {t:?}: write it like \"10MiB\"")))
            .transpose()
    }

    /// The time limit in seconds.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn seconds(&self) -> Result<Option<u64>, String> {
        self.time
            .as_deref()
            .map(|t| {
                seconds(t)
                    .ok_or_else(|| format!("limits.time {t:?}: write it like \"90s\", \"30m\" or \"2h\""))
            })
            .transpose()
    }

    /// The processor limit in per cent of one.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn cpu_percent(&self) -> Result<Option<u32>, String> {
        self.cpu
            .as_deref()
            .map(|t| {
                t.strip_suffix('%')
                    .and_then(|n| n.parse().ok())
                    .filter(|n| *n > 0)
                    .ok_or_else(|| format!("limits.cpu {t:?}: write it like \"200%\" (of one processor)"))
            })
            .transpose()
    }
}

/// Parse `10`, `64KiB`, `2GiB`, `1GB`.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..split)?.parse().ok()?;
    let unit = match text.get(split..)?.trim() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Parse `50`, `90s`, `30m`, `2h`, `1d`.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..split)?.parse().ok()?;
    let unit = match text.get(split..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn unknown(name: &str, folder: &Path) -> ProfileError {
    ProfileError::Unknown { name: name.to_owned(), known: Profile::names(folder).join(", ") }
}

/// Find the field nearest to the unknown one in serde's "unknown field `x`, expected one of `a`, `b`".
fn suggest(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    nearest(wrong, &known).map(str::to_owned)
}

fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|k| (edits(wrong, k), *k)).filter(|(d, _)| *d <= 3).min().map(|(_, k)| k)
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut before = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let (left, above) = (row.get(j).copied().unwrap_or(0), row.get(j + 1).copied().unwrap_or(0));
            let best = (before + usize::from(ca != *cb)).min(left + 1).min(above + 1);
            before = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The profiles that ship: name and text.
fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    chaperone_packs::below(PACK).filter_map(|file| {
        let name = file.name.rsplit('/').next()?.strip_suffix(".toml")?;
        Some((name, file.text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_profile_parses() {
        for (name, text) in shipped() {
            let profile = Profile::parse(text, name).unwrap();
            assert_eq!(profile.name, name);
        }
        assert!(shipped().any(|(name, _)| name == "default"));
    }

    #[test]
    fn a_link_to_a_profile_that_is_gone_is_not_the_shipped_one() {
        let own = tempfile::tempdir().unwrap();
        assert!(Profile::find("default", own.path()).is_ok());
        std::os::unix::fs::symlink("/nowhere/default.toml", own.path().join("default.toml")).unwrap();
        assert!(matches!(Profile::find("default", own.path()), Err(ProfileError::Read { .. })));
    }

    #[test]
    fn a_misspelt_field_is_refused_with_line_and_suggestion() {
        let error =
            Profile::parse("name = \"x\"\n[limits]\nmemroy = \"1GiB\"\n", "x.toml").unwrap_err().to_string();
        assert!(error.starts_with("x.toml:3:"), "{error}");
        assert!(error.contains("did you mean `memory`"), "{error}");
    }

    #[test]
    fn the_profile_of_the_operator_guide_has_every_field_and_is_read() {
        let guide = include_str!("../../../docs/operator-guide.md");
        let blocks = guide.split("```toml\n").skip(1).filter_map(|block| block.split("```").next());
        let example = blocks.into_iter().find(|block| block.starts_with("name = ")).unwrap();
        Profile::parse(example, "operator-guide.md").unwrap();
        let written: toml::Value = toml::from_str(example).unwrap();
        for section in [
            "",
            "mount",
            "network",
            "limits",
            "environment",
            "cache",
            "toolchains",
            "require",
            "commit",
            "inspection",
        ] {
            let (head, of_example) = match section {
                "" => (String::new(), Some(&written)),
                "mount" => ("[[mount]]\n".to_owned(), written["mount"].get(0)),
                other => (format!("[{other}]\n"), written.get(other)),
            };
            let error = toml::from_str::<Profile>(&format!("{head}no_such_field = 1\n")).unwrap_err();
            // "unknown field `x`, expected one of `a`, `b`"
            let known: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
            assert!(!known.is_empty(), "{error}");
            for field in known {
                assert!(
                    of_example.unwrap().get(field).is_some(),
                    "the guide's profile lacks {section}.{field}"
                );
            }
        }
    }

    #[test]
    fn a_mount_outside_the_workspace_is_refused() {
        for path in ["/etc", "/workspace/../etc", "/workspacex", "workspace"] {
            let text = format!("name = \"x\"\n[[mount]]\npath = {path:?}\n");
            assert!(Profile::parse(&text, "x.toml").is_err(), "{path}");
        }
    }

    #[test]
    fn a_rule_of_the_network_that_cannot_be_meant_is_refused() {
        let read = |rule: &str| {
            Profile::parse(&format!("name = \"x\"\n[network]\nallow = [{rule}]\n"), "x.toml")
                .map_err(|e| e.to_string())
        };
        assert_eq!(read("{ host = \"example.com\", ports = [443] }").unwrap().network.allow.len(), 1);
        for (rule, said) in [
            ("{ host = \"*.com\" }", "public suffix"),
            ("{ host = \"example.com\", inject = \"key\" }", "adds no credentials"),
            ("{ host = \"example.com\", prots = [443] }", "did you mean `ports`"),
            ("{ ports = [443] }", "missing field `host`"),
        ] {
            let error = read(rule).unwrap_err();
            assert!(error.starts_with("x.toml") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_session_may_make_so_many_requests_a_minute() {
        let read = |value: &str| {
            Profile::parse(&format!("name = \"x\"\n[limits]\nrequests_per_minute = {value}\n"), "x.toml")
                .map(|p| p.limits.requests_per_minute)
                .map_err(|e| e.to_string())
        };
        assert_eq!(read("100000"), Ok(Some(100_000)));
        for wrong in ["0", "-1", "5000000000", "\"10\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_times_overflow_to_an_error() {
        assert_eq!(bytes("2GiB"), Some(2 << 30));
        assert_eq!(bytes("99999999999999999999"), None);
        assert_eq!(bytes("18446744073709551615GiB"), None);
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("-1"), None);
    }
}
