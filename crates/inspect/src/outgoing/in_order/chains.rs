//! Matches that go on from each other.

use std::collections::{BTreeMap, VecDeque};

use super::texts::{InOrder, SEED, reduced};
use crate::outgoing::fingerprint::Hit;
use crate::outgoing::values;

/// Letters of a match that is looked for where a chain goes on.
const NEAR: usize = 3;
/// Places of one seed that are tried, the newest first. Protects time.
const MOST_PLACES: usize = 12;
/// Chains of several pieces that are gone on from wherever else their next letters stand. Protects time.
const MOST_FOLLOWED: usize = 48;
/// Pieces of such a chain.
const FOLLOWED: usize = 2;
/// Letters between which a short chain goes on by a few letters.
const SHORT_WAY: u64 = 128;
/// Letters by which a piece may reach back into the one before it.
const MOST_OVERLAP: usize = 6;
/// Letters of the text that may be left out between two pieces: a short word, or a piece of one that was too short to be told.
const MOST_LEFT_OUT: usize = 8;
/// What a letter of ordinary text tells, in bits: less than by its frequency, for the next one can be guessed.
const BITS: f64 = 3.0;
/// A piece goes on from another one when it says so many bits more than where it stands.
const LEAST_BITS: f64 = 5.0;
/// The same where many letters came in order before.
const LEAST_BITS_LATER: f64 = 3.0;
const LATER: usize = 32;
/// Pieces that make a passage.
const LEAST_PIECES: usize = 10;
/// The same once a passage of the text was found.
const LEAST_AGAIN: usize = 48;
const LEAST_PIECES_AGAIN: usize = 5;
/// A piece of so many letters is judged where it stands.
const LONG: usize = 24;
/// Different letters of a piece; fewer are a rule or a row of zeros.
const LEAST_DIFFERENT: u32 = 3;
/// Letters sent after which a chain of a few letters is forgotten, and one that has become longer. Protects memory.
const SHORT_LIFE: u64 = 2_048;
const LONG_LIFE: u64 = 64 << 10;
const MOST_CHAINS: usize = 2_048;

/// What was sent to one recipient of them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Nobody else judges what is sent in one piece.
    judges_whole: bool,
    /// Letters sent.
    sent: u64,
    /// The last of them, and the one before those.
    last: [u8; SEED],
    before: u8,
    matches: Vec<Match>,
    /// By where each ends in the texts, and when it began.
    chains: BTreeMap<Key, Chain>,
    /// Those of several pieces that went on last.
    followed: VecDeque<Key>,
    /// Of which a passage was found.
    found: Vec<u32>,
    /// The most that was kept at a time.
    #[cfg(test)]
    pub(super) most: usize,
}

/// Where a chain ends, and when it began.
type Key = (usize, u64);

/// Letters that were sent as they stand in a text, or from their end.
#[derive(Debug, Clone, Copy)]
struct Match {
    from: usize,
    to: usize,
    reversed: bool,
    /// The chain that it continues.
    chain: Option<Key>,
}

/// Pieces that go on from each other.
#[derive(Debug, Clone, Copy)]
struct Chain {
    /// Letters of them that are not judged elsewhere.
    letters: usize,
    pieces: usize,
    /// Of the newest piece.
    newest: usize,
    /// When the last of its letters was sent.
    last: u64,
}

