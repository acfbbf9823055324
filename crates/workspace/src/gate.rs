//! The mediated file system's adapter: what the kernel asks becomes deeds for the pipeline.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use chaperone_fs::{
    Cancel, ChangeKind, ChangeRequest, Closed, Gate, Object as FsObject, ObjectKind as FsKind, OpenRequest,
    Opened, Opening, Refused,
};
use rustix::io::Errno;

use chaperone_pipeline::pipeline::{
    Authorized, Deed, Done, Object, ObjectKind, Pending, Pipeline, Refusal, Step,
};
use chaperone_pipeline::session::Session;

/// The gate of one mount of one session.
pub struct MountGate {
    pipeline: Weak<Pipeline>,
    session: Arc<Session>,
    at: String,
    hide_denied: bool,
}

impl MountGate {
    #[must_use]
    pub fn new(pipeline: &Arc<Pipeline>, session: &Arc<Session>, at: &str, hide_denied: bool) -> Self {
        Self {
            pipeline: Arc::downgrade(pipeline),
            session: Arc::clone(session),
            at: at.to_owned(),
            hide_denied,
        }
    }

    fn absolute(&self, path: &str) -> String {
        if path.is_empty() { self.at.clone() } else { format!("{}/{path}", self.at) }
    }

    fn pipeline(&self) -> Result<Arc<Pipeline>, Refused> {
        self.pipeline.upgrade().ok_or(Refused(Errno::IO.raw_os_error()))
    }

    /// A change that must be decided at once: an ask is a denial here, it is asked at commit.
    fn at_once(&self, deed: Deed) -> Result<Authorized, Refused> {
        match self.pipeline()?.begin(&self.session, deed) {
            Step::Granted(authorized) => Ok(authorized),
            Step::Pending(pending) => {
                // Only the opening of an existing file may wait in a file system.
                let pipeline = self.pipeline()?;
                pipeline.resume(&self.session, *pending, &|| true).map_err(|r| refused(&r))
            }
            Step::Refused(refusal) => Err(refused(&refusal)),
        }
    }
}

impl Gate for MountGate {
    fn open(&self, request: OpenRequest) -> Opening {
        let pipeline = match self.pipeline() {
            Ok(pipeline) => pipeline,
            Err(refused) => return Opening::Now(Err(refused)),
        };
        let object = of_fs(&request.object);
        let blank = Deed {
            origin: request.origin.as_ref().map(|o| self.absolute(o)),
            file: Some(Arc::clone(&request.file)),
            content: !object.staged,
            verbatim: request.write,
            pid: Some(request.pid),
            ..Deed::on("fs", "read", self.absolute(&request.path), object)
        };
        let session = Arc::clone(&self.session);
        // Opening for writing without truncation carries the old content into the stage, so it is a reading, too.
        if request.truncate || (!request.read && object.staged) {
            let write = Deed { action: "write", content: false, verbatim: false, ..blank };
            return Opening::Now(self.at_once(write).map(|a| opened(&a)));
        }
        let write =
            request.write.then(|| Deed { action: "write", content: false, verbatim: false, ..blank.clone() });
        let finish = move |pipeline: &Pipeline, session: &Arc<Session>, read: Authorized| {
            session.counters.reads.fetch_add(1, Ordering::Relaxed);
            let Some(write) = write else { return Ok(opened(&read)) };
            match pipeline.begin(session, write) {
                Step::Granted(_) => Ok(opened(&read)),
                Step::Pending(pending) => pipeline
                    .resume(session, *pending, &|| true)
                    .map(|_| opened(&read))
                    .map_err(|r| refused(&r)),
                Step::Refused(refusal) => Err(refused(&refusal)),
            }
        };
        let resume =
            move |pipeline: &Pipeline, session: &Arc<Session>, pending: Box<Pending>, cancel: &Cancel| {
                pipeline.resume(session, *pending, &|| cancel.is_cancelled()).map_err(|r| refused(&r))
            };
        // To look at a content for the first time takes its while; nothing else in the folder waits for that.
        if blank.content && !pipeline.inspection.knows(&object) {
            return Opening::Later(Box::new(move |cancel: &Cancel| {
                let read = match pipeline.begin(&session, blank) {
                    Step::Granted(read) => read,
                    Step::Refused(refusal) => return Err(refused(&refusal)),
                    Step::Pending(pending) => resume(&pipeline, &session, pending, cancel)?,
                };
                finish(&pipeline, &session, read)
            }));
        }
        match pipeline.begin(&session, blank) {
            Step::Granted(read) => Opening::Now(finish(&pipeline, &session, read)),
            Step::Refused(refusal) => Opening::Now(Err(refused(&refusal))),
            Step::Pending(pending) => Opening::Later(Box::new(move |cancel: &Cancel| {
                let read = resume(&pipeline, &session, pending, cancel)?;
                finish(&pipeline, &session, read)
            })),
        }
    }

