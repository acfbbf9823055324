//! The mediated file system's adapter: what the kernel asks becomes requests to the pipeline.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use chaperone_fs::{
    Cancel, ChangeKind, ChangeRequest, Closed, Decides, Gate, Identity, Object as FsObject, ObjectId,
    ObjectKind as FsKind, OpenRequest, Opened, Opening, Refused,
};
use rustix::io::Errno;

use chaperone_capability::Action;
use chaperone_pipeline::access::{
    AccessRequest, Entry, FileObject, FileResource, ObjectKind, Resource, StagedAs,
};
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::session::Session;
use chaperone_pipeline::{Admission, Authorized, Pending, Pipeline, Refusal};

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
    fn at_once(&self, request: AccessRequest) -> Result<Authorized, Refused> {
        match self.pipeline()?.begin(&self.session, request) {
            Admission::Granted(authorized) => Ok(authorized),
            Admission::Pending(pending) => {
                // Only the opening of an existing file may wait in a file system.
                let pipeline = self.pipeline()?;
                pipeline.resume(&self.session, *pending, &|| true).map_err(|r| refused(&r))
            }
            Admission::Refused(refusal) => Err(refused(&refusal)),
        }
    }
}

impl Decides for MountGate {
    fn change(&self, request: &ChangeRequest<'_>) -> Result<u64, Refused> {
        let counters = &self.session.counters;
        let action = match request.kind {
            ChangeKind::Create | ChangeKind::Write | ChangeKind::Attributes => {
                counters.writes.fetch_add(1, Ordering::Relaxed);
                Action::Write
            }
            ChangeKind::Delete => {
                counters.deletes.fetch_add(1, Ordering::Relaxed);
                Action::Delete
            }
            // One more name is what a rename would have given it.
            ChangeKind::Rename | ChangeKind::Link => Action::Rename,
            ChangeKind::List => Action::List,
        };
        if let (ChangeKind::Link, Some(to)) = (request.kind, request.to) {
            counters.writes.fetch_add(1, Ordering::Relaxed);
            let granted = self.at_once(self.on(
                Action::Write,
                (to, request.to_identity),
                FileObject::ABSENT,
                request.pid,
            ))?;
            self.ended(granted.intent, Action::Write, to, true, 0);
        }
        // What a rename replaces is written to, whatever else the rename is.
        if let (Some(to), Some(replaced)) = (request.to, request.replaces.as_ref()) {
            counters.writes.fetch_add(1, Ordering::Relaxed);
            let granted = self.at_once(self.on(
                Action::Write,
                (to, request.to_identity),
                of_fs(replaced),
                request.pid,
            ))?;
            self.ended(granted.intent, Action::Write, to, true, 0);
        }
        let object = request.object.as_ref().map_or(FileObject::ABSENT, of_fs);
        let mut asked = self.on(action, (request.path, Some(request.identity)), object, request.pid);
        if let Resource::File(file) = &mut asked.resource {
            file.to = request.to.map(|t| self.absolute(t));
        }
        self.at_once(asked).map(|a| a.intent)
    }
}

