//! The worker process: what it costs when it dies; and the snapshot that it looks at.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use chaperone_inspect::Detectors;
use chaperone_quota::{Quota, Used};
use chaperone_worker::{InspectError, Place, Worker, WorkerPool, serve, snapshot};

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
    pool.redact(&file(csv.as_bytes()), "a.csv", None, &out).unwrap();
    let mut text = String::new();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, csv.replace(SSN, "[REDACTED:us_ssn]"));
    assert_eq!(pool.idle_pids().len(), 1);
}

#[test]
fn what_a_document_does_is_found_in_a_worker_or_the_worker_is_lost() {
    let page = file(b"<img src='https://a.example/x.png'><script>x()</script>");
    let found = pool("serve").effects(&page, "a.html").unwrap().reach.unwrap();
    assert_eq!((found.loads.len(), found.active.is_empty(), found.unseen), (1, false, false));
    let table = pool("serve").effects(&file(b"=1+2,x\n"), "a.csv").unwrap();
    assert_eq!((table.reach, table.formula_cells), (None, Some(1)));
    assert!(matches!(pool("die").effects(&page, "a.html"), Err(InspectError::Lost)));
    let hanging = pool("hang").with_time(Duration::from_millis(200));
    assert!(matches!(hanging.effects(&page, "a.html"), Err(InspectError::Time(_))));
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
fn a_snapshot_is_the_bytes_and_cannot_be_changed() {
    let quota = Quota::unlimited();
    let in_memory = |len| Ok(Place::Memory(quota.take(len, 1).map_err(io::Error::other)?));
    let taken = snapshot(&file(b"abc"), 1 << 20, &in_memory).unwrap();
    assert_eq!(taken.len, 3);
    assert_eq!(
        taken.sha256.iter().map(|b| format!("{b:02x}")).collect::<String>(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert!((&*taken.file).write_all(b"x").is_err());
    assert_eq!(quota.used(), Used { memory: 3, descriptors: 1 });
    assert!(snapshot(&file(b"abcd"), 3, &in_memory).is_err());
    drop(taken);
    assert_eq!(quota.used(), Used::default());
}
