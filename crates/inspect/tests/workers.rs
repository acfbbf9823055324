//! The worker process: what it costs when it dies.
#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_types, reason = "it starts the worker process")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use chaperone_inspect::{Detectors, InspectError, Worker, WorkerPool, inspect_paths, serve};

const SSN: &str = "536-22-8741";

/// This test binary is the worker too: a pool starts it with the name of this test.
#[test]
fn worker_process() {
    match std::env::var("CHAPERONE_TEST_WORKER").as_deref() {
        Ok("serve") => {
            let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            serve(&Detectors::builtin().unwrap(), socket, || Ok(())).unwrap();
        }
        Ok("hang") => loop {
            std::thread::park();
        },
        Ok("die") => {
            let _ = std::io::stdin().read(&mut [0; 4]);
            std::process::abort();
        }
        _ => {}
    }
}

fn pool(kind: &'static str) -> WorkerPool {
    WorkerPool::new(move || {
        let mut command = Command::new("/usr/bin/env");
        command.arg(format!("CHAPERONE_TEST_WORKER={kind}")).arg(std::env::current_exe()?).args([
            "--exact",
            "worker_process",
            "--nocapture",
        ]);
        Worker::spawn(command)
    })
}

fn file(bytes: &[u8]) -> File {
    let mut f = tempfile::tempfile().unwrap();
    f.write_all(bytes).unwrap();
    f
}

#[test]
fn a_worker_inspects_and_redacts_through_descriptors() {
    let pool = pool("serve");
    let csv = format!("id,ssn\n1,{SSN}\n");
    let report = pool.inspect(&file(csv.as_bytes()), "a.csv").unwrap();
    assert_eq!(report.items[0].findings[0].detector, "us_ssn");
    assert_ne!(report.items[0].findings[0].sha256, [0; 32]);
    let mut out = tempfile::tempfile().unwrap();
    pool.redact(&file(csv.as_bytes()), "a.csv", &out).unwrap();
    let mut text = String::new();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, csv.replace(SSN, "[REDACTED:us_ssn]"));
    assert_eq!(pool.idle_pids().len(), 1);
}

#[test]
fn a_worker_killed_while_idle_costs_nothing() {
    let pool = pool("serve");
    pool.inspect(&file(b"x"), "a.txt").unwrap();
    let pid = rustix::process::Pid::from_raw(pool.idle_pids()[0].cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let waited = rustix::process::waitid(
        rustix::process::WaitId::Pid(pid),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    );
    assert!(waited.is_ok());
    assert!(pool.inspect(&file(b"x"), "a.txt").is_ok());
}

#[test]
fn a_worker_that_dies_in_the_middle_costs_one_operation() {
    assert!(matches!(pool("die").inspect(&file(b"x"), "a.txt"), Err(InspectError::Lost)));
}

#[test]
fn a_worker_that_hangs_is_ended_at_the_time_limit() {
    let pool = pool("hang").with_time(Duration::from_millis(200));
    assert!(matches!(pool.inspect(&file(b"x"), "a.txt"), Err(InspectError::Time(_))));
    assert!(pool.idle_pids().is_empty());
}

#[test]
fn the_exit_code_says_found_or_unreadable_and_redaction_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, clean, torn) =
        (folder.path().join("a.csv"), folder.path().join("b.txt"), folder.path().join("c.zip"));
    std::fs::write(&csv, format!("id,ssn\n1,{SSN}\n")).unwrap();
    std::fs::write(&clean, "nothing\n").unwrap();
    std::fs::write(&torn, "PK\x03\x04").unwrap();
    let pool = pool("serve");
    let run = |paths: &[&std::path::PathBuf], redact: bool| {
        let mut out = Vec::new();
        let paths: Vec<_> = paths.iter().map(|p| (*p).clone()).collect();
        (inspect_paths(&pool, &paths, true, redact, &mut out).unwrap(), String::from_utf8(out).unwrap())
    };
    assert_eq!(run(&[&clean], false).0, 0);
    assert_eq!(run(&[&clean, &csv], false).0, 1);
    let (exit, lines) = run(&[&torn, &csv, &clean, &folder.path().join("missing")], false);
    assert_eq!((exit, lines.lines().count()), (2, 4));
    assert!(
        lines.lines().all(|l| l.starts_with("{\"file\":\""))
            && !lines.contains(SSN)
            && lines.contains("\"error\":")
    );
    assert_eq!(run(&[&csv], true).0, 1);
    let redacted = folder.path().join("a.redacted.csv");
    assert_eq!(std::fs::read_to_string(&redacted).unwrap(), "id,ssn\n1,[REDACTED:us_ssn]\n");
    std::fs::write(&redacted, "mine").unwrap();
    assert_eq!(run(&[&csv], true).0, 2);
    assert_eq!(std::fs::read_to_string(&redacted).unwrap(), "mine");
}
