//! RTF: the text that is shown, and what is hidden; what is embedded.

use super::batch::Sink;
use super::{ExtractError, Source, Visit, kind, loose, marks};
use crate::rtf::{self, Event};

/// Groups in one another that are told apart; deeper ones share the settings of this one.
const DEEPEST: usize = 256;
/// Destinations that are bytes in hex.
const HEX: &[&[u8]] = &[b"pict", b"objdata", b"themedata", b"colorschememapping", b"datastore", b"fontemb"];
/// Texts apart from the one around them.
const APART: &[&[u8]] = &[
    b"header",
    b"headerl",
    b"headerr",
    b"headerf",
    b"footer",
    b"footerl",
    b"footerr",
    b"footerf",
    b"footnote",
    b"annotation",
    b"atnauthor",
    b"info",
    b"title",
    b"subject",
    b"author",
    b"operator",
    b"keywords",
    b"comment",
    b"doccomm",
    b"company",
    b"manager",
    b"category",
    b"fldinst",
    b"shptxt",
    b"bkmkstart",
];

#[derive(Clone, Copy)]
struct Group {
    /// Characters that stand for a `\u` character in programs that do not know it.
    skips: usize,
    is_hex: bool,
    is_apart: bool,
}

#[derive(Default)]
struct Text {
    shown: String,
    groups: Vec<Group>,
    over: usize,
    to_skip: usize,
    surrogate: Option<u16>,
    hex: Vec<u8>,
    half: Option<u8>,
    embedded: Vec<Vec<u8>>,
}

impl Visit<'_> {
    pub(super) fn rtf(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let data = self.whole(source, "the size of an RTF document")?;
        let mut text = Text::default();
        text.groups.push(Group { skips: 1, is_hex: false, is_apart: false });
        rtf::events(&data, &mut |event| text.event(event));
        text.end_hex();
        let Text { shown, embedded, .. } = text;
        let mut sink = Sink::new(self.detectors);
        let walked = super::text::walk(&mut shown.as_bytes(), &mut sink);
        self.note_and_follow(sink, path, depth);
        for (i, bytes) in embedded.iter().enumerate() {
            self.members += 1;
            if self.members > self.limits.members {
                return Err(ExtractError::Limit("members"));
            }
            self.spend(bytes.len() as u64)?;
            let inner = format!("{path}!/embedded {}", i + 1);
            let compound = memchr::memmem::find(bytes, marks::OLE).and_then(|at| bytes.get(at..));
            let bytes = compound.unwrap_or(bytes);
            if kind::of(bytes, "").is_container() {
                self.item(Source::Bytes(bytes), "", &inner, depth + 1);
            } else {
                let mut sink = Sink::new(self.detectors);
                super::text::walk(&mut &*loose::strings(bytes), &mut sink)?;
                self.note_and_follow(sink, &inner, depth);
            }
        }
        walked
    }
}

impl Text {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Open if self.groups.len() >= DEEPEST => self.over += 1,
            Event::Open => {
                let around = self.groups.last().copied();
                let around = around.unwrap_or(Group { skips: 1, is_hex: false, is_apart: false });
                self.groups.push(Group { is_apart: false, ..around });
            }
            Event::Close if self.over > 0 => self.over -= 1,
            Event::Close => {
                let Some(group) = self.groups.pop() else { return };
                if group.is_hex && !self.is_hex() {
                    self.end_hex();
                }
                if group.is_apart {
                    self.shown.push('\n');
                }
            }
            Event::Binary(bytes) => self.embedded.push(bytes.to_vec()),
            Event::Byte(byte) if self.is_hex() => self.digit(byte),
            Event::Byte(_) | Event::Symbol(b'\'') if self.to_skip > 0 => self.to_skip -= 1,
            Event::Byte(byte) => self.shown.push_str(&loose::latin(&[byte])),
            Event::Symbol(b'~') => self.shown.push(' '),
            Event::Symbol(b'_') => self.shown.push('-'),
            Event::Symbol(_) => {}
            Event::Word(word, number) => self.word(&word.to_ascii_lowercase(), number),
        }
    }

    fn word(&mut self, word: &[u8], number: i64) {
        match word {
            b"par" | b"line" | b"row" | b"sect" | b"page" | b"nestrow" => self.shown.push('\n'),
            b"tab" | b"cell" | b"nestcell" => self.shown.push('\t'),
            b"endash" => self.shown.push('\u{2013}'),
            b"emdash" => self.shown.push('\u{2014}'),
            b"enspace" | b"emspace" | b"qmspace" => self.shown.push(' '),
            b"uc" => {
                if let Some(group) = self.groups.last_mut() {
                    group.skips = usize::try_from(number).unwrap_or(1);
                }
            }
            b"u" => {
                let unit = u16::try_from(number.rem_euclid(65_536)).unwrap_or(0);
                let units = self.surrogate.take().into_iter().chain([unit]);
                if (0xd800..0xdc00).contains(&unit) {
                    self.surrogate = Some(unit);
                } else {
                    self.shown.extend(char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')));
                }
                self.to_skip = self.groups.last().map_or(1, |g| g.skips);
            }
            _ => {
                let Some(group) = self.groups.last_mut() else { return };
                group.is_hex |= HEX.contains(&word);
                if APART.contains(&word) {
                    group.is_apart = true;
                    self.shown.push('\n');
                }
            }
        }
    }

    fn is_hex(&self) -> bool {
        self.groups.last().is_some_and(|g| g.is_hex)
    }

    fn digit(&mut self, byte: u8) {
        let Some(low) = char::from(byte).to_digit(16) else { return };
        match self.half.take() {
            Some(high) => self.hex.push(high << 4 | low as u8),
            None => self.half = Some(low as u8),
        }
    }

    fn end_hex(&mut self) {
        self.half = None;
        if !self.hex.is_empty() {
            self.embedded.push(std::mem::take(&mut self.hex));
        }
    }
}
