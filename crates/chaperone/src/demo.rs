//! `demo`: a case study from nothing to a verified log, with the commands it runs printed as it goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use chaperone_protocol::counted;
use clap::Parser;

use crate::cli::{Cli, Command as Subcommand, Demo};
use crate::out::say;
use crate::report::Report;
use crate::untrusted::Untrusted;

/// Where this program was built; the example agents are built from there while it still is where cargo put it.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `run` runs a subcommand, as if the user had typed it.
pub fn demo(args: &Demo, run: fn(Subcommand) -> Result<u8, Report>) -> Result<u8, Report> {
    let directory = match &args.directory {
        Some(f) => std::path::absolute(f).map_err(Report::of)?,
        None => std::env::temp_dir().join(format!("chaperone-demo-{}", std::process::id())),
    };
    let reports = directory.join("reports");
    std::fs::create_dir_all(directory.join("out")).map_err(Report::of)?;
    let generate = example("generate-reports")?;
    let agent = example("spreadsheet-agent")?;
    step("make the reports: sales, headcount, and one file with personal data");
    run_plain(&generate, &[reports.as_os_str().to_owned()])?;

    step("run the agent in a cell over that directory");
    let ask = match args.ask {
        crate::cli::Ask::Wait => "wait",
        crate::cli::Ask::Deny => "deny",
        crate::cli::Ask::Redact => "redact",
    };
    let status = directory.join("status.json");
    let mut line: Vec<OsString> = [
        "chaperone",
        "run",
        "--profile",
        "spreadsheet",
        "--verbose",
        "--ask",
        ask,
        "--ask-timeout",
        &args.ask_timeout,
    ]
    .map(OsString::from)
    .to_vec();
    line.push("--workspace".into());
    line.push(directory.clone().into());
    line.push("--status-file".into());
    line.push(status.clone().into());
    line.push("--".into());
    line.push(agent.into());
    say!("  $ {}", shell(&line));
    let code = run(Cli::try_parse_from(&line).map_err(Report::of)?.command)?;
    if code != 0 {
        return Ok(code);
    }

    step("what reached the directory");
    for entry in std::fs::read_dir(directory.join("out")).map_err(Report::of)? {
        let entry = entry.map_err(Report::of)?;
        say!(
            "  {} ({} bytes)",
            Untrusted::new(&entry.path().to_string_lossy()),
            counted(entry.metadata().map_err(Report::of)?.len(), "byte")
        );
    }

    step("verify the audit log");
    say!("  $ chaperone audit verify");
    let verified = run(Cli::try_parse_from(["chaperone", "audit", "verify"]).map_err(Report::of)?.command)?;

    let dirs = chaperone_config::Dirs::from_environment().map_err(Report::of)?;
    say!("\nThe directory: {}", directory.display());
    say!("The audit log: {}", dirs.audit().display());
    say!(
        "Look closer:   chaperone audit tail · chaperone why · chaperone sessions --all · chaperone undo ID"
    );
    Ok(verified)
}

/// The path of an example program; built with cargo when it is not beside this one.
fn example(name: &str) -> Result<PathBuf, Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    let beside = exe.with_file_name(name);
    let source = Path::new(SOURCE);
    if !source.join("examples/spreadsheet/Cargo.toml").is_file() {
        return if beside.is_file() {
            Ok(beside)
        } else {
            Err(Report::new(format!("{} is missing", beside.display())).advise(
                "To fix this, run in the source directory: cargo build --release -p spreadsheet-example",
            ))
        };
    }
    let release = exe.parent().and_then(Path::file_name).is_some_and(|f| f == "release");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "-p", "spreadsheet-example", "--manifest-path"]);
    cargo.arg(source.join("Cargo.toml"));
    if release {
        cargo.arg("--release");
    }
    if let Some(target) = exe.parent().and_then(Path::parent) {
        cargo.arg("--target-dir").arg(target);
    }
    match cargo.status() {
        Ok(status) if status.success() && beside.is_file() => Ok(beside),
        Ok(status) if beside.is_file() => Err(Report::new(format!(
            "building {name} failed ({status}); the one at {} may be stale",
            beside.display()
        ))),
        _ if beside.is_file() => Ok(beside),
        Ok(status) => Err(Report::new(format!("building {name} failed ({status})"))),
        Err(e) => Err(Report::new(format!("cargo cannot be run to build {name}: {e}"))),
    }
}

fn run_plain(program: &Path, arguments: &[OsString]) -> Result<(), Report> {
    let status = Command::new(program).args(arguments).status().map_err(Report::of)?;
    if status.success() {
        Ok(())
    } else {
        Err(Report::new(format!("{} ended with {status}", program.display())))
    }
}

fn step(what: &str) {
    say!("\n== {what}");
}

/// The line as a user would type it.
fn shell(line: &[OsString]) -> String {
    let quoted = line.iter().map(|word| {
        let word = word.to_string_lossy();
        if word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:".contains(c)) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
