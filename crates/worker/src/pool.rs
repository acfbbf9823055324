//! The broker's side of the workers: a time limit per operation, and a new worker for each one lost.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chaperone_inspect::{Effects, PlaceholderKey, RedactionReport, Report, Restoration};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wire::{Answer, Request, receive, send};

/// Time for one operation, and more for each MiB: protects the one who waits.
const TIME: Duration = Duration::from_secs(10);
const TIME_PER_MIB: Duration = Duration::from_millis(50);
/// Idle workers kept.
const KEPT: usize = 2;

/// Why a document was not inspected; the operation that needed it is denied.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("the inspection worker could not be started: {0}")]
    Start(io::Error),
    #[error("the inspection worker ended while it looked at the file; hand over a plain copy")]
    Lost,
    #[error("the inspection took longer than {} s; hand over a smaller file", .0.as_secs())]
    Time(Duration),
    #[error("{0}")]
    Refused(String),
}

/// A started worker and the socket to it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: UnixStream,
}

impl Worker {
    /// Starts `command` (which calls [`crate::serve`] on its standard input) with nothing of this process's environment.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(mut command: Command) -> io::Result<Worker> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Worker { child, socket: ours })
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Spawn = Box<dyn Fn() -> io::Result<Worker> + Send + Sync>;

/// Workers, started when needed and reused.
pub struct WorkerPool {
    spawn: Spawn,
    idle: Mutex<Vec<Worker>>,
    time: Duration,
}

impl std::fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool").field("time", &self.time).finish_non_exhaustive()
    }
}

impl WorkerPool {
    #[must_use]
    pub fn new(spawn: impl Fn() -> io::Result<Worker> + Send + Sync + 'static) -> WorkerPool {
        WorkerPool { spawn: Box::new(spawn), idle: Mutex::new(Vec::new()), time: TIME }
    }

    /// The same with another time limit.
    #[must_use]
    pub fn with_time(mut self, time: Duration) -> WorkerPool {
        self.time = time;
        self
    }

    /// Inspects a file that does not change (see [`crate::snapshot`]).
    ///
    /// # Errors
    /// When the worker crashes, hangs or cannot be started. Parts that cannot be inspected are errors of their items.
    pub fn inspect(&self, file: &File, name: &str) -> Result<Report, InspectError> {
        self.inspected(file, name, false)
    }

