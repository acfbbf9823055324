//! From a file of any kind to labelled values: what it is, what it holds, and within which limits.

mod archive;
mod attached;
mod batch;
mod binary;
mod compressed;
pub(crate) mod ebcdic;
mod folded;
mod guarded;
pub(crate) mod image;
mod json;
pub(crate) mod keys;
mod kind;
mod loose;
mod mail;
mod marks;
mod ole;
mod packed;
mod pdf;
mod pulled;
mod regular;
mod restore;
mod rtf;
pub(crate) mod settings;
mod sevenz;
mod sqlite;
mod table;
mod tar;
mod text;
mod views;
mod wide;
mod workbook;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::encodings::base64::from_base64;
use crate::encodings::is_zlib;
use crate::placeholder::Names;
use crate::report::{Plan, Tally};
use crate::shown::shown;
use crate::{Detectors, Item, Report};
use batch::Sink;
pub(crate) use compressed::decompressed;
use kind::Kind;
use marks::Compression;
pub use marks::XZ_MEMORY;
pub use restore::{Restoration, restore_file};

/// How far an inspection goes. What lies beyond a limit is an error of that item, never silently passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside containers.
    pub depth: u32,
    /// Members of all containers of one file together.
    pub members: u64,
    /// Decompressed bytes of one file together; protects time.
    pub unpacked: u64,
    /// Decompressed bytes for each compressed one, once 16 MiB are exceeded; protects against bombs.
    pub ratio: u64,
    /// Bytes of a member, a JSON document or a workbook part held in memory.
    pub held: usize,
    /// Nesting of JSON and XML.
    pub nesting: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { depth: 4, members: 10_000, unpacked: 1 << 30, ratio: 200, held: 48 << 20, nesting: 128 }
    }
}

