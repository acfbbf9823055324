//! The index that a pack has: computed from the pack alone, as git computes it, so that an index which is not the same is
//! another pack's or nobody's.
//!
//! Source: gitformat-pack(5).

use std::collections::HashMap;
use std::fs::File;

use flate2::Crc;

use super::hash::Hash;
use super::read::{Budget, blocks, exactly, unpack};

/// Objects of one pack, and bytes of objects that are held at a time while differences are applied.
const MOST_OBJECTS: usize = 500_000;
const MOST_HELD: usize = 128 << 20;
/// Longest beginning of an entry: its size, and what it differs from.
const ENTRY: usize = 64;
/// From here places need eight bytes in an index.
const LARGEST: u64 = 1 << 31;

#[derive(Debug, Clone)]
enum Base {
    None(&'static str),
    At(u64),
    Named(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    at: u64,
    data: u64,
    crc: u32,
    size: u64,
    base: Base,
    name: Option<Vec<u8>>,
}

/// The bytes of the index; `None` when the pack is not sound, or more than can be looked at.
pub(super) fn index_of(pack: &File, hash: Hash, budget: &mut Budget) -> Option<Vec<u8>> {
    let length = pack.metadata().ok()?.len();
    let end = length.checked_sub(hash.bytes() as u64)?;
    let head = exactly(pack, 0, 12)?;
    let count = usize::try_from(u32::from_be_bytes(*head.get(8..)?.first_chunk()?)).ok()?;
    let is_pack = head.starts_with(b"PACK") && matches!(head.get(4..8)?, [0, 0, 0, 2 | 3]);
    if !is_pack || count > MOST_OBJECTS || length >= LARGEST {
        return None;
    }
    let mut hasher = hash.begin();
    blocks(pack, 0, end, budget, &mut |block| hasher.add(block))?;
    let sum = hasher.end();
    if exactly(pack, end, hash.bytes())? != sum {
        return None;
    }
    let (mut entries, mut at) = (Vec::new(), 12);
    for _ in 0..count {
        let (entry, next) = entry(pack, hash, (at, end), budget)?;
        entries.push(entry);
        at = next;
    }
    if at != end {
        return None;
    }
    Differences::new(&entries).apply(pack, hash, &mut entries, end, budget)?;
    written(&entries, &sum, hash)
}

/// One entry, with its name where it is whole, and where the next begins.
fn entry(pack: &File, hash: Hash, (at, end): (u64, u64), budget: &mut Budget) -> Option<(Entry, u64)> {
    let head = exactly(pack, at, ENTRY.min(usize::try_from(end.checked_sub(at)?).ok()?))?;
    let mut bytes = head.iter().copied();
    let first = bytes.next()?;
    let (mut size, mut shift, mut last, mut used) = (u64::from(first & 15), 4u32, first, 1);
    while last & 0x80 != 0 {
        last = bytes.next()?;
        size |= u64::from(last & 0x7f).checked_shl(shift).filter(|_| shift < 57)?;
        (shift, used) = (shift + 7, used + 1);
    }
    let base = match first >> 4 & 7 {
        1 => Base::None("commit"),
        2 => Base::None("tree"),
        3 => Base::None("blob"),
        4 => Base::None("tag"),
        6 => {
            let mut byte = bytes.next()?;
            let mut back = u64::from(byte & 0x7f);
            used += 1;
            while byte & 0x80 != 0 {
                byte = bytes.next()?;
                back = back.checked_add(1)?.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
                used += 1;
            }
            Base::At(at.checked_sub(back).filter(|_| back > 0)?)
        }
        7 => {
            let name = head.get(used..used + hash.bytes())?.to_vec();
            used += hash.bytes();
            Base::Named(name)
        }
        _ => return None,
    };
    let data = at + used as u64;
    let mut hasher = hash.begin();
    if let Base::None(kind) = base {
        hasher.add(format!("{kind} {size}\0").as_bytes());
    }
    let mut have = 0;
    let packed = unpack(pack, (data, end), budget, &mut |block| {
        have += block.len() as u64;
        hasher.add(block);
        (have <= size).then_some(())
    })?;
    let next = data + packed;
    let mut crc = Crc::new();
    blocks(pack, at, next, budget, &mut |block| crc.update(block))?;
    let name = matches!(base, Base::None(_)).then(|| hasher.end());
    (have == size).then_some((Entry { at, data, crc: crc.sum(), size, base, name }, next))
}

/// Which entries say only how they differ from another.
struct Differences {
    by_place: HashMap<u64, Vec<usize>>,
    by_name: HashMap<Vec<u8>, Vec<usize>>,
}

/// An object whose differences are gone through.
struct Open {
    kind: &'static str,
    content: Vec<u8>,
    left: Vec<usize>,
}

impl Differences {
    fn new(entries: &[Entry]) -> Self {
        let mut this = Self { by_place: HashMap::new(), by_name: HashMap::new() };
        for (n, entry) in entries.iter().enumerate() {
            match &entry.base {
                Base::None(_) => {}
                Base::At(place) => this.by_place.entry(*place).or_default().push(n),
                Base::Named(name) => this.by_name.entry(name.clone()).or_default().push(n),
            }
        }
        this
    }

    fn on(&mut self, entry: &Entry) -> Vec<usize> {
        let mut all = self.by_place.remove(&entry.at).unwrap_or_default();
        all.extend(entry.name.as_ref().and_then(|name| self.by_name.remove(name)).unwrap_or_default());
        all
    }

    /// Gives every entry its name, one way of differences at a time.
    fn apply(
        mut self,
        pack: &File,
        hash: Hash,
        entries: &mut [Entry],
        end: u64,
        budget: &mut Budget,
    ) -> Option<()> {
        for n in 0..entries.len() {
            let entry = entries.get(n)?;
            let Base::None(kind) = entry.base else { continue };
            let left = self.on(entry);
            if left.is_empty() {
                continue;
            }
            let whole = content(pack, entry, end, budget)?;
            let mut held = whole.len();
            let mut way = vec![Open { kind, content: whole, left }];
            while let Some(open) = way.last_mut() {
                let Some(next) = open.left.pop() else {
                    held -= way.pop().map_or(0, |open| open.content.len());
                    continue;
                };
                let entry = entries.get_mut(next)?;
                let difference = content(pack, entry, end, budget)?;
                let whole = changed(&open.content, &difference, budget)?;
                let mut hasher = hash.begin();
                hasher.add(format!("{kind} {}\0", whole.len()).as_bytes());
                hasher.add(&whole);
                entry.name = Some(hasher.end());
                let (kind, left) = (open.kind, self.on(entries.get(next)?));
                if !left.is_empty() {
                    held += whole.len();
                    way.push(Open { kind, content: whole, left });
                }
                if held > MOST_HELD {
                    return None;
                }
            }
        }
        entries.iter().all(|entry| entry.name.is_some()).then_some(())
    }
}

fn content(pack: &File, entry: &Entry, end: u64, budget: &mut Budget) -> Option<Vec<u8>> {
    let size = usize::try_from(entry.size).ok().filter(|size| *size <= MOST_HELD)?;
    let mut content = Vec::new();
    unpack(pack, (entry.data, end), budget, &mut |block| {
        content.extend_from_slice(block);
        Some(())
    })?;
    (content.len() == size).then_some(content)
}

/// What a difference makes of its base.
fn changed(base: &[u8], difference: &[u8], budget: &mut Budget) -> Option<Vec<u8>> {
    let mut rest = difference;
    let mut number = || {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let (byte, more) = rest.split_first()?;
            rest = more;
            value |= u64::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
    };
    let (from, to) = (number()?, number()?);
    if from != base.len() || to > MOST_HELD {
        return None;
    }
    budget.spend(to)?;
    let mut content = Vec::with_capacity(to);
    while let Some((step, more)) = rest.split_first() {
        rest = more;
        if step & 0x80 == 0 {
            let length = usize::from(*step);
            if length == 0 {
                return None;
            }
            content.extend_from_slice(rest.get(..length)?);
            rest = rest.get(length..)?;
        } else {
            let mut field = |bits: std::ops::Range<u32>| {
                let mut value = 0usize;
                for (byte, bit) in bits.enumerate() {
                    if step >> bit & 1 == 1 {
                        let (first, more) = rest.split_first()?;
                        value |= usize::from(*first) << (8 * byte);
                        rest = more;
                    }
                }
                Some(value)
            };
            let (place, length) = (field(0..4)?, field(4..7)?);
            let length = if length == 0 { 0x1_0000 } else { length };
            content.extend_from_slice(base.get(place..place.checked_add(length)?)?);
        }
        if content.len() > to {
            return None;
        }
    }
    (content.len() == to).then_some(content)
}

/// Version 2 of an index.
fn written(entries: &[Entry], sum: &[u8], hash: Hash) -> Option<Vec<u8>> {
    let mut sorted: Vec<(&[u8], &Entry)> = Vec::with_capacity(entries.len());
    for entry in entries {
        sorted.push((entry.name.as_deref()?, entry));
    }
    sorted.sort_by_key(|(name, entry)| (*name, entry.at));
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    let mut counts = [0u32; 256];
    for (name, _) in &sorted {
        *counts.get_mut(usize::from(*name.first()?))? += 1;
    }
    let mut all = 0u32;
    for count in counts {
        all += count;
        index.extend(all.to_be_bytes());
    }
    sorted.iter().for_each(|(name, _)| index.extend_from_slice(name));
    sorted.iter().for_each(|(_, entry)| index.extend(entry.crc.to_be_bytes()));
    for (_, entry) in &sorted {
        index.extend(u32::try_from(entry.at).ok()?.to_be_bytes());
    }
    index.extend_from_slice(sum);
    let mut hasher = hash.begin();
    hasher.add(&index);
    index.extend(hasher.end());
    Some(index)
}
