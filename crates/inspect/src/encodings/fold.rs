//! Text written in characters that only look like others, or in ones that nobody sees.

use unicode_normalization::UnicodeNormalization;

use super::escape::Pieces;

/// Letters of other scripts that look like those of ASCII in common fonts. A small table: the whole one of Unicode (UTS 39) also
/// takes `m` for `rn` and `1` for `l`, which would change ordinary text.
const LOOKALIKES: &[(char, u8)] = &[
    ('А', b'A'),
    ('В', b'B'),
    ('Е', b'E'),
    ('К', b'K'),
    ('М', b'M'),
    ('Н', b'H'),
    ('О', b'O'),
    ('Р', b'P'),
    ('С', b'C'),
    ('Т', b'T'),
    ('Х', b'X'),
    ('У', b'Y'),
    ('Ѕ', b'S'),
    ('І', b'I'),
    ('Ј', b'J'),
    ('Ԛ', b'Q'),
    ('Ԝ', b'W'),
    ('а', b'a'),
    ('с', b'c'),
    ('ԁ', b'd'),
    ('е', b'e'),
    ('һ', b'h'),
    ('і', b'i'),
    ('ј', b'j'),
    ('ӏ', b'l'),
    ('о', b'o'),
    ('р', b'p'),
    ('ԛ', b'q'),
    ('ѕ', b's'),
    ('υ', b'u'),
    ('ѵ', b'v'),
    ('ԝ', b'w'),
    ('х', b'x'),
    ('у', b'y'),
    ('к', b'k'),
    ('т', b't'),
    ('м', b'm'),
    ('п', b'n'),
    ('г', b'r'),
    ('Α', b'A'),
    ('Β', b'B'),
    ('Ε', b'E'),
    ('Ζ', b'Z'),
    ('Η', b'H'),
    ('Ι', b'I'),
    ('Κ', b'K'),
    ('Μ', b'M'),
    ('Ν', b'N'),
    ('Ο', b'O'),
    ('Ρ', b'P'),
    ('Τ', b'T'),
    ('Υ', b'Y'),
    ('Χ', b'X'),
    ('ο', b'o'),
    ('α', b'a'),
    ('ν', b'v'),
    ('ρ', b'p'),
    ('ι', b'i'),
    ('κ', b'k'),
    ('τ', b't'),
    ('γ', b'y'),
    ('ϲ', b'c'),
    ('ϳ', b'j'),
    ('ɑ', b'a'),
    ('ɡ', b'g'),
    ('ɩ', b'i'),
    ('ℓ', b'l'),
    ('ᴀ', b'A'),
    ('ʙ', b'B'),
    ('ᴄ', b'C'),
    ('ᴅ', b'D'),
    ('ᴇ', b'E'),
    ('ɢ', b'G'),
    ('ʜ', b'H'),
    ('ɪ', b'I'),
    ('ᴊ', b'J'),
    ('ᴋ', b'K'),
    ('ʟ', b'L'),
    ('ᴍ', b'M'),
    ('ɴ', b'N'),
    ('ᴏ', b'O'),
    ('ᴘ', b'P'),
    ('ʀ', b'R'),
    ('ᴛ', b'T'),
    ('ᴜ', b'U'),
    ('ᴠ', b'V'),
    ('ᴡ', b'W'),
    ('ʏ', b'Y'),
    ('ᴢ', b'Z'),
    ('‐', b'-'),
    ('‑', b'-'),
    ('‒', b'-'),
    ('–', b'-'),
    ('—', b'-'),
    ('―', b'-'),
    ('﹣', b'-'),
    ('−', b'-'),
    ('⁄', b'/'),
    ('∕', b'/'),
    ('∶', b':'),
    ('․', b'.'),
    ('‗', b'_'),
    ('Օ', b'O'),
    ('օ', b'o'),
    ('Տ', b'S'),
    ('ս', b'u'),
    ('ո', b'n'),
    ('հ', b'h'),
    ('ց', b'g'),
    ('զ', b'q'),
];

