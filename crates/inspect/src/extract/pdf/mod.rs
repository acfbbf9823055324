//! PDF: the text that is shown, in the fonts that it is shown in; what stands in forms, comments and properties; what is
//! attached. Every object of the file is looked at, whether a page names it or not.
//!
//! Source: ISO 32000-1. A reader of our own over nothing but the objects: libraries follow the tables of a file and unpack its
//! streams without a bound.

mod content;
mod crypt;
mod filter;
mod font;
mod objects;
mod value;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use self::content::Fonts;
use self::crypt::{Id, Key};
use self::filter::Decoded;
use self::font::Font;
use self::objects::{Objects, Place, Stream};
use self::value::{Dict, Value};
use super::batch::Sink;
use super::{ExtractError, Source, Visit};
use crate::encodings::is_binary;

/// Objects of one file; protects time.
const MOST_OBJECTS: usize = 2_000_000;
/// Pages above one another, of which one takes its fonts.
const MOST_PARENTS: usize = 32;
/// Where a file ends, in bytes.
const END: usize = 2048;
/// What is looked at behind a key of a trailer, in bytes.
const WINDOW: usize = 4096;
/// Names of one file that are tried for its key.
const MOST_IDS: usize = 8;
/// Keys whose strings are no text.
const NO_TEXT: &[&[u8]] = &[b"ID", b"O", b"U", b"OE", b"UE", b"Perms", b"CheckSum", b"Panose", b"CharSet"];
/// Keys whose strings are what a field holds, under the name of the field.
const OF_FIELD: &[&[u8]] = &[b"V", b"DV", b"RV", b"TU"];

const DAMAGED: ExtractError = ExtractError::Damaged("PDF document");

impl Visit<'_> {
    pub(super) fn pdf(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let data = self.whole(source, "the size of a PDF document")?;
        let mut reading = Reading::new(&data, self);
        let read = reading.all(path, depth);
        let text = std::mem::take(&mut reading.text);
        let mut sink = Sink::new(self.detectors);
        let walked = super::text::walk(&mut text.as_bytes(), &mut sink);
        self.note_and_follow(sink, path, depth);
        walked.and(read)
    }
}

struct Reading<'v, 'd, 'a> {
    visit: &'v mut Visit<'a>,
    objects: Objects<'d>,
    /// All that is read.
    text: String,
    fonts: HashMap<u32, Rc<Font>>,
    /// Of all resources together, for contents that name none.
    any: Fonts,
    pages: Vec<Dict>,
    forms: Vec<(Dict, Stream)>,
    others: Vec<(u32, Dict, Stream)>,
    /// Numbers of the contents of pages.
    used: HashSet<u32>,
    attached: u64,
    /// Bytes that tables of fonts may still have, unpacked.
    tables_left: usize,
}

impl<'v, 'd, 'a> Reading<'v, 'd, 'a> {
    fn new(data: &'d [u8], visit: &'v mut Visit<'a>) -> Self {
        let tables_left = visit.limits.held;
        Self {
            visit,
            objects: Objects::find(data, MOST_OBJECTS),
            text: String::new(),
            fonts: HashMap::new(),
            any: Fonts::new(),
            pages: Vec::new(),
            forms: Vec::new(),
            others: Vec::new(),
            used: HashSet::new(),
            attached: 0,
            tables_left,
        }
    }

    fn all(&mut self, path: &str, depth: u32) -> Result<(), ExtractError> {
        if self.objects.all.is_empty() {
            return Err(DAMAGED);
        }
        if let Some(encryption) = self.encryption() {
            let key = encryption.and_then(|dict| Key::without_password(&dict, &self.ids()));
            self.objects.key = Some(key.ok_or(ExtractError::Opaque("it is an encrypted PDF document"))?);
        }
        for index in 0..self.objects.all.len() {
            let Some((id, at)) = self.objects.all.get(index).copied() else { break };
            self.object(id, at, path, depth)?;
        }
        for page in std::mem::take(&mut self.pages) {
            self.page(&page)?;
        }
        for (dict, stream) in std::mem::take(&mut self.forms) {
            let fonts = self.fonts_of(&dict);
            let Some(content) = self.decoded(&stream, &dict)? else { continue };
            self.shown(&content, &fonts)?;
        }
        for (number, dict, stream) in std::mem::take(&mut self.others) {
            if !self.used.contains(&number) {
                self.other(&dict, &stream)?;
            }
        }
        if self.tables_left == 0 || self.objects.is_exhausted() || self.objects.all.len() >= MOST_OBJECTS {
            return Err(ExtractError::Limit("work on a PDF document"));
        }
        let data = self.objects.data;
        let end = data.get(data.len().saturating_sub(END)..).unwrap_or(data);
        let ends = [&b"%%EOF"[..], b"startxref"].iter().any(|m| memchr::memmem::find(end, m).is_some());
        if ends { Ok(()) } else { Err(DAMAGED) }
    }

