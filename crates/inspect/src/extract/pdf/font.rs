//! Which characters the codes of a font stand for, and how wide they are (ISO 32000-1, 9.6 to 9.10).

use std::collections::HashMap;

use super::value::{Dict, Lexer, Value};

/// Codes of one font that are known; protects memory.
const MOST_CODES: usize = 70_000;
/// Values that a table of codes may have.
const MOST_VALUES: usize = 400_000;

/// What `Differences` calls characters that matter here; letters stand for themselves.
const NAMED: &[(&[u8], char)] = &[
    (b"space", ' '),
    (b"nbspace", ' '),
    (b"zero", '0'),
    (b"one", '1'),
    (b"two", '2'),
    (b"three", '3'),
    (b"four", '4'),
    (b"five", '5'),
    (b"six", '6'),
    (b"seven", '7'),
    (b"eight", '8'),
    (b"nine", '9'),
    (b"hyphen", '-'),
    (b"sfthyphen", '-'),
    (b"minus", '-'),
    (b"endash", '\u{2013}'),
    (b"emdash", '\u{2014}'),
    (b"period", '.'),
    (b"comma", ','),
    (b"colon", ':'),
    (b"semicolon", ';'),
    (b"slash", '/'),
    (b"backslash", '\\'),
    (b"underscore", '_'),
    (b"at", '@'),
    (b"plus", '+'),
    (b"equal", '='),
    (b"numbersign", '#'),
    (b"dollar", '$'),
    (b"percent", '%'),
    (b"ampersand", '&'),
    (b"asterisk", '*'),
    (b"exclam", '!'),
    (b"question", '?'),
    (b"quotesingle", '\''),
    (b"quoteright", '\''),
    (b"quoteleft", '\''),
    (b"quotedbl", '"'),
    (b"parenleft", '('),
    (b"parenright", ')'),
    (b"bracketleft", '['),
    (b"bracketright", ']'),
    (b"braceleft", '{'),
    (b"braceright", '}'),
    (b"less", '<'),
    (b"greater", '>'),
    (b"bar", '|'),
    (b"asciitilde", '~'),
    (b"asciicircum", '^'),
    (b"grave", '`'),
    (b"fi", '\u{fb01}'),
    (b"fl", '\u{fb02}'),
];

/// Widths of the characters from blank to tilde in the fonts that every viewer has, which say none.
const HELVETICA: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
const TIMES: [u16; 95] = [
    250, 333, 408, 500, 500, 833, 778, 180, 333, 333, 500, 564, 250, 333, 250, 278, 500, 500, 500, 500, 500,
    500, 500, 500, 500, 500, 278, 278, 564, 564, 564, 444, 921, 722, 667, 667, 722, 611, 556, 722, 722, 333,
    389, 722, 611, 889, 722, 722, 556, 722, 667, 556, 611, 722, 722, 944, 722, 722, 611, 333, 278, 333, 469,
    500, 333, 444, 500, 444, 500, 444, 333, 500, 500, 278, 278, 500, 278, 778, 500, 500, 500, 500, 333, 389,
    278, 500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
];

#[derive(Debug, Default)]
pub(super) struct Font {
    /// Codes of two bytes.
    is_wide: bool,
    /// Without a table of its own the codes are UTF-16.
    is_utf16: bool,
    to_unicode: HashMap<u32, String>,
    differences: HashMap<u32, char>,
    /// In thousandths of the size.
    widths: HashMap<u32, f64>,
    width: f64,
}

impl Font {
    /// A font that nothing is known of: one byte a character.
    pub(super) fn unknown() -> Self {
        Self { width: 500.0, ..Self::default() }
    }

