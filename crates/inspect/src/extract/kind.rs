//! What a file is: by its first bytes, then by its name.

use std::borrow::Cow;
use std::io::Read;

use super::marks::{self, Compression};
use super::{ExtractError, Source, ebcdic, packed, settings, wide};
use crate::encodings;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Binary,
    Utf16 {
        big_endian: bool,
        inner: Box<Kind>,
    },
    Utf32 {
        big_endian: bool,
        inner: Box<Kind>,
    },
    Table {
        delimiter: u8,
    },
    Json,
    /// Variables of an environment.
    Settings,
    /// LDIF, vCard, iCalendar.
    Folded,
    Ebcdic {
        inner: Box<Kind>,
    },
    /// Values packed in binary.
    Packed(packed::Format),
    Zip,
    Compressed(Compression),
    Tar,
    Mail,
    Sqlite,
    /// A log or journal of one.
    SqliteLog,
    Pdf,
    /// A compound file: legacy Office documents and what is embedded in newer ones.
    Ole,
    Rtf,
    SevenZ,
    /// Something that would have to be unpacked and cannot be.
    Opaque(&'static str),
}

/// Bytes looked at to tell the kind.
pub(super) const HEAD: usize = 64 * 1024;

const OPAQUE: &[(&[u8], &str)] = &[
    (b"Rar!\x1a\x07", "it is a RAR archive, a kind that is not known"),
    (b"\x04\x22\x4d\x18", "it is an lz4 stream, a kind that is not known"),
    (b"MSCF\0\0\0\0", "it is a cabinet archive, a kind that is not known"),
];

/// Formats with readers of their own, by how they begin.
const MARKED: &[(&[u8], Kind)] = &[
    (b"PK\x03\x04", Kind::Zip),
    (b"PK\x05\x06", Kind::Zip),
    (b"PK\x07\x08", Kind::Zip),
    (marks::SEVEN_Z, Kind::SevenZ),
    (marks::OLE, Kind::Ole),
    (b"{\\rt", Kind::Rtf),
];

impl Kind {
    pub(crate) fn is_container(&self) -> bool {
        matches!(
            self,
            Kind::Zip
                | Kind::Compressed(_)
                | Kind::Tar
                | Kind::Mail
                | Kind::Sqlite
                | Kind::SqliteLog
                | Kind::Pdf
                | Kind::Ole
                | Kind::Rtf
                | Kind::SevenZ
                | Kind::Opaque(_)
        )
    }
}

impl Kind {
    /// Whether only a worker may look at it.
    pub(crate) fn needs_a_parser(&self) -> bool {
        self.is_container() || matches!(self, Kind::Packed(_))
    }
}

pub(crate) fn head(source: Source<'_>) -> Result<Cow<'_, [u8]>, ExtractError> {
    if let Source::Bytes(bytes) = source {
        return Ok(bytes.get(..HEAD).unwrap_or(bytes).into());
    }
    let mut head = Vec::new();
    source.reader().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head.into())
}

