//! Views of bytes: what they say when read as somebody who wants to get them past a reader may have written them.

use std::borrow::Cow;

use super::{covert, framed, glued, mirror, packed, values};
use crate::encodings::{self, escape, fold, is_binary, legacy, literal, radix, readable, runs};
use crate::extract::{self, ExtractError};
use crate::place::Step;

/// Encodings within encodings: whoever nests deeper is not found, but said to have gone too deep.
pub(super) const DEEPEST: usize = 5;
/// Views of one look. With 14 kinds of decoding this is reached by hostile input alone.
pub(super) const MOST_VIEWS: usize = 512;
/// Work that a look may cost beyond the first reading, in bytes read and written: so much for each byte that was given…
pub(super) const WORK_PER_BYTE: u64 = 8;
/// …and so much whatever is given, so that a small compressed document is read whole.
pub(super) const WORK: u64 = 32 << 20;
/// A shorter text holds nothing in another encoding, in bytes.
const SHORTEST: usize = 8;
/// Letters of UTF-16 in a row that are no chance in what leaves.
const LEAST_WIDE: usize = 12;
/// Text is read turned up to this length: two more searches of each byte. The bytes beyond are read as they are.
const LONGEST_TURNED: usize = 16 << 20;

/// Bytes that show whether something is a text, in which bytes are written as letters.
const LITERAL: usize = 4096;

/// So long is what is written as a list of bytes and meant to be read.
const TEXT: usize = 16;

/// What a view may be believed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As it was sent.
    Sent,
    /// Decoded: as good as sent.
    Decoded,
    /// Turned round or put together from pieces: only secrets count.
    Secrets,
    /// No text, or one of several readings of which most are wrong: only what is known counts, and nothing is read from it.
    Known,
}

/// One reading of the bytes.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// How it came about, outermost first.
    pub(super) chain: Vec<Step>,
    /// Readings of readings.
    pub(super) depth: usize,
    pub(super) trust: Trust,
}

/// What reading a view brought.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) views: Vec<View<'static>>,
    /// Names of members, which leave as well.
    pub(super) names: Vec<String>,
    /// Why something could not be read, and how it came about.
    pub(super) unread: Vec<(Step, String)>,
    /// Words that only look like ASCII.
    pub(super) disguised: u64,
    /// Bytes read and written.
    pub(super) work: u64,
}

