//! Files and directories.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chaperone_capability::Action;
use chaperone_fs::{Attributes, Located, ObjectKind as FsKind, OpenedFile};
use chaperone_pipeline::Authorized;
use chaperone_pipeline::access::{AccessRequest, Entry, FileResource, Resource};
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;
use chaperone_workspace::gate::{of_fs, staged_as};
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, Place, anew, content_hash, decode, errno, not_here};
use super::folders::has_a_directory;
use crate::tools::{self, Encoding};

/// Bytes of one `read_file` answer.
const MAX_READ: u64 = 4 << 20;

impl Call<'_> {
    pub(super) async fn list_directory(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::List, &a.path)?;
        // The parents of mounts exist, too: they hold the mounts and nothing else.
        if self.tools.session.mount_of(&path).is_none() {
            let prefix = format!("{path}/");
            let names: std::collections::BTreeSet<&str> = self
                .tools
                .session
                .mounts
                .iter()
                .filter_map(|m| m.at.strip_prefix(&prefix)?.split('/').next())
                .collect();
            if names.is_empty() {
                return Err(not_here(&path));
            }
            let granted =
                self.tool("list_directory", Sha256::digest(path.as_bytes()).into(), cancelled).await?;
            let entries: Vec<Value> =
                names.iter().map(|n| json!({ "name": n, "kind": "dir", "size": 0 })).collect();
            return self.after_tool(&granted, Ok(json!({ "entries": entries })));
        }
        let place = self.place(&path)?;
        let entries: Vec<Value> = self
            .names_in(&place, &path, cancelled)
            .await?
            .into_iter()
            .filter(|(name, _)| {
                !place.mount.hide_denied || !self.tools.pipeline.is_denied(&self.tools.session, Action::Read, &format!("{path}/{name}"))
            })
            .map(|(name, seen)| {
                json!({ "name": name, "kind": kind(seen.object.kind), "size": seen.object.size, "staged": seen.object.staged })
            })
            .collect();
        Ok(json!({ "entries": entries }))
    }

    /// Decide and list; where another directory has the name by the time of the act, decide anew.
    async fn names_in(
        &self,
        place: &Place<'_>,
        path: &str,
        cancelled: &CancellationToken,
    ) -> Result<Vec<(String, Attributes)>, Failure> {
        anew(move || async move {
            let at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
            let granted = self.ask(self.asked_of(Action::List, path, &at), cancelled).await?;
            let listed = place.tree.list(&granted, &at);
            self.done(&granted, Action::List, path, listed.is_ok(), 0)?;
            listed.map_err(|e| errno(e, path))
        })
        .await
    }

    pub(super) async fn stat(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::List, &a.path)?;
        let place = self.place(&path)?;
        let at = place.tree.locate(&place.below).map_err(|e| errno(e, &path))?;
        // That nothing is there is decided on, too.
        let granted = self.ask(self.asked_of(Action::List, &path, &at), cancelled).await?;
        let seen = place.tree.shown(&at);
        self.done(&granted, Action::List, &path, seen.is_some(), 0)?;
        let seen = seen.ok_or_else(|| errno(Errno::NOENT, &path))?;
        let modified =
            jiff::Timestamp::from_nanosecond(seen.object.mtime_ns).map(|t| t.to_string()).unwrap_or_default();
        Ok(
            json!({ "path": path, "kind": kind(seen.object.kind), "size": seen.object.size, "modified": modified, "staged": seen.object.staged }),
        )
    }

    pub(super) async fn read_file(&self, a: tools::ReadFile, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::Read, &a.path)?;
        let (granted, file, size) = self.open_for_reading(&path, cancelled).await?;
        let want = a.length.unwrap_or(MAX_READ).min(MAX_READ).min(size.saturating_sub(a.offset));
        let read = read_range(&file, a.offset, want);
        self.done(&granted, Action::Read, &path, read.is_ok(), read.as_ref().map_or(0, |b| b.len() as u64))?;
        let bytes = read.map_err(|e| Failure::new("io_error", format!("{path}: {e}")))?;
        let eof = a.offset + bytes.len() as u64 >= size;
        let version = match &granted.released {
            Some(released) => hex::encode(released.version),
            None => self.staged_version(&granted, &path, &file).await?,
        };
        let hash = format!("sha256:{version}");
        let (content, encoding) = match a.encoding {
            Encoding::Base64 => (BASE64.encode(&bytes), "base64"),
            Encoding::Text => {
                let text = String::from_utf8(bytes).map_err(|_| {
                    Failure::new("not_text", format!("{path} is not UTF-8 text"))
                        .advise("read it with encoding base64")
                })?;
                (text, "text")
            }
        };
        Ok(json!({ "content": content, "encoding": encoding, "size": size, "offset": a.offset, "eof": eof,
                   "redacted": granted.redacted, "content_hash": hash }))
    }

    pub(super) async fn write_file(
        &self,
        a: tools::WriteFile,
        append: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        let path = self.path(if append { Action::Append } else { Action::Write }, &a.path)?;
        let bytes = decode(a.content, a.encoding)?;
        self.write(&path, &bytes, append, cancelled).await
    }

    /// Decide and write; where the file is another by the time of the act, decide anew.
    pub(super) async fn write(
        &self,
        path: &str,
        bytes: &[u8],
        append: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        anew(move || self.write_once(path, bytes, append, cancelled)).await
    }

    /// The digest of a staged file. That of one which is read in parts is kept from part to part.
    async fn staged_version(
        &self,
        granted: &Authorized,
        path: &str,
        file: &Arc<HeldFile>,
    ) -> Result<String, Failure> {
        let object = granted.file().map(|file| file.object).filter(|object| object.size > MAX_READ);
        if let Some((of, version)) = self.tools.read_in_parts.0.lock().as_ref()
            && Some(*of) == object
        {
            return Ok(version.clone());
        }
        let read = Arc::clone(file);
        let digest = tokio::task::spawn_blocking(move || chaperone_staging::sha256(&read)).await;
        let digest = digest.map_err(std::io::Error::other).and_then(|digest| digest);
        let version = digest.map_err(|e| Failure::new("io_error", format!("{path}: {e}")))?;
        if let Some(object) = object {
            *self.tools.read_in_parts.0.lock() = Some((object, version.clone()));
        }
        Ok(version)
    }

    /// Whether there is room for a file at a path, before anything that cannot be taken back is done for it.
    pub(super) fn may_hold(&self, path: &str) -> Result<(), Failure> {
        let place = self.place(path)?;
        has_a_directory(&place)?;
        let at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        is_file_or_absent(&at, path)?;
        Ok(())
    }

    async fn write_once(
        &self,
        path: &str,
        bytes: &[u8],
        append: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        let place = self.place(path)?;
        has_a_directory(&place)?;
        let mut at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        is_file_or_absent(&at, path)?;
        let action = if append { Action::Append } else { Action::Write };
        // Appending carries the old content into the stage, or its redacted copy: that is a reading of it, too.
        let mut before = None;
        if append && at.object().is_some() {
            let opened = place.tree.open_file(&place.below).map_err(|e| errno(e, path))?;
            at = opened.located.clone();
            before = Some(if opened.object.staged {
                opened.file
            } else {
                let read = self.ask(self.reading(&place, path, &opened), cancelled).await?;
                self.done(&read, Action::Read, path, true, 0)?;
                read.released.map_or(opened.file, |r| r.file)
            });
        }
        let granted = self.ask(self.asked_of(action, path, &at), cancelled).await?;
        self.tools.session.counters.writes.fetch_add(1, Ordering::Relaxed);
        let written = place.tree.write(&granted, &at, before.as_ref().map(|held| &***held), bytes);
        self.invalidate(&place);
        self.done(&granted, action, path, written.is_ok(), bytes.len() as u64)?;
        let size = written.map_err(|e| errno(e, path))?;
        Ok(json!({ "path": path, "size": size, "content_hash": content_hash(bytes), "state": "staged" }))
    }

    pub(super) async fn delete(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path(Action::Delete, &a.path)?;
        anew(|| self.delete_once(&path, cancelled)).await
    }

    async fn delete_once(&self, path: &str, cancelled: &CancellationToken) -> Answer {
        let place = self.place(path)?;
        let at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        at.object().ok_or_else(|| errno(Errno::NOENT, path))?;
        let granted = self.ask(self.asked_of(Action::Delete, path, &at), cancelled).await?;
        self.tools.session.counters.deletes.fetch_add(1, Ordering::Relaxed);
        let gone = place.tree.remove(&granted, &at);
        self.invalidate(&place);
        self.done(&granted, Action::Delete, path, gone.is_ok(), 0)?;
        gone.map_err(|e| errno(e, path))?;
        Ok(json!({ "path": path, "state": "staged" }))
    }

    pub(super) async fn rename(&self, a: tools::Rename, cancelled: &CancellationToken) -> Answer {
        let (from, to) = (self.path(Action::Rename, &a.from)?, self.path(Action::Rename, &a.to)?);
        anew(|| self.rename_once(&from, &to, a.replace, cancelled)).await
    }

    async fn rename_once(
        &self,
        from: &str,
        to: &str,
        replace: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        let (place, target) = (self.place(from)?, self.place(to)?);
        if place.mount.at != target.mount.at {
            return Err(Failure::new("other_mount", format!("{from} and {to} are in different mounts"))
                .advise("write the new file and delete the old one"));
        }
        // Each file of a directory that moves is decided for itself: policy may protect one inside.
        let along = place.tree.locate_all(&place.below).map_err(|e| errno(e, from))?;
        has_a_directory(&target)?;
        let there = target.tree.locate(&target.below).map_err(|e| errno(e, to))?;
        // What a rename replaces is written to, whatever else the rename is.
        let replaces = there.object().is_some() && replace && from != to;
        let over = match replaces {
            true => Some(self.ask(self.asked_of(Action::Write, to, &there), cancelled).await?),
            false => None,
        };
        let mut granted = Vec::new();
        let mut moved = Ok(());
        for at in &along {
            let rest = at.path().strip_prefix(&*place.below).unwrap_or_default();
            let mut asked = self.asked_of(Action::Rename, &format!("{from}{rest}"), at);
            if let Resource::File(file) = &mut asked.resource {
                file.to = Some(format!("{to}{rest}"));
            }
            match self.ask(asked, cancelled).await {
                Ok(handle) => granted.push(handle),
                Err(refused) => {
                    moved = Err(refused);
                    break;
                }
            }
        }
        if moved.is_ok() {
            // What stands in the way stands where it is to go.
            let blamed = |e: Errno| if matches!(e, Errno::NOENT | Errno::STALE) { from } else { to };
            moved = place.tree.rename(&granted, &along, &there, !replace).map_err(|e| errno(e, blamed(e)));
        }
        self.invalidate(&place);
        self.invalidate(&target);
        for granted in &granted {
            self.done(granted, Action::Rename, granted.request().subject(), moved.is_ok(), 0)?;
        }
        if let Some(over) = &over {
            self.done(over, Action::Write, to, moved.is_ok(), 0)?;
        }
        moved?;
        Ok(json!({ "path": to, "from": from, "state": "staged" }))
    }

    /// The reading of an opened file.
    fn reading(&self, place: &Place<'_>, path: &str, opened: &OpenedFile) -> AccessRequest {
        let file = FileResource {
            origin: opened.origin.as_ref().map(|o| place.mount.absolute(o)),
            staged_as: Some(staged_as(opened.located.identity())),
            file: Some(Arc::clone(&opened.file)),
            content: !opened.object.staged,
            ..FileResource::named(path.to_owned(), of_fs(&opened.object))
        };
        AccessRequest {
            action: Action::Read,
            resource: Resource::File(file),
            entry: Entry::Rpc,
            pid: self.pid,
        }
    }

    pub(super) async fn open_for_reading(
        &self,
        path: &str,
        cancelled: &CancellationToken,
    ) -> Result<(Authorized, Arc<HeldFile>, u64), Failure> {
        let place = self.place(path)?;
        let opened = place.tree.open_file(&place.below).map_err(|e| errno(e, path))?;
        let granted = self.ask(self.reading(&place, path, &opened), cancelled).await?;
        self.tools.session.counters.reads.fetch_add(1, Ordering::Relaxed);
        let (file, size) = match &granted.released {
            Some(released) => (Arc::clone(&released.file), released.len),
            None => (Arc::clone(&opened.file), opened.object.size),
        };
        Ok((granted, file, size))
    }
}

fn is_file_or_absent(at: &Located, path: &str) -> Result<(), Failure> {
    match at.object() {
        Some(object) if object.kind != FsKind::File => {
            Err(Failure::new("not_a_file", format!("{path} is not a file")))
        }
        _ => Ok(()),
    }
}

pub(super) fn read_range(file: &File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0u8; usize::try_from(length).map_err(std::io::Error::other)?];
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset + have as u64)? {
            0 => break,
            n => have += n,
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

fn kind(kind: FsKind) -> &'static str {
    match kind {
        FsKind::File => "file",
        FsKind::Dir => "dir",
        FsKind::Symlink => "symlink",
        FsKind::Special => "other",
    }
}

pub(super) fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
