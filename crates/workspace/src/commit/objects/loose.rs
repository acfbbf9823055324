//! A single object: its name is the hash of what it unpacks to.

use std::fs::File;

use super::hash::Hash;
use super::read::{Budget, unpack};

/// Longest first line of an object: a kind and a size.
const HEADER: usize = 32;

/// Whether the file is the object of this name.
pub(super) fn is_object(name: &str, file: &File, budget: &mut Budget) -> Option<()> {
    let hash = Hash::of_name(name.len())?;
    let length = file.metadata().ok()?.len();
    let (mut hasher, mut header, mut content, mut in_content) = (hash.begin(), Vec::new(), 0u64, false);
    let taken = unpack(file, (0, length), budget, &mut |mut block| {
        hasher.add(block);
        if !in_content {
            let end = block.iter().position(|b| *b == 0);
            header.extend_from_slice(block.get(..end.unwrap_or(block.len()))?);
            block = end.and_then(|end| block.get(end + 1..)).unwrap_or_default();
            in_content = end.is_some();
        }
        content += block.len() as u64;
        (header.len() <= HEADER).then_some(())
    })?;
    let header = std::str::from_utf8(&header).ok()?;
    let (kind, size) = header.split_once(' ')?;
    let is_known = matches!(kind, "blob" | "tree" | "commit" | "tag");
    let fits = is_known && in_content && size.parse() == Ok(content) && taken == length;
    (fits && hex::encode(hasher.end()) == name).then_some(())
}
