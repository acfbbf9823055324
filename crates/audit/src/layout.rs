//! Files of a log: `checkpoint`, `tile/L/N`, `tile/entries/N`, `payload/N`, and `pending/N`,
//! the write-ahead segment of tile N until its 256 records are published.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::payload::MAX_PAYLOAD;
use crate::{LogError, MAX_LEAF};

/// One record as stored: leaf bytes and its sealed payload (empty when none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub leaf: Vec<u8>,
    pub sealed: Vec<u8>,
}

/// Hashes in a full tile (C2SP: height 8).
pub(crate) const WIDTH: usize = 256;
/// What stands before the leaf in a frame.
pub(crate) const HEAD: usize = 4 + 4 + 8 + 32;
/// Room for nonce, salt and tag.
const MAX_SEALED: usize = MAX_PAYLOAD + 72;

pub(crate) fn number_path(n: u64) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut n = n / 1000;
    while n > 0 {
        path = format!("x{:03}/{path}", n % 1000);
        n /= 1000;
    }
    path
}
pub(crate) fn hash_tile(level: u8, n: u64) -> String {
    format!("tile/{level}/{}", number_path(n))
}
pub(crate) fn entries(n: u64) -> String {
    format!("tile/entries/{}", number_path(n))
}
pub(crate) fn payloads(n: u64) -> String {
    format!("payload/{}", number_path(n))
}
pub(crate) fn pending(n: u64) -> String {
    format!("pending/{n:020}")
}

/// A frame: lengths, the synced mark, a checksum of all of it, leaf, payload.
pub(crate) fn frame(record: &Record, synced: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + record.leaf.len() + record.sealed.len());
    out.extend((record.leaf.len() as u32).to_be_bytes());
    out.extend((record.sealed.len() as u32).to_be_bytes());
    out.extend(synced.to_be_bytes());
    let sum =
        Sha256::new().chain_update(&out).chain_update(&record.leaf).chain_update(&record.sealed).finalize();
    out.extend(sum);
    out.extend(&record.leaf);
    out.extend(&record.sealed);
    out
}

/// What a segment holds; `good` bytes of it are whole frames.
pub(crate) struct Segment {
    pub records: Vec<Record>,
    pub good: usize,
    pub synced: u64,
}

pub(crate) fn read_segment(bytes: &[u8]) -> Segment {
    let mut seg = Segment { records: Vec::new(), good: 0, synced: 0 };
    while let Some((record, synced, len)) = bytes.get(seg.good..).and_then(read_frame) {
        seg.records.push(record);
        seg.synced = seg.synced.max(synced);
        seg.good += len;
    }
    seg
}

pub(crate) fn read_frame(bytes: &[u8]) -> Option<(Record, u64, usize)> {
    let leaf = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let sealed = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    let synced = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    if leaf == 0 || leaf > MAX_LEAF || sealed > MAX_SEALED {
        return None;
    }
    let end = HEAD + leaf + sealed;
    let body = bytes.get(HEAD..end)?;
    let sum = Sha256::new().chain_update(bytes.get(..16)?).chain_update(body).finalize();
    if bytes.get(16..HEAD)? != sum.as_slice() {
        return None;
    }
    let (leaf, sealed) = body.split_at_checked(leaf)?;
    Some((Record { leaf: leaf.to_vec(), sealed: sealed.to_vec() }, synced, end))
}

/// The C2SP entry bundle and the payload bundle of full tile.
pub(crate) fn bundle(records: &[Record]) -> (Vec<u8>, Vec<u8>) {
    let (mut entries, mut payloads) = (Vec::new(), Vec::new());
    for r in records {
        entries.extend((r.leaf.len() as u16).to_be_bytes());
        entries.extend(&r.leaf);
        payloads.extend((r.sealed.len() as u32).to_be_bytes());
        payloads.extend(&r.sealed);
    }
    (entries, payloads)
}

/// Reads the two bundles of one full tile; `None` unless both are exactly 256 items.
pub(crate) fn unbundle(mut entries: &[u8], mut payloads: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::with_capacity(WIDTH);
    for _ in 0..WIDTH {
        let (head, rest) = entries.split_at_checked(2)?;
        let (leaf, rest) = rest.split_at_checked(u16::from_be_bytes(head.try_into().ok()?) as usize)?;
        entries = rest;
        let (head, rest) = payloads.split_at_checked(4)?;
        let (sealed, rest) = rest.split_at_checked(u32::from_be_bytes(head.try_into().ok()?) as usize)?;
        payloads = rest;
        records.push(Record { leaf: leaf.to_vec(), sealed: sealed.to_vec() });
    }
    (entries.is_empty() && payloads.is_empty()).then_some(records)
}

