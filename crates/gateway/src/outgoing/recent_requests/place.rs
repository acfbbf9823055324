//! What was in one place of the requests to a host.

use chaperone_inspect::outgoing::{said, text_of_number};
use percent_encoding::percent_decode;

use super::super::findings::OutboundFindings;
use super::super::looker::{Looker, Passages};
use super::super::pieces::Stream;
use super::super::slots::Slot;
use super::super::varying::{Forms, Varying};

/// Bytes of one header, cookie, field of queries or place in paths that are inspected together.
pub(super) const TOGETHER_IN_SLOT: usize = 4 << 10;

/// Parts of a value that vary, each looked at with those before it: of a line of records the first columns, besides the last one.
const MOST_PARTS: usize = 3;

/// What was in a slot last.
#[derive(Debug, Default)]
pub(super) struct Last {
    value: u64,
    /// In which of the last requests it was another than before, a bit each, the newest lowest.
    changed: u8,
    /// How often it was the same while it was not known that it changes.
    repeated: u8,
}

/// How a value stands to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one; the one before was there so many times more, and that was not told.
    Other { repeated: usize },
    /// The same, where it often changes: it may be the next piece.
    Again,
    /// What always stands there.
    Same,
}

impl Last {
    pub(super) fn next(&mut self, value: u64) -> Next {
        let is_new = std::mem::replace(&mut self.value, value) != value;
        self.changed = self.changed << 1 | u8::from(is_new);
        match (is_new, self.changed.count_ones()) {
            (true, _) => Next::Other { repeated: usize::from(std::mem::take(&mut self.repeated)) },
            (false, 2..) => Next::Again,
            // Longer than that it is what always stands there.
            (false, _) => {
                self.repeated = if self.changed == 0 { 0 } else { self.repeated + 1 };
                Next::Same
            }
        }
    }
}

/// What was in one place.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// As it was sent.
    pub whole: Stream,
    /// The same, and where it often changes what was the same again, too.
    again: Stream,
    text_again: Stream,
    /// Of it what is not the same each time: all but counters, then the first parts of it, and the last.
    text: Stream,
    parts: [Stream; MOST_PARTS],
    last: Stream,
    /// What words of that say, decoded.
    pub said: Stream,
    forms: Forms,
    pub used: u64,
}

/// What the newest value in a place has that those before it had not.
pub(super) struct Fresh {
    /// Of it a part alone varies, and that several times.
    pub is_part: bool,
    pub several: usize,
    /// What its words say, decoded.
    pub said: Option<Vec<u8>>,
}

impl Place {
    /// Look at it with what was the same again counted, too.
    pub(super) fn look_again(
        &mut self,
        slot: &Slot,
        next: Next,
        passages: Passages,
        with: &Looker<'_>,
        outbound: &mut OutboundFindings,
    ) -> bool {
        self.again.begin();
        self.again.in_target = slot.in_target;
        if let Next::Other { repeated } = next {
            self.again.repeat(repeated, TOGETHER_IN_SLOT);
        }
        self.again.push(slot.bytes.clone(), TOGETHER_IN_SLOT);
        let mut found = self.again.has_repeated() && with.look(&mut self.again, passages, outbound);
        if next == Next::Again {
            self.text_again.begin();
            self.text_again.repeat(1, TOGETHER_IN_SLOT);
            found |= with.look(&mut self.text_again, passages, outbound);
        }
        found
    }

    pub(super) fn push(&mut self, Slot { bytes, in_target, .. }: Slot, next: Next) -> Fresh {
        for stream in self.streams() {
            stream.begin();
            stream.in_target = in_target;
        }
        let value: Vec<u8> = if in_target { percent_decode(&bytes).collect() } else { bytes.clone() };
        let (first, now) = self.forms.push(&value);
        if let Some(first) = first {
            self.push_parts(&first);
            if let Next::Other { repeated } = next {
                self.text_again.repeat(repeated, TOGETHER_IN_SLOT);
            }
            // It was sent before.
            self.streams().for_each(Stream::begin);
        }
        let mut fresh = Fresh { is_part: false, several: 0, said: None };
        let parts = match now {
            Some(now) => {
                fresh.is_part = now.parts.concat() != value && !now.parts.is_empty();
                fresh.several = now.parts.len();
                if fresh.is_part {
                    self.push_parts(&now);
                }
                now.parts
            }
            None => vec![value],
        };
        let said: Vec<u8> = parts.iter().flat_map(|part| words(part)).filter_map(decoded).flatten().collect();
        if !said.is_empty() {
            self.said.push(said.clone(), TOGETHER_IN_SLOT);
            fresh.said = Some(said);
        }
        self.whole.push(bytes, TOGETHER_IN_SLOT);
        fresh
    }

    fn push_parts(&mut self, varying: &Varying) {
        let text = varying.text();
        if !text.is_empty() {
            self.text.push(text.clone(), TOGETHER_IN_SLOT);
            self.text_again.push(text, TOGETHER_IN_SLOT);
        }
        for (stream, part) in self.parts.iter_mut().zip(&varying.parts) {
            stream.push(part.clone(), TOGETHER_IN_SLOT);
        }
        if let Some(last) = varying.parts.last() {
            self.last.push(last.clone(), TOGETHER_IN_SLOT);
        }
    }

    pub(super) fn look_at_parts(
        &mut self,
        several: usize,
        passages: Passages,
        with: &Looker<'_>,
        outbound: &mut OutboundFindings,
    ) -> bool {
        let mut found = self.text.is_fresh() && with.look(&mut self.text, passages, outbound);
        if self.text_again.is_fresh() && self.text_again.has_repeated() {
            found |= with.look(&mut self.text_again, passages, outbound);
        }
        // Where one part varies, it is the text, unless it counts.
        let parts =
            self.parts.iter_mut().take(several).chain((several > MOST_PARTS).then_some(&mut self.last));
        for part in parts {
            if !self.text.ends_with(part) {
                found |= with.look(part, passages, outbound);
            }
        }
        found
    }

    fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        [&mut self.whole, &mut self.text, &mut self.text_again, &mut self.last, &mut self.said]
            .into_iter()
            .chain(&mut self.parts)
    }
}

/// What may be encoded by itself, or stand between the same signs each time.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_between = |b: &u8| !b.is_ascii_alphanumeric() && !b"+/_-%.".contains(b) && b.is_ascii();
    bytes.split(is_between).map(|word| word.trim_ascii()).filter(|word| !word.is_empty())
}

/// What a word says when it is read as a text that is encoded, in itself or as a number.
pub(super) fn decoded(word: &[u8]) -> Option<Vec<u8>> {
    let digits = word.iter().position(u8::is_ascii_digit).and_then(|at| word.get(at..)).unwrap_or_default();
    let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = text_of_number(digits.get(..length).unwrap_or_default());
    number.or_else(|| said(word))
}
