//! C2SP tlog-proof: that one record is in a signed tree.
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tlog_tiles::tlog::{self, Hash};

use crate::tree::Tree;
use crate::{Checkpoint, LogError, layout, reader::Reader};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The proof of record `seq` under the published checkpoint.
pub fn prove(dir: &Path, vkey: &str, seq: u64) -> Result<String, LogError> {
    let checkpoint = Checkpoint::open(&layout::read(dir, "checkpoint")?, vkey)?;
    if seq >= checkpoint.size {
        return Err(LogError::Proof(format!(
            "record {seq} is not yet under a checkpoint; run `chaperone audit checkpoint`"
        )));
    }
    let mut tree = Tree::load(dir, 0)?;
    for tile in Reader::open(dir)?.tiles(0) {
        tile?.iter().for_each(|r| tree.push(&r.leaf));
    }
    let mut text = format!("{HEADER}\nindex {seq}\n");
    for hash in tree.inclusion(checkpoint.size, seq)? {
        text.push_str(&STANDARD.encode(hash.0));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&checkpoint.text);
    verify_proof(&text, &Reader::open(dir)?.record(seq)?.leaf, vkey)?;
    Ok(text)
}

/// Checks that `leaf` (its exact bytes) is in the tree that the proof's checkpoint signs; gives its `seq`.
pub fn verify_proof(text: &str, leaf: &[u8], vkey: &str) -> Result<u64, LogError> {
    let bad = || LogError::Proof("it is malformed or does not lead from the record to the root".into());
    let (head, note) = text.split_once("\n\n").ok_or_else(bad)?;
    let mut lines = head.split('\n');
    if lines.next() != Some(HEADER) {
        return Err(bad());
    }
    let index = lines.next().and_then(|l| l.strip_prefix("index ")).ok_or_else(bad)?;
    let seq: u64 = index.parse().map_err(|_| bad())?;
    if seq.to_string() != index {
        return Err(bad());
    }
    let mut path = Vec::new();
    for line in lines {
        let hash = STANDARD.decode(line).ok().and_then(|h| h.try_into().ok()).ok_or_else(bad)?;
        path.push(Hash(hash));
    }
    let c = Checkpoint::open(note.as_bytes(), vkey)?;
    if seq >= c.size || path.len() > 64 {
        return Err(bad());
    }
    tlog::check_record(&path, c.size, Hash(c.root), seq, tlog::record_hash(leaf)).map_err(|_| bad())?;
    Ok(seq)
}