    fn change(&self, request: &ChangeRequest<'_>) -> Result<u64, Refused> {
        let counters = &self.session.counters;
        let action = match request.kind {
            ChangeKind::Create | ChangeKind::Write | ChangeKind::Attributes => {
                counters.writes.fetch_add(1, Ordering::Relaxed);
                "write"
            }
            ChangeKind::Delete => {
                counters.deletes.fetch_add(1, Ordering::Relaxed);
                "delete"
            }
            ChangeKind::Rename => "rename",
        };
        let object = request.object.as_ref().map_or(Object::ABSENT, of_fs);
        let deed = Deed {
            to: request.to.map(|t| self.absolute(t)),
            pid: Some(request.pid),
            ..Deed::on("fs", action, self.absolute(request.path), object)
        };
        self.at_once(deed).map(|a| a.intent)
    }

    fn changed(&self, request: &ChangeRequest<'_>, handle: u64, ok: bool) {
        let action = match request.kind {
            ChangeKind::Delete => "delete",
            ChangeKind::Rename => "rename",
            _ => "write",
        };
        self.ended(handle, action, request.path, ok, 0);
    }

    fn list(&self, path: &str, pid: u32) -> Result<(), Refused> {
        let object = Object { kind: ObjectKind::Dir, ..Object::ABSENT };
        let deed = Deed { pid: Some(pid), ..Deed::on("fs", "list", self.absolute(path), object) };
        let granted = self.at_once(deed)?;
        self.ended(granted.intent, "list", path, true, 0);
        Ok(())
    }

    fn hides_names(&self) -> bool {
        self.hide_denied
    }

    fn visible(&self, path: &str) -> bool {
        !self.hide_denied
            || self.pipeline().is_ok_and(|p| !p.is_denied(&self.session, "read", &self.absolute(path)))
    }

    fn closed(&self, handle: u64, closed: &Closed<'_>) {
        self.session.counters.bytes_read.fetch_add(closed.read, Ordering::Relaxed);
        let action = if closed.writable { "write" } else { "read" };
        self.ended(handle, action, closed.path, true, closed.read + closed.written);
    }
}

impl MountGate {
    fn ended(&self, intent: u64, action: &'static str, path: &str, ok: bool, bytes: u64) {
        if let Ok(pipeline) = self.pipeline() {
            let path = self.absolute(path);
            let done = Done { intent, action, path: &path, ok, bytes, detail: None };
            // The effect is done; a log that cannot be written denies whatever comes next.
            pipeline.outcome(&self.session, &done).ok();
        }
    }
}

fn opened(authorized: &Authorized) -> Opened {
    Opened {
        handle: authorized.intent,
        bytes: authorized.released.as_ref().map(|r| (Arc::clone(&r.file), r.version, r.len)),
    }
}

/// The broker's view of a resolved object of the file system.
#[must_use]
pub fn of_fs(object: &FsObject) -> Object {
    Object {
        kind: match object.kind {
            FsKind::File => ObjectKind::File,
            FsKind::Dir => ObjectKind::Dir,
            FsKind::Symlink => ObjectKind::Symlink,
        },
        dev: object.dev,
        ino: object.ino,
        nlink: object.nlink,
        size: object.size,
        mtime_ns: object.mtime_ns,
        ctime_ns: object.ctime_ns,
        staged: object.staged,
    }
}

/// A refusal as an errno; the reason is in `why` and in the log.
fn refused(refusal: &Refusal) -> Refused {
    Refused(
        match refusal.failure.code.as_str() {
            "cancelled" => Errno::INTR,
            "audit_unavailable" | "internal_error" => Errno::IO,
            _ => Errno::ACCESS,
        }
        .raw_os_error(),
    )
}
