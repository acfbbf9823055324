//! `chaperone`: one module a subcommand; the decisions are the broker's.
#![forbid(unsafe_code)]

mod approvals;
mod archive;
mod audit;
mod capability;
mod change_line;
mod changes;
mod cli;
mod connect;
mod demo;
mod diverged;
mod doctor;
mod export;
mod inside;
mod inspect;
mod interactive;
mod inventory;
mod kept;
mod looking;
mod mcp;
mod out;
mod overview;
mod pager;
mod paint;
mod policy;
mod profile;
mod report;
mod run;
mod sessions;
mod show;
mod stat;
mod untrusted;
mod vault;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command};
use crate::out::{note, say};
use crate::report::Report;
use crate::untrusted::Untrusted;

/// As for arguments that are not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let is_file = |word: &OsStr| std::fs::symlink_metadata(word).is_ok();
    if let Some(word) = cli::globbed::mistaken(&words, &is_file) {
        let word = word.to_string_lossy();
        let word = Untrusted::new(&word);
        note!(
            "chaperone: {word} is the name of a file here, too. For the option, write it before the session; for the file, write ./{word}"
        );
        return ExitCode::from(USAGE);
    }
    let cli = Cli::parse_from(words);
    match dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            note!("{report}");
            ExitCode::from(report.exit)
        }
    }
}

/// Whether a command is the user's alone: it looks at the machine or at this installation, of which a cell has nothing, and what
/// it tries there is refused with an alert.
fn is_for_the_user(command: &Command) -> bool {
    match command {
        Command::Mcp(_)
        | Command::Why(_)
        | Command::Inspect(_)
        | Command::Capability(_)
        | Command::Policy(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::WorkerProcess
        | Command::CellProcess { .. }
        | Command::MicroVmMonitor { .. }
        | Command::MicroVmInit => false,
        Command::Run(_)
        | Command::Demo(_)
        | Command::Doctor(_)
        | Command::Inventory(_)
        | Command::Profile(_)
        | Command::Export(_)
        | Command::Sessions(_)
        | Command::Stop(_)
        | Command::Resume(_)
        | Command::Changes(_)
        | Command::Commit(_)
        | Command::Discard(_)
        | Command::Undo(_)
        | Command::Approvals(_)
        | Command::Approve(_)
        | Command::Deny(_)
        | Command::Vault(_)
        | Command::Audit(_)
        | Command::CellProbe
        | Command::BrokerProcess
        | Command::VaultProcess { .. } => true,
    }
}

fn dispatch(command: Command) -> Result<u8, Report> {
    if is_for_the_user(&command) && connect::inside_a_cell() {
        return Err(connect::not_in_a_cell());
    }
    match command {
        Command::Run(a) => run::run(&a),
        Command::Demo(a) => demo::demo(&a, dispatch),
        Command::Doctor(a) => doctor::doctor(a.json),
        Command::Inventory(a) => inventory::inventory(&a),
        Command::Profile(a) => profile::profile(&a),
        Command::Export(a) => export::export(&a),
        Command::Sessions(a) => sessions::sessions(&a),
        Command::Stop(a) => sessions::stop(&a),
        Command::Resume(a) => sessions::resume(&a),
        Command::Why(a) => sessions::why(&a),
        Command::Changes(a) => {
            looking::changes(&cli::Changes { paths: inside::named(&a.session, a.paths)?, ..a })
        }
        Command::Commit(a) => {
            changes::commit(&cli::Commit { paths: inside::named(&a.session, a.paths)?, ..a })
        }
        Command::Discard(a) => {
            changes::discard(&cli::Paths { paths: inside::named(&a.session, a.paths)?, ..a })
        }
        Command::Undo(a) => changes::undo(&cli::Undo { paths: inside::named(&a.session, a.paths)?, ..a }),
        Command::Approvals(a) => approvals::approvals(&a),
        Command::Approve(a) => approvals::approve(&a),
        Command::Deny(a) => approvals::deny(&a),
        Command::Capability(a) => capability::capability(&a),
        Command::Policy(a) => policy::policy(&a),
        Command::Inspect(a) => inspect::inspect(&a),
        Command::Vault(a) => vault::vault(&a),
        Command::Audit(a) => audit::audit(&a),
        Command::Mcp(a) => mcp::mcp(&a),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let shell = clap_complete::Shell::from(shell);
            clap_complete::generate(shell, &mut Cli::command(), "chaperone", &mut script);
            out::write(format_args!("{}", String::from_utf8_lossy(&script)));
            Ok(0)
        }
        Command::Man { directory } => {
            std::fs::create_dir_all(&directory).map_err(Report::of)?;
            clap_mangen::generate_to(Cli::command(), &directory).map_err(Report::of)?;
            say!("man pages written to {}", directory.display());
            Ok(0)
        }
        Command::BrokerProcess => {
            chaperone_broker::start::main(connect::tell_starter).map_err(Report::of).map(|()| 0)
        }
        Command::VaultProcess { directory } => vault::process(&directory),
        Command::WorkerProcess => inspect::worker_process(),
        Command::CellProbe => doctor::try_a_container(),
        Command::MicroVmMonitor { arguments } => {
            chaperone_cell::microvm_monitor(arguments, chaperone_fs::show)
        }
        Command::MicroVmInit => Err(Report::of(chaperone_cell::guest_init())),
        Command::CellProcess { descriptors } => Err(Report::of(chaperone_cell::container_init(descriptors))),
    }
}
