//! What the readers of compound files have in common.

use std::io::Read;

use crate::extract::batch::Sink;
use crate::extract::{ExtractError, text};

pub(super) const DAMAGED: ExtractError = ExtractError::Damaged("Office document");
pub(super) const ENCRYPTED: ExtractError = ExtractError::Opaque("it is an encrypted Office document");

/// Scans a text of its own.
pub(super) fn text(text: &str, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    text::walk(&mut text.as_bytes(), sink)
}

/// Unpacks a zlib stream of at most `most` bytes.
pub(super) fn inflated(data: &[u8], most: usize) -> Result<Vec<u8>, ExtractError> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(data).take(most as u64 + 1).read_to_end(&mut out).map_err(|_| DAMAGED)?;
    if out.len() > most { Err(ExtractError::Limit("the size of one member")) } else { Ok(out) }
}
