//! Where an archive ends that stands in the middle of something, and which stretches of it its own list names.
//!
//! APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.

use std::ops::Range;

const END: &[u8] = b"PK\x05\x06";
const LISTED: &[u8] = b"PK\x01\x02";
/// Lengths of the three headers, without what varies.
const END_LENGTH: usize = 22;
const LISTED_LENGTH: usize = 46;
const MEMBER_LENGTH: usize = 30;
/// What may follow a member's bytes: its sizes and checksum.
const DESCRIPTOR: usize = 16;

/// One archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) end: usize,
    /// The members that the list names, with their headers.
    pub(super) members: Vec<Range<usize>>,
}

/// The archive that `bytes` begin with: up to the first end whose list lies right before it. None where there is no such end (one of
/// more than 4 GiB, a damaged one).
pub(super) fn span(bytes: &[u8]) -> Option<Span> {
    memchr::memmem::find_iter(bytes, END).find_map(|at| {
        let end = bytes.get(at..at + END_LENGTH)?;
        let (size, list) = (u32_at(end, 12)?, u32_at(end, 16)?);
        if list.checked_add(size)? != at {
            return None;
        }
        let members = members(bytes, list, at)?;
        let comment = u16_at(end, 20)?;
        Some(Span { end: (at + END_LENGTH + comment).min(bytes.len()), members })
    })
}

fn members(bytes: &[u8], mut at: usize, end: usize) -> Option<Vec<Range<usize>>> {
    let mut members = Vec::new();
    while at < end {
        let listed = bytes.get(at..end)?;
        if !listed.starts_with(LISTED) {
            return None;
        }
        let (packed, begins) = (u32_at(listed, 20)?, u32_at(listed, 42)?);
        let own = bytes.get(begins..)?;
        let header = MEMBER_LENGTH + u16_at(own, 26)? + u16_at(own, 28)?;
        members.push(begins..begins.checked_add(header)?.checked_add(packed)?.checked_add(DESCRIPTOR)?);
        at += LISTED_LENGTH + u16_at(listed, 28)? + u16_at(listed, 30)? + u16_at(listed, 32)?;
    }
    Some(members)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let two = bytes.get(at..at + 2)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_le_bytes(*two)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*four)).ok()
}
