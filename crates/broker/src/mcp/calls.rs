//! What each tool does: resolve, ask the pipeline, perform on what was resolved, record the outcome.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chaperone_fs::{Content, ObjectKind as FsKind, Tree};
use chaperone_vault::CapabilitySigner;
use rmcp::model::JsonObject;
use rustix::io::Errno;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::tools::{self, Encoding};
use crate::files::of_fs;
use crate::pipeline::{Authorized, Deed, Done, Object, ObjectKind, Refusal, Step};
use crate::server::Broker;
use crate::session::{LiveMount, Session};
use crate::wire::Failure;
use crate::{clock, grants};

/// Bytes of one `read_file` answer.
const MAX_READ: u64 = 4 << 20;
/// Rows of one `get_csv` answer, and bytes of the file it is made from.
const MAX_ROWS: u64 = 50_000;
const MAX_CSV: u64 = 64 << 20;
/// Characters of a path that is none, in its record.
const MAX_SHOWN: usize = 300;
/// Blobs that one session may have staged at once, and bytes of each.
const MAX_BLOBS: usize = 64;

/// Decisions on one call, where what was decided on is another object by the time of the act.
const DECISIONS: usize = 4;
/// The failure upon which a call is decided anew.
const CHANGED: &str = "changed_meanwhile";

/// One call of one conversation.
pub struct Call<'a> {
    pub broker: &'a Arc<Broker>,
    pub session: &'a Arc<Session>,
    pub pid: Option<u32>,
}

/// A resolved path.
struct Place<'a> {
    mount: &'a LiveMount,
    tree: &'a Arc<Tree>,
    /// Relative to the mount.
    below: String,
}

pub(super) type Answer = Result<Value, Failure>;