impl<'a> View<'a> {
    pub(super) fn sent(bytes: &'a [u8]) -> View<'a> {
        View { bytes: Cow::Borrowed(bytes), chain: Vec::new(), depth: 0, trust: Trust::Sent }
    }

    /// Reads this view in every way, spending about `most` bytes.
    pub(super) fn children(&self, most: u64) -> Children {
        let bytes = self.bytes.as_ref();
        let mut out = Children::default();
        if bytes.len() < SHORTEST || self.trust == Trust::Known {
            return out;
        }
        self.unpack(&[], bytes, most, &mut out);
        self.pictures(bytes, most.saturating_sub(out.work), &mut out);
        if encodings::is_utf32(bytes) {
            self.push(&[Step::Utf32], encodings::from_wide(bytes), self.trust, &mut out);
        } else if encodings::is_utf16(bytes) {
            self.push(&[Step::Utf16], encodings::from_wide(bytes), self.trust, &mut out);
        } else if self.trust != Trust::Secrets {
            // Behind something else: of programs and pictures much is written so.
            let mut wide = Vec::new();
            readable::wide_within(bytes, LEAST_WIDE, &mut wide);
            self.push(&[Step::Utf16], wide, Trust::Secrets, &mut out);
            self.push(
                &[Step::Ebcdic],
                extract::ebcdic::text(bytes).unwrap_or_default(),
                self.trust,
                &mut out,
            );
        }
        // Noise has the signs that begin an escape, too; replaced in it, they would only damage what is packed in there.
        let written =
            if is_binary(bytes) { Cow::Owned(readable::strings(bytes)) } else { Cow::Borrowed(bytes) };
        for text in legacy::readings(bytes) {
            self.push(&[Step::Charset], text, Trust::Known, &mut out);
        }
        for (how, first, one) in escape::KINDS.into_iter().chain(escape::KINDS_THAT_LEAVE) {
            if let Some(text) = escape::decode(&written, first, one) {
                self.push(&[how], text, self.trust, &mut out);
            }
        }
        if self.trust != Trust::Secrets
            && encodings::is_utf8(bytes.get(..LITERAL).unwrap_or(bytes))
            && let Some(bytes) = literal::bytes(bytes)
        {
            let most = most.saturating_sub(out.work);
            self.bytes(Step::Escapes, bytes, most, &mut out);
        }
        self.fold(bytes, &mut out);
        self.runs(bytes, most.saturating_sub(out.work), &mut out);
        if self.trust != Trust::Secrets {
            self.push(&[Step::Words], glued::numbers(&written), Trust::Decoded, &mut out);
            if bytes.len() <= LONGEST_TURNED {
                for (how, text) in mirror::decode(bytes) {
                    self.push(&[how], text, Trust::Secrets, &mut out);
                }
            }
            if let Some(joined) = values::joined(bytes) {
                self.join(&joined.short, &mut out);
                self.join(&joined.letters, &mut out);
                self.push(&[Step::Joined], joined.letters, Trust::Known, &mut out);
            }
        }
        out
    }

    /// Pieces put together: tokens that begin anywhere in them, and runs that were cut.
    pub(super) fn join(&self, text: &[u8], out: &mut Children) {
        if text.len() < SHORTEST {
            return;
        }
        out.work += text.len() as u64;
        self.push(&[Step::Joined], mirror::tokens(text), Trust::Secrets, out);
        let decoded = runs::decode(text, text.len() as u64 * 4);
        out.work += decoded.work;
        for (how, text) in
            [(Step::Base64, decoded.base64), (Step::Base32, decoded.base32), (Step::Hex, decoded.hex)]
        {
            self.push(&[Step::Joined, how], text, Trust::Secrets, out);
        }
        for whole in decoded.packed {
            self.push(&[Step::Joined, Step::Base64], whole, Trust::Decoded, out);
        }
        for (how, text) in mirror::decode(text) {
            self.push(&[Step::Joined, how], text, Trust::Secrets, out);
        }
    }

    /// Pieces that were put together after each was read by itself.
    pub(super) fn join_read(&self, text: Vec<u8>, out: &mut Children) {
        self.push(&[Step::Joined], text, Trust::Secrets, out);
    }

    /// Words that are written without regard to case, and joined by hyphens: no letter case of theirs arrives, and a number
    /// among them stands behind a hyphen.
    pub(super) fn join_words(&self, words: &[u8], out: &mut Children) {
        let upper = words.to_ascii_uppercase();
        let mut apart = words.to_vec();
        for at in 1..words.len().saturating_sub(1) {
            let around = words.get(at - 1..=at + 1).unwrap_or_default();
            if let [before, b'-' | b'_' | b'.', after] = around
                && before.is_ascii_digit() != after.is_ascii_digit()
                && let Some(between) = apart.get_mut(at)
            {
                *between = b' ';
            }
        }
        self.push(&[Step::Words], apart, Trust::Decoded, out);
        self.push(&[Step::UpperCase], upper.clone(), Trust::Secrets, out);
        let run = |text: &[u8]| -> Vec<u8> {
            let is_between = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'-' | b'_' | b'.');
            text.iter().copied().filter(|b| !is_between(b)).collect()
        };
        let whole = run(words);
        self.join(&whole, out);
        self.join(&run(&upper), out);
        self.push(&[Step::Joined], whole, Trust::Secrets, out);
    }

    /// The labels of a name run together.
    pub(super) fn join_labels(&self, name: &[u8], out: &mut Children) {
        self.join(&covert::joined(name), out);
        // Names are written in any case: resolvers change it on the way.
        let folded = covert::joined(name).to_ascii_uppercase();
        let decoded = runs::decode(&folded, folded.len() as u64 * 4);
        self.push(&[Step::Joined, Step::Base32], decoded.base32, Trust::Decoded, out);
    }

