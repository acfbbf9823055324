//! What can still be read of a log that is damaged, for people who look at it. Nothing here judges: `verify` does.
use std::collections::BTreeSet;
use std::path::Path;

use tlog_tiles::tlog;

use crate::layout::{self, HEAD, WIDTH};
use crate::{Leaf, LogError};

/// What reading on came to.
#[derive(Debug, Clone)]
pub enum Found {
    Leaf(Box<Leaf>),
    Damaged(Damaged),
}

/// Records `first` to `last` that are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub first: u64,
    pub last: u64,
    pub part: Part,
    /// Nothing that can be read comes after it: a record that is being written looks like this too.
    pub at_end: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// They are left out, or what is left of them is given and does not match its hash.
    Record,
    /// Their payloads alone.
    Payload,
}

/// What every leaf begins with: its first field by name.
const LEAF: &[u8] = b"{\"action\":";

/// Everything from record `from` on, in order; what lies between two readable records and cannot be read is one range.
pub(crate) fn read(dir: &Path, from: u64) -> Result<impl Iterator<Item = Found>, LogError> {
    // Signed before it is read: what is written meanwhile only adds to it.
    let signed = signed_size(dir);
    let pending: BTreeSet<u64> = layout::pending_numbers(dir)?.into_iter().collect();
    let mut numbers = layout::entry_numbers(dir);
    numbers.extend(&pending);
    let dir = dir.to_owned();
    let last = numbers.last().copied();
    let first = from / WIDTH as u64;
    let mut next = first * WIDTH as u64;
    let numbers: Vec<u64> =
        numbers.into_iter().filter(|n| *n >= first && *n < u64::MAX / WIDTH as u64).collect();
    let found = numbers.into_iter().map(Some).chain([None]).flat_map(move |n| {
        let mut found = Vec::new();
        let start = n.map_or(signed, |n| n * WIDTH as u64);
        if start > next {
            found.push(damaged(next, start - 1, Part::Record, n.is_none()));
            next = start;
        }
        if let Some(n) = n {
            // Only the newest segment may end early: a tile is published when it is full.
            let is_segment = pending.contains(&n);
            let tile = if is_segment { segment(&dir, n) } else { bundle(&dir, n) };
            next = tile.give(start, !is_segment || last != Some(n), &mut found);
        }
        found
    });
    Ok(found.filter(move |f| match f {
        Found::Leaf(leaf) => leaf.seq >= from,
        Found::Damaged(d) => d.last >= from,
    }))
}

fn damaged(first: u64, last: u64, part: Part, at_end: bool) -> Found {
    Found::Damaged(Damaged { first, last, part, at_end })
}

/// The size that the checkpoint speaks of; its signature is for `verify`.
fn signed_size(dir: &Path) -> u64 {
    let text = layout::read(dir, "checkpoint").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// The records of one tile in their places.
#[derive(Default)]
struct Tile {
    slots: Vec<Option<Leaf>>,
    /// Places whose leaf reads well and has another hash.
    doubtful: BTreeSet<usize>,
    payloads_damaged: bool,
    /// The file goes on after the last record, with what is none.
    torn: bool,
}

impl Tile {
    /// Gives what is here in order, and the number of the record that comes next.
    fn give(mut self, start: u64, is_full: bool, found: &mut Vec<Found>) -> u64 {
        if is_full {
            self.slots.resize(WIDTH, None);
        } else if self.torn && self.slots.len() < WIDTH {
            self.slots.push(None);
        }
        let count = self.slots.len() as u64;
        let readable = self.slots.iter().rposition(Option::is_some);
        if self.payloads_damaged && count > 0 {
            found.push(damaged(start, start + count - 1, Part::Payload, false));
        }
        for (i, slot) in self.slots.into_iter().enumerate() {
            let seq = start + i as u64;
            if slot.is_none() || self.doubtful.contains(&i) {
                let at_end = !is_full && readable.is_none_or(|r| i > r);
                match found.last_mut() {
                    Some(Found::Damaged(d)) if d.part == Part::Record && d.last + 1 == seq => {
                        (d.last, d.at_end) = (seq, at_end);
                    }
                    _ => found.push(damaged(seq, seq, Part::Record, at_end)),
                }
            }
            found.extend(slot.map(|leaf| Found::Leaf(Box::new(leaf))));
        }
        start + count
    }
}

fn segment(dir: &Path, n: u64) -> Tile {
    match layout::read(dir, &layout::pending(n)) {
        Ok(bytes) => salvage(&bytes, n, HEAD, None, |bytes| {
            let (record, _, len) = layout::read_frame(bytes)?;
            Some((record.leaf, len))
        }),
        // Published since the numbers were read.
        Err(_) if dir.join(layout::entries(n)).exists() => bundle(dir, n),
        Err(_) => Tile { torn: true, ..Tile::default() },
    }
}

fn bundle(dir: &Path, n: u64) -> Tile {
    let entries = layout::read(dir, &layout::entries(n)).unwrap_or_default();
    let hashes = layout::read(dir, &layout::hash_tile(0, n)).ok().filter(|h| h.len() == WIDTH * 32);
    let mut tile = salvage(&entries, n, 2, hashes.as_deref(), |bytes| {
        let (head, rest) = bytes.split_at_checked(2)?;
        let leaf = rest.get(..usize::from(u16::from_be_bytes(head.try_into().ok()?)))?;
        Leaf::from_bytes(leaf)?;
        Some((leaf.to_vec(), 2 + leaf.len()))
    });
    tile.slots.resize(WIDTH, None);
    tile.payloads_damaged =
        !layout::read(dir, &layout::payloads(n)).is_ok_and(|bytes| layout::holds_payloads(&bytes));
    tile
}

/// Reads on after what is no record: a leaf names its own place, and where it begins is found by its first field.
fn salvage(
    bytes: &[u8],
    n: u64,
    head: usize,
    hashes: Option<&[u8]>,
    read: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>,
) -> Tile {
    let mut tile = Tile::default();
    let (base, mut at) = (n * WIDTH as u64, 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let record = read(rest).and_then(|(leaf, len)| Some((Leaf::from_bytes(&leaf)?, leaf, len)));
        let place = record.as_ref().and_then(|(leaf, ..)| usize::try_from(leaf.seq.checked_sub(base)?).ok());
        match record.zip(place) {
            // Its own place, or a later one after what could not be read.
            Some(((leaf, text, len), place))
                if place < WIDTH
                    && (place == tile.slots.len() || (tile.torn && place > tile.slots.len())) =>
            {
                tile.slots.resize(place, None);
                let hash = hashes.and_then(|all| all.get(place * 32..place * 32 + 32));
                if hash.is_some_and(|hash| hash != tlog::record_hash(&text).0) {
                    tile.doubtful.insert(place);
                }
                tile.slots.push(Some(leaf));
                tile.torn = false;
                at += len;
            }
            _ => {
                tile.torn = true;
                let from = at + head + 1;
                let begins = bytes.get(from..).and_then(|b| b.windows(LEAF.len()).position(|w| w == LEAF));
                at = begins.map_or(bytes.len(), |begins| from + begins - head);
            }
        }
    }
    tile
}