    /// How the document is encrypted, by what a trailer, or a stream in place of one, names; it may be missing.
    fn encryption(&self) -> Option<Option<Dict>> {
        let data = self.objects.data;
        memchr::memmem::find_iter(data, b"/Encrypt").find_map(|at| {
            let mut lexer = value::Lexer::new(window(data, at), at, 256);
            lexer.value();
            let named = lexer.value()?;
            let Some(value) = self.objects.resolve(&named) else { return Some(None) };
            let dict = value.dict()?;
            let is_key = dict.contains_key(&b"Filter"[..]) || dict.contains_key(&b"V"[..]);
            is_key.then(|| Some(dict.clone()))
        })
    }

    /// What the file may be called, which its key depends on.
    fn ids(&self) -> Vec<Vec<u8>> {
        let data = self.objects.data;
        let named = memchr::memmem::find_iter(data, b"/ID").filter_map(|at| {
            let mut lexer = value::Lexer::new(window(data, at), at, 8);
            lexer.value();
            match lexer.value()?.list().first()? {
                Value::String(id) => Some(id.clone()),
                _ => None,
            }
        });
        named.take(MOST_IDS).collect()
    }

    fn object(&mut self, id: Id, at: usize, path: &str, depth: u32) -> Result<(), ExtractError> {
        let Some(object) = self.objects.at(Place::File(at, id)) else { return Ok(()) };
        self.strings(&object.value)?;
        let Value::Dict(dict) = object.value else { return Ok(()) };
        let Some(stream) = object.stream else {
            self.remember(dict);
            return Ok(());
        };
        let named = |key: &[u8]| dict.get(key).map(Value::name).unwrap_or_default();
        match (named(b"Type"), named(b"Subtype")) {
            (b"ObjStm", _) => {
                let Some(inner) = self.decoded(&stream, &dict)? else { return Ok(()) };
                for value in self.objects.unpack(inner, &dict) {
                    self.strings(&value)?;
                    if let Value::Dict(dict) = value {
                        self.remember(dict);
                    }
                }
            }
            (b"XRef", _) | (_, b"Image") => {}
            (_, b"Type1C" | b"CIDFontType0C" | b"OpenType") => {}
            (_, b"Form") => self.forms.push((dict, stream)),
            (b"EmbeddedFile", _) => {
                let Some(inner) = self.decoded(&stream, &dict)? else { return Ok(()) };
                self.attached += 1;
                self.visit.members += 1;
                if self.visit.members > self.visit.limits.members {
                    return Err(ExtractError::Limit("members"));
                }
                let inner_path = format!("{path}!/attachment {}", self.attached);
                self.visit.item(Source::Bytes(&inner), "", &inner_path, depth + 1);
            }
            // The program of a font.
            _ if dict.contains_key(&b"Length1"[..]) => {}
            _ => self.others.push((id.0, dict, stream)),
        }
        Ok(())
    }

    /// Keeps a page, whose content may be anywhere.
    fn remember(&mut self, dict: Dict) {
        let is_content = |v: &Value| matches!(v, Value::Reference(_) | Value::Array(_));
        if dict.get(&b"Contents"[..]).is_some_and(is_content) {
            self.pages.push(dict);
        }
    }

    fn page(&mut self, page: &Dict) -> Result<(), ExtractError> {
        let contents = page.get(&b"Contents"[..]).cloned().unwrap_or(Value::Null);
        let list = match &contents {
            // An array in an object of its own.
            Value::Reference(number) => match self.objects.get(*number) {
                Some(object) if object.stream.is_none() => object.value,
                _ => contents,
            },
            _ => contents,
        };
        let mut content = Vec::new();
        let mut is_new = false;
        for part in list.list() {
            let Value::Reference(number) = part else { continue };
            is_new |= self.used.insert(*number);
            if !is_new {
                continue;
            }
            let Some(object) = self.objects.get(*number) else { continue };
            let (Value::Dict(dict), Some(stream)) = (&object.value, &object.stream) else { continue };
            content.extend(self.decoded(stream, dict)?.unwrap_or_default());
            content.push(b'\n');
            if content.len() > self.visit.limits.held {
                return Err(ExtractError::Limit("the content of a page"));
            }
        }
        let fonts = self.fonts_of(page);
        self.shown(&content, &fonts)
    }

    /// A stream that nothing says more of: a content, or text.
    fn other(&mut self, dict: &Dict, stream: &Stream) -> Result<(), ExtractError> {
        let Some(data) = self.decoded(stream, dict)? else { return Ok(()) };
        let is_metadata = dict.get(&b"Type"[..]).is_some_and(|t| t.name() == b"Metadata");
        let fonts = std::mem::take(&mut self.any);
        let (text, is_content) = content::read(&data, &fonts);
        self.any = fonts;
        if is_content && !is_metadata {
            return self.add(&text);
        }
        let is_table = memchr::memmem::find(&data, b"begincmap").is_some();
        if !is_table && (!is_binary(&data) || data.starts_with(b"\xfe\xff")) {
            self.add(&crate::plain::text(&data))?;
        }
        Ok(())
    }