    fn unpack(&self, how: &[Step], bytes: &[u8], most: u64, out: &mut Children) {
        if bytes.get(..64).unwrap_or(bytes).is_ascii() && !packed::has_marks(bytes) {
            return;
        }
        for part in packed::unpack(bytes, most) {
            let chain = [how, &[part.how]].concat();
            out.names.extend(part.name);
            if let Some(error) = part.error {
                out.unread.push((part.how, error));
            }
            let trust = if part.is_known_only { Trust::Known } else { self.trust };
            self.push(&chain, part.bytes, trust, out);
        }
        if let Some(stream) = framed::stream(bytes) {
            // It may go on: what is not there yet is no damage.
            for part in packed::unpack(&stream, most.saturating_sub(out.work)) {
                self.push(&[how, &[Step::Joined, part.how]].concat(), part.bytes, self.trust, out);
            }
        }
    }

    fn pictures(&self, bytes: &[u8], most: u64, out: &mut Children) {
        let hidden = extract::image::hidden_in(bytes, most);
        if hidden.over {
            out.unread.push((Step::Zlib, ExtractError::Limit("the text of a picture").to_string()));
        }
        self.push(&[Step::Zlib], hidden.packed, self.trust, out);
        self.push(&[Step::Utf16], hidden.wide, self.trust, out);
    }

    fn fold(&self, bytes: &[u8], out: &mut Children) {
        if bytes.is_ascii() || is_binary(bytes) {
            return;
        }
        let folded = fold::fold(bytes);
        // What comes out of a decoding and is no text in whole has such letters by chance.
        if self.depth == 0 || std::str::from_utf8(bytes).is_ok() {
            out.disguised += folded.disguised;
        }
        out.work += bytes.len() as u64 / 4;
        self.push(&[Step::Folded], folded.text, self.trust, out);
        self.push(&[Step::Invisible], folded.hidden, self.trust, out);
    }

    fn runs(&self, bytes: &[u8], most: u64, out: &mut Children) {
        let decoded = runs::decode(bytes, most);
        out.work += decoded.work;
        self.push(&[Step::Base64], decoded.base64, self.trust, out);
        self.push(&[Step::Base32], decoded.base32, self.trust, out);
        self.push(&[Step::Hex], decoded.hex, self.trust, out);
        // So many numbers in a row that are letters and digits are a text; fewer are by chance.
        let is_text = decoded.bytes.split(|b| !is_read(*b)).any(|stretch| stretch.len() >= TEXT);
        self.push(&[Step::ByteList], decoded.bytes, if is_text { self.trust } else { Trust::Secrets }, out);
        // Numbers in other forms are ordinary too: of what they say a secret alone counts.
        if self.trust != Trust::Secrets {
            let read = radix::decode(bytes, most.saturating_sub(decoded.work));
            out.work += read.work;
            self.push(&[Step::ByteList], read.text, Trust::Secrets, out);
            self.push(&[Step::ByteList], read.numbers.text, Trust::Secrets, out);
            self.push(&[Step::ByteList], mirror::tokens(&read.numbers.rows), Trust::Secrets, out);
            self.bytes(Step::ByteList, read.numbers.rows, most.saturating_sub(decoded.work), out);
        }
        self.push(&[Step::Turned, Step::Base64], decoded.mirrored, Trust::Secrets, out);
        for whole in decoded.packed {
            self.push(&[Step::Base64], whole, self.trust, out);
        }
        for binary in decoded.binary {
            self.bytes(Step::Base64, binary, most.saturating_sub(out.work), out);
        }
    }

    /// Bytes of which most are what somebody made for other reasons: what is packed in them is read as if it had come so, and of the
    /// rest what is known counts.
    fn bytes(&self, how: Step, bytes: Vec<u8>, most: u64, out: &mut Children) {
        self.unpack(&[how], &bytes, most, out);
        self.push(&[how], bytes, Trust::Known, out);
    }

    fn push(&self, how: &[Step], bytes: Vec<u8>, trust: Trust, out: &mut Children) {
        if bytes.len() < SHORTEST || bytes == *self.bytes {
            return;
        }
        out.work += bytes.len() as u64;
        let chain = [&self.chain, how].concat();
        let trust = match (self.trust, trust) {
            (_, Trust::Known) => Trust::Known,
            (Trust::Secrets, _) | (_, Trust::Secrets) => Trust::Secrets,
            _ => Trust::Decoded,
        };
        out.views.push(View { bytes: Cow::Owned(bytes), chain, depth: self.depth + 1, trust });
    }
}

/// What stands in a text, in ASCII or not.
fn is_read(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || matches!(byte, b'\n' | b'\r' | b'\t')
}