/// Why an item was not inspected or redacted; the message names the way out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("cannot be inspected: {0}")]
    Opaque(&'static str),
    #[error("cannot be inspected: over the limit of {0}")]
    Limit(&'static str),
    #[error("cannot be inspected: damaged {0}")]
    Damaged(&'static str),
    #[error("cannot be redacted: {0}; hand over a plain copy")]
    NotRedactable(String),
    #[error("cannot be inspected: the parser failed")]
    Panicked,
}

/// What redaction did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct RedactionReport {
    /// Values replaced.
    pub replaced: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Inspects a file and everything in it. The file must not change meanwhile: callers take a snapshot first.
#[must_use]
pub fn inspect_file(detectors: &Detectors, file: &File, name: &str, limits: &Limits) -> Report {
    inspect(detectors, Source::File(file), name, limits)
}

/// Inspects bytes and everything in them.
#[must_use]
pub fn inspect_bytes(detectors: &Detectors, bytes: &[u8], name: &str, limits: &Limits) -> Report {
    inspect(detectors, Source::Bytes(bytes), name, limits)
}

/// The text of a document and of everything in it, as it is inspected; at most 4 MiB.
#[must_use]
pub fn text_of(file: &File, name: &str, limits: &Limits) -> Vec<u8> {
    let (detectors, told) = Detectors::telling(None);
    match coded(file) {
        Some(text) => inspect(&detectors, Source::Bytes(&text), name, limits),
        None => inspect(&detectors, Source::File(file), name, limits),
    };
    told.take()
}

/// Whether a placeholder stands in a document, or in anything in it.
fn says_placeholder(file: &File, name: &str, limits: &Limits) -> bool {
    let (detectors, told) = Detectors::telling(Some(crate::placeholder::OPEN));
    inspect(&detectors, Source::File(file), name, limits);
    told.has_it()
}

/// Bytes of a text in a coding, and what comes out of one. Protects memory.
const MOST_CODED: u64 = 16 << 20;

/// What a file says that is one text in base64, or compressed without the frame of a format, as git keeps objects.
fn coded(file: &File) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    Source::File(file).reader().take(MOST_CODED).read_to_end(&mut bytes).ok()?;
    if is_zlib(&bytes) {
        let mut text = Vec::new();
        // What was unpacked before it ends badly was there to be read, too.
        let _ = flate2::read::ZlibDecoder::new(&*bytes).take(MOST_CODED).read_to_end(&mut text);
        return Some(text);
    }
    let is_letter = |b: &u8| !matches!(b, b'\r' | b'\n' | b'=');
    is_base64(&bytes).then(|| from_base64(&bytes.into_iter().filter(is_letter).collect::<Vec<u8>>()))
}

/// Whether this is, or begins, one text in base64.
fn is_base64(bytes: &[u8]) -> bool {
    const LEAST: usize = 64;
    let is_of_it = |b: &u8| b.is_ascii_alphanumeric() || b"+/=_-\r\n".contains(b);
    let has = |kind: fn(&u8) -> bool| bytes.iter().any(kind);
    bytes.len() >= LEAST
        && bytes.iter().all(is_of_it)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

/// Whether only a worker may look into what begins like this.
#[must_use]
pub fn needs_a_parser(head: &[u8], name: &str) -> bool {
    kind::of(head, name).needs_a_parser() || is_zlib(head) || is_base64(head)
}

/// Inspects bytes that need no parser: plain text, CSV, JSON. `None` when they are or hold a container, which only a worker
/// may open.
#[must_use]
pub fn inspect_plain(detectors: &Detectors, bytes: &[u8], name: &str) -> Option<Report> {
    if kind::of(bytes, name).needs_a_parser() {
        return None;
    }
    let limits = Limits::default();
    let mut visit = Visit::new(detectors, &limits, bytes.len() as u64);
    visit.opens = false;
    let report = walk(visit, Source::Bytes(bytes), name);
    (!report.1).then_some(report.0)
}

fn inspect(detectors: &Detectors, source: Source<'_>, name: &str, limits: &Limits) -> Report {
    walk(Visit::new(detectors, limits, source.len()), source, name).0
}

/// What packed parts of a text are called, behind its name.
const IN_TEXT: &str = "!/base64";

/// The report, and whether a container in it was left unopened.
fn walk(mut visit: Visit<'_>, source: Source<'_>, name: &str) -> (Report, bool) {
    let walked = catch_unwind(AssertUnwindSafe(|| visit.item(source, name, &shown(name), 0)));
    if walked.is_err() {
        visit.fail(&shown(name), &ExtractError::Panicked);
    }
    // A text may have thousands of packed parts.
    let says = |item: &Item| !item.findings.is_empty() || !item.candidates.is_empty() || item.error.is_some();
    visit.items.retain(|item| says(item) || !item.file.contains(IN_TEXT));
    (Report { items: visit.items, bytes: visit.unpacked + source.len() }, visit.unopened)
}

/// Writes the redacted form of `source` to `out`, in the same format, without looking at the result again.
pub(crate) fn rewrite(
    detectors: &Detectors,
    source: Source<'_>,
    name: &str,
    limits: &Limits,
    names: Option<Names>,
    out: &mut dyn Write,
) -> Result<(u64, Option<Names>), ExtractError> {
    // Every part is read three times.
    let limits = &Limits {
        unpacked: limits.unpacked * 3,
        ratio: limits.ratio * 3,
        members: limits.members * 3,
        ..*limits
    };
    let mut visit = Visit::new(detectors, limits, source.len());
    visit.names = names;
    let replaced = catch_unwind(AssertUnwindSafe(|| visit.rewrite(source, name, 0, out)))
        .unwrap_or(Err(ExtractError::Panicked))?;
    Ok((replaced, visit.names))
}

/// What these bytes are when they would have to be unpacked and cannot be.
pub(crate) fn opaque(bytes: &[u8]) -> Option<&'static str> {
    match kind::of(bytes, "") {
        Kind::Opaque(what) => Some(what),
        // Only a worker opens these, and what leaves does not wait for one.
        Kind::Pdf => Some("it is a PDF document"),
        Kind::Ole => Some("it is a legacy or encrypted Office document"),
        Kind::SevenZ => Some("it is a 7z archive"),
        _ => None,
    }
}

/// Whether these bytes are a table of three columns or more, by their first lines: sentences with one comma each are
/// none, nor is code, which has as many bars.
pub(crate) fn is_table(bytes: &[u8]) -> bool {
    let Kind::Table { delimiter: delimiter @ (b',' | b';' | b'\t') } = kind::of(bytes, "") else {
        return false;
    };
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    line.iter().filter(|b| **b == delimiter).count() >= 2
}

/// What [`members`] is told of one member: its name, what could be read of it, and why that is not all.
pub(crate) type Member<'m> = &'m mut dyn FnMut(&str, Vec<u8>, Option<ExtractError>);

/// Gives every member of a zip archive to `each`, decompressed.
pub(crate) fn members(source: Source<'_>, limits: &Limits, each: Member<'_>) -> Result<(), ExtractError> {
    // No member is inspected here, so no detector is asked.
    let nothing = Detectors::from_toml(&[]).map_err(|_| ExtractError::Panicked)?;
    let mut visit = Visit::new(&nothing, limits, source.len());
    catch_unwind(AssertUnwindSafe(|| visit.each_member(source, each))).unwrap_or(Err(ExtractError::Panicked))
}

/// Something that can be read again from the start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    File(&'a File),
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(crate) fn len(self) -> u64 {
        match self {
            Source::File(f) => f.metadata().map_or(0, |m| m.len()),
            Source::Bytes(b) => b.len() as u64,
        }
    }

    pub(crate) fn reader(self) -> Reader<'a> {
        Reader { source: self, at: 0 }
    }
}