    /// From its dictionary; `resolve` follows references, `stream` decodes what one names.
    pub(super) fn read(
        dict: &Dict,
        resolve: &mut dyn FnMut(&Value) -> Option<Value>,
        stream: &mut dyn FnMut(&Value) -> Option<Vec<u8>>,
    ) -> Self {
        let mut font = Self::unknown();
        let mut get = |dict: &Dict, key: &[u8]| dict.get(key).and_then(&mut *resolve);
        font.is_wide = dict.get(&b"Subtype"[..]).is_some_and(|s| s.name() == b"Type0");
        match get(dict, b"Encoding") {
            Some(Value::Name(name)) => font.encoding(&name),
            Some(Value::Dict(encoding)) => {
                let list = get(&encoding, b"Differences");
                font.differ(list.as_ref().map(Value::list).unwrap_or_default());
            }
            _ => {}
        }
        if font.is_wide {
            let below = get(dict, b"DescendantFonts").and_then(|list| list.list().first().cloned());
            if let Some(Value::Dict(below)) = below.as_ref().and_then(&mut *resolve) {
                font.width = below.get(&b"DW"[..]).and_then(Value::number).unwrap_or(1000.0);
                let list = below.get(&b"W"[..]).and_then(&mut *resolve);
                font.wide_widths(list.as_ref().map(Value::list).unwrap_or_default());
            }
        } else {
            font.usual_widths(dict.get(&b"BaseFont"[..]).map(Value::name).unwrap_or_default());
            let first = dict.get(&b"FirstChar"[..]).and_then(Value::whole).unwrap_or(0);
            let list = dict.get(&b"Widths"[..]).and_then(&mut *resolve);
            let list = list.as_ref().map(Value::list).unwrap_or_default();
            for (i, width) in list.iter().take(256).enumerate() {
                font.widths.extend(width.number().map(|w| ((first + i) as u32, w)));
            }
        }
        if let Some(table) = dict.get(&b"ToUnicode"[..]).and_then(stream) {
            font.table(&table);
        }
        font
    }

    fn usual_widths(&mut self, name: &[u8]) {
        let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
        if has(b"Courier") {
            self.width = 600.0;
            return;
        }
        let widths = if has(b"Times") { &TIMES } else { &HELVETICA };
        self.widths.extend((32..).zip(widths.iter().map(|w| f64::from(*w))));
    }

    fn encoding(&mut self, name: &[u8]) {
        let has = |part: &[u8]| memchr::memmem::find(name, part).is_some();
        self.is_utf16 = has(b"UCS2") || has(b"UTF16");
    }

    fn differ(&mut self, list: &[Value]) {
        let mut code = 0;
        for value in list.iter().take(MOST_CODES) {
            match value {
                Value::Number(n) => code = *n as u32,
                Value::Name(name) => {
                    self.differences.extend(character(name).map(|c| (code, c)));
                    code = code.saturating_add(1);
                }
                _ => {}
            }
        }
    }

    /// `first [width …]` or `first last width`.
    fn wide_widths(&mut self, mut list: &[Value]) {
        while self.widths.len() < MOST_CODES {
            match list {
                [Value::Number(first), Value::Array(widths), rest @ ..] => {
                    for (i, width) in widths.iter().take(MOST_CODES).enumerate() {
                        self.widths
                            .extend(width.number().map(|w| ((*first as u32).saturating_add(i as u32), w)));
                    }
                    list = rest;
                }
                [Value::Number(first), Value::Number(last), Value::Number(width), rest @ ..] => {
                    for code in (*first as u32)..=(*last as u32).min((*first as u32).saturating_add(0xffff)) {
                        self.widths.insert(code, *width);
                    }
                    list = rest;
                }
                _ => return,
            }
        }
    }