impl InOrder {
    /// The sources of which, with these texts, a passage was sent in order. They are taken to be sent, refused or not: whoever goes on
    /// after a refusal goes on with the same passage.
    pub fn look<'t>(&self, texts: impl Iterator<Item = &'t [u8]>, progress: &mut Progress) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        for text in texts {
            // What stands in a tag leaves as well.
            let alone = values::alone(text).filter(|_| !text.trim_ascii_start().starts_with(b"<"));
            let letters = reduced(alone.as_deref().unwrap_or(text));
            self.next_piece(progress);
            for letter in &letters {
                self.step(*letter, progress, &mut hits);
            }
        }
        progress.forget();
        hits
    }

    /// What goes on from here is another piece, though it may go on without a letter between.
    fn next_piece(&self, progress: &mut Progress) {
        let mut matches = std::mem::take(&mut progress.matches);
        for matched in matches.iter_mut().filter(|matched| matched.to - matched.from >= SEED) {
            let at = matched.chain.unwrap_or_else(|| self.begin_chain(matched, progress));
            matched.chain = Some(at);
            if let Some(chain) = progress.chains.get_mut(&at) {
                (chain.newest, chain.pieces) = (0, chain.pieces + 1);
            }
        }
        progress.matches = matches;
    }

    /// The next letter is sent.
    fn step(&self, letter: u8, progress: &mut Progress, hits: &mut Vec<Hit>) {
        progress.sent += 1;
        if progress.sent.is_multiple_of(SHORT_WAY / 4) {
            progress.forget_followed();
        }
        // Of a long text, too, no more are kept at a time.
        if progress.sent.is_multiple_of(SHORT_LIFE / 4) {
            progress.forget();
        }
        progress.before = progress.last[0];
        progress.last.rotate_left(1);
        progress.last[SEED - 1] = letter;
        let mut matches = std::mem::take(&mut progress.matches);
        matches.retain_mut(|matched| {
            let goes_on = self.extend(matched, letter);
            if !goes_on && matched.chain.is_none() {
                self.begin_chain(matched, progress);
            }
            goes_on
        });
        if progress.sent >= SEED as u64 {
            self.begin_matches((progress.before, progress.last), &mut matches);
            self.begin_near(progress, &mut matches);
        }
        for matched in &mut matches {
            match matched.chain {
                Some(at) => matched.chain = self.continue_chain(matched, at, progress, hits),
                // What goes on for long begins before it ends, where nobody else would see it.
                None if progress.judges_whole && matched.to - matched.from == LONG => {
                    matched.chain = Some(self.begin_chain(matched, progress));
                }
                None => matched.chain = self.link(matched, progress, hits),
            }
        }
        progress.matches = matches;
        #[cfg(test)]
        {
            progress.most = progress.most.max(progress.chains.len() + progress.matches.len());
        }
    }

    fn extend(&self, matched: &mut Match, letter: u8) -> bool {
        if matched.reversed {
            let at = matched.from.checked_sub(1);
            let goes_on = at.and_then(|at| self.letter(at)) == Some(letter);
            matched.from -= usize::from(goes_on);
            return goes_on;
        }
        let goes_on = self.letter(matched.to) == Some(letter);
        matched.to += usize::from(goes_on);
        goes_on
    }

    /// Where the last letters begin something.
    fn begin_matches(&self, (before, last): (u8, [u8; SEED]), matches: &mut Vec<Match>) {
        if different(&last) < LEAST_DIFFERENT {
            return;
        }
        let mirrored = [last[3], last[2], last[1], last[0]];
        for (seed, reversed) in [(last, false), (mirrored, true)] {
            let mut next = self.newest.get(&seed).copied();
            for _ in 0..MOST_PLACES {
                let Some(from) = next.filter(|at| *at >= self.base) else { break };
                let to = from + SEED;
                if !self.stood(before, (from, to), reversed) {
                    matches.push(Match { from, to, reversed, chain: None });
                }
                let before = self.before.get(from - self.base).copied().filter(|before| *before > 0);
                next = before.and_then(|before| from.checked_sub(before as usize));
            }
        }
    }

    /// Where the last letters go on from what is followed: fewer of them tell it.
    fn begin_near(&self, progress: &Progress, matches: &mut Vec<Match>) {
        let [before, last @ ..] = progress.last;
        let [one, two, three] = last;
        let mirrored = [three, two, one];
        for (end, _) in &progress.followed {
            let begin = end.saturating_sub(MOST_OVERLAP).max(self.base);
            let until = (end + MOST_LEFT_OUT + NEAR).min(self.end());
            let Some(around) = self.letters.get(begin - self.base..until.saturating_sub(self.base)) else {
                continue;
            };
            for (at, there) in around.windows(NEAR).enumerate() {
                let (is_last, is_mirrored) = (there == last, there == mirrored);
                let (from, to) = (begin + at, begin + at + NEAR);
                if is_last && !self.stood(before, (from, to), false) {
                    matches.push(Match { from, to, reversed: false, chain: None });
                }
                if is_mirrored && !self.stood(before, (from, to), true) {
                    matches.push(Match { from, to, reversed: true, chain: None });
                }
            }
        }
    }

    /// Whether the letter before these stands there, too, so that the match began before.
    fn stood(&self, before: u8, (from, to): (usize, usize), reversed: bool) -> bool {
        let at = if reversed { Some(to) } else { from.checked_sub(1) };
        at.and_then(|at| self.letter(at)) == Some(before)
    }

    /// Let a match go on from the chain that it goes on from best, if there is one.
    fn link(&self, matched: &Match, progress: &mut Progress, hits: &mut Vec<Hit>) -> Option<Key> {
        let length = matched.to - matched.from;
        let began = progress.sent - length as u64;
        let near = (matched.from.saturating_sub(MOST_LEFT_OUT), 0)..(matched.to - 1, 0);
        let fits = |(end, chain): (usize, &Chain)| {
            let between = began.saturating_sub(chain.last) as f64;
            let moved = end.abs_diff(matched.from) as f64;
            let bits = BITS * length as f64 - (between + 1.0).log2() - (moved + 1.0).log2();
            let least = if chain.letters >= LATER { LEAST_BITS_LATER } else { LEAST_BITS };
            bits >= least && chain.last < progress.sent
        };
        let candidates = progress.chains.range(near).filter(|((end, _), chain)| fits((*end, chain)));
        let (at, chain) =
            candidates.max_by_key(|(_, chain)| chain.letters).map(|(at, chain)| (*at, *chain))?;
        progress.remove(&at);
        let new = matched.to - at.0.max(matched.from);
        let chain = Chain { letters: chain.letters + new, pieces: chain.pieces + 1, newest: length, ..chain };
        self.put(matched, (at.1, chain), progress, hits)
    }

    /// A match is a letter longer, and the chain with it.
    fn continue_chain(
        &self,
        matched: &Match,
        at: Key,
        progress: &mut Progress,
        hits: &mut Vec<Hit>,
    ) -> Option<Key> {
        let mut chain = progress.remove(&at)?;
        chain.newest += 1;
        let is_new = matched.reversed || matched.to > at.0;
        if chain.newest < LONG || progress.judges_whole {
            chain.letters += usize::from(is_new);
        } else if chain.newest == LONG {
            chain.letters = chain.letters.saturating_sub(LONG - 1);
            chain.pieces = chain.pieces.saturating_sub(1);
        }
        self.put(matched, (at.1, chain), progress, hits)
    }

    fn put(
        &self,
        matched: &Match,
        (begun, chain): (u64, Chain),
        progress: &mut Progress,
        hits: &mut Vec<Hit>,
    ) -> Option<Key> {
        let chain = Chain { last: progress.sent, ..chain };
        let at = (matched.to, begun);
        progress.chains.insert(at, chain);
        if chain.pieces >= FOLLOWED {
            progress.followed.push_back(at);
            if progress.followed.len() > MOST_FOLLOWED {
                progress.followed.pop_front();
            }
        }
        let source = *self.source(matched.from)?;
        let (least, pieces) = match progress.found.contains(&source.id) {
            true => (LEAST_AGAIN, LEAST_PIECES_AGAIN),
            false => (source.least, LEAST_PIECES),
        };
        let is_in_pieces = chain.pieces >= pieces || progress.judges_whole;
        if chain.letters >= least && is_in_pieces && !hits.iter().any(|h| h.source_id == source.id) {
            if !progress.found.contains(&source.id) {
                progress.found.push(source.id);
            }
            hits.push(Hit { source_id: source.id, matched_bytes: chain.letters as u64, share: 1.0 });
        }
        Some(at)
    }

    /// A match that goes on from none may be gone on from.
    fn begin_chain(&self, matched: &Match, progress: &mut Progress) -> Key {
        let length = matched.to - matched.from;
        let letters = if length < LONG || progress.judges_whole { length } else { 0 };
        // The letter after it was sent, too.
        let last = progress.sent - 1;
        let chain = Chain { letters, pieces: usize::from(letters > 0), newest: length, last };
        let at = (matched.to, progress.sent);
        progress.chains.insert(at, chain);
        at
    }
}

