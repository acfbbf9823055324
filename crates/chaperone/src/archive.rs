//! `audit archive`: a damaged log is closed and moved aside, and a new one begins with a record of it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::{
    Durability, Entry, Filter, Log, Options, Phase, Reader, Severity, VerifyOptions, verify,
};
use chaperone_config::Dirs;
use chaperone_config::dirs::private_dir;
use chaperone_pipeline::clock::{self, SystemClock};
use chaperone_pipeline::ports::Clock as _;
use chaperone_pipeline::vault::Vault;
use serde_json::{Value, json};

use crate::connect::Broker;
use crate::out::say;
use crate::report::Report;

/// Files of a log that are listed with their digests; a payload of a record has room for so many.
const MOST_FILES: usize = 2_000;

pub fn archive(dirs: &Dirs) -> Result<u8, Report> {
    dirs.prepare().map_err(Report::of)?;
    let whole = || {
        Report::new("the log is not damaged, and stays")
            .advise("to keep a copy of it, copy the directory; to look at it: chaperone audit verify")
    };
    if Broker::if_running()?.is_some() {
        return Err(whole());
    }
    let exe = std::env::current_exe().map_err(Report::of)?;
    // Whoever has the vault is the only one: no broker starts meanwhile.
    let vault = Vault::start(&exe, &dirs.vault()).map_err(Report::from)?;
    let last = vault.client().last_signed().map_err(Report::of)?;
    let trusted_last = last.map(|last| (last.size, last.root));
    let options =
        VerifyOptions { earlier: None, now_ms: clock::unix_ms(), fresh_within_ms: None, trusted_last };
    let log = dirs.audit();
    let verdict = verify(&log, &vault.client().hello().checkpoint_vkey, &options);
    if verdict.as_ref().is_ok_and(|verdict| verdict.integrity == "ok") {
        return Err(whole());
    }
    let problems: Vec<String> = match &verdict {
        Ok(verdict) => verdict.problems.iter().take(20).cloned().collect(),
        Err(error) => vec![error.to_string()],
    };
    let about = json!({
        "last_signed": last.map(|last| json!({ "size": last.size, "root": hex(&last.root) })),
        "readable_records": readable(&log),
        "problems": problems,
        "files": files(&log),
    });
    let place = set_aside(dirs, &log)?;
    vault.client().close_log(last).map_err(Report::of)?;
    begin(dirs, vault, &place, &about)?;
    say!("the damaged log is at {}, and a new one records it", place.display());
    Ok(0)
}

/// The new log, with a first record of the one before.
fn begin(dirs: &Dirs, vault: Vault, place: &Path, about: &Value) -> Result<(), Report> {
    let now_ms = clock::unix_ms();
    let options = Options { now_ms, checkpoint_records: 4096, checkpoint_every: Duration::from_secs(5) };
    let log = Log::open(&dirs.audit(), Arc::new(vault), options).map_err(Report::of)?;
    let entry = Entry {
        time_ms: now_ms,
        phase: Phase::Alert,
        severity: Severity::High,
        class_uid: chaperone_audit::class_uid::DETECTION,
        action: "log_archived".into(),
        effect: "allow".into(),
        resource: place.display().to_string(),
        ..Entry::default()
    };
    log.append(entry, Some(about), Durability::Synced).map_err(Report::of)?;
    log.checkpoint().map_err(Report::of)?;
    Ok(())
}

/// How many records can be read from the beginning on.
fn readable(log: &Path) -> usize {
    Reader::open(log).map_or(0, |reader| reader.query(Filter::default()).take_while(Result::is_ok).count())
}

/// Its files with their digests, in order.
fn files(log: &Path) -> Vec<Value> {
    let mut folders = vec![log.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(log).unwrap_or(&path).display().to_string();
            let digest = File::open(&path).and_then(|file| chaperone_staging::sha256(&file)).ok();
            files.push(json!({ "name": name, "sha256": digest }));
        }
    }
    files.truncate(MOST_FILES);
    files
}

/// Move the log aside. One that is gone, or was moved by an archive that ended halfway, leaves an empty place.
fn set_aside(dirs: &Dirs, log: &Path) -> Result<PathBuf, Report> {
    let folder = dirs.state.join("audit-archive");
    private_dir(&folder).map_err(Report::of)?;
    let place = folder.join(SystemClock.rfc3339().replace(':', "-"));
    match std::fs::rename(log, &place) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => private_dir(&place).map_err(Report::of)?,
        moved => moved.map_err(|e| Report::new(format!("{} cannot be moved: {e}", log.display())))?,
    }
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(Report::of)?;
    private_dir(log).map_err(Report::of)?;
    Ok(place)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
