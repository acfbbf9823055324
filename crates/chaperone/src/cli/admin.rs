//! Commands about the installation: profiles, capabilities, policies, inspection, vault, audit log.

use std::path::PathBuf;

use chaperone_audit::{ACTIONS, EFFECTS, Word};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Subcommand};

use super::moment::{self, Moment};

#[derive(Debug, Args)]
pub struct Inventory {
    /// A profile [default: every profile, and the agents and MCP servers found on this machine]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Profile {
    /// Show what a session of a profile would be given of this machine, and why
    #[command(
        after_help = "Examples:\n  chaperone profile show source\n  chaperone profile show source -- claude"
    )]
    Show {
        /// The profile
        name: String,
        /// Directory that the agent would work on [default: the current directory]
        #[arg(long, value_name = "DIRECTORY")]
        workspace: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The program that would run
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Capability {
    /// Mint a token from claims
    #[command(after_help = "Example:\n  chaperone capability mint claims.json")]
    Mint {
        /// The claims as a JSON file; `-` reads stdin
        claims: PathBuf,
    },
    /// Show the claims of a session's capability, or of a token
    #[command(
        after_help = "Examples:\n  chaperone capability show 3f2a\n  chaperone capability show token.jwt"
    )]
    Show {
        /// Session id or the beginning of one, or a file that holds a token
        session: String,
    },
    /// Attenuate a token: derive a narrower one, signed with the key that its `cnf` names, without the vault
    #[command(
        after_help = "Example:\n  chaperone capability attenuate token.jwt narrower.json --key holder.hex"
    )]
    Attenuate {
        /// File that holds the token; `-` reads stdin
        token: PathBuf,
        /// The narrower claims as a JSON file
        claims: PathBuf,
        /// File that holds the holder's Ed25519 key, 32 bytes in hex
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Revoke a token, at once and permanently
    #[command(after_help = "Example:\n  chaperone capability revoke 0d9c6e7a41b2")]
    Revoke {
        /// The token's id (its `jti` claim)
        jti: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Load every policy and report problems with file, line and suggestion
    #[command(after_help = "Examples:\n  chaperone policy check\n  chaperone policy check mine.rego --json")]
    Check {
        /// Policies to check together with the installed ones
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the `test_` rules of the policies
    #[command(after_help = "Example:\n  chaperone policy test mine.rego mine_test.rego --coverage")]
    Test {
        /// Policies to test together with the installed ones
        files: Vec<PathBuf>,
        /// Print the lines that no test reached
        #[arg(long)]
        coverage: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Evaluate a query against an input document
    #[command(
        after_help = "Example:\n  chaperone policy eval data.chaperone.files.decision --input request.json"
    )]
    Eval {
        /// The query, in Rego
        query: String,
        /// The input document, a JSON file
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// Policies to load besides the installed ones
        #[arg(long = "data", value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Put the installed policies into force now (the broker also notices changed files by itself)
    #[command(after_help = "Example:\n  chaperone policy reload")]
    Reload,
    /// Explain which rule decides an input and what would change the decision
    #[command(after_help = "Example:\n  chaperone policy explain --input request.json")]
    Explain {
        /// The input document, a JSON file
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Policies to load besides the installed ones
        #[arg(long = "data", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// Files to inspect; `-` reads stdin
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON, one object for each file or archive member
    #[arg(long)]
    pub json: bool,
    /// Write a redacted copy beside each file, as NAME.redacted.EXT
    #[arg(long)]
    pub redact: bool,
    /// Say of each value, found or spared, where it stands, what it is worth and which filter decided it; never the value
    #[arg(long, conflicts_with = "redact")]
    pub explain: bool,
}

#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Set or change the PIN, read from stdin (to change it: the old PIN and the new one, a line each)
    #[command(after_help = "Example:\n  printf '%s' \"$pin\" | chaperone vault pin")]
    Pin,
    /// Show the vault's process and its checkpoint key
    #[command(after_help = "Example:\n  chaperone vault show --json")]
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the last records
    #[command(
        after_help = "Example:\n  chaperone audit tail -n 50 --follow\n\nExit status: 0 printed, 3 printed as far as it can be read: records are damaged"
    )]
    Tail {
        /// How many records
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: usize,
        /// Keep running and print new records as they come
        #[arg(short, long)]
        follow: bool,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the records that match every given filter, oldest first
    #[command(
        after_help = "Example:\n  chaperone audit query --action connect --effect deny --since 1h --json\n\nExit status: 0 printed, 3 printed as far as it can be read: records are damaged"
    )]
    Query {
        /// Only records of this session, by its whole id
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
        /// Only records from this time on: in RFC 3339, e.g. 2026-05-01T00:00:00Z, or how long ago, e.g. 15m, 1h, 7d
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        since: Option<Moment>,
        /// Only records up to this time, as for --since
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        until: Option<Moment>,
        /// Only this action
        #[arg(long, value_name = "ACTION", value_parser = words(ACTIONS))]
        action: Option<String>,
        /// Only this effect
        #[arg(long, value_name = "EFFECT", value_parser = words(EFFECTS))]
        effect: Option<String>,
        /// Only what this policy rule decided
        #[arg(long, value_name = "RULE")]
        rule: Option<String>,
        /// At most this many records, the newest
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one record with its decrypted payload
    #[command(after_help = "Example:\n  chaperone audit show 42")]
    Show {
        /// Sequence number of the record
        seq: u64,
    },
    /// Verify the whole log
    #[command(
        after_help = "Examples:\n  chaperone audit verify\n  chaperone audit verify --checkpoint kept.checkpoint --json\n\nExit status: 0 verified, 1 verification failed, 2 the log could not be checked"
    )]
    Verify {
        /// An earlier checkpoint that you kept: proves that nothing was rewritten since
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Directory of the log [default: this installation's]
        #[arg(long, value_name = "DIRECTORY")]
        log: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a proof that a record is in the log
    #[command(after_help = "Example:\n  chaperone audit prove 42")]
    Prove {
        /// Sequence number of the record
        seq: u64,
    },
    /// Sign and print the current checkpoint
    #[command(after_help = "Example:\n  chaperone audit checkpoint > kept.checkpoint")]
    Checkpoint,
    /// Close a log that is damaged, move it aside, and begin a new one that records it
    #[command(after_help = "Example:\n  chaperone audit archive")]
    Archive,
}

/// A closed set of words, each with its line of help.
fn words(set: &'static [Word]) -> PossibleValuesParser {
    set.iter().map(|(word, about)| PossibleValue::new(*word).help(*about)).collect::<Vec<_>>().into()
}
