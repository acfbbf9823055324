//! The redacted copy: same format, nothing left to find.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use crate::Detectors;
use crate::extract::{ExtractError, Limits, RedactionReport, Source, inspect_file, rewrite};
use crate::placeholder::{Names, PlaceholderKey};

/// The detector of a private key of which the first line alone is found.
const KEY_IN_LINES: &str = "private_key_line";

/// Writes the redacted form of `file` to `out`, which is emptied first, and inspects that again. With a key each
/// placeholder has a tag by which [`crate::restore_file`] finds its value again.
///
/// # Errors
/// When the format cannot be kept or something would remain; `out` then holds nothing.
pub fn redact_file(
    detectors: &Detectors,
    file: &File,
    name: &str,
    key: Option<PlaceholderKey>,
    out: &File,
    limits: &Limits,
) -> Result<RedactionReport, ExtractError> {
    let redacted = write_and_check(detectors, file, name, key, out, limits);
    if redacted.is_err() {
        out.set_len(0)?;
    }
    redacted
}

fn write_and_check(
    detectors: &Detectors,
    file: &File,
    name: &str,
    key: Option<PlaceholderKey>,
    mut out: &File,
    limits: &Limits,
) -> Result<RedactionReport, ExtractError> {
    let before = inspect_file(detectors, file, name, limits);
    if let Some(error) = before.error() {
        return Err(ExtractError::NotRedactable(error.to_string()));
    }
    if before.items.iter().flat_map(|i| &i.findings).any(|f| f.detector == KEY_IN_LINES) {
        return Err(ExtractError::NotRedactable("the lines of a private key stand apart in it".into()));
    }
    // An earlier attempt may have died half-way.
    out.set_len(0)?;
    out.seek(SeekFrom::Start(0))?;
    let mut buffered = BufWriter::new(out);
    let (replaced, _) =
        rewrite(detectors, Source::File(file), name, limits, key.map(Names::new), &mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    let after = inspect_file(detectors, out, name, limits);
    if let Some(item) = after.items.iter().find(|i| !i.findings.is_empty() || i.error.is_some()) {
        let what = item.findings.first().map_or("it would be unreadable", |f| &f.detector);
        return Err(ExtractError::NotRedactable(format!("{what} would remain in {}", item.file)));
    }
    out.seek(SeekFrom::Start(0))?;
    Ok(RedactionReport { replaced, bytes: out.metadata()?.len() })
}