impl Call<'_> {
    /// Run a tool. `cancelled` is the client's: it voids an ask that waits.
    pub async fn run(
        &self,
        tool: &str,
        arguments: Option<JsonObject>,
        cancelled: CancellationToken,
    ) -> Answer {
        match tool {
            "list_capabilities" => self.list_capabilities(tools::parse(arguments)?),
            "list_directory" => self.list_directory(tools::parse(arguments)?, &cancelled).await,
            "stat" => self.stat(tools::parse(arguments)?, &cancelled).await,
            "read_file" => self.read_file(tools::parse(arguments)?, &cancelled).await,
            "write_file" => self.write_file(tools::parse(arguments)?, false, &cancelled).await,
            "append_file" => self.write_file(tools::parse(arguments)?, true, &cancelled).await,
            "delete" => self.delete(tools::parse(arguments)?, &cancelled).await,
            "rename" => self.rename(tools::parse(arguments)?, &cancelled).await,
            "get_csv" => self.get_csv(tools::parse(arguments)?, &cancelled).await,
            "stage_blob" => self.stage_blob(tools::parse(arguments)?),
            "save_workbook" => self.save_workbook(tools::parse(arguments)?, &cancelled).await,
            "request_elevation" => self.request_elevation(tools::parse(arguments)?, &cancelled).await,
            "fetch" => self.fetch(tools::parse(arguments)?, &cancelled).await,
            "list_allowed_hosts" => self.list_allowed_hosts(tools::parse(arguments)?),
            "attenuate_capability" => self.attenuate(tools::parse(arguments)?),
            _ => Err(Failure::new("no_such_tool", "there is no such tool")),
        }
    }

    fn list_capabilities(&self, _: tools::NoArguments) -> Answer {
        self.session.authenticate()?;
        let held = self.session.capability.read().clone();
        let held =
            held.ok_or_else(|| Failure::new("no_capability", "the session holds no capability yet"))?;
        let claims = held.verified.claims();
        let mut permissions: Vec<Value> = claims.permissions.iter().map(|p| json!(p)).collect();
        for grant in self.session.grants.read().iter() {
            permissions.extend(grant.verified.claims().permissions.iter().map(|p| json!(p)));
        }
        Ok(
            json!({ "agent": self.session.name, "session": self.session.id, "expires": claims.exp, "permissions": permissions }),
        )
    }

    async fn list_directory(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path("list", &a.path)?;
        let deed = self.deed("list", &path, Object { kind: ObjectKind::Dir, ..Object::ABSENT });
        // The parents of mounts exist, too: they hold the mounts and nothing else.
        if self.session.mount_of(&path).is_none() {
            let prefix = format!("{path}/");
            let names: std::collections::BTreeSet<&str> = self
                .session
                .mounts
                .iter()
                .filter_map(|m| m.at.strip_prefix(&prefix)?.split('/').next())
                .collect();
            self.session.authenticate()?;
            let entries: Vec<Value> =
                names.iter().map(|n| json!({ "name": n, "kind": "dir", "size": 0 })).collect();
            return if entries.is_empty() { Err(not_here(&path)) } else { Ok(json!({ "entries": entries })) };
        }
        let place = self.place(&path)?;
        let granted = self.ask(deed, cancelled).await?;
        let listed = place.tree.list(&place.below);
        self.done(&granted, "list", &path, listed.is_ok(), 0)?;
        let entries: Vec<Value> = listed
            .map_err(|e| errno(e, &path))?
            .into_iter()
            .filter(|(name, _)| {
                !place.mount.hide_denied || !self.broker.pipeline.is_denied(self.session, "read", &format!("{path}/{name}"))
            })
            .map(|(name, seen)| {
                json!({ "name": name, "kind": kind(seen.object.kind), "size": seen.object.size, "staged": seen.object.staged })
            })
            .collect();
        Ok(json!({ "entries": entries }))
    }

    async fn stat(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path("list", &a.path)?;
        let place = self.place(&path)?;
        let seen = place.tree.attributes(&place.below).map_err(|e| errno(e, &path))?;
        let granted = self.ask(self.deed("list", &path, of_fs(&seen.object)), cancelled).await?;
        self.done(&granted, "list", &path, true, 0)?;
        let modified =
            jiff::Timestamp::from_nanosecond(seen.object.mtime_ns).map(|t| t.to_string()).unwrap_or_default();
        Ok(
            json!({ "path": path, "kind": kind(seen.object.kind), "size": seen.object.size, "modified": modified, "staged": seen.object.staged }),
        )
    }

    async fn read_file(&self, a: tools::ReadFile, cancelled: &CancellationToken) -> Answer {
        let path = self.path("read", &a.path)?;
        let (granted, file, size) = self.open_for_reading(&path, cancelled).await?;
        let want = a.length.unwrap_or(MAX_READ).min(MAX_READ).min(size.saturating_sub(a.offset));
        let read = read_range(&file, a.offset, want);
        self.done(&granted, "read", &path, read.is_ok(), read.as_ref().map_or(0, |b| b.len() as u64))?;
        let bytes = read.map_err(|e| Failure::new("io_error", format!("{path}: {e}")))?;
        let eof = a.offset + bytes.len() as u64 >= size;
        let hash = granted
            .released
            .as_ref()
            .map(|r| format!("sha256:{}", hex::encode(r.version)))
            .unwrap_or_default();
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

    async fn get_csv(&self, a: tools::GetCsv, cancelled: &CancellationToken) -> Answer {
        let path = self.path("read", &a.path)?;
        let (granted, file, size) = self.open_for_reading(&path, cancelled).await?;
        if size > MAX_CSV {
            self.done(&granted, "read", &path, false, 0)?;
            return Err(Failure::new(
                "too_large",
                format!("{path} has {size} bytes; get_csv takes at most {MAX_CSV}"),
            )
            .advise("read it in ranges with read_file"));
        }
        let bytes = read_range(&file, 0, size);
        self.done(&granted, "read", &path, bytes.is_ok(), size)?;
        let bytes = bytes.map_err(|e| Failure::new("io_error", format!("{path}: {e}")))?;
        let table = parse_csv(&bytes, a.offset, a.limit.unwrap_or(MAX_ROWS).min(MAX_ROWS)).map_err(|e| {
            Failure::new("not_csv", format!("{path} is not CSV: {e}")).advise("read it with read_file")
        })?;
        Ok(
            json!({ "header": table.header, "types": table.types, "rows": table.rows, "total_rows": table.total, "redacted": granted.redacted }),
        )
    }

    async fn write_file(&self, a: tools::WriteFile, append: bool, cancelled: &CancellationToken) -> Answer {
        let path = self.path(if append { "append" } else { "write" }, &a.path)?;
        let bytes = decode(a.content, a.encoding)?;
        self.write(&path, &bytes, append, cancelled).await
    }

    pub(super) async fn write(
        &self,
        path: &str,
        bytes: &[u8],
        append: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        for _ in 1..DECISIONS {
            match self.write_once(path, bytes, append, cancelled).await {
                Err(failure) if failure.code == CHANGED => {}
                done => return done,
            }
        }
        self.write_once(path, bytes, append, cancelled).await
    }

    async fn write_once(
        &self,
        path: &str,
        bytes: &[u8],
        append: bool,
        cancelled: &CancellationToken,
    ) -> Answer {
        let place = self.place(path)?;
        let mut at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        let there = match at.object() {
            Some(object) if object.kind == FsKind::File => Some(object),
            Some(_) => return Err(Failure::new("not_a_file", format!("{path} is not a file"))),
            None => None,
        };
        let action = if append { "append" } else { "write" };
        // Appending carries the old content into the stage: that is a reading of it, too.
        let exact = if there.is_some() && append {
            let opened = place.tree.open_file(&place.below).map_err(|e| errno(e, path))?;
            at = opened.located;
            if opened.object.staged {
                Some(opened.file)
            } else {
                let mut deed = self.deed("read", path, of_fs(&opened.object));
                (deed.file, deed.content, deed.verbatim) = (Some(Arc::clone(&opened.file)), true, true);
                deed.origin = opened.origin.as_ref().map(|o| absolute(place.mount, o));
                let read = self.ask(deed, cancelled).await?;
                self.done(&read, "read", path, true, 0)?;
                Some(read.released.map_or(opened.file, |r| r.file))
            }
        } else {
            None
        };
        let object = at.object().as_ref().map_or(Object::ABSENT, of_fs);
        let granted = self.ask(self.deed(action, path, object), cancelled).await?;
        self.session.counters.writes.fetch_add(1, Ordering::Relaxed);
        let written = (|| {
            let opened = match (there, &exact) {
                (None, _) => place.tree.create(&at, 0o644)?,
                (Some(_), Some(exact)) => place.tree.copy_up(&at, Content::Released(exact))?,
                (Some(_), None) => place.tree.copy_up(&at, Content::Empty)?,
            };
            let end = opened.file.metadata().map_err(io_errno)?.len();
            opened.file.write_all_at(bytes, end).map_err(io_errno)?;
            Ok::<u64, Errno>(end + bytes.len() as u64)
        })();
        self.invalidate(&place);
        self.done(&granted, action, path, written.is_ok(), bytes.len() as u64)?;
        let size = written.map_err(|e| errno(e, path))?;
        Ok(json!({ "path": path, "size": size, "content_hash": content_hash(bytes), "state": "staged" }))
    }

    async fn delete(&self, a: tools::OnPath, cancelled: &CancellationToken) -> Answer {
        let path = self.path("delete", &a.path)?;
        for _ in 1..DECISIONS {
            match self.delete_once(&path, cancelled).await {
                Err(failure) if failure.code == CHANGED => {}
                done => return done,
            }
        }
        self.delete_once(&path, cancelled).await
    }

    async fn delete_once(&self, path: &str, cancelled: &CancellationToken) -> Answer {
        let place = self.place(path)?;
        let at = place.tree.locate(&place.below).map_err(|e| errno(e, path))?;
        let object = at.object().ok_or_else(|| errno(Errno::NOENT, path))?;
        let granted = self.ask(self.deed("delete", path, of_fs(&object)), cancelled).await?;
        self.session.counters.deletes.fetch_add(1, Ordering::Relaxed);
        let gone =
            if object.kind == FsKind::Dir { place.tree.remove_dir(&at) } else { place.tree.remove_file(&at) };
        self.invalidate(&place);
        self.done(&granted, "delete", path, gone.is_ok(), 0)?;
        gone.map_err(|e| errno(e, path))?;
        Ok(json!({ "path": path, "state": "staged" }))
    }

    async fn rename(&self, a: tools::Rename, cancelled: &CancellationToken) -> Answer {
        let (from, to) = (self.path("rename", &a.from)?, self.path("rename", &a.to)?);
        for _ in 1..DECISIONS {
            match self.rename_once(&from, &to, a.replace, cancelled).await {
                Err(failure) if failure.code == CHANGED => {}
                done => return done,
            }
        }
        self.rename_once(&from, &to, a.replace, cancelled).await
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
        // Each file of a folder that moves is decided for itself: policy may protect one inside.
        let along = place.tree.locate_all(&place.below).map_err(|e| errno(e, from))?;
        let there = target.tree.locate(&target.below).map_err(|e| errno(e, to))?;
        let mut granted = Vec::new();
        let mut moved = Ok(());
        for at in &along {
            let rest = at.path().strip_prefix(&place.below).unwrap_or_default();
            let object = at.object().as_ref().map_or(Object::ABSENT, of_fs);
            let mut deed = self.deed("rename", &format!("{from}{rest}"), object);
            deed.to = Some(format!("{to}{rest}"));
            let path = deed.path.clone();
            match self.ask(deed, cancelled).await {
                Ok(handle) => granted.push((handle, path)),
                Err(refused) => {
                    moved = Err(refused);
                    break;
                }
            }
        }
        if moved.is_ok() {
            moved = place.tree.rename(&along, &there, !replace).map_err(|e| errno(e, from));
        }
        self.invalidate(&place);
        self.invalidate(&target);
        for (granted, path) in &granted {
            self.done(granted, "rename", path, moved.is_ok(), 0)?;
        }
        moved?;
        Ok(json!({ "path": to, "from": from, "state": "staged" }))
    }

    fn stage_blob(&self, a: tools::StageBlob) -> Answer {
        self.session.authenticate()?;
        let bytes = decode(a.content, a.encoding)?;
        let hash = content_hash(&bytes);
        let mut blobs = self.session.blobs.lock();
        if blobs.len() >= MAX_BLOBS && !blobs.contains_key(&hash) {
            return Err(Failure::new("too_many_blobs", format!("{MAX_BLOBS} blobs are staged already"))
                .advise("save them with save_workbook first"));
        }
        let made = rustix::fs::memfd_create(
            "blob",
            rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
        )
        .and_then(|fd| {
            let file = File::from(fd);
            file.write_all_at(&bytes, 0).map_err(io_errno)?;
            rustix::fs::fcntl_add_seals(
                &file,
                rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SHRINK,
            )?;
            Ok(file)
        })
        .map_err(|e| Failure::new("no_memory", format!("the blob cannot be staged: {e}")))?;
        blobs.insert(hash.clone(), Arc::new(made));
        Ok(json!({ "content_hash": hash, "size": bytes.len() }))
    }

    async fn save_workbook(&self, a: tools::SaveWorkbook, cancelled: &CancellationToken) -> Answer {
        let path = self.path("write", &a.dest_path)?;
        if !path.to_lowercase().ends_with(".xlsx") {
            return Err(Failure::new("not_a_workbook", "save_workbook writes .xlsx files")
                .advise("give a path that ends in .xlsx"));
        }
        let blob = self.session.blobs.lock().get(&a.content_hash).cloned();
        let blob = blob.ok_or_else(|| {
            Failure::new("no_such_blob", "no staged blob has this content_hash")
                .advise("stage the workbook with stage_blob first")
        })?;
        let size = blob.metadata().map_err(|e| Failure::new("io_error", e.to_string()))?.len();
        let bytes = read_range(&blob, 0, size).map_err(|e| Failure::new("io_error", e.to_string()))?;
        if content_hash(&bytes) != a.content_hash {
            return Err(Failure::new("hash_mismatch", "the staged content is not what the hash says"));
        }
        let limits = chaperone_inspect::workbook::Limits::default();
        let judged = chaperone_inspect::workbook::validate_xlsx(&mut std::io::Cursor::new(&bytes), &limits);
        if let Err(refusal) = judged {
            let failure = Failure::new(refusal.code(), format!("the workbook is refused: {refusal}"))
                .advise("leave out macros, links and formulas that reach other hosts or programs");
            let reasons = vec!["external_formula".to_owned(), refusal.code().to_owned()];
            let refusal = Refusal { failure, rule: "broker.workbook".into(), reasons, suspend: false };
            let deed = self.deed("write", &path, Object::ABSENT);
            return Err(self.broker.pipeline.refuse(self.session, &deed, refusal).failure);
        }
        let saved = self.write(&path, &bytes, false, cancelled).await?;
        self.session.blobs.lock().remove(&a.content_hash);
        Ok(saved)
    }

    async fn request_elevation(
        &self,
        mut a: tools::RequestElevation,
        cancelled: &CancellationToken,
    ) -> Answer {
        if a.action == "connect" {
            let host = a.host.take().filter(|_| a.path.is_none());
            let missing = || Failure::new("bad_arguments", "to connect names a host, and no path");
            return self.elevate_host(a, host.ok_or_else(missing)?, cancelled).await;
        }
        let named = a.path.as_deref().filter(|_| a.host.is_none() && a.port.is_none());
        let named =
            named.ok_or_else(|| Failure::new("bad_arguments", "this action names a path, and no host"))?;
        let path = self.path("elevate", named.trim_end_matches("/**").trim_end_matches("/*"))?;
        let pattern = if named.ends_with("/**") || named.ends_with("/*") {
            format!(
                "{}{}",
                chaperone_capability::escape_path(&path),
                named.get(named.rfind("/*").unwrap_or(0)..).unwrap_or_default()
            )
        } else {
            chaperone_capability::escape_path(&path)
        };
        let action = ["read", "write", "append", "list", "delete", "rename"]
            .into_iter()
            .find(|known| *known == a.action)
            .ok_or_else(|| {
                Failure::new(
                    "bad_arguments",
                    "the action must be connect, read, write, append, list, delete or rename",
                )
            })?;
        let seconds = a.seconds.unwrap_or(600).clamp(1, grants::MAX_ELEVATION);
        let mut deed = self.deed("elevate", &path, Object::ABSENT);
        deed.to = Some(format!("{action} {pattern} for {seconds} s"));
        deed.justification = Some(a.reason);
        deed.change =
            Some(json!({ "elevate": { "action": action, "pattern": pattern, "seconds": seconds } }));
        let granted = self.ask(deed, cancelled).await?;
        let signer = CapabilitySigner(self.broker.vault.client());
        let permission = chaperone_capability::PermissionClaim::path(
            action
                .parse()
                .map_err(|e: chaperone_capability::Rejection| Failure::new(e.code(), e.to_string()))?,
            pattern,
        );
        let held = grants::elevation(self.session, &signer, &self.broker.issuer, vec![permission], seconds)?;
        self.done(&granted, "elevate", &path, true, 0)?;
        let claims = held.verified.claims();
        Ok(json!({ "granted": true, "expires": claims.exp, "jti": claims.jti }))
    }

    fn attenuate(&self, a: tools::Attenuate) -> Answer {
        self.session.authenticate()?;
        let mut permissions = Vec::new();
        for p in a.permissions {
            let action = p
                .action
                .parse()
                .map_err(|e: chaperone_capability::Rejection| Failure::new(e.code(), e.to_string()))?;
            permissions.push(chaperone_capability::PermissionClaim::path(action, p.path));
        }
        let now = u64::try_from(clock::unix()).unwrap_or(0);
        let narrowing = chaperone_capability::Narrowing {
            sub: None,
            permissions,
            exp: a.seconds.map(|s| now.saturating_add(s)),
            uses: a.uses.and_then(|u| u32::try_from(u).ok()),
        };
        let signer = CapabilitySigner(self.broker.vault.client());
        let (token, jti) = grants::attenuated(self.session, &signer, &narrowing, a.holder.as_deref())?;
        let payload = json!({ "jti": jti, "permissions": narrowing.permissions });
        self.broker.pipeline.records.event(
            self.session,
            "attenuate",
            &jti,
            &payload,
            chaperone_audit::Durability::Synced,
        )?;
        let exp =
            chaperone_capability::inspect(&token).ok().and_then(|c| c.last().map(|c| c.exp)).unwrap_or(0);
        Ok(json!({ "token": token, "jti": jti, "expires": exp }))
    }

    async fn open_for_reading(
        &self,
        path: &str,
        cancelled: &CancellationToken,
    ) -> Result<(Authorized, Arc<File>, u64), Failure> {
        let place = self.place(path)?;
        let opened = place.tree.open_file(&place.below).map_err(|e| errno(e, path))?;
        let mut deed = self.deed("read", path, of_fs(&opened.object));
        deed.file = Some(Arc::clone(&opened.file));
        deed.content = !opened.object.staged;
        deed.origin = opened.origin.as_ref().map(|o| absolute(place.mount, o));
        let granted = self.ask(deed, cancelled).await?;
        self.session.counters.reads.fetch_add(1, Ordering::Relaxed);
        let (file, size) = match &granted.released {
            Some(released) => (Arc::clone(&released.file), released.len),
            None => (Arc::clone(&opened.file), opened.object.size),
        };
        Ok((granted, file, size))
    }

    /// The path in its one normal form; an attempt with another one is a refusal with a record.
    pub(super) fn path(&self, action: &'static str, text: &str) -> Result<String, Failure> {
        tools::path(text).map_err(|failure| {
            let shown = crate::approvals::for_display(text, MAX_SHOWN);
            self.refuse(action, &shown, failure)
        })
    }

    fn refuse(&self, action: &'static str, path: &str, failure: Failure) -> Failure {
        if let Err(failure) = self.session.authenticate() {
            return failure;
        }
        let (rule, reasons) = (format!("broker.{}", failure.code), vec![failure.code.clone()]);
        let deed = self.deed(action, path, Object::ABSENT);
        self.broker
            .pipeline
            .refuse(self.session, &deed, Refusal { failure, rule, reasons, suspend: false })
            .failure
    }

    fn place(&self, path: &str) -> Result<Place<'_>, Failure> {
        let (index, below) = self.session.mount_of(path).ok_or_else(|| not_here(path))?;
        let mount = self.session.mounts.get(index).ok_or_else(|| not_here(path))?;
        let tree = mount.served().ok_or_else(|| {
            Failure::new("not_mediated", format!("{} is not mediated", mount.at))
                .advise("use the files of this mount directly")
        })?;
        self.not_through_a_link(tree, below, path)?;
        Ok(Place { mount, tree, below: below.to_owned() })
    }

    /// The RPC follows no link: what is behind one has a name of its own.
    fn not_through_a_link(&self, tree: &Tree, below: &str, path: &str) -> Result<(), Failure> {
        let mut at = String::new();
        for name in below.split('/').filter(|n| !n.is_empty()) {
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(name);
            if tree.attributes(&at).is_ok_and(|s| s.object.kind == FsKind::Symlink) && at != below {
                let failure = Failure::new("through_a_link", format!("{path} leads through a link"))
                    .advise("use the real path");
                return Err(self.refuse("list", path, failure));
            }
        }
        Ok(())
    }

    pub(super) fn deed(&self, action: &'static str, path: &str, object: Object) -> Deed {
        Deed { pid: self.pid, ..Deed::on("rpc", action, path.to_owned(), object) }
    }

    /// Through the pipeline; while a person is asked, other calls of the conversation go on.
    pub(super) async fn ask(&self, deed: Deed, cancelled: &CancellationToken) -> Result<Authorized, Failure> {
        match self.broker.pipeline.begin(self.session, deed) {
            Step::Granted(granted) => Ok(granted),
            Step::Refused(refusal) => Err(refusal.failure),
            Step::Pending(pending) => {
                let (broker, session) = (Arc::clone(self.broker), Arc::clone(self.session));
                let gone = Arc::new(AtomicBool::new(false));
                let watched = Arc::clone(&gone);
                let waiting = tokio::task::spawn_blocking(move || {
                    broker.pipeline.resume(&session, *pending, &|| watched.load(Ordering::Acquire))
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
        action: &'static str,
        path: &str,
        ok: bool,
        bytes: u64,
    ) -> Result<(), Failure> {
        let done = Done { intent: granted.intent, action, path, ok, bytes, detail: None };
        self.broker.pipeline.outcome(self.session, &done)
    }

    fn invalidate(&self, place: &Place<'_>) {
        let trees = self.session.mounts.iter().filter(|m| m.served().is_some());
        for (server, mount) in self.session.servers.lock().iter().zip(trees) {
            if mount.at == place.mount.at {
                server.invalidate(&place.below);
            }
        }
    }
}

/// Tells the waiting thread that nobody wants its answer, when the call is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

struct Table {
    header: Vec<String>,
    types: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    total: u64,
}

fn parse_csv(bytes: &[u8], offset: u64, limit: u64) -> Result<Table, csv::Error> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
    let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut types = vec!["empty"; header.len()];
    let (mut rows, mut total) = (Vec::new(), 0);
    for record in reader.records() {
        let record = record?;
        for (known, cell) in types.iter_mut().zip(&record) {
            *known = wider(known, type_of(cell));
        }
        if total >= offset && (rows.len() as u64) < limit {
            rows.push(record.iter().map(str::to_owned).collect());
        }
        total += 1;
    }
    Ok(Table { header, types, rows, total })
}

fn type_of(cell: &str) -> &'static str {
    if cell.is_empty() {
        "empty"
    } else if cell.parse::<i64>().is_ok() {
        "integer"
    } else if cell.parse::<f64>().is_ok_and(f64::is_finite) {
        "number"
    } else if cell.parse::<jiff::civil::Date>().is_ok() {
        "date"
    } else {
        "text"
    }
}

fn wider(a: &'static str, b: &'static str) -> &'static str {
    match (a, b) {
        (a, "empty") => a,
        ("empty", b) => b,
        (a, b) if a == b => a,
        ("integer" | "number", "integer" | "number") => "number",
        _ => "text",
    }
}

