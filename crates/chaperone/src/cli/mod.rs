//! The command line, from which help, completions and man pages are made.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "chaperone",
    version,
    about = "Hand an AI agent the desktop without handing over the keys",
    after_help = "Example:\n  chaperone run -- bash          a shell in a cell over the current folder\n  chaperone doctor               what this machine can enforce"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program in a cell over a folder
    #[command(
        after_help = "Examples:\n  chaperone run -- claude\n  chaperone run --profile spreadsheet --workspace ~/reports -- ./agent\n\nExit: the program's own code (128 + n for a signal); 125 no cell, 126 refused by policy, 127 no such program"
    )]
    Run(Run),
    /// Run a case study from nothing to a verified log
    #[command(after_help = "Example:\n  chaperone demo spreadsheet")]
    Demo(Demo),
    /// What this machine can enforce, layer by layer, and what is missing
    #[command(after_help = "Example:\n  chaperone doctor --json")]
    Doctor(Json),
    /// Every capability a profile, or the agents found on this machine, give, by risk
    #[command(after_help = "Example:\n  chaperone inventory spreadsheet")]
    Inventory(Inventory),
    /// What runs now
    #[command(after_help = "Example:\n  chaperone sessions --all --json")]
    Sessions(Sessions),
    /// Stop a session, or all
    #[command(after_help = "Example:\n  chaperone stop --all")]
    Stop(Stop),
    /// Let a suspended session go on
    #[command(after_help = "Example:\n  chaperone resume 3f2a")]
    Resume(One),
    /// The last refusals: which rule, and what would be allowed instead
    #[command(after_help = "Example:\n  chaperone why")]
    Why(Why),
    /// Staged writes of a session as a diff
    #[command(after_help = "Example:\n  chaperone changes 3f2a")]
    Changes(Changes),
    /// Bring staged writes to your folder
    #[command(after_help = "Example:\n  chaperone commit 3f2a out/report.xlsx")]
    Commit(Commit),
    /// Throw staged writes away
    #[command(after_help = "Example:\n  chaperone discard 3f2a out/draft.txt")]
    Discard(Paths),
    /// Take back what was committed
    #[command(after_help = "Example:\n  chaperone undo 3f2a --commit 1")]
    Undo(Undo),
    /// Requests that wait for your answer
    #[command(after_help = "Example:\n  chaperone approvals --watch")]
    Approvals(Approvals),
    /// Answer a request with yes
    #[command(after_help = "Examples:\n  chaperone approve 9c1e --redact\n  chaperone approve 9c1e --for 1h")]
    Approve(Approve),
    /// Answer a request with no
    #[command(after_help = "Example:\n  chaperone deny 9c1e --why 'not this file'")]
    Deny(Deny),
    /// Capability tokens
    #[command(subcommand, after_help = "Example:\n  chaperone capability show 3f2a")]
    Capability(Capability),
    /// Policies: check, test, evaluate, explain
    #[command(subcommand, after_help = "Example:\n  chaperone policy test")]
    Policy(Policy),
    /// What content inspection finds in files
    #[command(
        after_help = "Examples:\n  chaperone inspect --json report.csv\n  chaperone inspect --redact report.csv"
    )]
    Inspect(Inspect),
    /// The vault's second factor
    #[command(subcommand, after_help = "Example:\n  chaperone vault pin")]
    Vault(Vault),
    /// The audit log: read, verify, prove
    #[command(subcommand, after_help = "Example:\n  chaperone audit verify --json")]
    Audit(Audit),
    /// This session's tools as an MCP server over stdio
    #[command(
        after_help = "Example (in an MCP client's configuration):\n  { \"command\": \"chaperone\", \"args\": [\"mcp\"] }"
    )]
    Mcp(Mcp),
    /// Shell completions on standard output
    #[command(
        after_help = "Example:\n  chaperone completions bash > ~/.local/share/bash-completion/completions/chaperone"
    )]
    Completions { shell: clap_complete::Shell },
    /// Man pages, written into a folder
    #[command(after_help = "Example:\n  chaperone man ~/.local/share/man/man1")]
    Man { folder: PathBuf },
    #[command(name = "__broker", hide = true)]
    BrokerProcess,
    #[command(name = "__vault", hide = true)]
    VaultProcess { folder: PathBuf },
    #[command(name = "__worker", hide = true)]
    WorkerProcess,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Ask {
    /// Wait for your answer until the time-out
    Wait,
    /// Answer every ask with no
    Deny,
    /// Let redacted content pass, deny the rest
    Redact,
}

