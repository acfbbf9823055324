//! The command line, from which help, completions and man pages are made.

mod admin;
mod export;
pub mod globbed;
mod moment;
mod run;
mod session;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use admin::{Audit, Capability, Inspect, Inventory, Policy, Profile, Vault};
pub use export::Export;
pub use moment::Moment;
pub use run::{Ask, Demo, Mcp, Run};
pub use session::{
    Approvals, Approve, Changes, Commit, Deny, One, Paths, Prune, Sessions, SessionsCommand, Stop, Undo, Why,
};

#[derive(Debug, Parser)]
#[command(
    name = "chaperone",
    version,
    about = "Hand an AI agent the desktop without handing over the keys",
    after_help = "Examples:\n  chaperone run -- bash    run a shell in a cell over the current directory\n  chaperone doctor         check what this machine can enforce"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program in a cell over a directory
    #[command(
        after_help = "Examples:\n  chaperone run -- bash\n  chaperone run --allow-service anthropic -- claude\n  chaperone run --profile source --workspace ~/src -- make\n  chaperone run --allow-service pypi --allow-host api.example.com:443 -- python3 script.py\n\nExit status: the program's own (128 + n for signal n, so 137 for one that a limit or `chaperone stop` ended); 2 invalid arguments, 125 no cell could be made or the session was refused, 126 the program cannot be executed, 127 there is no such program"
    )]
    Run(Run),
    /// Run a case study from an empty directory to a verified audit log
    #[command(after_help = "Example:\n  chaperone demo spreadsheet")]
    Demo(Demo),
    /// Check what this machine can enforce, layer by layer, and how to fix what is missing
    #[command(after_help = "Example:\n  chaperone doctor --json")]
    Doctor(Json),
    /// List the capabilities of a profile, or of the agents found on this machine, by risk
    #[command(after_help = "Example:\n  chaperone inventory spreadsheet")]
    Inventory(Inventory),
    /// Show what a profile gives
    #[command(subcommand, after_help = "Example:\n  chaperone profile show source -- claude")]
    Profile(Profile),
    /// Export a profile as the settings of another wall: containers, Linux security modules, Kubernetes, macOS, Windows
    #[command(
        after_help = "Examples:\n  chaperone export docker spreadsheet --workspace ~/reports --output out\n  chaperone export systemd spreadsheet --workspace /srv/reports -- python3 agent.py\n  chaperone export macos spreadsheet --port 8462\n  chaperone export seccomp source > agent.seccomp.json\n\nWhat of the profile a wall cannot hold is said in each file. Exit status: 0 exported, 1 no such profile or directory, 2 the target takes no such option or value"
    )]
    Export(Export),
    /// List sessions
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  chaperone sessions --all\n  chaperone sessions prune --older-than 7d --dry-run"
    )]
    Sessions(Sessions),
    /// Stop a session, or all of them
    #[command(after_help = "Examples:\n  chaperone stop 3f2a\n  chaperone stop --all")]
    Stop(Stop),
    /// Resume a suspended session
    #[command(after_help = "Example:\n  chaperone resume 3f2a")]
    Resume(One),
    /// Show the last denials of a session: which rule, and what would be allowed instead
    #[command(after_help = "Example:\n  chaperone why 3f2a")]
    Why(Why),
    /// Show the staged changes of a session as a diff
    #[command(
        after_help = "Examples:\n  chaperone changes 3f2a\n  chaperone changes 3f2a src README.md\n  chaperone changes --stat 3f2a"
    )]
    Changes(Changes),
    /// Commit staged changes to the workspace
    #[command(
        after_help = "Examples:\n  chaperone commit 3f2a\n  chaperone commit 3f2a out/report.xlsx\n  chaperone commit 3f2a --conflict both\n  chaperone commit --accept executable 3f2a scripts"
    )]
    Commit(Commit),
    /// Discard staged changes
    #[command(after_help = "Example:\n  chaperone discard 3f2a out/draft.txt")]
    Discard(Paths),
    /// Undo what was committed
    #[command(after_help = "Example:\n  chaperone undo 3f2a --commit 1")]
    Undo(Undo),
    /// List pending requests
    #[command(after_help = "Example:\n  chaperone approvals --watch")]
    Approvals(Approvals),
    /// Approve a pending request
    #[command(
        after_help = "Examples:\n  chaperone approve 9c1e\n  chaperone approve 9c1e --redact\n  chaperone approve 9c1e --for 1h"
    )]
    Approve(Approve),
    /// Deny a pending request
    #[command(after_help = "Example:\n  chaperone deny 9c1e --why 'not this file'")]
    Deny(Deny),
    /// Mint, show, attenuate and revoke capability tokens
    #[command(subcommand, after_help = "Example:\n  chaperone capability show 3f2a")]
    Capability(Capability),
    /// Check, test, evaluate and explain policies
    #[command(subcommand, after_help = "Example:\n  chaperone policy test")]
    Policy(Policy),
    /// Scan files for personal data and secrets
    #[command(
        after_help = "Examples:\n  chaperone inspect --json report.csv\n  chaperone inspect --redact report.csv\n  chaperone inspect --explain config.py\n\nExit status: 0 nothing found, 1 something found, 2 a file could not be inspected"
    )]
    Inspect(Inspect),
    /// Manage the vault's PIN and show its public keys
    #[command(subcommand, after_help = "Example:\n  printf '%s' \"$pin\" | chaperone vault pin")]
    Vault(Vault),
    /// Read, verify and prove the audit log
    #[command(subcommand, after_help = "Example:\n  chaperone audit verify --json")]
    Audit(Audit),
    /// Serve a session's tools as an MCP server on stdin and stdout
    #[command(
        after_help = "Example (in an MCP client's configuration):\n  { \"command\": \"chaperone\", \"args\": [\"mcp\"] }"
    )]
    Mcp(Mcp),
    /// Print shell completions
    #[command(
        after_help = "Example:\n  chaperone completions bash > ~/.local/share/bash-completion/completions/chaperone"
    )]
    Completions {
        /// The shell to complete for
        #[arg(value_enum)]
        shell: CompletionShell,
    },
    /// Write man pages into a directory
    #[command(after_help = "Example:\n  chaperone man ~/.local/share/man/man1")]
    Man {
        /// Where to write them; created when missing
        directory: PathBuf,
    },
    #[command(name = "__broker", hide = true)]
    BrokerProcess,
    #[command(name = "__vault", hide = true)]
    VaultProcess { directory: PathBuf },
    #[command(name = "__worker", hide = true)]
    WorkerProcess,
    #[command(name = "__cell-init", hide = true)]
    CellProcess { descriptors: usize },
    #[command(name = "__cell-probe", hide = true)]
    CellProbe,
    #[command(name = "__microvm", hide = true)]
    MicroVmMonitor {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(name = "__microvm-init", hide = true)]
    MicroVmInit,
}

