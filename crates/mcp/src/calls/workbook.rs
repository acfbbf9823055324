//! Workbooks: staged as a blob, validated, then written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_pipeline::access::FileObject;
use chaperone_pipeline::{Authorized, Refusal};
use chaperone_protocol::Failure;
use chaperone_quota::HeldFile;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::call::{Answer, Call, content_hash, decode};
use super::files::{io_errno, read_range};
use crate::tools;

/// Blobs that one session may have staged at once.
const MAX_BLOBS: usize = 64;

impl Call<'_> {
    pub(super) fn stage_blob(&self, granted: &Authorized, a: Arguments<tools::StageBlob>) -> Answer {
        let a = a.granted_to("stage_blob", granted)?;
        let bytes = decode(a.content, a.encoding)?;
        let hash = content_hash(&bytes);
        let mut blobs = self.tools.blobs.0.lock();
        if blobs.len() >= MAX_BLOBS && !blobs.contains_key(&hash) {
            return Err(Failure::new("too_many_blobs", format!("{MAX_BLOBS} blobs are staged already"))
                .advise("save them with save_workbook first"));
        }
        // Under the lock: what ended meanwhile gets none any more.
        self.tools.session.authenticate()?;
        let held = self.tools.session.quota.take(bytes.len() as u64, 1).map_err(|e| {
            Failure::new("too_many_blobs", e.to_string()).advise("save staged blobs with save_workbook first")
        })?;
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
            Ok(HeldFile::new(file, held))
        })
        .map_err(|e| Failure::new("no_memory", format!("the blob cannot be staged: {e}")))?;
        blobs.insert(hash.clone(), Arc::new(made));
        Ok(json!({ "content_hash": hash, "size": bytes.len() }))
    }

    pub(super) async fn save_workbook(
        &self,
        a: tools::SaveWorkbook,
        cancelled: &CancellationToken,
    ) -> Answer {
        let path = self.path(Action::Write, &a.dest_path)?;
        if !path.to_lowercase().ends_with(".xlsx") {
            return Err(Failure::new("not_a_workbook", "save_workbook writes .xlsx files")
                .advise("give a path that ends in .xlsx"));
        }
        let blob = self.tools.blobs.0.lock().get(&a.content_hash).cloned();
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
            let refusal =
                Refusal { failure, rule: "broker.workbook".into(), reasons, obligations: Vec::new() };
            let asked = self.asked(Action::Write, &path, FileObject::ABSENT);
            return Err(self.tools.pipeline.refuse(&self.tools.session, &asked, refusal).failure);
        }
        let saved = self.write(&path, &bytes, false, cancelled).await?;
        self.tools.blobs.0.lock().remove(&a.content_hash);
        Ok(saved)
    }
}
