//! Pieces in the order in which they were sent: what arrived, and beside it what was refused.

use std::collections::{HashSet, VecDeque};

const MOST_PIECES: usize = 1_024;

/// Pieces of one place. Whoever is refused may send the same again, or go on where it ended: so both are kept, what arrived and
/// all.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub sent: Pieces,
    /// Those that were refused, too.
    pub all: Pieces,
    has_refused: bool,
    /// Of the newest request a piece stands in its path or query.
    pub in_target: bool,
    /// The newest request was looked at, and one before it was not.
    is_looked_at: bool,
    has_missed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub pieces: VecDeque<Vec<u8>>,
    pub bytes: usize,
    /// Bytes of passages that were found before the newest came.
    pub found: u64,
    /// Of keys that were found before it came, what tells them apart.
    pub keys: HashSet<u64>,
    /// How many came with the newest request.
    fresh: usize,
}

impl Stream {
    /// A new request begins.
    pub fn begin(&mut self) {
        self.has_missed |= self.sent.fresh > 0 && !self.is_looked_at;
        self.is_looked_at = false;
        self.sent.fresh = 0;
        self.all.fresh = 0;
        self.in_target = false;
    }

    pub fn push(&mut self, piece: Vec<u8>, most: usize) {
        // The same again after a refusal is no next piece.
        if !(self.is_refused_kept() && self.all.pieces.back() == Some(&piece)) {
            self.all.push(piece.clone(), most);
        }
        self.sent.push(piece, most);
    }

    /// The newest piece was there so many times more.
    pub fn repeat(&mut self, times: usize, most: usize) {
        let Some(newest) = self.all.pieces.back().cloned() else { return };
        (0..times).for_each(|_| self.push(newest.clone(), most));
    }

    /// Whether a piece is the same as the one before it.
    pub fn has_repeated(&self) -> bool {
        let pieces = &self.sent.pieces;
        pieces.iter().zip(pieces.iter().skip(1)).any(|(one, next)| one == next)
    }

    /// Whether the newest request added to it.
    pub fn is_fresh(&self) -> bool {
        self.sent.fresh > 0
    }

    /// It is looked at now. Whether requests before the newest were not, so that what they said is not known yet.
    pub fn look(&mut self) -> bool {
        self.is_looked_at = true;
        std::mem::take(&mut self.has_missed)
    }

    /// Whether something that was refused is among all.
    pub fn is_refused_kept(&self) -> bool {
        self.has_refused && self.all.pieces != self.sent.pieces
    }

    /// The newest request is not sent: the next one may be the same, or go on from here.
    pub fn refuse(&mut self, completes: bool) {
        self.has_refused = true;
        if completes {
            self.all.pieces.clone_from(&self.sent.pieces);
            (self.all.bytes, self.all.found) = (self.sent.bytes, self.sent.found);
            self.all.keys.clone_from(&self.sent.keys);
        }
        for _ in 0..std::mem::take(&mut self.sent.fresh) {
            self.sent.bytes -= self.sent.pieces.pop_back().map_or(0, |p| p.len());
        }
    }

    /// Whether it ends with all of another one, which needs no look of its own then.
    pub fn ends_with(&self, other: &Self) -> bool {
        let (own, other) = (self.sent.all().concat(), other.sent.all().concat());
        own.ends_with(&other)
    }
}

impl Pieces {
    fn push(&mut self, piece: Vec<u8>, most: usize) {
        self.fresh += 1;
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        while self.pieces.len() > MOST_PIECES || self.bytes > most {
            self.bytes -= self.pieces.pop_front().map_or(0, |p| p.len());
        }
    }

    /// What came before the newest request.
    pub fn older(&self) -> Vec<&[u8]> {
        self.pieces.iter().take(self.pieces.len().saturating_sub(self.fresh)).map(Vec::as_slice).collect()
    }

    pub fn all(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(Vec::as_slice).collect()
    }
}
