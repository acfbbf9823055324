//! `policy check|test|eval|explain`.

use std::path::{Path, PathBuf};

use chaperone_config::dirs::Dirs;
use chaperone_config::policy_files;
use chaperone_policy::{Engine, Kind, Problem, Source};
use chaperone_protocol::{Request, counted};
use serde_json::{Value, json};

use crate::cli::Policy;
use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;
use crate::show;
use crate::untrusted::Untrusted;

pub fn policy(command: &Policy) -> Result<u8, Report> {
    match command {
        Policy::Check { files, json } => check(files, *json),
        Policy::Test { files, coverage, json } => test(files, *coverage, *json),
        Policy::Eval { query, input, files } => {
            let input = input.as_deref().map(read_json).transpose()?;
            let result = chaperone_policy::eval(&sources(files)?, query, input.as_ref()).map_err(all)?;
            show::json(&result);
            Ok(0)
        }
        Policy::Reload => {
            let answer = Broker::reach()?.ask(&Request::Reload)?;
            say!("in force: {}", show::text(&answer, "revision"));
            Ok(0)
        }
        Policy::Explain { input, files, json } => explain(&read_json(input)?, files, *json),
    }
}

fn check(files: &[PathBuf], as_json: bool) -> Result<u8, Report> {
    let problems = chaperone_policy::check(sources(files)?);
    if as_json {
        show::json(&json!(problems));
    } else if problems.is_empty() {
        say!("no problems found");
    } else {
        problems.iter().for_each(|p| say!("{p}"));
    }
    Ok(u8::from(!problems.is_empty()))
}

fn test(files: &[PathBuf], coverage: bool, as_json: bool) -> Result<u8, Report> {
    let report = chaperone_policy::test(&sources(files)?).map_err(all)?;
    if as_json {
        show::json(&json!(report));
        return Ok(u8::from(!report.failed.is_empty()));
    }
    for failed in &report.failed {
        say!("FAILED {} ({}): {}", failed.name, failed.file, failed.values);
    }
    if coverage {
        for file in &report.coverage {
            let total = file.covered + file.not_covered.len();
            let lines = file.not_covered.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            say!(
                "{}: {} of {}; not covered: {}",
                file.file,
                file.covered,
                counted(total, "line"),
                if lines.is_empty() { "none" } else { &lines }
            );
        }
    }
    say!("{} passed, {} failed", report.passed, report.failed.len());
    Ok(u8::from(!report.failed.is_empty()))
}

fn explain(input: &Value, files: &[PathBuf], as_json: bool) -> Result<u8, Report> {
    let engine = Engine::load(sources(files)?).map_err(all)?;
    let explained = chaperone_policy::explain(&engine, input);
    if as_json {
        show::json(&json!(explained));
        return Ok(0);
    }
    say!("{:?} by {}: {}", explained.effect, explained.rule, Untrusted::new(&explained.reasons.join(", ")));
    if let Some(advice) = &explained.advice {
        say!("  instead: {}", Untrusted::new(advice));
    }
    for vote in &explained.votes {
        say!("  vote     {:?} {} ({})", vote.effect, vote.rule, Untrusted::new(&vote.reasons.join(", ")));
    }
    for change in &explained.would_change {
        say!("  would be {change}");
    }
    Ok(0)
}

/// The installed policies and the given files.
fn sources(files: &[PathBuf]) -> Result<Vec<Source>, Report> {
    let dirs = Dirs::from_environment().map_err(Report::of)?;
    let mut sources = policy_files::sources(&dirs)?;
    for path in files {
        let kind = match path.extension().and_then(|e| e.to_str()) {
            Some("json") => Kind::Json,
            Some("yaml" | "yml") => Kind::Yaml,
            _ => Kind::Rego,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|e| Report::new(format!("{}: {e}", path.display())).exit(2))?;
        sources.push(Source { name: path.display().to_string(), text, kind });
    }
    Ok(sources)
}

fn read_json(path: &Path) -> Result<Value, Report> {
    let wrong = |e: &dyn std::fmt::Display| Report::new(format!("{}: {e}", path.display())).exit(2);
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
    serde_json::from_str(&text).map_err(|e| wrong(&e))
}

fn all(problems: Vec<Problem>) -> Report {
    Report::new(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