    /// A table of codes (`ToUnicode`).
    fn table(&mut self, text: &[u8]) {
        let mut lexer = Lexer::new(text, 0, MOST_VALUES);
        let mut held: Vec<Value> = Vec::new();
        while let Some(value) = lexer.value() {
            let Value::Word(word) = &value else {
                held.push(value);
                continue;
            };
            match word.as_slice() {
                b"endcodespacerange" => {
                    let narrow = |v: &Value| matches!(v, Value::String(s) if s.len() == 1);
                    if !held.is_empty() && held.iter().all(narrow) {
                        self.is_wide = false;
                    }
                }
                b"endbfchar" => {
                    for pair in held.chunks_exact(2) {
                        if let [Value::String(code), Value::String(text)] = pair {
                            self.stands_for(number(code), utf16(text));
                        }
                    }
                }
                b"endbfrange" => {
                    for three in held.chunks_exact(3) {
                        self.range(three);
                    }
                }
                _ => {}
            }
            held.clear();
        }
    }

    fn range(&mut self, three: &[Value]) {
        let [Value::String(first), Value::String(last), to] = three else { return };
        let (first, last) = (number(first), number(last));
        if last < first || last - first > 0xffff {
            return;
        }
        match to {
            Value::Array(list) => {
                for (code, text) in (first..=last).zip(list) {
                    if let Value::String(text) = text {
                        self.stands_for(code, utf16(text));
                    }
                }
            }
            Value::String(text) => {
                let Some((last_unit, before)) = units(text).split_last().map(|(l, b)| (*l, b.to_vec()))
                else {
                    return;
                };
                for code in first..=last {
                    let unit = last_unit.wrapping_add((code - first) as u16);
                    let all = before.iter().copied().chain([unit]);
                    let text = char::decode_utf16(all).map(|c| c.unwrap_or('\u{fffd}')).collect();
                    self.stands_for(code, text);
                }
            }
            _ => {}
        }
    }

    fn stands_for(&mut self, code: u32, text: String) {
        if self.to_unicode.len() < MOST_CODES && text.len() <= 64 {
            self.to_unicode.insert(code, text);
        }
    }

    /// Appends the characters of a string; answers its width for a size of one, and how many characters there were.
    pub(super) fn show(&self, codes: &[u8], out: &mut String) -> (f64, usize) {
        let step = if self.is_wide { 2 } else { 1 };
        let (mut width, mut count) = (0.0, 0);
        for code in codes.chunks(step) {
            let code = number(code);
            width += self.widths.get(&code).copied().unwrap_or(self.width) / 1000.0;
            count += 1;
            if let Some(text) = self.to_unicode.get(&code) {
                out.push_str(text);
            } else if let Some(character) = self.differences.get(&code) {
                out.push(*character);
            } else if self.is_utf16 || !self.is_wide {
                out.extend(plain(code, self.is_utf16));
            }
        }
        (width, count)
    }
}

/// What a code is in the encodings of Latin letters.
fn plain(code: u32, is_utf16: bool) -> Option<char> {
    match code {
        0x96 | 0x97 | 0xad if !is_utf16 => Some('-'),
        0xa0 => Some(' '),
        0..0x20 => Some(' '),
        code => char::from_u32(code),
    }
}

fn character(name: &[u8]) -> Option<char> {
    if let Some((_, character)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Some(*character);
    }
    let text = std::str::from_utf8(name).ok()?;
    if let [letter] = name {
        return Some(char::from(*letter));
    }
    let hex = text.strip_prefix("uni").or_else(|| text.strip_prefix('u'))?;
    char::from_u32(u32::from_str_radix(hex.get(..4)?, 16).ok()?)
}

fn number(code: &[u8]) -> u32 {
    code.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

fn units(text: &[u8]) -> Vec<u16> {
    if let [only] = text {
        return vec![u16::from(*only)];
    }
    text.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

fn utf16(text: &[u8]) -> String {
    char::decode_utf16(units(text)).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// A string outside of content: UTF-16 or UTF-8 with a mark, otherwise Latin letters.
pub(super) fn text(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => utf16(rest),
        [0xff, 0xfe, rest @ ..] => {
            let units = rest.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
            char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|b| plain(u32::from(*b), false).unwrap_or(' ')).collect(),
    }
}
