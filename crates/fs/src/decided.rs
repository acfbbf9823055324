//! What was decided, bound to what it was decided about. Whatever changes the tree or lists a directory takes one of these:
//! nothing is done at a path because something was decided about that path before.

use std::sync::Arc;

use chaperone_quota::HeldFile;
use rustix::io::Errno;

use crate::gate::{self, Cancel, ChangeKind, ChangeRequest, Decides, Gate, OpenRequest, Opening, Refused};
use crate::object::{Identity, Located, Object, ObjectId};
use crate::tree;

/// A change or a listing that was let through. There is no way to one but to have it decided, so what is changed or listed is
/// what was decided on:
///
/// ```compile_fail,E0308
/// fn act(tree: &chaperone_fs::Tree, at: &chaperone_fs::Located) {
///     tree.remove_file(at);
/// }
/// ```
///
/// ```compile_fail,E0308
/// fn look(tree: &chaperone_fs::Tree, path: &str) {
///     tree.list(path);
/// }
/// ```
///
/// ```
/// fn act(tree: &chaperone_fs::Tree, decided: &chaperone_fs::Decided) {
///     tree.list(decided).ok();
///     tree.remove_file(decided).ok();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Decided {
    kind: ChangeKind,
    at: Located,
    to: Option<Destination>,
    handle: u64,
    pid: u32,
    /// The same about other names of the file.
    also: Vec<Self>,
}

/// Where a rename goes.
#[derive(Debug, Clone)]
struct Destination {
    place: String,
    /// What stands there, where that was decided on, too.
    replaces: Option<(Option<Object>, Identity)>,
}

impl Decided {
    /// Have a change decided of what was located.
    ///
    /// # Errors
    /// The errno for the caller.
    pub fn by(
        decides: &(impl Decides + ?Sized),
        kind: ChangeKind,
        at: &Located,
        pid: u32,
    ) -> Result<Self, Refused> {
        Self { kind, at: at.clone(), to: None, handle: 0, pid, also: Vec::new() }.asked(decides)
    }

    /// Have the rename of what was located decided: it is `from` itself or in it, and `from` goes to `to`.
    ///
    /// # Errors
    /// The errno for the caller.
    pub fn of_move(
        decides: &(impl Decides + ?Sized),
        at: &Located,
        (from, to): (&Located, &Located),
        pid: u32,
    ) -> Result<Self, Refused> {
        // What is in a directory that moves replaces nothing.
        let replaces = (at.path() == from.path()).then(|| (to.object(), to.identity()));
        let to = Some(Destination { place: at.moved(from, to), replaces });
        Self { kind: ChangeKind::Rename, at: at.clone(), to, handle: 0, pid, also: Vec::new() }.asked(decides)
    }

    /// Have one more name decided for a file.
    ///
    /// # Errors
    /// The errno for the caller.
    pub fn of_link(
        decides: &(impl Decides + ?Sized),
        at: &Located,
        to: &Located,
        pid: u32,
    ) -> Result<Self, Refused> {
        let to = Some(Destination { place: to.path().to_owned(), replaces: Some((None, to.identity())) });
        Self { kind: ChangeKind::Link, at: at.clone(), to, handle: 0, pid, also: Vec::new() }.asked(decides)
    }

    /// Have a rename decided of everything that it moves, each for itself: policy may protect one inside. Returns what was let through,
    /// and whether that is all.
    pub(crate) fn of_moves(
        decides: &(impl Decides + ?Sized),
        moved: &[Located],
        to: &Located,
        pid: u32,
    ) -> (Vec<Self>, Result<(), Refused>) {
        let mut granted = Vec::new();
        for at in moved {
            match Self::of_move(decides, at, (moved.first().unwrap_or(at), to), pid) {
                Ok(decided) => granted.push(decided),
                Err(refused) => return (granted, Err(refused)),
            }
        }
        (granted, Ok(()))
    }

    /// What an opening lets write, it lets give another mode: as long as the name stands for the file that is open.
    pub(crate) fn through((blob, handle): (Option<u64>, u64), at: &Located) -> Option<Self> {
        let is_open = blob.is_some_and(|blob| at.identity().object == ObjectId::Blob(blob));
        is_open.then(|| Self {
            kind: ChangeKind::Attributes,
            at: at.clone(),
            to: None,
            handle,
            pid: 0,
            also: Vec::new(),
        })
    }