/// Reads a source at its own position: the file's own offset is shared with whoever passed it.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = match self.source {
            Source::File(f) => f.read_at(into, self.at)?,
            Source::Bytes(b) => {
                let rest = usize::try_from(self.at).ok().and_then(|at| b.get(at..)).unwrap_or_default();
                (&mut &*rest).read(into)?
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.source.len().checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// One inspection or redaction of one file: its limits and what has been used of them.
pub(crate) struct Visit<'a> {
    pub(crate) detectors: &'a Detectors,
    pub(crate) limits: &'a Limits,
    pub(crate) items: Vec<Item>,
    pub(crate) members: u64,
    pub(crate) unpacked: u64,
    packed: u64,
    /// Containers may be opened here.
    opens: bool,
    /// There was one, and they may not.
    unopened: bool,
    /// What is cut short or only begins like a stream is shown as far as it goes: nobody gets more out of it.
    pub(crate) in_text: bool,
    /// What the placeholders of a redacted copy are called.
    pub(crate) names: Option<Names>,
}

impl<'a> Visit<'a> {
    fn new(detectors: &'a Detectors, limits: &'a Limits, packed: u64) -> Visit<'a> {
        let items = Vec::new();
        Visit {
            detectors,
            limits,
            items,
            members: 0,
            unpacked: 0,
            packed,
            opens: true,
            unopened: false,
            in_text: false,
            names: None,
        }
    }

    /// Inspects one item; what goes wrong is noted in it.
    pub(crate) fn item(&mut self, source: Source<'_>, name: &str, path: &str, depth: u32) {
        if let Err(e) = self.open(source, name, path, depth) {
            self.fail(path, &e);
        }
    }

    pub(crate) fn fail(&mut self, path: &str, error: &ExtractError) {
        let message = error.to_string();
        match self.items.iter_mut().find(|i| i.file == path) {
            Some(item) => item.error = Some(message),
            None => self.items.push(Item { file: path.to_string(), error: Some(message), ..Item::default() }),
        }
    }

    pub(crate) fn note(&mut self, path: &str, tally: &Tally) {
        self.items.push(Item {
            file: path.to_string(),
            findings: tally.findings(self.detectors),
            error: None,
            candidates: tally.candidates(self.detectors),
        });
    }

    /// Notes what an item holds, and opens what is packed in its text.
    pub(crate) fn note_and_follow(&mut self, sink: Sink<'_>, path: &str, depth: u32) {
        self.note(path, &sink.tally);
        if sink.over {
            self.fail(path, &ExtractError::Limit("packed parts in base64"));
        }
        for packed in sink.packed {
            self.members += 1;
            let inner = format!("{path}{IN_TEXT}");
            if self.members > self.limits.members {
                self.fail(&inner, &ExtractError::Limit("members"));
                return;
            }
            if !self.opens {
                self.unopened = true;
                return;
            }
            let outside = std::mem::replace(&mut self.in_text, true);
            self.item(Source::Bytes(&packed), "", &inner, depth + 1);
            self.in_text = outside;
        }
    }

    fn open(&mut self, source: Source<'_>, name: &str, path: &str, depth: u32) -> Result<(), ExtractError> {
        let head = kind::head(source)?;
        let kind = kind::of(&head, name);
        if kind.is_container() && depth >= self.limits.depth {
            return Err(ExtractError::Limit("containers inside containers"));
        }
        match kind {
            Kind::Zip => self.zip(source, path, depth),
            Kind::Compressed(compression) => self.compressed(compression, source, name, path, depth),
            Kind::Tar => self.tar(source, path, depth),
            Kind::Mail => self.mail(source, path, depth),
            Kind::Sqlite => self.sqlite(source, path, depth),
            Kind::SqliteLog => self.sqlite_log(source, path, depth),
            Kind::Pdf => self.pdf(source, path, depth),
            Kind::Ole => self.ole(source, path, depth),
            Kind::Rtf => self.rtf(source, path, depth),
            Kind::SevenZ => self.sevenz(source, path, depth),
            Kind::Opaque(what) => Err(ExtractError::Opaque(what)),
            kind => {
                let is_binary = kind == Kind::Binary;
                if is_binary && let Some(attached) = attached::behind(|| source.reader(), source.len(), &head)
                {
                    return self.attached(attached, source, path, depth);
                }
                let mut sink = Sink::new(self.detectors);
                if keys::begins(&head, source.len()) {
                    sink.key(&head);
                }
                let mut walked = self.plain(kind, &mut source.reader(), source.len(), &mut sink);
                if is_binary {
                    walked = walked.and(self.image(source, &head, &mut sink));
                }
                self.note_and_follow(sink, path, depth);
                walked
            }
        }
    }

    /// Walks what needs no unpacking.
    pub(crate) fn plain(
        &self,
        kind: Kind,
        reader: &mut dyn Read,
        len: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), ExtractError> {
        match kind {
            Kind::Utf16 { big_endian, inner } => {
                let mut decoded = wide::utf16(reader, big_endian);
                self.plain(*inner, &mut decoded, len * 3 / 2, sink)
            }
            Kind::Utf32 { big_endian, inner } => {
                let mut decoded = wide::utf32(reader, big_endian);
                self.plain(*inner, &mut decoded, len, sink)
            }
            Kind::Ebcdic { inner } => self.plain(*inner, &mut ebcdic::decoded(reader), len, sink),
            Kind::Folded => self.folded(reader, sink),
            Kind::Binary => self.binary(reader, sink),
            Kind::Packed(format) => self.values(format, reader, sink),
            Kind::Table { delimiter } => table::walk(reader, delimiter, sink),
            Kind::Json => json::walk(reader, len, self.limits, sink),
            Kind::Settings => {
                sink.is_settings = true;
                text::walk(reader, sink)
            }
            _ => text::walk(reader, sink),
        }
    }

    /// Writes the redacted form of `source`; answers how many values were replaced.
    pub(crate) fn rewrite(
        &mut self,
        source: Source<'_>,
        name: &str,
        depth: u32,
        out: &mut dyn Write,
    ) -> Result<u64, ExtractError> {
        let kind = kind::of(&kind::head(source)?, name);
        if kind.is_container() && depth >= self.limits.depth {
            return Err(ExtractError::Limit("containers inside containers"));
        }
        match kind {
            Kind::Zip => self.rewrite_zip(source, depth, out),
            Kind::Compressed(Compression::Gzip) => self.rewrite_gzip(source, name, depth, out),
            Kind::Compressed(_) => self.copied(source, name, "it is compressed", out),
            Kind::Opaque(what) => Err(ExtractError::Opaque(what)),
            Kind::Tar => self.copied(source, name, "it is a tar archive", out),
            Kind::Sqlite => self.copied(source, name, "it is a database", out),
            Kind::SqliteLog => self.copied(source, name, "it is the log of a database", out),
            Kind::Pdf => self.copied(source, name, "it is a PDF document", out),
            Kind::Ole => self.copied(source, name, "it is a legacy Office document", out),
            Kind::SevenZ => self.copied(source, name, "it is a 7z archive", out),
            Kind::Utf32 { .. } => Err(ExtractError::NotRedactable("it is UTF-32".into())),
            Kind::Ebcdic { .. } => Err(ExtractError::NotRedactable("it is EBCDIC".into())),
            kind => {
                let mut first = Sink::new(self.detectors);
                self.plain(kind.clone(), &mut source.reader(), source.len(), &mut first)?;
                if first.tally.findings(self.detectors).is_empty() {
                    io::copy(&mut source.reader(), out)?;
                    return Ok(0);
                }
                if matches!(kind, Kind::Binary | Kind::Packed(_)) {
                    return Err(ExtractError::NotRedactable(
                        "it is a binary file of a kind that is not known".into(),
                    ));
                }
                if matches!(kind, Kind::Json) && source.len() > self.limits.held as u64 {
                    return Err(ExtractError::NotRedactable("the JSON document is too large".into()));
                }
                let otherwise = first.otherwise.then_some(self.limits.held);
                self.second_pass(kind, source, Plan { otherwise, ..first.tally.plan() }, out)
            }
        }
    }

    /// Copies what cannot be written anew, when there is nothing in it to redact.
    fn copied(
        &mut self,
        source: Source<'_>,
        name: &str,
        why: &str,
        out: &mut dyn Write,
    ) -> Result<u64, ExtractError> {
        let report = inspect(self.detectors, source, name, self.limits);
        if report.found() || report.error().is_some() {
            return Err(ExtractError::NotRedactable(why.into()));
        }
        io::copy(&mut source.reader(), out)?;
        Ok(0)
    }

    /// All bytes of a source that must be in memory, up to twice what a member may have.
    pub(crate) fn whole<'s>(
        &self,
        source: Source<'s>,
        what: &'static str,
    ) -> Result<Cow<'s, [u8]>, ExtractError> {
        let most = self.limits.held as u64 * 2;
        if source.len() > most {
            return Err(ExtractError::Limit(what));
        }
        Ok(match source {
            Source::Bytes(bytes) => Cow::Borrowed(bytes),
            Source::File(_) => {
                let mut data = Vec::new();
                source.reader().take(most).read_to_end(&mut data)?;
                Cow::Owned(data)
            }
        })
    }

    fn second_pass(
        &self,
        kind: Kind,
        source: Source<'_>,
        plan: Plan,
        out: &mut dyn Write,
    ) -> Result<u64, ExtractError> {
        let (mut utf16, mut plain);
        let (kind, writer): (Kind, &mut dyn Write) = match &kind {
            Kind::Utf16 { big_endian, .. } => {
                let mut mark = Vec::new();
                source.reader().take(2).read_to_end(&mut mark)?;
                let marked = matches!(*mark, [0xff, 0xfe] | [0xfe, 0xff]);
                utf16 = wide::Utf16Writer::new(out, *big_endian, marked);
                (kind, &mut utf16)
            }
            _ => {
                plain = out;
                (kind, &mut plain)
            }
        };
        let mut sink = Sink::new(self.detectors).writing(plan, writer, self.names.as_ref());
        self.plain(kind, &mut source.reader(), source.len(), &mut sink)?;
        Ok(sink.replaced)
    }

    /// Accounts for decompressed bytes.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), ExtractError> {
        self.unpacked += bytes;
        if self.unpacked > self.limits.unpacked {
            return Err(ExtractError::Limit("decompressed bytes"));
        }
        if self.unpacked > 16 << 20 && self.unpacked / self.limits.ratio.max(1) > self.packed {
            return Err(ExtractError::Limit("decompressed bytes for each compressed one"));
        }
        Ok(())
    }
}
