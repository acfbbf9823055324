//! What of a profile any wall can hold, and in words what none can.

use std::path::{Component, Path, PathBuf};

use super::quote;
use super::target::{ExportError, Options, Target};
use crate::profile::{Mount, Profile};

/// The agent's home in a container: its own, whatever the image has; runtimes give a directory of the image's the owner it has there.
pub(super) const HOME: &str = "/tmp";
/// Where a cell and every container has the channel.
pub(super) const CHANNEL: &str = "/run/chaperone/channel";
/// What runs where nothing is named.
const SHELL: &str = "sh";
/// Stands for an image that the user has.
const IMAGE: &str = "agent-runtime";
/// Variables that are the wall's own.
const OWN: &[&str] = &["HOME", "TMPDIR"];

pub(super) struct Wall<'a> {
    pub target: Target,
    pub name: &'a str,
    pub profile: &'a Profile,
    pub options: &'a Options,
    pub shown: Vec<Shown>,
    pub memory: Option<u64>,
    pub seconds: Option<u64>,
    pub cpu_percent: Option<u32>,
}

/// A directory that the agent may read.
pub(super) struct Shown {
    /// Where the agent sees it, in `/workspace`.
    pub at: String,
    /// The user's directory: below the workspace, or absolute.
    pub from: PathBuf,
}

impl<'a> Wall<'a> {
    pub fn new(
        target: Target,
        name: &'a str,
        profile: &'a Profile,
        options: &'a Options,
    ) -> Result<Self, ExportError> {
        let readable = |mount: &&Mount| allows(mount, "read");
        let wall = Self {
            target,
            name,
            profile,
            options,
            shown: profile.mounts.iter().filter(readable).map(Shown::of).collect(),
            memory: profile.limits.bytes().map_err(ExportError::Limit)?,
            seconds: profile.limits.seconds().map_err(ExportError::Limit)?,
            cpu_percent: profile.limits.cpu_percent().map_err(ExportError::Limit)?,
        };
        wall.check()?;
        Ok(wall)
    }

