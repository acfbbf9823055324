//! Commands that start a session: `run`, `mcp`, `demo`.

use std::ffi::OsStr;
use std::path::PathBuf;

use chaperone_cell::{BACKENDS, DEFAULT, STRONGEST};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command, ValueEnum};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Ask {
    /// Wait for the user's answer until --ask-timeout
    Wait,
    /// Deny every request that would ask
    Deny,
    /// Let redacted content pass, deny everything else
    Redact,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Profile for the kind of task, see `chaperone inventory` [default: default]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// How the cell is isolated [default: what the profile names]
    #[arg(long, value_name = "BACKEND", value_parser = AnyBackend)]
    pub backend: Option<String>,
    /// Directory that the agent works on [default: the current directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<PathBuf>,
    /// Name of the agent in policies and logs [default: the program's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What happens to requests that policy asks the user about
    #[arg(long, value_enum, default_value = "wait", value_name = "MODE")]
    pub ask: Ask,
    /// How long such a request waits for an answer, e.g. 50s or 5m
    #[arg(long, default_value = "50s", value_name = "TIME")]
    pub ask_timeout: String,
    /// Allow a host [default ports: 80 and 443]; may be repeated; localhost:PORT allows a server on this machine
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_host: Vec<String>,
    /// Allow a predefined service (pypi, npm, crates, go, maven, debian, github-read, anthropic, openai, …); may be repeated
    #[arg(long, value_name = "SERVICE")]
    pub allow_service: Vec<String>,
    /// Forward a port from the cell to 127.0.0.1, at the same number; may be repeated
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub publish: Vec<u16>,
    /// Write exit status and reason to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub status_file: Option<PathBuf>,
    /// Print events to stderr
    #[arg(long, alias = "show")]
    pub verbose: bool,
    /// The program to run and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// What exists is offered. Any other word is taken, too, so that the broker refuses it with its reason.
#[derive(Debug, Clone, Copy)]
struct AnyBackend;

impl TypedValueParser for AnyBackend {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let strongest = PossibleValue::new(STRONGEST).help("The strongest backend that is available");
        let known = BACKENDS.iter().map(|backend| {
            let is_default = backend.name() == DEFAULT.name();
            let note = if is_default { ", the default where the profile names none" } else { "" };
            PossibleValue::new(backend.name()).help(format!("{}{note}", backend.help()))
        });
        Some(Box::new(known.chain([strongest])))
    }
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Which case study
    #[arg(value_name = "NAME", value_parser = [PossibleValue::new("spreadsheet").help("An agent that turns CSV reports into a workbook")])]
    pub name: String,
    /// What happens to requests that policy asks the user about
    #[arg(long, value_enum, default_value = "wait", value_name = "MODE")]
    pub ask: Ask,
    /// How long such a request waits for an answer, e.g. 20s
    #[arg(long, default_value = "20s", value_name = "TIME")]
    pub ask_timeout: String,
    /// Directory to work in [default: a new one in the system's temporary directory]
    #[arg(long, alias = "folder", value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Mcp {
    /// Outside a cell: profile of the session [default: default]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Outside a cell: directory that the client works on [default: the current directory]
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<PathBuf>,
    /// Outside a cell: name of the client in policies and logs [default: mcp-client]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Outside a cell: allow a host to the session's tools; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow_host: Vec<String>,
    /// Outside a cell: what happens to requests that policy asks the user about
    #[arg(long, value_enum, default_value = "wait", value_name = "MODE")]
    pub ask: Ask,
    /// Outside a cell: how long such a request waits for an answer, e.g. 50s or 5m
    #[arg(long, default_value = "50s", value_name = "TIME")]
    pub ask_timeout: String,
}
