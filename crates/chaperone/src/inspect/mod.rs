//! `inspect`, and the worker process that parses documents for it and for the broker.

mod print;

use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;

use chaperone_inspect::Detectors;
use chaperone_worker::{Worker, WorkerPool, serve};

use crate::cli::Inspect;
use crate::out;
use crate::report::Report;

pub fn inspect(args: &Inspect) -> Result<u8, Report> {
    let exe = std::env::current_exe().map_err(Report::of)?;
    let workers = WorkerPool::new(move || {
        let mut command = Command::new(&exe);
        command.arg("__worker");
        Worker::spawn(command)
    });
    let mut to = std::io::stdout().lock();
    let printed = print::inspect_paths(&workers, args, &mut to).and_then(|code| to.flush().map(|()| code));
    printed.map_err(|e| out::end(&e))
}

/// Serve parse requests on standard input (a socket) until it closes; confined before the first one.
pub fn worker_process() -> Result<u8, Report> {
    let detectors = Detectors::builtin().map_err(Report::of)?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(Report::of)?;
    serve(&detectors, socket, chaperone_sys::confine_worker).map_err(Report::of)?;
    Ok(0)
}
