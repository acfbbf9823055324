//! What of the user's own git a cell gets: who commits, and harmless settings, as a `.gitconfig` of its own.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::report::Report;

const PACK: &str = "packs/cell/git.toml";
/// Numbers and owners of files are others in a cell, and so is their time of change: by them each file would have changed, and
/// one that may not be read would break every `git commit -a` (git-config(1), `core.checkStat`).
const OF_THE_CELL: &str = "[core]\n\tcheckStat = minimal\n\ttrustctime = false\n";
/// Bytes of one value, and settings in all. What is longer or more is somebody's mistake, and is left out.
const MAX_VALUE: usize = 1024;
const MAX_SETTINGS: usize = 500;
/// Letters and digits in a row from which on a word of an alias may be a token.
const TOKEN: usize = 20;

/// Which settings pass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passed {
    settings: Vec<String>,
}

impl Passed {
    /// By the name as git tells it: section and key in lower case.
    fn has(&self, name: &str) -> bool {
        self.settings.iter().any(|known| match known.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == known,
        })
    }
}

/// What git was asked; it answers while a session is opened.
pub struct Asked(Option<Child>);

/// Ask git for what it is told by the user's own files. Conditional includes count as they do in the workspace.
pub fn ask(workspace: &Path) -> Asked {
    if !is_configured(&|name| std::env::var_os(name).map(PathBuf::from)) {
        return Asked(None);
    }
    let listed = Command::new("git")
        .args(["config", "--global", "--includes", "--list", "-z"])
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    // Without git, or a configuration that it cannot read, the cell's has none either, and says so.
    Asked(listed.ok())
}

impl Asked {
    /// The text of the cell's `~/.gitconfig`: what every cell has, and what the user has set that passes.
    ///
    /// # Errors
    /// When the pack is damaged.
    pub fn settings(self) -> Result<String, Report> {
        let Some(listed) = self.0.and_then(|git| git.wait_with_output().ok()) else {
            return Ok(OF_THE_CELL.to_owned());
        };
        let passed: Passed = chaperone_packs::read(PACK).map_err(|e| Report::new(e.to_string()))?;
        // Behind it, so that what the user has set holds.
        Ok(format!("{OF_THE_CELL}{}", of(&String::from_utf8_lossy(&listed.stdout), &passed)))
    }
}

/// The repository that a directory is only a part of, when it is none itself.
pub fn enclosing(directory: &Path) -> Option<&Path> {
    let mut above = directory.ancestors();
    let own = above.next().filter(|own| !own.join(".git").exists())?;
    own.ancestors().skip(1).find(|at| at.join(".git").exists())
}

/// Whether the user has a configuration of git's at all, by git-config(1), FILES: to ask git takes its time at each start.
fn is_configured(variable: &dyn Fn(&str) -> Option<PathBuf>) -> bool {
    let home = variable("HOME").unwrap_or_default();
    let shared = variable("XDG_CONFIG_HOME").filter(|at| at.is_absolute()).unwrap_or(home.join(".config"));
    variable("GIT_CONFIG_GLOBAL").is_some()
        || home.join(".gitconfig").exists()
        || shared.join("git/config").exists()
}

/// `listed` are names and values as `git config --list -z` tells them.
fn of(listed: &str, passed: &Passed) -> String {
    let mut text = String::new();
    for (name, value) in listed.split('\0').filter_map(|one| one.split_once('\n')).take(MAX_SETTINGS) {
        let Some((section, key)) = name.rsplit_once('.') else { continue };
        let stays_behind = section == "alias" && (value.trim_start().starts_with('!') || may_log_in(value));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let (section, below) = section.split_once('.').map_or((section, None), |(s, b)| (s, Some(b)));
        if stays_behind || value.len() > MAX_VALUE || !passed.has(name) || !plain(section) || !plain(key) {
            continue;
        }
        let below = below.map_or_else(String::new, |below| format!(" {}", quoted(below)));
        writeln!(text, "[{section}{below}]\n\t{key} = {}", quoted(value)).ok();
    }
    text
}

/// Whether an alias may hold what one logs in with: a user in an address, a header, or a word as tokens are.
fn may_log_in(value: &str) -> bool {
    let has_user = |address: &str| {
        let host = address.split(|c: char| c == '/' || c.is_whitespace() || "\"'".contains(c)).next();
        host.is_some_and(|host| host.contains('@'))
    };
    let is_token = |word: &str| {
        let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(&kind);
        word.len() >= TOKEN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    };
    value.split("://").skip(1).any(has_user)
        || value.to_ascii_lowercase().contains("extraheader")
        || value.split(|c: char| !c.is_ascii_alphanumeric() && !"_-+/=".contains(c)).any(is_token)
}

fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed() -> Passed {
        chaperone_packs::read(PACK).unwrap()
    }

    #[test]
    fn a_part_of_a_repository_is_told_from_one() {
        let tmp = tempfile::tempdir().unwrap();
        let (repository, part) = (tmp.path().join("repository"), tmp.path().join("repository/src/shop"));
        std::fs::create_dir_all(&part).unwrap();
        assert_eq!(enclosing(&part), None);
        std::fs::write(repository.join(".git"), "gitdir: elsewhere\n").unwrap();
        assert_eq!(enclosing(&part), Some(repository.as_path()));
        assert_eq!(enclosing(&repository), None);
    }

    #[test]
    fn every_cell_goes_by_what_is_the_same_in_it() {
        let text = Asked(None).settings().unwrap();
        assert_eq!(text, "[core]\n\tcheckStat = minimal\n\ttrustctime = false\n");
    }

    #[test]
    fn git_is_asked_where_there_is_a_configuration() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_owned();
        let asked = |name: &str| (name == "HOME").then(|| at.clone());
        assert!(!is_configured(&asked));
        std::fs::create_dir_all(at.join(".config/git")).unwrap();
        std::fs::write(at.join(".config/git/config"), "").unwrap();
        assert!(is_configured(&asked));
        assert!(!is_configured(&|name| matches!(name, "HOME" | "XDG_CONFIG_HOME").then(|| at.join("none"))));
        assert!(is_configured(&|name| (name == "GIT_CONFIG_GLOBAL").then(|| at.join("mine"))));
        std::fs::write(at.join(".gitconfig"), "").unwrap();
        std::fs::remove_dir_all(at.join(".config")).unwrap();
        assert!(is_configured(&asked));
    }

    #[test]
    fn who_commits_passes_and_nothing_that_runs_or_signs() {
        let listed = "user.name\nAda \"Countess\" Lovelace\0user.email\nada@example.org\0user.signingkey\nABC\0commit.gpgsign\ntrue\0\
                      core.hookspath\n/h\0core.editor\nvi\0core.pager\nless\0credential.helper\nstore\0alias.st\nstatus -s\0\
                      alias.boo\n!rm -rf /\0alias.bah\n  !x\0color.diff.meta\nyellow\0url.git@x:.insteadof\nhttps://x\0\
                      include.path\n~/x\0filter.lfs.process\ngit-lfs\0core.sshcommand\nssh\0diff.external\nx\0gpg.program\nx\0";
        let text = of(listed, &passed());
        let wanted = "[user]\n\tname = \"Ada \\\"Countess\\\" Lovelace\"\n[user]\n\temail = \"ada@example.org\"\n\
                      [alias]\n\tst = \"status -s\"\n[color \"diff\"]\n\tmeta = \"yellow\"\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn an_alias_that_may_log_in_stays_behind() {
        for value in [
            "push https://ada:hunter2@github.com/ada/x",
            "fetch https://token@example.org/x main",
            "-c http.extraHeader='Authorization: Basic YTpi' pull",
            "-c x.y=ghp_16C7e42F292c6912E7710c838347Ae178B4a pull",
        ] {
            assert_eq!(of(&format!("alias.up\n{value}\0"), &passed()), "", "{value}");
        }
        for value in [
            "log --graph --pretty=format:'%h -%d %s (%cr) <%an>' --abbrev-commit",
            "push https://github.com/ada/x main",
            "diff-tree --no-commit-id --name-only -r 1a2b3c4d",
            "rebase --interactive --autosquash --autostash",
            "clone git@github.com:ada/x",
        ] {
            assert!(of(&format!("alias.up\n{value}\0"), &passed()).contains(value), "{value}");
        }
    }

    #[test]
    fn a_value_stays_one_value() {
        let text = of("user.name\na\\\"\n[core]\n\thooksPath = /h\0", &passed());
        assert_eq!(text, "[user]\n\tname = \"a\\\\\\\"\\n[core]\\n\\thooksPath = /h\"\n");
        assert_eq!(of("color.x]\n[core.y\nz\0", &passed()), "");
    }
}
