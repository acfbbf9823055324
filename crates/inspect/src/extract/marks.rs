//! By which first bytes formats are known.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// How a 7z archive begins.
pub(super) const SEVEN_Z: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// How a compound file begins.
pub(super) const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
/// Memory that the window of an xz stream may take, in KiB; what `xz -9` needs.
pub const XZ_MEMORY: u32 = 68 * 1024;
/// Bytes decompressed to see whether what begins like zlib is.
const PROOF: u64 = 4096;

/// Fields that begin a message; so many of them make it one.
const FIELDS: [&str; 12] = [
    "received",
    "return-path",
    "delivered-to",
    "message-id",
    "mime-version",
    "content-type",
    "from",
    "to",
    "subject",
    "date",
    "reply-to",
    "cc",
];
const FEWEST_FIELDS: usize = 3;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zlib,
    Xz,
    /// Without the frame of xz: `.lzma`.
    Lzma,
    Bzip2,
    Zstd,
}

impl Compression {
    /// By the first bytes of a stream.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        const MARKS: [(&[u8], Compression); 3] = [
            (b"\x1f\x8b", Compression::Gzip),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        ];
        // Three letters and a digit are soon the start of a text: the mark of the first block makes sure.
        let blocks = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];
        if head.starts_with(b"BZh") && blocks.iter().any(|b| head.get(4..10) == Some(&b[..])) {
            return Some(Self::Bzip2);
        }
        let marked = MARKS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, c)| *c);
        // Two bytes are soon the start of something else: `x^`.
        let marked = marked.or_else(|| is_lzma(head).then_some(Self::Lzma));
        marked.or_else(|| (crate::encodings::is_zlib(head) && is_zlib_stream(head)).then_some(Self::Zlib))
    }
}

/// Whether bytes that begin like a zlib stream decompress, and are no object of git's: its store is looked at where it leaves
/// (a push), not where git reads it.
fn is_zlib_stream(head: &[u8]) -> bool {
    let mut proof = Vec::new();
    let read = ZlibDecoder::new(head).take(PROOF).read_to_end(&mut proof);
    let is_object = [&b"blob "[..], b"tree ", b"commit ", b"tag "].iter().any(|kind| proof.starts_with(kind));
    read.is_ok() && !proof.is_empty() && !is_object
}

/// Whether bytes begin an LZMA stream, which has no mark: with the usual properties, a window and a length that make sense,
/// and a beginning that decompresses.
fn is_lzma(head: &[u8]) -> bool {
    let Some([0x5d, a, b, c, d, size @ ..]) = head.first_chunk::<13>() else { return false };
    let window = u32::from_le_bytes([*a, *b, *c, *d]);
    let size = u64::from_le_bytes(*size);
    if !(window.is_power_of_two() && window >= 4096) || size != u64::MAX && size > 1 << 40 {
        return false;
    }
    let reader = lzma_rust2::LzmaReader::new_mem_limit(head, XZ_MEMORY, None);
    let mut proof = Vec::new();
    reader.is_ok_and(|r| {
        // The head may be cut: what came before counts.
        let _ = r.take(PROOF).read_to_end(&mut proof);
        !proof.is_empty()
    })
}

/// Whether these bytes begin a PDF document.
pub(super) fn is_pdf(head: &[u8], extension: &str) -> bool {
    let begin = head.get(..1024).unwrap_or(head);
    begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).trim_ascii_start().starts_with(b"%PDF-")
        || extension == "pdf" && memchr::memmem::find(begin, b"%PDF-").is_some()
}

/// Whether a file begins as a message or mailbox.
pub(super) fn is_mail(head: &[u8], extension: &str) -> bool {
    if matches!(extension, "eml" | "mbox" | "mht" | "mhtml") {
        return true;
    }
    if !head.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let mut known = 0;
    for (i, line) in head.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [] => return known >= FEWEST_FIELDS,
            [b' ' | b'\t', ..] if i > 0 => {}
            _ if i == 0 && line.starts_with(b"From ") => {}
            _ => {
                let Some(colon) = memchr::memchr(b':', line) else { return false };
                let Ok(name) = std::str::from_utf8(line.get(..colon).unwrap_or_default()) else {
                    return false;
                };
                if name.is_empty()
                    || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                {
                    return false;
                }
                known += usize::from(FIELDS.iter().any(|f| name.eq_ignore_ascii_case(f)));
            }
        }
    }
    false
}

pub(super) fn is_sqlite(head: &[u8]) -> bool {
    head.starts_with(b"SQLite format 3\0")
}

/// Whether a file is LDIF, vCard or iCalendar.
pub(super) fn is_folded(head: &[u8], extension: &str) -> bool {
    if matches!(extension, "ldif" | "ldf" | "vcf" | "vcard" | "ics") {
        return true;
    }
    let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|l| !l.is_empty() && !l.starts_with(b"#")).unwrap_or_default();
    let is_entry = |line: &[u8]| line.starts_with(b"dn: ") || line.starts_with(b"dn:: ");
    let begins = |mark: &[u8]| first.get(..mark.len()).is_some_and(|l| l.eq_ignore_ascii_case(mark));
    begins(b"BEGIN:VCARD")
        || begins(b"BEGIN:VCALENDAR")
        || is_entry(first)
        || first.starts_with(b"version: 1") && lines.take(100).any(is_entry)
}

/// How a log begins; its checksums are of either order.
pub(super) const SQLITE_LOG: [[u8; 4]; 2] = [[0x37, 0x7f, 6, 0x82], [0x37, 0x7f, 6, 0x83]];
/// How a journal begins, until it is over.
const JOURNAL: &[u8] = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7";
const JOURNAL_HEADER: usize = 28;

/// Whether a file is the log or a journal of a SQLite database; a journal that is over is known by its name.
pub(super) fn is_sqlite_log(head: &[u8], name: &str) -> bool {
    SQLITE_LOG.iter().any(|magic| head.starts_with(magic))
        || head.starts_with(JOURNAL)
        || head.starts_with(&[0; 12]) && journal_sizes(head).is_some()
        || name.ends_with("-journal") && is_over(head)
}

/// The size of a sector and of a page, as a journal says; before it is synced it says nothing else.
pub(super) fn journal_sizes(head: &[u8]) -> Option<(u64, u64)> {
    let size = |at: usize| {
        head.get(at..)?.first_chunk().map(|b| u64::from(u32::from_be_bytes(*b))).filter(is_page_size)
    };
    Some((size(20)?, size(24)?))
}

pub(super) fn is_page_size(n: &u64) -> bool {
    (512..=65_536).contains(n) && n.is_power_of_two()
}

/// A journal whose beginning was overwritten: the change is done.
fn is_over(head: &[u8]) -> bool {
    head.get(..JOURNAL_HEADER).is_some_and(|h| h.iter().all(|b| *b == 0))
}
