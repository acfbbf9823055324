//! What a profile is exported to, what that takes, and what comes of it.

use thiserror::Error;

const WORKSPACE: &str = "--workspace";
const COMMAND: &str = "command";

/// What a profile can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Docker,
    Podman,
    Seccomp,
    AppArmor,
    Selinux,
    Systemd,
    Kubernetes,
    Mxc,
    Macos,
    Windows,
}

/// Every target, as it is called, with one line of help.
pub const TARGETS: &[(Target, &str, &str)] = &[
    (Target::Docker, "docker", "A command line of docker run, with its seccomp filter"),
    (Target::Podman, "podman", "A command line of podman run, with its seccomp filter"),
    (Target::Seccomp, "seccomp", "A seccomp filter in the JSON of OCI runtimes"),
    (Target::AppArmor, "apparmor", "An AppArmor profile"),
    (Target::Selinux, "selinux", "An SELinux module in CIL"),
    (Target::Systemd, "systemd", "A hardened unit of systemd"),
    (Target::Kubernetes, "kubernetes", "A pod, its network policy, and the objects of agent-sandbox"),
    (Target::Mxc, "mxc", "A configuration of Microsoft's execution containers (mxc)"),
    (Target::Macos, "macos", "A Seatbelt profile and a configuration profile for TCC"),
    (
        Target::Windows,
        "windows",
        "A Windows Sandbox, a package in an AppContainer, and protected directories",
    ),
];

/// What an export needs beside the profile.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The user's directory behind `/workspace`, as the machine that the export is for names it.
    pub workspace: Option<String>,
    /// The image of a container.
    pub image: Option<String>,
    /// The socket of a session's channel to the broker.
    pub channel: Option<String>,
    /// The port of loopback, or of the broker's pod, on which the broker listens.
    pub port: Option<u16>,
    /// What runs; a shell where nothing is named.
    pub command: Vec<String>,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// Why a profile cannot be written for a target.
#[derive(Debug, Error)]
pub enum ExportError {
    #[error(transparent)]
    Pack(#[from] chaperone_packs::PackError),
    #[error("{what} {value:?} cannot be written for {target}: {why}")]
    Unwritable { what: &'static str, value: String, target: &'static str, why: &'static str },
    #[error("{target} takes no {option}; it takes {takes}")]
    Option { target: &'static str, option: &'static str, takes: String },
    #[error("packs/cell/system_calls.toml: {0} has no argument check in the export")]
    NoCheck(String),
    #[error("limits.{0}")]
    Limit(String),
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|(_, known, _)| *known == name).map(|(target, ..)| *target)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        TARGETS.iter().find(|(target, ..)| *target == self).map_or("", |(_, name, _)| name)
    }

    /// What of [`Options`] it takes, as the command calls it. What it does not take would be lost in it without a word.
    #[must_use]
    pub fn takes(self) -> &'static [&'static str] {
        match self {
            Self::Docker | Self::Podman => &[WORKSPACE, "--image", "--channel", COMMAND],
            Self::Seccomp | Self::Selinux => &[],
            Self::AppArmor => &[WORKSPACE, "--channel"],
            Self::Systemd => &[WORKSPACE, "--channel", COMMAND],
            Self::Kubernetes => &["--image", "--port", COMMAND],
            Self::Mxc => &[WORKSPACE, "--port", COMMAND],
            Self::Macos => &["--port", COMMAND],
            Self::Windows => &[WORKSPACE, COMMAND],
        }
    }

    /// Whether the directories of this machine are in the export.
    #[must_use]
    pub fn names_directories(self) -> bool {
        self.takes().contains(&WORKSPACE) && self != Self::Windows
    }
}