    fn asked(mut self, decides: &(impl Decides + ?Sized)) -> Result<Self, Refused> {
        self.handle = decides.change(&self.request())?;
        Ok(self)
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> ChangeRequest<'_> {
        let replaces = self.to.as_ref().and_then(|to| to.replaces);
        ChangeRequest {
            kind: self.kind,
            path: self.at.path(),
            to: self.to.as_ref().map(|to| &*to.place),
            // What is made is decided on as made anew; where something is already, making it fails.
            object: if self.kind == ChangeKind::Create { None } else { self.at.object() },
            identity: self.at.identity(),
            replaces: replaces.and_then(|(object, _)| object),
            to_identity: replaces.map(|(_, identity)| identity),
            pid: self.pid,
        }
    }

    /// The name of the decision.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// With what was decided about other names of the file.
    #[must_use]
    pub(crate) fn and(self, also: Vec<Self>) -> Self {
        Self { also, ..self }
    }

    /// What was decided about other names of the file.
    pub(crate) fn also(&self) -> &[Self] {
        &self.also
    }

    /// Where it goes, when it is a rename or one more name.
    pub(crate) fn place(&self) -> Option<&str> {
        self.to.as_ref().map(|to| &*to.place)
    }

    /// What it is about.
    #[must_use]
    pub fn located(&self) -> &Located {
        &self.at
    }

    /// What may be changed in one of these ways.
    pub(crate) fn for_one_of(&self, kinds: &[ChangeKind]) -> Result<&Located, Errno> {
        if kinds.contains(&self.kind) { Ok(&self.at) } else { Err(Errno::STALE) }
    }

    /// What may be moved, when it is to this place and over this object.
    pub(crate) fn to(&self, place: &str, target: Option<&Located>) -> Result<&Located, Errno> {
        if self.goes(place, target) { self.for_one_of(&[ChangeKind::Rename]) } else { Err(Errno::STALE) }
    }

    /// What may have one more name, when it is this one.
    pub(crate) fn named(&self, to: &Located) -> Result<&Located, Errno> {
        if self.goes(to.path(), Some(to)) { self.for_one_of(&[ChangeKind::Link]) } else { Err(Errno::STALE) }
    }

    fn goes(&self, place: &str, target: Option<&Located>) -> bool {
        self.to.as_ref().is_some_and(|to| {
            to.place == place && target.is_none_or(|t| to.replaces.is_some_and(|(_, id)| id == t.identity()))
        })
    }
}

/// An opening that was let through, with the object that it is on.
pub(crate) struct DecidedOpening {
    opened: tree::Opened,
    verdict: gate::Opened,
    writes: Option<Decided>,
}

/// How a file is to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub read: bool,
    pub write: bool,
    pub truncate: bool,
}

impl DecidedOpening {
    /// Have the opening decided of what was opened; `slow` is called before somebody is waited for.
    pub fn by(
        gate: &dyn Gate,
        opened: tree::Opened,
        how: How,
        pid: u32,
        (cancel, slow): (&Cancel, &dyn Fn()),
    ) -> Result<Self, Refused> {
        let request = OpenRequest {
            path: opened.located.path().to_owned(),
            origin: opened.origin.clone(),
            object: opened.object,
            identity: opened.located.identity(),
            file: Arc::clone(&opened.file),
            read: how.read,
            write: how.write,
            truncate: how.truncate,
            pid,
        };
        let verdict = match gate.open(request) {
            Opening::Now(verdict) => verdict,
            Opening::Later(decide) => {
                slow();
                decide(cancel)
            }
        }?;
        let at = how.write.then(|| opened.located.clone());
        let handle = verdict.handle;
        let writes =
            at.map(|at| Decided { kind: ChangeKind::Write, at, to: None, handle, pid, also: Vec::new() });
        Ok(Self { opened, verdict, writes })
    }

    pub fn opened(&self) -> &tree::Opened {
        &self.opened
    }

    pub fn verdict(&self) -> &gate::Opened {
        &self.verdict
    }

    /// What may be read of it: the bytes that were released, or the object itself.
    pub fn served(&self) -> &Arc<HeldFile> {
        self.verdict.bytes.as_ref().map_or(&self.opened.file, |(file, _, _)| file)
    }

    /// That it may be written.
    pub fn to_write(&self) -> Result<&Decided, Errno> {
        self.writes.as_ref().ok_or(Errno::ACCESS)
    }
}
