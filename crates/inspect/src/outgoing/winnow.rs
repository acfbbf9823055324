//! Keyed rolling hashes of reduced text, and the choice of a few of them (winnowing).

use super::keyed::{Expand, inverse};

/// Characters that one hash covers.
pub(super) const GRAM: usize = 16;
/// Of so many hashes in a row at least one is kept: a passage of `GRAM + WINDOW - 1` = 24 characters has one.
pub(super) const WINDOW: usize = 9;
/// Bytes reduced at a time; fits the first-level cache with its hashes.
const BLOCK: usize = 2 * 1024;

/// Rolls over the classes of characters in both directions at once.
#[derive(Clone)]
pub(super) struct Hasher {
    /// By class: what a character adds to the hash of either direction when it comes.
    come: [[u64; 2]; 256],
    /// What it takes away when it goes.
    gone: [[u64; 2]; 256],
    factor: u64,
    inverse: u64,
    mix: u64,
}

/// A chosen gram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) hash: u64,
    /// Where it begins in the classes given along.
    pub(super) at: usize,
}

impl Hasher {
    pub(super) fn new(key: &[u8; 32]) -> Hasher {
        let mut random = Expand::new(key, "passages");
        let factor = random.next() | 1;
        let inverse = inverse(factor);
        let power = (1..GRAM).fold(1u64, |p, _| p.wrapping_mul(factor));
        let mix = random.next() | 1;
        let (mut come, mut gone) = ([[0; 2]; 256], [[0; 2]; 256]);
        for (come, gone) in come.iter_mut().zip(&mut gone) {
            let v = random.next();
            *come = [v, v.wrapping_mul(power)];
            *gone = [v.wrapping_mul(power).wrapping_mul(factor), v.wrapping_mul(inverse)];
        }
        Hasher { come, gone, factor, inverse, mix }
    }

    /// Gives, block by block, the grams that winnowing picks, the classes that they lie in, and how many characters came before
    /// those. Answers how many characters there were. A `window` of 1 picks every gram.
    pub(super) fn grams(
        &self,
        bytes: &[u8],
        window: usize,
        mut take: impl FnMut(&[Pick], &[u8], u64),
    ) -> u64 {
        let mut classes: Vec<u8> = Vec::with_capacity(BLOCK + GRAM + WINDOW);
        let mut hashes: Vec<u64> = Vec::with_capacity(BLOCK + GRAM + WINDOW);
        let mut picks = Vec::with_capacity(BLOCK);
        let (mut forward, mut backward) = (0u64, 0u64);
        // The characters before `classes`, and those before the last gram picked and itself.
        let (mut base, mut next) = (0u64, 0u64);
        for block in bytes.chunks(BLOCK) {
            let old = classes.len();
            reduce(block, &mut classes);
            let begun = old.min(GRAM);
            for class in classes.get(begun..GRAM.min(classes.len())).unwrap_or_default() {
                // The first gram is summed up from nothing.
                let come = self.come[usize::from(*class)];
                forward = forward.wrapping_mul(self.factor).wrapping_add(come[0]);
                backward = backward.wrapping_mul(self.inverse).wrapping_add(come[1]);
            }
            if old < GRAM && classes.len() >= GRAM {
                hashes.push(self.whole(forward, backward));
            }
            let from = old.max(GRAM);
            let coming = classes.get(from..).unwrap_or_default();
            let going = classes.get(from - GRAM..).unwrap_or_default();
            hashes.extend(coming.iter().zip(going).map(|(come, gone)| {
                let (come, gone) = (self.come[usize::from(*come)], self.gone[usize::from(*gone)]);
                forward = forward.wrapping_mul(self.factor).wrapping_add(come[0].wrapping_sub(gone[0]));
                backward = backward.wrapping_mul(self.inverse).wrapping_add(come[1].wrapping_sub(gone[1]));
                self.whole(forward, backward)
            }));
            // `hashes` begins with the gram at the start of `classes`.
            picks.clear();
            winnow(&hashes, window, |at, hash| {
                if base + at as u64 >= next {
                    next = base + at as u64 + 1;
                    picks.push(Pick { hash, at });
                }
            });
            take(&picks, &classes, base);
            // One gram more than the next window needs: rolling on takes its first character away.
            let done = hashes.len().saturating_sub((window - 1).max(1));
            hashes.drain(..done);
            classes.drain(..done);
            base += done as u64;
        }
        // What is shorter than a window still has a least gram.
        if base == 0
            && hashes.len() < window
            && let Some((at, hash)) = hashes.iter().copied().enumerate().min_by_key(|(_, h)| *h)
        {
            take(&[Pick { hash, at }], &classes, 0);
        }
        base + classes.len() as u64
    }

    /// Both directions in one, so that reversed text has the same hash.
    #[inline]
    fn whole(&self, forward: u64, backward: u64) -> u64 {
        let h = forward.wrapping_add(backward).wrapping_mul(self.mix);
        (h ^ h >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Calls `pick` with the place of the least hash of every window, once while it stays the least.
fn winnow(hashes: &[u64], window: usize, mut pick: impl FnMut(usize, u64)) {
    if window == 1 {
        hashes.iter().enumerate().for_each(|(i, h)| pick(i, *h));
        return;
    }
    let mut last = usize::MAX;
    for (i, w) in hashes.windows(WINDOW).enumerate() {
        let Ok(w) = <&[u64; WINDOW]>::try_from(w) else { continue };
        if last != usize::MAX && last >= i {
            // Only the hash that came in can be less.
            let newest = w[WINDOW - 1];
            if hashes.get(last).is_some_and(|l| newest >= *l) {
                continue;
            }
            last = i + WINDOW - 1;
            pick(last, newest);
            continue;
        }
        // Without branches: the place in the low bits breaks ties, leftmost first.
        let least = w.iter().enumerate().fold(u64::MAX, |m, (j, h)| m.min(h & !15 | j as u64));
        last = i + (least & 15) as usize;
        pick(last, hashes.get(last).copied().unwrap_or(0));
    }
}

/// Appends the classes of the letters and digits of `block`.
fn reduce(block: &[u8], classes: &mut Vec<u8>) {
    let start = classes.len();
    classes.resize(start + block.len(), 0);
    let mut at = start;
    for b in block {
        let class = CLASS[usize::from(*b)];
        if let Some(slot) = classes.get_mut(at) {
            *slot = class;
        }
        at += usize::from(class != 0);
    }
    classes.truncate(at);
}

/// 0 is left out; letters in pairs of rot13, digits, and every byte of a character beyond ASCII.
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = if b.is_ascii_alphabetic() {
            (b.to_ascii_lowercase() - b'a') % 13 + 1
        } else if b.is_ascii_digit() {
            b - b'0' + 14
        } else if b >= 0x80 {
            b - 0x80 + 24
        } else {
            0
        };
        i += 1;
    }
    table
};
