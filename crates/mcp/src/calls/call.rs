//! One call of one conversation, and the steps that tools share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chaperone_capability::Action;
use chaperone_fs::{Located, ObjectKind as FsKind};
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject, Resource, ToolResource};
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::{Admission, Authorized};
use chaperone_protocol::{Failure, for_display};
use chaperone_workspace::gate::{of_fs, staged_as};
use chaperone_workspace::mediated::MediatedDirectory;
use chaperone_workspace::mount::LiveMount;
use rustix::io::Errno;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::session_tools::SessionTools;
use crate::tools::{self, Encoding};

/// Decisions on one call, where what was decided on is another object by the time of the act.
const DECISIONS: usize = 4;
/// The failure upon which a call is decided anew.
const CHANGED: &str = "changed_meanwhile";
/// Characters of a path that is none, in its record.
const MAX_SHOWN: usize = 300;

/// One call of one conversation.
pub(crate) struct Call<'a> {
    pub tools: &'a SessionTools,
    pub pid: Option<u32>,
}

/// A resolved path.
pub(super) struct Place<'a> {
    pub mount: &'a LiveMount,
    pub tree: MediatedDirectory<'a>,
    /// Relative to the mount.
    pub below: String,
}

pub(super) type Answer = Result<Value, Failure>;

impl Call<'_> {
    /// The path in its one normal form, without the links that it leads through; an attempt with one that has none is a refusal with
    /// a record. The workspace's own place on the user's machine is the same object as /workspace, and is called that.
    pub(super) fn path(&self, action: Action, text: &str) -> Result<String, Failure> {
        let whole = tools::below_workspace(text);
        let inside = self.tools.mounts.named_inside(&whole);
        let text = inside.as_deref().unwrap_or(&whole);
        let behind_links = || {
            let names = tools::names(text).ok().filter(|_| text.starts_with('/'))?;
            // Too many links are met again, and refused, where the path is used.
            self.behind_links(action, &names).ok().flatten()
        };
        let normal = match (action, behind_links()) {
            (Action::Elevate, _) | (_, None) => tools::path(text),
            (_, Some(real)) => Ok(real),
        };
        normal.map_err(|failure| {
            let shown = for_display(text, MAX_SHOWN);
            self.refuse(action, &shown, failure)
        })
    }

    pub(super) fn refuse(&self, action: Action, path: &str, failure: Failure) -> Failure {
        if let Err(failure) = self.tools.session.authenticate() {
            return failure;
        }
        let asked = self.asked(action, path, FileObject::ABSENT);
        self.tools.pipeline.refuse(&self.tools.session, &asked, failure.into()).failure
    }

    pub(super) fn place(&self, path: &str) -> Result<Place<'_>, Failure> {
        let (index, below) = self.tools.session.mount_of(path).ok_or_else(|| not_here(path))?;
        let mount = self.tools.mounts.list().get(index).ok_or_else(|| not_here(path))?;
        let tree = mount.served().ok_or_else(|| {
            Failure::new("not_mediated", format!("{} is not mediated", mount.at))
                .advise("use the files of this mount directly")
        })?;
        if mount.hide_denied {
            self.not_hidden(&mount.at, path)?;
        }
        self.not_through_a_link(&tree, below, path)?;
        Ok(Place { mount, tree, below: below.to_owned() })
    }

    /// As the file system has it: what may not be read, whatever its content is, is not there, nor is what is below it.
    /// The attempt is decided and recorded all the same.
    fn not_hidden(&self, mount: &str, path: &str) -> Result<(), Failure> {
        let (pipeline, session) = (&self.tools.pipeline, &self.tools.session);
        let below = path.get(mount.len()..).unwrap_or_default();
        let ends = below.match_indices('/').map(|(at, _)| mount.len() + at).chain([path.len()]);
        let mut places = ends.filter_map(|end| path.get(..end)).filter(|place| place.len() > mount.len());
        if !places.any(|place| pipeline.is_denied(session, Action::Read, place)) {
            return Ok(());
        }
        match pipeline.begin(session, self.asked(Action::Read, path, FileObject::ABSENT)) {
            // The directory above it is what hides it.
            Admission::Granted(granted) => self.done(&granted, Action::Read, path, false, 0)?,
            Admission::Pending(_) | Admission::Refused(_) => {}
        }
        Err(errno(Errno::NOENT, path))
    }

    /// What is behind a link has a name of its own, by which it is judged: a link that is met here leads out, or is newer than the look
    /// at the path.
    pub(super) fn not_through_a_link(
        &self,
        tree: &MediatedDirectory<'_>,
        below: &str,
        path: &str,
    ) -> Result<(), Failure> {
        if below.is_empty() || tree.is_plain(below) {
            return Ok(());
        }
        let mut at = String::new();
        for name in below.split('/').filter(|n| !n.is_empty()) {
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(name);
            if tree.attributes(&at).is_ok_and(|s| s.object.kind == FsKind::Symlink) && at != below {
                let failure = Failure::new("through_a_link", format!("{path} leads through a link"))
                    .advise("use the real path");
                return Err(self.refuse(Action::List, path, failure));
            }
        }
        Ok(())
    }

    pub(super) fn asked(&self, action: Action, path: &str, object: FileObject) -> AccessRequest {
        AccessRequest { pid: self.pid, ..AccessRequest::file(Entry::Rpc, action, path.to_owned(), object) }
    }

    /// The same on what was located there.
    pub(super) fn asked_of(&self, action: Action, path: &str, at: &Located) -> AccessRequest {
        let object = at.object().as_ref().map_or(FileObject::ABSENT, of_fs);
        let mut asked = self.asked(action, path, object);
        if let Resource::File(file) = &mut asked.resource {
            file.staged_as = Some(staged_as(at.identity()));
        }
        asked
    }

    /// Decide on a tool that acts on the session itself.
    pub(super) async fn tool(
        &self,
        name: &'static str,
        arguments: [u8; 32],
        cancelled: &CancellationToken,
    ) -> Result<Authorized, Failure> {
        let resource = Resource::Tool(ToolResource { name, arguments });
        self.ask(
            AccessRequest { action: Action::Tool, resource, entry: Entry::Rpc, pid: self.pid },
            cancelled,
        )
        .await
    }

    /// Record how such a tool ended.
    pub(super) fn after_tool(&self, granted: &Authorized, answer: Answer) -> Answer {
        self.done(granted, Action::Tool, granted.request().subject(), answer.is_ok(), 0)?;
        answer
    }

    /// Through the pipeline; while the user is asked, other calls of the conversation go on.
    pub(super) async fn ask(
        &self,
        request: AccessRequest,
        cancelled: &CancellationToken,
    ) -> Result<Authorized, Failure> {
        match self.tools.pipeline.begin(&self.tools.session, request) {
            Admission::Granted(granted) => Ok(granted),
            Admission::Refused(refusal) => Err(refusal.failure),
            Admission::Pending(pending) => {
                let (pipeline, session) = (Arc::clone(&self.tools.pipeline), Arc::clone(&self.tools.session));
                let gone = Arc::new(AtomicBool::new(false));
                let watched = Arc::clone(&gone);
                let waiting = tokio::task::spawn_blocking(move || {
                    pipeline.resume(&session, *pending, &|| watched.load(Ordering::Acquire))
                });
                let guard = SetOnDrop(gone);
                let answer = tokio::select! {
                    answer = waiting => answer,
                    () = cancelled.cancelled() => {
                        return Err(Failure::new("cancelled", "the request was withdrawn"));
                    }
                };
                drop(guard);
                answer
                    .map_err(|_| Failure::new("internal_error", "a fault inside the broker"))?
                    .map_err(|r| r.failure)
            }
        }
    }

    pub(super) fn done(
        &self,
        granted: &Authorized,
        action: Action,
        path: &str,
        ok: bool,
        bytes: u64,
    ) -> Result<(), Failure> {
        let outcome = Outcome { intent: granted.intent, action, resource: path, ok, bytes, detail: None };
        self.tools.pipeline.outcome(&self.tools.session, &outcome)
    }

    pub(super) fn invalidate(&self, place: &Place<'_>) {
        self.tools.mounts.invalidate(&place.mount.at, &[&place.below]);
    }
}