#[derive(Debug, Args)]
pub struct Run {
    /// What kind of task this is; see `chaperone inventory`
    #[arg(long)]
    pub profile: Option<String>,
    /// How the cell is isolated
    #[arg(long, value_parser = ["native", "container", "microvm", "strongest"])]
    pub backend: Option<String>,
    /// The folder the agent works on [default: the current folder]
    #[arg(long)]
    pub workspace: Option<PathBuf>,
    /// What to call this agent in policies and logs [default: the program's name]
    #[arg(long)]
    pub name: Option<String>,
    /// How asks are answered when you are not there
    #[arg(long, value_enum, default_value = "wait")]
    pub ask: Ask,
    /// How long an ask waits, e.g. 50s or 5m
    #[arg(long, default_value = "50s")]
    pub ask_timeout: String,
    /// Let it reach a host, as HOST or HOST:PORT [default ports: 80 and 443]; localhost:PORT is a server of your own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_host: Vec<String>,
    /// Let it use a service by its allow-list, as pypi, npm, github-read, anthropic, openai
    #[arg(long, value_name = "NAME")]
    pub allow_service: Vec<String>,
    /// Show a port that it serves on your own loopback, at the same number
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub publish: Vec<u16>,
    /// Write the cause of the end as JSON
    #[arg(long)]
    pub status_file: Option<PathBuf>,
    /// Say what happens on standard error
    #[arg(long)]
    pub show: bool,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub struct Demo {
    #[arg(value_parser = ["spreadsheet"])]
    pub name: String,
    #[arg(long, value_enum, default_value = "wait")]
    pub ask: Ask,
    /// How long an ask waits for you
    #[arg(long, default_value = "20s")]
    pub ask_timeout: String,
    /// Where to work [default: a new folder below the system's temporary one]
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Inventory {
    /// A profile; without it, every profile and the agents and MCP servers found here
    pub profile: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Sessions {
    /// Ended ones too
    #[arg(long)]
    pub all: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Stop {
    #[arg(required_unless_present = "all")]
    pub session: Option<String>,
    #[arg(long, conflicts_with = "session")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct One {
    pub session: String,
}

#[derive(Debug, Args)]
pub struct Why {
    /// A session [default: the last one]
    pub session: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Changes {
    pub session: String,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Commit {
    pub session: String,
    /// Only these [default: all]
    pub paths: Vec<String>,
    /// What to do where you changed the file meanwhile
    #[arg(long, value_parser = ["mine", "theirs", "both"])]
    pub conflict: Option<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Paths {
    pub session: String,
    /// Only these [default: all]
    pub paths: Vec<String>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Undo {
    pub session: String,
    /// One commit of the session [default: all of them, newest first]
    #[arg(long)]
    pub commit: Option<u64>,
    /// Only these
    pub paths: Vec<String>,
    /// Also where you changed the file since
    #[arg(long)]
    pub force: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Approvals {
    /// Keep watching
    #[arg(long)]
    pub watch: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Approve {
    pub id: String,
    /// For this one request (the default)
    #[arg(long, conflicts_with_all = ["session", "duration"])]
    pub once: bool,
    /// For the rest of this session
    #[arg(long, conflicts_with = "duration")]
    pub session: bool,
    /// For a time, e.g. 1h
    #[arg(long = "for", value_name = "TIME")]
    pub duration: Option<String>,
    /// Let only redacted content pass
    #[arg(long)]
    pub redact: bool,
    /// Read the PIN from standard input
    #[arg(long)]
    pub pin_stdin: bool,
}

#[derive(Debug, Args)]
pub struct Deny {
    pub id: String,
    /// Told to the agent
    #[arg(long)]
    pub why: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Capability {
    /// Mint a token from claims (JSON; `-` for standard input)
    Mint { claims: PathBuf },
    /// The claims of a session's capability, or of a token file
    Show { session: String },
    /// Narrow a token (offline; signed with the holder's key file)
    Attenuate {
        token: PathBuf,
        /// The narrower claims as JSON
        claims: PathBuf,
        /// The holder's Ed25519 key, 32 bytes in hex
        #[arg(long)]
        key: PathBuf,
    },
    /// Revoke a token by its id; at once and for good
    Revoke { jti: String },
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Load every policy and report problems with file, line and suggestion
    Check {
        files: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Run the `test_` rules
    Test {
        files: Vec<PathBuf>,
        /// Show which lines no test reached
        #[arg(long)]
        coverage: bool,
        #[arg(long)]
        json: bool,
    },
    /// Evaluate a query against an input document
    Eval {
        query: String,
        #[arg(long)]
        input: Option<PathBuf>,
        /// Policies besides the installed ones
        #[arg(long = "data")]
        files: Vec<PathBuf>,
    },
    /// Put the installed policies into force now, or say why they cannot be (a changed file is noticed without it)
    Reload,
    /// Say which rule decides an input and what would change it
    Explain {
        #[arg(long)]
        input: PathBuf,
        #[arg(long = "data")]
        files: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// `-` for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[arg(long)]
    pub json: bool,
    /// Write a redacted copy beside each file
    #[arg(long)]
    pub redact: bool,
}

#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Enrol or change the PIN (read from standard input)
    Pin,
    /// Public keys and the last signed tree
    Show {
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The last records, and new ones as they come
    Tail {
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        #[arg(short, long)]
        follow: bool,
        #[arg(long)]
        json: bool,
    },
    /// Records that match
    Query {
        #[arg(long)]
        session: Option<String>,
        #[arg(long)]
        since: Option<String>,
        #[arg(long)]
        until: Option<String>,
        #[arg(long)]
        action: Option<String>,
        #[arg(long)]
        effect: Option<String>,
        #[arg(long)]
        rule: Option<String>,
        #[arg(long)]
        limit: Option<usize>,
        #[arg(long)]
        json: bool,
    },
    /// One record with its decrypted payload
    Show { seq: u64 },
    /// Check the whole log
    Verify {
        /// An earlier checkpoint that you kept: proves that nothing was rewritten since
        #[arg(long)]
        checkpoint: Option<PathBuf>,
        /// The log's folder [default: this installation's]
        #[arg(long)]
        log: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// A proof that a record is in the log
    Prove { seq: u64 },
    /// Sign and print the current checkpoint
    Checkpoint,
}

#[derive(Debug, Args)]
pub struct Mcp {
    /// Outside a cell: the profile of the session
    #[arg(long)]
    pub profile: Option<String>,
    /// Outside a cell: the folder it works on [default: the current folder]
    #[arg(long)]
    pub workspace: Option<PathBuf>,
    #[arg(long)]
    pub name: Option<String>,
    #[arg(long, value_enum, default_value = "wait")]
    pub ask: Ask,
    #[arg(long, default_value = "50s")]
    pub ask_timeout: String,
}