#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CompletionShell {
    /// GNU Bash
    Bash,
    /// Elvish
    Elvish,
    /// Fish
    Fish,
    /// PowerShell
    #[value(name = "powershell")]
    PowerShell,
    /// Z shell
    Zsh,
}

impl From<CompletionShell> for clap_complete::Shell {
    fn from(shell: CompletionShell) -> Self {
        match shell {
            CompletionShell::Bash => Self::Bash,
            CompletionShell::Elvish => Self::Elvish,
            CompletionShell::Fish => Self::Fish,
            CompletionShell::PowerShell => Self::PowerShell,
            CompletionShell::Zsh => Self::Zsh,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Every visible command below `command`, itself included.
    fn visible(command: &clap::Command, path: &str, all: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        all.push((path.clone(), command.clone()));
        // `help` is clap's own, and hidden commands are not for users.
        for below in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            visible(below, &path, all);
        }
    }

    fn commands() -> Vec<(String, clap::Command)> {
        let mut root = Cli::command();
        root.build();
        let mut all = Vec::new();
        visible(&root, "", &mut all);
        assert!(all.len() > 30, "{} commands", all.len());
        all
    }

    #[test]
    fn every_command_argument_and_value_has_a_help_line_and_every_command_an_example() {
        let mut missing = Vec::new();
        for (path, command) in commands() {
            if command.get_about().is_none() {
                missing.push(path.clone());
            }
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !after.contains("Example") || !after.contains("chaperone") {
                missing.push(format!("{path}: no example"));
            }
            for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
                if argument.get_help().is_none_or(|h| h.to_string().trim().is_empty()) {
                    missing.push(format!("{path} {}", argument.get_id()));
                }
                for value in argument.get_possible_values().iter().filter(|v| !v.is_hide_set()) {
                    if value.get_help().is_none_or(|h| h.to_string().trim().is_empty()) {
                        missing.push(format!("{path} {} {}", argument.get_id(), value.get_name()));
                    }
                }
            }
        }
        assert!(missing.is_empty(), "without help: {missing:#?}");
    }

    #[test]
    fn every_example_is_a_command_line_that_is_understood() {
        for (path, command) in commands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in after.lines().map(str::trim).filter(|l| l.starts_with("chaperone ")) {
                // Without what a shell takes for itself, and without the remark of the first help page.
                let line = line.split(" > ").next().unwrap_or_default();
                let line = line.split("   ").next().unwrap_or_default().replace("'not this file'", "why");
                let parsed = Cli::try_parse_from(line.split_whitespace());
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn a_filter_of_the_log_is_a_time_or_a_word_that_there_is() {
        let query = |option: &str, value: &str| {
            let line = ["chaperone", "audit", "query", option, value];
            Cli::try_parse_from(line).map(drop).map_err(|e| (e.exit_code(), e.to_string()))
        };
        for (option, value) in [
            ("--effect", "step_up"),
            ("--action", "log_opened"),
            ("--since", "1h"),
            ("--until", "2026-05-01T02:00:00+02:00"),
        ] {
            assert_eq!(query(option, value), Ok(()), "{option} {value}");
        }
        for (option, wrong, nearest) in [
            ("--effect", "alow", "'allow'"),
            ("--action", "conect", "'connect'"),
            ("--since", "yesterday", "how long ago: 90s"),
            ("--until", "2026-05-01", "RFC 3339"),
        ] {
            let (code, said) = query(option, wrong).unwrap_err();
            assert_eq!(code, 2);
            assert!(said.contains(nearest), "{said}");
        }
    }

    #[test]
    fn help_offers_no_backend_that_is_refused() {
        let run = Cli::command().find_subcommand("run").unwrap().clone();
        let backend = run.get_arguments().find(|a| a.get_id() == "backend").unwrap();
        let offered: Vec<String> = backend
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| v.get_name().to_owned())
            .collect();
        let known: Vec<&str> = chaperone_cell::BACKENDS.iter().map(|backend| backend.name()).collect();
        assert_eq!(offered, [known.as_slice(), &[chaperone_cell::STRONGEST]].concat());
    }

    #[test]
    fn old_spellings_keep_working() {
        for (old, new) in [
            (&["run", "--show", "--", "x"][..], &["run", "--verbose", "--", "x"][..]),
            (&["demo", "spreadsheet", "--folder", "/x"], &["demo", "spreadsheet", "--directory", "/x"]),
        ] {
            let parse = |words: &[&str]| {
                format!("{:?}", Cli::try_parse_from([&["chaperone"], words].concat()).unwrap())
            };
            assert_eq!(parse(old), parse(new));
        }
    }
}
