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
            "  {} ({})",
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

/// Where an example program comes from.
#[derive(Debug, PartialEq, Eq)]
enum Example {
    /// This program is where cargo put it: the example is built there from the same checkout, so that it is never stale.
    Built(PathBuf),
    /// It was installed beside this one.
    Beside(PathBuf),
    Missing(PathBuf),
}

impl Example {
    /// For this program at `exe`, which was compiled from `source`. Only cargo's own directory says that the checkout is the
    /// user's to build in: one that is elsewhere may have come from anywhere.
    fn of(name: &str, exe: &Path, source: &Path) -> Self {
        let beside = exe.with_file_name(name);
        let is_where_cargo_put_it = exe.with_file_name(".fingerprint").is_dir();
        if is_where_cargo_put_it && source.join("examples/spreadsheet/Cargo.toml").is_file() {
            Self::Built(beside)
        } else if beside.is_file() {
            Self::Beside(beside)
        } else {
            Self::Missing(beside)
        }
    }
}

/// The path of an example program.
fn example(name: &str) -> Result<PathBuf, Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    let source = Path::new(SOURCE);
    match Example::of(name, &exe, source) {
        Example::Built(at) => built(name, &exe, source, at),
        Example::Beside(at) => Ok(at),
        Example::Missing(at) => Err(Report::new(format!("the example agent {} is missing", at.display()))
            .advise("To fix this, put it there: in the source directory, cargo build --release -p spreadsheet-example makes it in target/release")),
    }
}

fn built(name: &str, exe: &Path, source: &Path, at: PathBuf) -> Result<PathBuf, Report> {
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
        Ok(status) if status.success() && at.is_file() => Ok(at),
        Ok(status) if at.is_file() => Err(Report::new(format!(
            "building {name} failed ({status}); the one at {} may be stale",
            at.display()
        ))),
        _ if at.is_file() => Ok(at),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installed_program_uses_what_is_beside_it_and_never_the_checkout_it_was_built_from() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        make("checkout/examples/spreadsheet/Cargo.toml");
        make("target/debug/.fingerprint/x");
        let checkout = root.path().join("checkout");
        let of = |exe: PathBuf, source: &Path| Example::of("agent", &exe, source);
        let at = |name: &str| root.path().join(name);
        let installed = || make("bin/chaperone");
        assert_eq!(of(installed(), &checkout), Example::Missing(at("bin/agent")));
        make("bin/agent");
        assert_eq!(of(installed(), &checkout), Example::Beside(at("bin/agent")));
        let under_cargo = || make("target/debug/chaperone");
        assert_eq!(of(under_cargo(), &checkout), Example::Built(at("target/debug/agent")));
        // The checkout is gone.
        assert_eq!(of(under_cargo(), &at("nowhere")), Example::Missing(at("target/debug/agent")));
    }
}
