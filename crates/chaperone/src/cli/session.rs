//! Commands about sessions: what runs, what is staged, what waits for an answer.

use clap::builder::PossibleValue;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Sessions {
    /// List sessions that have ended, too, the newest first (with --json the oldest)
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<SessionsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Remove what is kept of sessions that have ended and have nothing staged; the audit log keeps its records
    #[command(
        after_help = "Examples:\n  chaperone sessions prune --dry-run\n  chaperone sessions prune --older-than 7d"
    )]
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Only sessions last used before that, e.g. 7d or 12h, and with them what undoes their commits [default: all without commits]
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<String>,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Stop {
    /// Session id, or the beginning of one
    #[arg(required_unless_present = "all")]
    pub session: Option<String>,
    /// Stop every session
    #[arg(long, conflicts_with = "session")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct One {
    /// Session id, or the beginning of one
    pub session: String,
}

#[derive(Debug, Args)]
pub struct Why {
    /// Session id, or the beginning of one [default: the last session]
    pub session: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Changes {
    /// Session id, or the beginning of one
    pub session: String,
    /// Paths to show, below the workspace; these alone count as shown [default: all]
    pub paths: Vec<String>,
    /// Print a line for each change, with its lines or bytes, and their sum; nothing of this counts as shown
    #[arg(long)]
    pub stat: bool,
    /// On a terminal, do not start a pager (CHAPERONE_PAGER, PAGER, or less)
    #[arg(long)]
    pub no_pager: bool,
    /// Print JSON, without diffs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Commit {
    /// Session id, or the beginning of one
    pub session: String,
    /// Paths to commit, below the workspace; naming one confirms it alone, --accept what is below a directory [default: all]
    pub paths: Vec<String>,
    /// What to do with a file that you changed meanwhile [default: report it and leave it staged]
    #[arg(long, value_name = "CHOICE", value_parser = choices())]
    pub conflict: Option<String>,
    /// Commit, too, what is not as `changes` showed it
    #[arg(long)]
    pub unseen: bool,
    /// Confirm every change that is asked about for this reason alone, e.g. many_deletes; may be repeated
    #[arg(long, value_name = "REASON")]
    pub confirm: Vec<String>,
    /// Confirm this reason for PATHS and what is below them, and nothing else about them; may be repeated
    #[arg(long, value_name = "REASON", requires = "paths")]
    pub accept: Vec<String>,
    /// Ask about each group of changes, with its reason and its differences
    #[arg(long, short, conflicts_with_all = ["json", "accept"])]
    pub interactive: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn choices() -> [PossibleValue; 3] {
    [
        PossibleValue::new("mine").help("Keep your version; the agent's stays staged until you discard it"),
        PossibleValue::new("theirs").help("Replace your version with the agent's; `undo` brings yours back"),
        PossibleValue::new("both")
            .help("Keep your version and write the agent's beside it: NAME.agent-1.md for NAME.md"),
    ]
}

#[derive(Debug, Args)]
pub struct Paths {
    /// Session id, or the beginning of one
    pub session: String,
    /// Paths to discard, below the workspace [default: all]
    pub paths: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Undo {
    /// Session id, or the beginning of one
    pub session: String,
    /// Number of the commit to undo [default: all of the session's, newest first]
    #[arg(long, value_name = "N")]
    pub commit: Option<u64>,
    /// Paths to undo, below the workspace [default: all]
    pub paths: Vec<String>,
    /// Undo files, too, that you changed since the commit
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Approvals {
    /// Keep running and print new requests as they come
    #[arg(long)]
    pub watch: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// Request id, as `chaperone approvals` prints it, or the beginning of one
    pub id: String,
    /// Approve this one request; this is the default
    #[arg(long, conflicts_with_all = ["session", "duration"])]
    pub once: bool,
    /// Approve the same for the rest of the session; neither an elevation nor what needs a PIN
    #[arg(long, conflicts_with = "duration")]
    pub session: bool,
    /// Approve the same for a time, e.g. 30m or 1h, at most 12h; as --session
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<String>,
    /// Let only redacted content pass
    #[arg(long)]
    pub redact: bool,
    /// Read the PIN from stdin
    #[arg(long)]
    pub pin_stdin: bool,
}

#[derive(Debug, Args)]
pub struct Deny {
    /// Request id, as `chaperone approvals` prints it, or the beginning of one
    pub id: String,
    /// What a tool that asked answers the agent; a program that opened a file gets `Permission denied`
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}