/// Decide and act; where what was decided on is another object by the time of the act, decide anew.
pub(super) async fn anew<T, F>(act: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 1..DECISIONS {
        match act().await {
            Err(failure) if failure.code == CHANGED => {}
            done => return done,
        }
    }
    act().await
}

/// Tells the waiting thread that nobody wants its answer, when the call is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

pub(super) fn decode(content: String, encoding: Encoding) -> Result<Vec<u8>, Failure> {
    match encoding {
        Encoding::Text => Ok(content.into_bytes()),
        Encoding::Base64 => {
            BASE64.decode(content).map_err(|_| Failure::new("bad_arguments", "the content is not base64"))
        }
    }
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(super) fn content_hash(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(super) fn not_here(path: &str) -> Failure {
    Failure::new("not_found", format!("{path} is in no mount of this session"))
        .advise("list /workspace to see what there is")
}

pub(super) fn errno(error: Errno, path: &str) -> Failure {
    let shown = for_display(path, 300);
    let map: BTreeMap<i32, (&str, &str)> = BTreeMap::from([
        (Errno::NOENT.raw_os_error(), ("not_found", "does not exist")),
        (Errno::ISDIR.raw_os_error(), ("is_a_directory", "is a directory")),
        (Errno::NOTDIR.raw_os_error(), ("not_a_directory", "is not a directory")),
        (Errno::EXIST.raw_os_error(), ("already_exists", "exists already")),
        (Errno::NOTEMPTY.raw_os_error(), ("not_empty", "is not empty")),
        (Errno::LOOP.raw_os_error(), ("through_a_link", "is a link")),
        (Errno::STALE.raw_os_error(), (CHANGED, "became another file while it was decided on")),
        (
            Errno::XDEV.raw_os_error(),
            ("cannot_move", "has too much in it to be moved at once; move what is in it"),
        ),
        (Errno::NXIO.raw_os_error(), ("not_a_file", "is neither a file nor a directory")),
    ]);
    match map.get(&error.raw_os_error()) {
        Some((code, text)) => Failure::new(code, format!("{shown} {text}")),
        None => Failure::new("io_error", format!("{shown}: {error}")),
    }
}
