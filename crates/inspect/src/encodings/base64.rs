//! Base64 of either alphabet (RFC 4648), of which nobody says where it begins.

use super::readable::{APART, LEAST_TEXT, READ};

/// Shorter runs hold nothing that is looked for, in characters.
pub(super) const SHORTEST: usize = 16;

/// Appends every readable stretch of a run, at each of its four alignments.
pub(super) fn base64(run: &[u8], out: &mut Vec<u8>) {
    // Where the readable stretch of each alignment began; `NONE` when there is none.
    const NONE: usize = usize::MAX;
    let mut began = [NONE; 4];
    let mut group = 0u32;
    for (i, b) in run.iter().enumerate() {
        group = group << 6 | u32::from(SIX[usize::from(*b)] & 63);
        if i < 3 {
            continue;
        }
        let first = i - 3;
        let readable = READ[(group >> 16 & 0xff) as usize]
            & READ[(group >> 8 & 0xff) as usize]
            & READ[(group & 0xff) as usize];
        let slot = &mut began[first & 3];
        match (readable, *slot) {
            (true, NONE) => *slot = first,
            (false, from) if from != NONE => {
                *slot = NONE;
                stretch(run, from, first, out);
            }
            _ => {}
        }
    }
    for (i, from) in began.iter().enumerate() {
        if *from != NONE {
            stretch(run, *from, run.len() - (run.len() - i) % 4, out);
        }
    }
}

/// Appends what the groups from `from` to `to` say, with what is readable of the groups beside them.
fn stretch(run: &[u8], from: usize, to: usize, out: &mut Vec<u8>) {
    if (to - from) / 4 * 3 + 4 < LEAST_TEXT {
        return;
    }
    let start = out.len();
    let before = from.checked_sub(4).map(|f| triple(run, f));
    let tail = before.map_or(0, |t| t.iter().rev().take_while(|b| READ[usize::from(**b)]).count());
    out.extend_from_slice(before.unwrap_or_default().get(3 - tail..).unwrap_or_default());
    for group in run.get(from..to).unwrap_or_default().as_chunks::<4>().0 {
        out.extend_from_slice(&three(*group));
    }
    // The last group may be of two or three characters.
    let known = match run.len() - to.min(run.len()) {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        _ => 3,
    };
    let after = triple(run, to);
    let read = after.iter().take(known).take_while(|b| READ[usize::from(**b)]).count();
    out.extend_from_slice(after.get(..read).unwrap_or_default());
    if out.len() - start < LEAST_TEXT {
        out.truncate(start);
    } else {
        out.extend_from_slice(APART);
    }
}

/// What the group at a place says; what is not there counts for nothing.
fn triple(run: &[u8], at: usize) -> [u8; 3] {
    three(std::array::from_fn(|i| run.get(at + i).copied().unwrap_or(b'A')))
}

fn three(group: [u8; 4]) -> [u8; 3] {
    let n = group.iter().fold(0u32, |n, b| n << 6 | u32::from(SIX[usize::from(*b)] & 63));
    [(n >> 16) as u8, (n >> 8) as u8, n as u8]
}

/// What the first characters of a run say, as far as there is room.
pub(super) fn head_of<'r>(run: &[u8], room: &'r mut [u8]) -> &'r [u8] {
    let mut length = 0;
    let (groups, rest) = run.as_chunks::<4>();
    for (group, out) in groups.iter().zip(room.chunks_exact_mut(3)) {
        out.copy_from_slice(&three(*group));
        length += 3;
    }
    for b in triple(rest, 0).iter().take(rest.len().saturating_sub(1)) {
        if let Some(slot) = room.get_mut(length) {
            *slot = *b;
            length += 1;
        }
    }
    room.get(..length).unwrap_or_default()
}

/// What sixteen characters say.
#[inline]
pub(super) fn twelve(run: &[u8; 16]) -> [u8; 12] {
    let mut said = [0; 12];
    for (group, out) in run.as_chunks::<4>().0.iter().zip(said.as_chunks_mut::<3>().0) {
        *out = three(*group);
    }
    said
}

/// All that a run without its padding says.
pub(crate) fn from_base64(run: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(run.len() / 4 * 3 + 3);
    let (groups, rest) = run.as_chunks::<4>();
    groups.iter().for_each(|group| out.extend_from_slice(&three(*group)));
    let last = triple(rest, 0);
    out.extend_from_slice(last.get(..rest.len().saturating_sub(1)).unwrap_or_default());
    out
}

/// The six bits of a character of either alphabet; 64 for every other.
pub(super) const SIX: [u8; 256] = {
    let mut table = [64; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => 64,
        };
        i += 1;
    }
    table
};