    /// Nothing that would end a line, a string or a comment of a format reaches one.
    fn check(&self) -> Result<(), ExportError> {
        let options = self.options;
        let texts =
            [("workspace", &options.workspace), ("image", &options.image), ("channel", &options.channel)]
                .into_iter()
                .filter_map(|(what, text)| text.as_ref().map(|text| (what, text)));
        for (what, text) in texts {
            self.plain(what, text)?;
        }
        // A script of several lines is an ordinary argument, where it can be written as one.
        let in_lines = !matches!(self.target, Target::Macos | Target::Windows);
        for word in &options.command {
            let word = if in_lines { word.replace(['\n', '\t'], " ") } else { word.clone() };
            self.plain("argument", &word).map_err(|_| {
                self.unwritable("argument", "", "it holds a control character, or is not text")
            })?;
        }
        if options.image.as_deref().is_some_and(|image| image.starts_with('-')) {
            return Err(self.unwritable("image", self.image(), "an engine takes it for an option"));
        }
        if self.target == Target::Kubernetes {
            self.check_claim()?;
        }
        for shown in &self.shown {
            self.plain("mount", &shown.at)?;
            self.plain("mount", &shown.from.to_string_lossy())?;
        }
        for name in self.environment() {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit())
            {
                return Err(self.unwritable("variable", name, "it is not the name of a variable"));
            }
        }
        self.takes()
    }

    /// A volume has directories of its own alone.
    fn check_claim(&self) -> Result<(), ExportError> {
        let leads_out = |shown: &&Shown| {
            shown.from.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        };
        match self.shown.iter().find(leads_out) {
            Some(shown) => {
                let why = "the claim of the workspace holds what is below it alone";
                Err(self.unwritable("mount", &shown.from.to_string_lossy(), why))
            }
            None => Ok(()),
        }
    }

    fn takes(&self) -> Result<(), ExportError> {
        let options = self.options;
        let given = [
            ("--workspace", options.workspace.is_some()),
            ("--image", options.image.is_some()),
            ("--channel", options.channel.is_some()),
            ("--port", options.port.is_some()),
            ("command", !options.command.is_empty()),
        ];
        let takes = self.target.takes();
        let Some((option, _)) =
            given.into_iter().find(|(option, is_given)| *is_given && !takes.contains(option))
        else {
            return Ok(());
        };
        let takes = if takes.is_empty() { "nothing beside the profile".to_owned() } else { takes.join(", ") };
        Err(ExportError::Option { target: self.target.name(), option, takes })
    }

    fn plain(&self, what: &'static str, text: &str) -> Result<(), ExportError> {
        if text.chars().any(|c| c.is_control() || c == '\u{fffd}' || quote::turns_text(c)) {
            return Err(self.unwritable(what, text, "it holds a control character, or is not text"));
        }
        Ok(())
    }

    pub fn unwritable(&self, what: &'static str, value: &str, why: &'static str) -> ExportError {
        ExportError::Unwritable { what, value: value.to_owned(), target: self.target.name(), why }
    }

    /// What files and objects of this export are called.
    pub fn title(&self) -> String {
        format!("chaperone-{}", self.name)
    }

    pub fn image(&self) -> &str {
        self.options.image.as_deref().unwrap_or(IMAGE)
    }

    pub fn command(&self) -> Vec<&str> {
        match self.options.command.as_slice() {
            [] => vec![SHELL],
            words => words.iter().map(String::as_str).collect(),
        }
    }

    /// The user's directory behind what is shown.
    pub fn source(&self, shown: &Shown) -> String {
        let workspace = self.options.workspace.as_deref().unwrap_or("/workspace");
        let from = shown.from.to_string_lossy();
        if from.is_empty() {
            return workspace.to_owned();
        }
        // Of another machine than this one.
        if workspace.contains('\\') && !workspace.starts_with('/') {
            return format!("{}\\{}", workspace.trim_end_matches('\\'), from.replace('/', "\\"));
        }
        Path::new(workspace).join(&shown.from).to_string_lossy().into_owned()
    }

    /// Where the agent begins: the workspace, or its home where nothing is shown.
    pub fn start(&self) -> &str {
        match self.shown.as_slice() {
            [] => "/tmp",
            [one] => &one.at,
            _ => "/workspace",
        }
    }

    /// Names of the variables that reach the agent. Their values may be secrets and are never written.
    pub fn environment(&self) -> Vec<&str> {
        let environment = &self.profile.environment;
        let mut names: Vec<&str> =
            environment.pass.iter().chain(environment.set.keys()).map(String::as_str).collect();
        names.retain(|name| !OWN.contains(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What this wall is, and what of the profile is not in it: sentences for a comment.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            format!("The wall of the profile {} for {}, and nothing of what the broker does.", self.name, self.target.name()),
            "Not in it: inspection of what is read, policies on single files (.env, keys), staging and commit, questions to \
             you, budgets, the audit log. What is shown can be read whole, and no refusal is recorded."
                .to_owned(),
        ];
        notes.extend(self.profile.mounts.iter().flat_map(of_mount));
        notes.extend(self.of_network());
        let has_more = !self.profile.cache.tools.is_empty() || !self.profile.toolchains.add.is_empty();
        if has_more {
            notes.push("The profile's caches and toolchains are not shown.".to_owned());
        }
        if !self.environment().is_empty() {
            notes.push(format!(
                "Variables are named and never written with a value: {}.",
                self.environment().join(", ")
            ));
        }
        notes
    }

    fn of_network(&self) -> Vec<String> {
        let network = &self.profile.network;
        let rules = network.allow.len() + network.services.len();
        let mut notes = Vec::new();
        if rules > 0 {
            notes.push("The profile's rules of hosts and services hold in the broker alone; here nothing leads to them.".to_owned());
        }
        notes.push(match (&self.options.channel, self.options.port) {
            (Some(channel), _) => format!("The only way out is the broker's channel, {channel}."),
            (_, Some(port)) => format!("The only way out is the broker's port {port}."),
            _ => "There is no way out.".to_owned(),
        });
        notes
    }
}

impl Shown {
    fn of(mount: &Mount) -> Self {
        let below = mount.path.strip_prefix("/workspace").unwrap_or_default().trim_start_matches('/');
        Self { at: mount.path.clone(), from: mount.from.clone().unwrap_or_else(|| below.into()) }
    }
}

fn allows(mount: &Mount, action: &str) -> bool {
    mount.actions.iter().any(|a| a == action)
}

/// What a read-only directory does not do of a mount.
fn of_mount(mount: &Mount) -> Vec<String> {
    let at = quote::one_line(&mount.path);
    if !allows(mount, "read") {
        return vec![format!("{at} is not shown, as the profile lets the agent not read it.")];
    }
    let mut notes = Vec::new();
    if ["write", "append", "delete", "rename"].iter().any(|action| allows(mount, action)) {
        notes.push(format!(
            "{at} is read-only here: what a session writes there is staged until you commit it, and no wall does that. The \
             agent writes to /tmp, its home, which goes with it."
        ));
    }
    if !allows(mount, "list") || mount.hide_denied {
        notes.push(format!("WIDER than the profile: all names in {at} are listed."));
    }
    notes
}