/// The zeros of the scripts whose digits stand in order behind them.
const ZEROS: [u32; 18] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50, 0xed0, 0xf20,
    0x1040, 0x17e0, 0x1810,
];

/// Characters without a shape that carry something when so many stand in a row: no script and no emoji puts them so.
const INVISIBLE_ROW: u64 = 4;

/// What folding found.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    /// The text around what was folded; empty when nothing was.
    pub(crate) text: Vec<u8>,
    /// Bytes carried by characters that nobody sees.
    pub(crate) hidden: Vec<u8>,
    /// Words that only look like ASCII, or have something invisible in them.
    pub(crate) disguised: u64,
}

pub(super) enum Fold {
    /// Stays as it is.
    Keep,
    Ascii(u8),
    /// Is read as ASCII, and has a use of its own: an index, the letters of Turkish.
    Used(u8),
    /// A styled form of an ASCII character (full width, mathematical).
    Styled(u8),
    /// Is not seen.
    Nothing,
    /// Is not seen and stands for a byte.
    Tag(u8),
}

/// Folds `text`, which must be (mostly) UTF-8; bytes that are not stay as they are.
pub(crate) fn fold(text: &[u8]) -> Folded {
    let mut out = Folded::default();
    let mut pieces = Pieces::default();
    let (mut asian, mut styled, mut at) = (false, 0u64, 0);
    // How many characters that nobody sees stand in a row, whether behind a letter, and where the row ends.
    let (mut row, mut row_before, mut row_end) = (0u64, false, 0);
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut from = 0;
        // ASCII is jumped over: text of few other characters costs little.
        while let Some(next) = valid.as_bytes().get(from..).and_then(next_high) {
            from += next;
            let Some(c) = valid.get(from..).and_then(|t| t.chars().next()) else { break };
            let (start, end) = (at + from, at + from + c.len_utf8());
            from += c.len_utf8();
            asian |= matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}');
            let letters = |range: std::ops::Range<usize>| {
                text.get(range).is_some_and(|t| t.iter().all(u8::is_ascii_alphabetic))
            };
            let beside =
                |i: Option<usize>| i.and_then(|i| text.get(i)).is_some_and(u8::is_ascii_alphanumeric);
            let (before, after) = (beside(start.checked_sub(1)), beside(Some(end)));
            // One letter beside it may be mathematics.
            let in_word = start >= 2 && letters(start - 2..start) || letters(end..end + 2);
            match fold_one(c) {
                Fold::Keep => {}
                Fold::Ascii(b) => {
                    // A letter of another script within a word of this one; a dash or a digit is none.
                    out.disguised += u64::from(b.is_ascii_alphabetic() && in_word);
                    pieces.replace(text, start, end, &[b]);
                }
                Fold::Used(b) => pieces.replace(text, start, end, &[b]),
                Fold::Styled(b) => {
                    styled += u64::from(b.is_ascii_alphabetic());
                    pieces.replace(text, start, end, &[b]);
                }
                Fold::Nothing => {
                    let in_row = row_end == start && !matches!(c, '\u{300}'..='\u{36f}');
                    (row, row_before) = if in_row { (row + 1, row_before) } else { (1, before) };
                    row_end = end;
                    // Between letters that are seen, or too many in a row to be a joiner.
                    out.disguised += u64::from(row_before && after) + u64::from(row == INVISIBLE_ROW);
                    pieces.replace(text, start, end, &[]);
                }
                Fold::Tag(b) => {
                    out.hidden.push(b);
                    pieces.replace(text, start, end, &[]);
                }
            }
        }
        at += valid.len() + chunk.invalid().len();
    }
    // East Asian text has Latin letters of full width; other text has no reason for them.
    if !asian {
        out.disguised += styled;
    }
    if out.hidden.len() < 8 {
        out.hidden.clear();
    }
    out.disguised += out.hidden.len() as u64;
    out.text = pieces.finish(text).unwrap_or_default();
    out
}