fn read_range(file: &File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
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

fn content_hash(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn absolute(mount: &LiveMount, path: &str) -> String {
    format!("{}/{path}", mount.at)
}

fn not_here(path: &str) -> Failure {
    Failure::new("not_found", format!("{path} is in no mount of this session"))
        .advise("list /workspace to see what there is")
}

fn kind(kind: FsKind) -> &'static str {
    match kind {
        FsKind::File => "file",
        FsKind::Dir => "dir",
        FsKind::Symlink => "symlink",
    }
}

fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn errno(error: Errno, path: &str) -> Failure {
    let shown = crate::approvals::for_display(path, 300);
    let map: BTreeMap<i32, (&str, &str)> = BTreeMap::from([
        (Errno::NOENT.raw_os_error(), ("not_found", "does not exist")),
        (Errno::ISDIR.raw_os_error(), ("is_a_folder", "is a folder")),
        (Errno::NOTDIR.raw_os_error(), ("not_a_folder", "is not a folder")),
        (Errno::EXIST.raw_os_error(), ("already_exists", "exists already")),
        (Errno::NOTEMPTY.raw_os_error(), ("not_empty", "is not empty")),
        (Errno::LOOP.raw_os_error(), ("through_a_link", "is a link")),
        (Errno::STALE.raw_os_error(), (CHANGED, "became another file while it was decided on")),
        (
            Errno::XDEV.raw_os_error(),
            ("cannot_move", "has too much in it to be moved at once; move what is in it"),
        ),
        (Errno::NXIO.raw_os_error(), ("not_a_file", "is neither a file nor a folder")),
    ]);
    match map.get(&error.raw_os_error()) {
        Some((code, text)) => Failure::new(code, format!("{shown} {text}")),
        None => Failure::new("io_error", format!("{shown}: {error}")),
    }
}