impl Gate for MountGate {
    fn open(&self, request: OpenRequest) -> Opening {
        let pipeline = match self.pipeline() {
            Ok(pipeline) => pipeline,
            Err(refused) => return Opening::Now(Err(refused)),
        };
        let object = of_fs(&request.object);
        let asked = |action: Action, content: bool| {
            let file = FileResource {
                origin: request.origin.as_ref().map(|o| self.absolute(o)),
                staged_as: Some(staged_as(request.identity)),
                file: Some(Arc::clone(&request.file)),
                content,
                ..FileResource::named(self.absolute(&request.path), object)
            };
            AccessRequest {
                action,
                resource: Resource::File(file),
                entry: Entry::FileSystem,
                pid: Some(request.pid),
            }
        };
        let session = Arc::clone(&self.session);
        // Opening for writing without truncation carries the old content into the stage, so it is a reading, too.
        if request.truncate || (!request.read && object.staged) {
            return Opening::Now(self.at_once(asked(Action::Write, false)).map(|a| opened(&a)));
        }
        let write = request.write.then(|| asked(Action::Write, false));
        // What is carried into the stage is what was released: a redacted copy, too.
        let read = asked(Action::Read, !object.staged);
        let finish = move |pipeline: &Pipeline, session: &Arc<Session>, read: Authorized| {
            session.counters.reads.fetch_add(1, Ordering::Relaxed);
            let Some(write) = write else { return Ok(opened(&read)) };
            let written = match pipeline.begin(session, write) {
                Admission::Granted(write) => Ok(write),
                Admission::Pending(pending) => pipeline.resume(session, *pending, &|| true),
                Admission::Refused(refusal) => Err(refusal),
            };
            // The opening goes on under the intent to read; that to write ends with it, and both with a refusal.
            let ended = written.as_ref().unwrap_or(&read);
            let (action, resource) = (ended.request().action, ended.request().subject());
            let (intent, ok) = (ended.intent, written.is_ok());
            let outcome = Outcome { intent, action, resource, ok, bytes: 0, detail: None };
            pipeline.outcome(session, &outcome).ok();
            written.map(|_| opened(&read)).map_err(|r| refused(&r))
        };
        let resume =
            move |pipeline: &Pipeline, session: &Arc<Session>, pending: Box<Pending>, cancel: &Cancel| {
                pipeline.resume(session, *pending, &|| cancel.is_cancelled()).map_err(|r| refused(&r))
            };
        // To look at a content for the first time takes its while; nothing else in the directory waits for that.
        let is_known = |path: &str| session.snapshots.knows(&object, path);
        let is_quick = is_known(&request.path) && request.origin.as_deref().is_none_or(is_known);
        if !object.staged && !is_quick {
            return Opening::Later(Box::new(move |cancel: &Cancel| {
                let read = match pipeline.begin(&session, read) {
                    Admission::Granted(read) => read,
                    Admission::Refused(refusal) => return Err(refused(&refusal)),
                    Admission::Pending(pending) => resume(&pipeline, &session, pending, cancel)?,
                };
                finish(&pipeline, &session, read)
            }));
        }
        match pipeline.begin(&session, read) {
            Admission::Granted(read) => Opening::Now(finish(&pipeline, &session, read)),
            Admission::Refused(refusal) => Opening::Now(Err(refused(&refusal))),
            Admission::Pending(pending) => Opening::Later(Box::new(move |cancel: &Cancel| {
                let read = resume(&pipeline, &session, pending, cancel)?;
                finish(&pipeline, &session, read)
            })),
        }
    }

    fn changed(&self, request: &ChangeRequest<'_>, handle: u64, ok: bool) {
        let action = match request.kind {
            ChangeKind::Delete => Action::Delete,
            ChangeKind::Rename | ChangeKind::Link => Action::Rename,
            ChangeKind::List => Action::List,
            ChangeKind::Create | ChangeKind::Write | ChangeKind::Attributes => Action::Write,
        };
        self.ended(handle, action, request.path, ok, 0);
    }

    fn hides_names(&self) -> bool {
        self.hide_denied
    }

    fn visible(&self, path: &str) -> bool {
        !self.hide_denied
            || self.pipeline().is_ok_and(|p| !p.is_denied(&self.session, Action::Read, &self.absolute(path)))
    }

    fn closed(&self, handle: u64, closed: &Closed<'_>) {
        self.session.counters.bytes_read.fetch_add(closed.read, Ordering::Relaxed);
        let action = if closed.writable { Action::Write } else { Action::Read };
        self.ended(handle, action, closed.path, true, closed.read + closed.written);
    }
}

impl MountGate {
    fn on(
        &self,
        action: Action,
        (path, identity): (&str, Option<Identity>),
        object: FileObject,
        pid: u32,
    ) -> AccessRequest {
        let file = FileResource {
            staged_as: identity.map(staged_as),
            ..FileResource::named(self.absolute(path), object)
        };
        AccessRequest { action, resource: Resource::File(file), entry: Entry::FileSystem, pid: Some(pid) }
    }

    fn ended(&self, intent: u64, action: Action, path: &str, ok: bool, bytes: u64) {
        if let Ok(pipeline) = self.pipeline() {
            let path = self.absolute(path);
            let outcome = Outcome { intent, action, resource: &path, ok, bytes, detail: None };
            // The effect is done; a log that cannot be written denies whatever comes next.
            pipeline.outcome(&self.session, &outcome).ok();
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
pub fn of_fs(object: &FsObject) -> FileObject {
    FileObject {
        kind: match object.kind {
            FsKind::File | FsKind::Special => ObjectKind::File,
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

/// The same of what the path stood for in the stage.
#[must_use]
pub fn staged_as(identity: Identity) -> StagedAs {
    let blob = match identity.object {
        ObjectId::Blob(blob) => Some(blob),
        ObjectId::Absent | ObjectId::Staged | ObjectId::User(_) => None,
    };
    StagedAs { blob, generation: identity.generation }
}

/// A refusal as an errno; the reason is in `why` and in the log.
fn refused(refusal: &Refusal) -> Refused {
    Refused(
        match refusal.failure.code.as_str() {
            "cancelled" => Errno::INTR,
            "too_much_held" => Errno::NFILE,
            "no_room" => Errno::NOSPC,
            "audit_unavailable" | "internal_error" => Errno::IO,
            _ => Errno::ACCESS,
        }
        .raw_os_error(),
    )
}