pub(super) fn next_high(text: &[u8]) -> Option<usize> {
    // Eight bytes at a time.
    let (words, rest) = text.as_chunks::<8>();
    let high = |w: &[u8; 8]| u64::from_le_bytes(*w) & 0x8080_8080_8080_8080;
    if let Some((i, w)) = words.iter().enumerate().find(|(_, w)| high(w) != 0) {
        return Some(i * 8 + high(w).trailing_zeros() as usize / 8);
    }
    rest.iter().position(|b| *b >= 0x80).map(|i| words.len() * 8 + i)
}

pub(super) fn fold_one(c: char) -> Fold {
    let code = u32::from(c);
    match c {
        'ı' => Fold::Used(b'i'),
        // Typographic quotes and bullets stand around values.
        '“' | '”' | '„' | '‟' | '«' | '»' => Fold::Used(b'"'),
        '‘' | '’' | '‚' | '‛' | '‹' | '›' => Fold::Used(b'\''),
        '•' | '‣' => Fold::Used(b' '),
        // Blanks that do not break, or of another width, stand in numbers.
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Fold::Used(b' '),
        // Accented Latin letters are letters of their own.
        '\u{a0}'..='\u{24f}' if c != '\u{ad}' => Fold::Keep,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}' => {
            Fold::Nothing
        }
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => Fold::Nothing,
        // Marks put on letters, one or many.
        '\u{300}'..='\u{36f}' => Fold::Nothing,
        '\u{e0020}'..='\u{e007e}' => Fold::Tag((code - 0xe_0000) as u8),
        '\u{e0000}'..='\u{e001f}' | '\u{e007f}' => Fold::Nothing,
        // Variation selectors: 256 of them, used to carry bytes behind one visible character. Emoji have the last of the first 16.
        '\u{fe00}'..='\u{fe0e}' => Fold::Tag((code - 0xfe00) as u8),
        '\u{e0100}'..='\u{e01ef}' => Fold::Tag((code - 0xe_0100 + 16) as u8),
        '\u{ff01}'..='\u{ff5e}' => Fold::Styled((code - 0xff01 + 0x21) as u8),
        '\u{1d400}'..='\u{1d7ff}'
        | '\u{2070}'..='\u{209c}'
        | '\u{2100}'..='\u{214f}'
        | '\u{2460}'..='\u{24ff}'
        | '\u{1f100}'..='\u{1f189}' => {
            let mut plain = c.nfkc().filter(|p| *p != '(' && *p != ')' && *p != ',');
            match (plain.next(), plain.next()) {
                (Some(p), None) if p.is_ascii_alphanumeric() && matches!(c, '\u{2070}'..='\u{209c}') => {
                    Fold::Used(p as u8)
                }
                (Some(p), None) if p.is_ascii_alphanumeric() => Fold::Styled(p as u8),
                _ => look_alike(c),
            }
        }
        _ => match ZEROS.iter().find(|z| (**z..**z + 10).contains(&code)) {
            Some(zero) => Fold::Ascii(b'0' + (code - zero) as u8),
            None => look_alike(c),
        },
    }
}

/// Of each code by its last ten bits, whether a letter of the table may have it: most characters of most scripts look like none.
const MAY_LOOK_ALIKE: [u64; 16] = {
    let mut bits = [0; 16];
    let mut i = 0;
    while i < LOOKALIKES.len() {
        let code = LOOKALIKES[i].0 as usize;
        bits[code >> 6 & 15] |= 1 << (code & 63);
        i += 1;
    }
    bits
};

fn look_alike(c: char) -> Fold {
    let code = c as usize;
    if MAY_LOOK_ALIKE[code >> 6 & 15] >> (code & 63) & 1 == 0 {
        return Fold::Keep;
    }
    LOOKALIKES.iter().find(|(l, _)| *l == c).map_or(Fold::Keep, |(_, b)| Fold::Ascii(*b))
}
