//! The archive around a workbook, read strictly: what two programs could read differently is refused.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::refusal::{Limits, WorkbookRefusal};

/// The parts of a workbook by name.
pub(super) struct Package {
    pub parts: BTreeMap<String, Vec<u8>>,
}

/// Size of the record that ends an archive, without a comment.
const END_RECORD_BYTES: usize = 22;

impl Package {
    pub fn read(reader: &mut (impl Read + Seek), limits: &Limits) -> Result<Self, WorkbookRefusal> {
        let entries = strict_entry_count(reader, limits)?;
        let mut archive = zip::ZipArchive::new(reader).map_err(|_| WorkbookRefusal::NotAWorkbook)?;
        // The library keeps one of two entries of the same name; the count in the end record betrays the other.
        if archive.len() != entries {
            return Err(WorkbookRefusal::part("duplicate_part", "the archive"));
        }
        if entries > limits.parts {
            return Err(WorkbookRefusal::Limit("parts"));
        }
        let mut parts = BTreeMap::new();
        let mut names = std::collections::HashSet::new();
        let mut total = 0u64;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(|_| WorkbookRefusal::NotAWorkbook)?;
            let name = std::str::from_utf8(entry.name_raw())
                .map_err(|_| WorkbookRefusal::part("bad_part_name", "a name that is not UTF-8"))?
                .to_owned();
            if !is_plain_name(&name) {
                return Err(WorkbookRefusal::part("bad_part_name", &name));
            }
            if !names.insert(name.to_lowercase()) {
                return Err(WorkbookRefusal::part("duplicate_part", &name));
            }
            if entry.encrypted() {
                return Err(WorkbookRefusal::part("encrypted", &name));
            }
            if entry.is_symlink() {
                return Err(WorkbookRefusal::part("bad_part_name", &name));
            }
            if entry.is_dir() {
                continue;
            }
            let (stored, declared) = (entry.compressed_size(), entry.size());
            if declared > limits.part_bytes
                || declared > stored.saturating_mul(limits.ratio).saturating_add(1 << 16)
            {
                return Err(WorkbookRefusal::Limit("part size or compression ratio"));
            }
            total = total.saturating_add(declared);
            if total > limits.total_bytes {
                return Err(WorkbookRefusal::Limit("total size"));
            }
            drop(entry);
            let entry =
                archive.by_index(index).map_err(|_| WorkbookRefusal::part("unreadable_part", &name))?;
            let mut bytes = Vec::new();
            entry
                .take(declared + 1)
                .read_to_end(&mut bytes)
                .map_err(|_| WorkbookRefusal::part("unreadable_part", &name))?;
            if bytes.len() as u64 != declared {
                return Err(WorkbookRefusal::part("unreadable_part", &name));
            }
            parts.insert(name, bytes);
        }
        Ok(Self { parts })
    }
}

/// The number of entries that the end record claims, when the archive has nothing before, between or behind its parts.
fn strict_entry_count(reader: &mut (impl Read + Seek), limits: &Limits) -> Result<usize, WorkbookRefusal> {
    let not = |_| WorkbookRefusal::NotAWorkbook;
    let size = reader.seek(SeekFrom::End(0)).map_err(not)?;
    if size > limits.file_bytes {
        return Err(WorkbookRefusal::Limit("file size"));
    }
    let start = size.checked_sub(END_RECORD_BYTES as u64).ok_or(WorkbookRefusal::NotAWorkbook)?;
    reader.rewind().map_err(not)?;
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(not)?;
    reader.seek(SeekFrom::Start(start)).map_err(not)?;
    let mut end = [0; END_RECORD_BYTES];
    reader.read_exact(&mut end).map_err(not)?;
    reader.rewind().map_err(not)?;
    let two = |at: usize| end.get(at..at + 2).map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])));
    let four = |at: usize| two(at) | two(at + 2) << 16;
    let is_strict = &magic == b"PK\x03\x04"
        && end.starts_with(b"PK\x05\x06")
        && two(4) == 0
        && two(8) == two(10)
        && four(12) + four(16) == start
        && two(20) == 0;
    if !is_strict {
        return Err(WorkbookRefusal::NotAWorkbook);
    }
    usize::try_from(two(10)).map_err(|_| WorkbookRefusal::NotAWorkbook)
}

fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '\\' | ':' | '%' | '*' | '?' | '"' | '<' | '>' | '|') || c == ' '
    };
    !name.is_empty()
        && name.len() <= 255
        && name.chars().all(is_plain)
        && name.trim_end_matches('/').split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}
