//! Archives behind a program that unpacks them: a zip or 7z archive that was appended to an executable or a script.

use std::io::{Read, Seek, SeekFrom};

use super::marks::SEVEN_Z;

/// How programs begin.
const PROGRAMS: [&[u8]; 3] = [b"MZ", b"\x7fELF", b"#!"];
/// Where the end of a zip archive is looked for: it has a comment of at most 65,535 bytes.
const END: u64 = 66 * 1024;
/// Where a 7z archive is looked for: modules that unpack one are smaller.
const MODULE: u64 = 4 << 20;

pub(super) enum Attached {
    Zip,
    /// From here on.
    SevenZ(u64),
}

/// What is appended to a program of `length` bytes, if it is one; `open` reads it from the start.
pub(super) fn behind<R: Read + Seek>(open: impl Fn() -> R, length: u64, head: &[u8]) -> Option<Attached> {
    if !PROGRAMS.iter().any(|begin| head.starts_with(begin)) {
        return None;
    }
    let mut end = Vec::new();
    let mut reader = open();
    reader.seek(SeekFrom::Start(length.saturating_sub(END))).ok()?;
    reader.take(END).read_to_end(&mut end).ok()?;
    // A program that works with archives has the mark in it, too: only what opens is one.
    if memchr::memmem::rfind(&end, b"PK\x05\x06").is_some()
        && zip::ZipArchive::new(open()).is_ok_and(|a| !a.is_empty())
    {
        return Some(Attached::Zip);
    }
    let mut module = Vec::new();
    open().take(MODULE).read_to_end(&mut module).ok()?;
    let place = memchr::memmem::find_iter(&module, SEVEN_Z).find(|at| begins_7z(module.get(*at..)))?;
    Some(Attached::SevenZ(place as u64))
}

/// Whether the header of a 7z archive is what its checksum says.
fn begins_7z(bytes: Option<&[u8]>) -> bool {
    let Some(header) = bytes.and_then(|b| b.first_chunk::<32>()) else { return false };
    let mut crc = flate2::Crc::new();
    crc.update(&header[12..]);
    crc.sum().to_le_bytes() == header[8..12]
}