    /// The same, with every value that was weighed and why ([`chaperone_inspect::Candidate`]).
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`].
    pub fn explain(&self, file: &File, name: &str) -> Result<Report, InspectError> {
        self.inspected(file, name, true)
    }

    fn inspected(&self, file: &File, name: &str, explains: bool) -> Result<Report, InspectError> {
        let request = Request::Inspect { name: name.to_string(), explains };
        match self.ask(&request, file, &[file.as_fd()])? {
            Answer::Inspected { items, bytes, digests } => {
                Answer::report(items, bytes, &digests).ok_or(InspectError::Lost)
            }
            Answer::Refused(why) => Err(InspectError::Refused(why)),
            _ => Err(InspectError::Lost),
        }
    }

    /// Writes the redacted copy of `file` to the empty file `out`, with tags in its placeholders where there is a key.
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`], and when the format cannot be kept or something would remain.
    pub fn redact(
        &self,
        file: &File,
        name: &str,
        key: Option<PlaceholderKey>,
        out: &File,
    ) -> Result<RedactionReport, InspectError> {
        let request = Request::Redact { name: name.to_string(), key: key.map(|key| key.bytes()) };
        match self.ask(&request, file, &[file.as_fd(), out.as_fd()])? {
            Answer::Redacted(done) => Ok(done),
            Answer::Refused(why) => Err(InspectError::Refused(why)),
            _ => Err(InspectError::Lost),
        }
    }

    /// Writes `edited` to the empty file `out` with the values of `original` that its placeholders stand for; nothing when
    /// none is restored. It was called by the first of the names and will be by the other.
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`], and when it holds placeholders and cannot be rewritten.
    pub fn restore(
        &self,
        (original, key): (Option<&File>, PlaceholderKey),
        edited: &File,
        (name, new_name): (&str, &str),
        out: &File,
    ) -> Result<Restoration, InspectError> {
        let (name, new_name) = (name.to_string(), new_name.to_string());
        let request = Request::Restore { name, new_name, key: key.bytes() };
        let mut files = vec![edited.as_fd(), out.as_fd()];
        files.extend(original.map(AsFd::as_fd));
        match self.ask(&request, original.unwrap_or(edited), &files)? {
            Answer::Restored(done) => Ok(done),
            Answer::Refused(why) => Err(InspectError::Refused(why)),
            _ => Err(InspectError::Lost),
        }
    }

    /// What a file does when a program opens it.
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`].
    pub fn effects(&self, file: &File, name: &str) -> Result<Effects, InspectError> {
        match self.ask(&Request::Effects { name: name.to_string() }, file, &[file.as_fd()])? {
            Answer::Effects(found) => Ok(found),
            Answer::Refused(why) => Err(InspectError::Refused(why)),
            _ => Err(InspectError::Lost),
        }
    }

    /// Writes the text of a document to the empty file `out`; at most 4 MiB.
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`].
    pub fn text(&self, file: &File, name: &str, out: &File) -> Result<(), InspectError> {
        self.tell(&Request::Text { name: name.to_string() }, file, out)
    }

    /// Writes a document as lines ([`chaperone_inspect::document::lines`]) in JSON to the empty file `out`: `null` of what has none.
    ///
    /// # Errors
    /// As for [`WorkerPool::inspect`].
    pub fn lines(&self, file: &File, name: &str, out: &File) -> Result<(), InspectError> {
        self.tell(&Request::Lines { name: name.to_string() }, file, out)
    }

    fn tell(&self, request: &Request, file: &File, out: &File) -> Result<(), InspectError> {
        match self.ask(request, file, &[file.as_fd(), out.as_fd()])? {
            Answer::Told => Ok(()),
            Answer::Refused(why) => Err(InspectError::Refused(why)),
            _ => Err(InspectError::Lost),
        }
    }

    /// The process ids of the idle workers.
    #[must_use]
    pub fn idle_pids(&self) -> Vec<u32> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Worker::pid).collect()
    }

    fn ask(&self, request: &Request, file: &File, files: &[BorrowedFd<'_>]) -> Result<Answer, InspectError> {
        let mib = u32::try_from(file.metadata().map_or(0, |m| m.len()) >> 20).unwrap_or(u32::MAX);
        let time = self.time.saturating_add(TIME_PER_MIB.saturating_mul(mib));
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(worker) = idle {
            match self.ask_worker(worker, request, files, time) {
                // Whatever befell one that was idle says nothing about this file: a fresh one is asked.
                Err(InspectError::Lost) => {}
                answered => return answered,
            }
        }
        let worker = (self.spawn)().map_err(InspectError::Start)?;
        self.ask_worker(worker, request, files, time)
    }

    /// One question to one worker, which is kept only when it answered.
    fn ask_worker(
        &self,
        worker: Worker,
        request: &Request,
        files: &[BorrowedFd<'_>],
        time: Duration,
    ) -> Result<Answer, InspectError> {
        send(&worker.socket, request, files).map_err(|_| InspectError::Lost)?;
        let deadline = Instant::now() + time;
        wait(&worker.socket, deadline).then_some(()).ok_or(InspectError::Time(time))?;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        worker.socket.set_read_timeout(Some(left)).map_err(|_| InspectError::Lost)?;
        let (answer, _) =
            receive::<Answer>(&worker.socket).map_err(|_| InspectError::Lost)?.ok_or(InspectError::Lost)?;
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(worker);
        }
        Ok(answer)
    }
}

/// Whether there is something to read before the deadline.
fn wait(socket: &UnixStream, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let Ok(left) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&left)) {
            Ok(n) if n > 0 => return true,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