impl Progress {
    /// Of letters that are looked at nowhere else: a passage is found in one piece, too.
    #[must_use]
    pub fn judging_whole() -> Progress {
        Progress { judges_whole: true, ..Progress::default() }
    }

    fn remove(&mut self, at: &Key) -> Option<Chain> {
        self.followed.retain(|followed| followed != at);
        self.chains.remove(at)
    }

    fn forget_followed(&mut self) {
        let (chains, now) = (&self.chains, self.sent);
        let lives = |chain: &Chain| chain.letters >= LEAST_AGAIN || chain.last + SHORT_WAY > now;
        self.followed.retain(|at| chains.get(at).is_some_and(lives));
    }

    fn forget(&mut self) {
        let now = self.sent;
        let lives = |chain: &Chain, (short, long): (u64, u64)| {
            chain.last + if chain.letters < LEAST_AGAIN { short } else { long } > now
        };
        self.chains.retain(|_, chain| lives(chain, (SHORT_LIFE, LONG_LIFE)));
        if self.chains.len() > MOST_CHAINS {
            self.chains.retain(|_, chain| lives(chain, (SHORT_LIFE / 16, LONG_LIFE / 16)));
        }
        while self.chains.len() > MOST_CHAINS {
            self.chains.pop_first();
        }
        self.forget_followed();
    }
}

fn different(letters: &[u8]) -> u32 {
    let mut seen = 0_u64;
    letters.iter().for_each(|letter| seen |= 1 << (letter % 64));
    seen.count_ones()
}
