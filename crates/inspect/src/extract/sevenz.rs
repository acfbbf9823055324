//! 7z: members are items of their own. What is encrypted, or packed in a way that is not known, is said.

use std::io::Read;

use sevenz_rust2::{ArchiveEntry, ArchiveReader, EntryDecision, Error, Password};

use super::{ExtractError, Source, Visit};
use crate::shown::shown;

/// Memory that unpacking may take, in KiB; what 7z takes at its highest level.
const MEMORY: usize = 80 * 1024;
const DAMAGED: ExtractError = ExtractError::Damaged("7z archive");

impl Visit<'_> {
    pub(super) fn sevenz(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let mut archive = ArchiveReader::new_with_memory_limit(source.reader(), Password::empty(), MEMORY)
            .map_err(|e| refused(&e))?;
        archive.set_thread_count(1);
        let mut outcome = Ok(());
        let read = archive.for_each_entries_with_decision(|entry: &ArchiveEntry, data: &mut dyn Read| {
            if entry.is_directory() {
                return Ok(EntryDecision::Continue);
            }
            self.members += 1;
            if self.members > self.limits.members {
                outcome = Err(ExtractError::Limit("members"));
                return Ok(EntryDecision::Stop);
            }
            match self.held(data, "7z archive") {
                Ok(bytes) => {
                    let inner = format!("{path}!/{}", shown(entry.name()));
                    self.item(Source::Bytes(&bytes), entry.name(), &inner, depth + 1);
                    Ok(EntryDecision::Continue)
                }
                Err(e) => {
                    outcome = Err(e);
                    Ok(EntryDecision::Stop)
                }
            }
        });
        match (outcome, read) {
            (Err(ExtractError::Damaged(_)), Err(e)) => Err(refused(&e)),
            (Err(e), _) => Err(e),
            (Ok(()), read) => read.map_err(|e| refused(&e)),
        }
    }
}

fn refused(error: &Error) -> ExtractError {
    match error {
        Error::PasswordRequired | Error::MaybeBadPassword(_) => {
            ExtractError::Opaque("it is an encrypted 7z archive")
        }
        // Without the feature of decryption its method is not known.
        Error::UnsupportedCompressionMethod(method) if method.to_ascii_uppercase().contains("AES") => {
            ExtractError::Opaque("it is an encrypted 7z archive")
        }
        Error::UnsupportedCompressionMethod(_) | Error::Unsupported(_) | Error::ExternalUnsupported => {
            ExtractError::Opaque("its compression is not known")
        }
        Error::MaxMemLimited { .. } => ExtractError::Limit("the memory that unpacking takes"),
        _ => DAMAGED,
    }
}