    fn shown(&mut self, content: &[u8], fonts: &Fonts) -> Result<(), ExtractError> {
        let (text, _) = content::read(content, fonts);
        self.add(&text)
    }

    fn add(&mut self, text: &str) -> Result<(), ExtractError> {
        self.text.push_str(text);
        self.text.push_str("\n\n");
        if self.text.len() > self.visit.limits.held {
            return Err(ExtractError::Limit("the text of a PDF document"));
        }
        Ok(())
    }

    fn decoded(&mut self, stream: &Stream, dict: &Dict) -> Result<Option<Vec<u8>>, ExtractError> {
        let most = self.visit.limits.held;
        match filter::decode(&self.objects.raw(stream, dict), dict, most) {
            Decoded::Bytes(data) => {
                self.visit.spend(data.len() as u64)?;
                Ok(Some(data))
            }
            Decoded::Picture => Ok(None),
            Decoded::TooLong => Err(ExtractError::Limit("the size of one stream")),
            Decoded::Unknown => Err(ExtractError::Opaque("it holds a filter that is not known")),
        }
    }

    /// The fonts that a page or form names, or that one above it does.
    fn fonts_of(&mut self, dict: &Dict) -> Fonts {
        let mut holder = dict.clone();
        for _ in 0..MOST_PARENTS {
            if let Some(resources) = self.objects.dict_in(&holder, b"Resources") {
                let named = self.objects.dict_in(&resources, b"Font").unwrap_or_default();
                let fonts: Fonts =
                    named.into_iter().filter_map(|(name, font)| Some((name, self.font(&font)?))).collect();
                for (name, font) in &fonts {
                    self.any.entry(name.clone()).or_insert_with(|| Rc::clone(font));
                }
                return fonts;
            }
            match self.objects.dict_in(&holder, b"Parent") {
                Some(parent) => holder = parent,
                None => break,
            }
        }
        self.any.clone()
    }

    fn font(&mut self, value: &Value) -> Option<Rc<Font>> {
        if let Value::Reference(number) = value
            && let Some(known) = self.fonts.get(number)
        {
            return Some(Rc::clone(known));
        }
        let dict = self.objects.resolve(value)?;
        let (objects, left) = (&self.objects, Cell::new(self.tables_left));
        let mut decode = |value: &Value| {
            let Value::Reference(number) = value else { return None };
            let object = objects.get(*number)?;
            let (stream, dict) = (object.stream?, object.value.dict()?);
            match filter::decode(&objects.raw(&stream, dict), dict, left.get()) {
                Decoded::Bytes(data) => {
                    left.set(left.get() - data.len());
                    Some(data)
                }
                Decoded::TooLong => {
                    left.set(0);
                    None
                }
                _ => None,
            }
        };
        let font = Rc::new(Font::read(dict.dict()?, &mut |v| objects.resolve(v), &mut decode));
        self.tables_left = left.get();
        if let Value::Reference(number) = value {
            self.fonts.insert(*number, Rc::clone(&font));
        }
        Some(font)
    }

    /// The strings of an object: what fields hold, what comments say, properties, addresses, scripts.
    fn strings(&mut self, value: &Value) -> Result<(), ExtractError> {
        let before = self.text.len();
        strings(value, "", &mut self.text);
        if self.text.len() > before { self.add("") } else { Ok(()) }
    }
}

/// The bytes up to a little behind `at`, where a key and its value stand.
fn window(data: &[u8], at: usize) -> &[u8] {
    data.get(..data.len().min(at + WINDOW)).unwrap_or(data)
}

fn strings(value: &Value, label: &str, out: &mut String) {
    match value {
        Value::String(bytes) if bytes.len() > 3 => {
            out.push_str(label);
            out.push_str(": ");
            out.push_str(&font::text(bytes));
            out.push('\n');
        }
        Value::Array(list) => list.iter().for_each(|v| strings(v, label, out)),
        Value::Dict(dict) => {
            let field = match dict.get(&b"T"[..]) {
                Some(Value::String(name)) => Some(font::text(name)),
                _ => None,
            };
            let is_signature = dict.contains_key(&b"ByteRange"[..]);
            for (key, value) in dict {
                if NO_TEXT.contains(&key.as_slice()) || is_signature && key == b"Contents" {
                    continue;
                }
                let own = String::from_utf8_lossy(key);
                let label = field.as_deref().filter(|_| OF_FIELD.contains(&key.as_slice())).unwrap_or(&own);
                strings(value, label, out);
            }
        }
        _ => {}
    }
}