/// Whether these are the payloads of one full tile, as far as their lengths say.
pub(crate) fn holds_payloads(mut bytes: &[u8]) -> bool {
    for _ in 0..WIDTH {
        let Some((head, rest)) = bytes.split_first_chunk() else { return false };
        let Some((_, rest)) = rest.split_at_checked(u32::from_be_bytes(*head) as usize) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|d| d.sync_all()).map_err(|e| LogError::io(path, e))
}

/// Writes a whole file or none of it, on disk when this returns.
pub(crate) fn write_atomic(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), LogError> {
    write_all_atomic(dir, &[(name.to_owned(), bytes)])
}

/// Each file whole or not at all, on disk when this returns; each directory is synced once.
pub(crate) fn write_all_atomic(dir: &Path, files: &[(String, &[u8])]) -> Result<(), LogError> {
    let mut folders = BTreeSet::new();
    let mut places = Vec::new();
    for (name, bytes) in files {
        let path = dir.join(name);
        let temp = dir.join("tmp").join(name.replace('/', "-"));
        let parent = path.parent().unwrap_or(dir);
        fs::create_dir_all(parent).map_err(|e| LogError::io(parent, e))?;
        File::create(&temp)
            .and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()))
            .map_err(|e| LogError::io(&path, e))?;
        folders.extend(parent.ancestors().take_while(|f| f.starts_with(dir)).map(Path::to_owned));
        places.push((temp, path));
    }
    for (temp, path) in places {
        fs::rename(&temp, &path).map_err(|e| LogError::io(&path, e))?;
    }
    // From the inside out.
    folders.iter().rev().try_for_each(|folder| sync_dir(folder))
}

/// Whether a file below the log's directory is one that [`write_all_atomic`] did not come to the end of, for want of room or
/// because it was ended: nothing reads it, and the next writer removes it.
pub(crate) fn is_temporary(name: &str) -> bool {
    let Some(name) = name.strip_prefix("tmp/") else { return false };
    let is_number =
        |n: &str| n.split('-').all(|part| part.trim_start_matches('x').bytes().all(|b| b.is_ascii_digit()));
    let of_log = ["tile-", "tile-entries-", "payload-"];
    name == "checkpoint" || of_log.iter().any(|kind| name.strip_prefix(kind).is_some_and(is_number))
}

/// Numbers of the pending segments, ascending.
pub(crate) fn pending_numbers(dir: &Path) -> Result<Vec<u64>, LogError> {
    let folder = dir.join("pending");
    let mut numbers = Vec::new();
    for item in fs::read_dir(&folder).map_err(|e| LogError::io(&folder, e))? {
        let name = item.map_err(|e| LogError::io(&folder, e))?.file_name();
        let number = name.to_str().filter(|n| n.len() == 20).and_then(|n| n.parse().ok());
        numbers.push(number.ok_or_else(|| LogError::corrupt(&folder, "an unknown file lies here"))?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Numbers of the published tiles. What has another name is for `verify` to say.
pub(crate) fn entry_numbers(dir: &Path) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    let mut folders = vec![(dir.join("tile/entries"), 0u64)];
    while let Some((folder, above)) = folders.pop() {
        for name in fs::read_dir(&folder).into_iter().flatten().flatten().map(|item| item.file_name()) {
            let Some(name) = name.to_str() else { continue };
            let digits = name.strip_prefix('x').unwrap_or(name);
            let number = Some(digits).filter(|d| d.len() == 3).and_then(|d| d.parse::<u64>().ok());
            let Some(number) = number.and_then(|n| above.checked_mul(1000)?.checked_add(n)) else { continue };
            if digits.len() == name.len() {
                numbers.insert(number);
            } else {
                folders.push((folder.join(name), number));
            }
        }
    }
    numbers
}

pub(crate) fn read(dir: &Path, name: &str) -> Result<Vec<u8>, LogError> {
    let path: PathBuf = dir.join(name);
    fs::read(&path).map_err(|e| LogError::io(&path, e))
}