pub(crate) fn of(bytes: &[u8], name: &str) -> Kind {
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    let zip_named = matches!(
        extension.as_str(),
        "zip" | "xlsx" | "xlsm" | "xltx" | "docx" | "pptx" | "ods" | "odt" | "odp" | "jar"
    );
    if let Some((_, kind)) = MARKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return kind.clone();
    }
    if marks::is_pdf(head, &extension) {
        return Kind::Pdf;
    }
    if let Some(compression) = Compression::of(head) {
        return Kind::Compressed(compression);
    }
    if let Some((_, what)) = OPAQUE.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Kind::Opaque(what);
    }
    // A zip may hide behind a prefix; its name gives it away.
    if zip_named && !head.is_empty() {
        return Kind::Zip;
    }
    if super::tar::starts(head) {
        return Kind::Tar;
    }
    if marks::is_sqlite(head) {
        return Kind::Sqlite;
    }
    if marks::is_sqlite_log(head, name) {
        return Kind::SqliteLog;
    }
    if let Some(big_endian) = utf32(head) {
        let mut decoded = Vec::new();
        // Reading from memory does not fail.
        let _ = wide::utf32(&mut &*head, big_endian).read_to_end(&mut decoded);
        return Kind::Utf32 { big_endian, inner: Box::new(plain(&decoded, name, &extension)) };
    }
    if let Some(big_endian) = utf16(head) {
        let mut decoded = Vec::new();
        let _ = wide::utf16(&mut &*head, big_endian).read_to_end(&mut decoded);
        return Kind::Utf16 { big_endian, inner: Box::new(plain(&decoded, name, &extension)) };
    }
    if ebcdic::is_ebcdic(head) {
        let mut decoded = Vec::new();
        let _ = ebcdic::decoded(&mut &*head).read_to_end(&mut decoded);
        return Kind::Ebcdic { inner: Box::new(plain(&decoded, name, &extension)) };
    }
    if settings::is_named(name) {
        return Kind::Settings;
    }
    if let Some(format) = packed::Format::of(head, head.len() >= HEAD) {
        return Kind::Packed(format);
    }
    if marks::is_mail(head, &extension) {
        return Kind::Mail;
    }
    plain(head, name, &extension)
}

/// Whether this is UTF-16, and its byte order: by its mark, or by every second byte.
fn utf16(head: &[u8]) -> Option<bool> {
    match head {
        [0xff, 0xfe, ..] => Some(false),
        [0xfe, 0xff, ..] => Some(true),
        [first, ..] if encodings::is_utf16(head) => Some(*first == 0),
        _ => None,
    }
}

/// The same for UTF-32, of which the bytes above the lowest two are zero.
fn utf32(head: &[u8]) -> Option<bool> {
    match head {
        [0xff, 0xfe, 0, 0, ..] => return Some(false),
        [0, 0, 0xfe, 0xff, ..] => return Some(true),
        _ => {}
    }
    let (units, _) = head.get(..256).unwrap_or(head).as_chunks::<4>();
    let all = |order: fn([u8; 4]) -> u32| {
        units.len() >= 8
            && units.iter().all(|u| {
                char::from_u32(order(*u)).is_some_and(|c| !c.is_control() || matches!(c, '\t' | '\r' | '\n'))
            })
    };
    match (all(u32::from_le_bytes), all(u32::from_be_bytes)) {
        (true, _) => Some(false),
        (_, true) => Some(true),
        _ => None,
    }
}

/// Whether bytes without a zero are no text: in no character set, and full of control characters.
fn is_noise(head: &[u8]) -> bool {
    let is_control = |b: &&u8| **b < b' ' && !matches!(**b, b'\t' | b'\n' | b'\r' | 0x08 | 0x0c | 0x1b);
    !encodings::is_utf8(head) && head.iter().filter(is_control).count() * 20 > head.len()
}

fn plain(head: &[u8], name: &str, extension: &str) -> Kind {
    if settings::is_named(name) {
        return Kind::Settings;
    }
    if memchr::memchr(0, head).is_some() || is_noise(head) {
        return Kind::Binary;
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    match extension {
        "json" | "jsonl" | "ndjson" | "geojson" | "ipynb" => return Kind::Json,
        "tsv" | "tab" => return Kind::Table { delimiter: super::table::sniff(head).unwrap_or(b'\t') },
        "csv" => return Kind::Table { delimiter: super::table::sniff(head).unwrap_or(b',') },
        _ => {}
    }
    if marks::is_folded(head, extension) {
        return Kind::Folded;
    }
    if matches!(head.trim_ascii_start().first(), Some(b'{')) && memchr::memchr(b'"', head).is_some() {
        return Kind::Json;
    }
    if !matches!(extension, "" | "txt" | "dat" | "data" | "log" | "out") {
        return Kind::Text;
    }
    super::table::sniff(head).map_or(Kind::Text, |delimiter| Kind::Table { delimiter })
}
