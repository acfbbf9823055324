//! A unit of systemd in whose root nothing of the machine stands but what a cell shows of it.

use serde::Deserialize;

use super::quote;
use super::seccomp::Calls;
use super::target::{ExportError, File};
use super::wall::{CHANNEL, Wall};

/// The directives that are the same for every profile.
const PACK: &str = "packs/exports/systemd.txt";
const ROOT: &str = "packs/cell/root.toml";
/// Longest name of a user.
const LONGEST_USER: usize = 31;
/// Longest line of a list, so that people can read it.
const WIDTH: usize = 110;

/// Of `packs/cell/root.toml`, what of the machine a cell shows.
#[derive(Debug, Deserialize)]
pub(super) struct Root {
    pub system: Vec<String>,
    pub merged: Vec<String>,
    pub etc: Vec<String>,
    pub devices: Vec<String>,
    pub hidden: Vec<String>,
    pub covered: Vec<String>,
    pub settings: Vec<String>,
}

impl Root {
    pub fn read() -> Result<Self, ExportError> {
        Ok(chaperone_packs::read(ROOT)?)
    }

    /// Files and directories of `/etc`. A cell looks into settings that may hold a login; what cannot look shows none of them.
    pub fn etc(&self) -> impl Iterator<Item = String> {
        self.etc.iter().map(|name| format!("/etc/{name}")).filter(|path| !self.settings.contains(path))
    }

    /// What lies in the above and is not shown.
    pub fn never(&self) -> impl Iterator<Item = &str> {
        self.covered.iter().chain(&self.settings).map(String::as_str)
    }
}

pub(super) fn files(wall: &Wall<'_>) -> Result<Vec<File>, ExportError> {
    let root = Root::read()?;
    let calls = Calls::read()?;
    let mut notes = wall.notes();
    let user = user(wall)?;
    notes.push(format!(
        "Make its user first: systemd-sysusers {0}.sysusers.conf. The directories must be readable to it, for example by setfacl \
         -R -m u:{user}:rX DIRECTORY.",
        wall.title()
    ));
    notes.push("Stricter than a cell: /proc shows processes alone, and HOME is /tmp.".to_owned());
    notes.push(
        "WIDER than the profile: system calls are told apart by name; of what a cell looks at in their arguments, namespaces, \
         families of sockets and personality have directives of their own."
            .to_owned(),
    );
    let command: Vec<String> = wall.command().into_iter().map(quote::unit_command).collect();
    let mut text = quote::comment("#", &notes);
    text.push_str(&format!(
        "[Unit]\nDescription=An agent behind the wall of the profile {}\n\n[Service]\nType=exec\nExecStart=/usr/bin/env {}\n",
        wall.name,
        command.join(" ")
    ));
    text.push_str(&format!("WorkingDirectory={}\nEnvironment=HOME=/tmp\n", wall.start().replace('%', "%%")));
    if !wall.environment().is_empty() {
        text.push_str(&format!("PassEnvironment={}\n", wall.environment().join(" ")));
    }
    text.push_str(&format!("User={user}\nGroup={user}\n"));
    text.push_str(chaperone_packs::text(PACK)?);
    text.push_str("# What the profile allows.\n");
    text.push_str(&limits(wall));
    for shown in &wall.shown {
        text.push_str(&bound(&wall.source(shown), &shown.at));
    }
    if let Some(channel) = &wall.options.channel {
        text.push_str(&bound(channel, CHANNEL));
    }
    text.push_str("# What a cell shows of the machine.\n");
    let shown =
        root.system.iter().chain(&root.merged).cloned().chain(root.etc()).map(|path| format!("-{path}"));
    text.push_str(&list("BindReadOnlyPaths", shown));
    text.push_str(&list("InaccessiblePaths", root.never().map(|path| format!("-{path}"))));
    text.push_str("# The calls of an agent. Any other does not exist, so that programs do without.\n");
    text.push_str("SystemCallErrorNumber=ENOSYS\n");
    let mut names = calls.allowed(wall.profile.debug);
    names.extend(calls.check.iter().map(String::as_str));
    text.push_str(&list("SystemCallFilter", names.into_iter().map(str::to_owned)));
    let about = format!("u {user} - \"Agents behind the wall of the profile {}\"\n", wall.name);
    let users = quote::comment("#", &wall.notes()) + &about;
    Ok(vec![
        File { name: format!("{}.service", wall.title()), text },
        File { name: format!("{}.sysusers.conf", wall.title()), text: users },
    ])
}

/// A user of this wall's own: others of its name could signal its processes.
fn user(wall: &Wall<'_>) -> Result<String, ExportError> {
    let user = wall.title().to_ascii_lowercase();
    if user.len() > LONGEST_USER {
        return Err(wall.unwritable("profile", wall.name, "its name is too long for a user of the system"));
    }
    Ok(user)
}

fn limits(wall: &Wall<'_>) -> String {
    let mut out = String::new();
    if let Some(bytes) = wall.memory {
        out.push_str(&format!("MemoryMax={bytes}\nMemorySwapMax=0\n"));
    }
    if let Some(count) = wall.profile.limits.processes {
        out.push_str(&format!("TasksMax={count}\n"));
    }
    if let Some(percent) = wall.cpu_percent {
        out.push_str(&format!("CPUQuota={percent}%\n"));
    }
    if let Some(seconds) = wall.seconds {
        out.push_str(&format!("RuntimeMaxSec={seconds}\n"));
    }
    out
}

fn bound(source: &str, at: &str) -> String {
    format!("BindReadOnlyPaths={}:{}\n", quote::unit(source), quote::unit(at))
}

/// A directive that takes many words, in lines that add to one another.
fn list(directive: &str, words: impl Iterator<Item = String>) -> String {
    let mut lines = Vec::new();
    let mut line = format!("{directive}=");
    for word in words {
        if line.len() + word.len() > WIDTH {
            lines.push(std::mem::replace(&mut line, format!("{directive}=")));
        }
        if !line.ends_with('=') {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines.join("\n") + "\n"
}
