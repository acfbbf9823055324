//! ZIP: members are items of their own, within the limits of the whole.

use std::io::{Cursor, Read, Write};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::attached::Attached;
use super::batch::Sink;
use super::{ExtractError, Reader, Source, Visit, kind, workbook};
use crate::shown::shown;

/// Bytes between members that no member accounts for: a data descriptor with its padding.
const LOOSE: u64 = 64;

/// A member's name, and its content unless it is a directory.
type Member = (String, Option<Vec<u8>>);

impl Visit<'_> {
    pub(super) fn zip(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let (archive, _) = open(source, false)?;
        self.zip_members(archive, path, depth)
    }

    /// An archive behind a program that unpacks it.
    pub(super) fn zip_behind(
        &mut self,
        source: Source<'_>,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        let (archive, begin) = open(source, true)?;
        let mut sink = Sink::new(self.detectors);
        super::text::walk(&mut super::binary::strings(&mut source.reader().take(begin)), &mut sink)?;
        self.note_and_follow(sink, path, depth);
        self.zip_members(archive, path, depth)
    }

    pub(super) fn attached(
        &mut self,
        attached: Attached,
        source: Source<'_>,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        if !self.opens {
            self.unopened = true;
            return Ok(());
        }
        if depth >= self.limits.depth {
            return Err(ExtractError::Limit("containers inside containers"));
        }
        match attached {
            Attached::Zip => self.zip_behind(source, path, depth),
            Attached::SevenZ(place) => {
                let data = self.whole(source, "the size of a program with an archive")?;
                let (module, archive) = data.split_at_checked(place as usize).unwrap_or((&data, &[]));
                let mut sink = Sink::new(self.detectors);
                super::text::walk(&mut super::binary::strings(&mut &*module), &mut sink)?;
                self.note_and_follow(sink, path, depth);
                self.sevenz(Source::Bytes(archive), path, depth)
            }
        }
    }

    fn zip_members(
        &mut self,
        mut archive: ZipArchive<Reader<'_>>,
        path: &str,
        depth: u32,
    ) -> Result<(), ExtractError> {
        let mut book = workbook::Book::new(&archive);
        // As its list says; of most archives no member is worth another look.
        let may_be_large = archive.decompressed_size().is_none_or(|all| all > self.limits.held as u128);
        for index in 0..archive.len() {
            if may_be_large && self.large_member(&mut archive, index, path, depth)? {
                continue;
            }
            let (name, data) = match self.member(&mut archive, index) {
                Ok((name, Some(data))) => (name, data),
                Ok((_, None)) => continue,
                Err((name, e @ (ExtractError::Opaque(_) | ExtractError::Damaged(_)))) => {
                    self.fail(&format!("{path}!/{}", shown(&name)), &e);
                    continue;
                }
                Err((_, e)) => return Err(e),
            };
            let inner = format!("{path}!/{}", shown(&name));
            // As a table it says what each of its columns holds.
            let sheets = if name == "content.xml" { crate::document::sheets(&data) } else { Vec::new() };
            for (n, sheet) in sheets.iter().enumerate() {
                let place = format!("{inner}, sheet {}", n + 1);
                self.item(Source::Bytes(sheet), "sheet.tsv", &place, depth + 1);
            }
            if let Some(book) = book.as_mut().filter(|b| b.is_part(&name)) {
                book.part(self, &name, data)?;
            } else {
                self.item(Source::Bytes(&data), &name, &inner, depth + 1);
            }
        }
        if let Some(book) = book {
            let tally = book.finish(self)?.tally;
            self.note(path, &tally);
        }
        Ok(())
    }

    /// A member that is too large for memory and needs no parser, as it is decompressed; `false` of any other.
    fn large_member(
        &mut self,
        archive: &mut ZipArchive<Reader<'_>>,
        index: usize,
        path: &str,
        depth: u32,
    ) -> Result<bool, ExtractError> {
        let name = archive.name_for_index(index).unwrap_or_default().to_string();
        // What cannot be opened is told of with the others.
        let Ok(mut member) = archive.by_index(index) else { return Ok(false) };
        if member.encrypted() || member.size() <= self.limits.held as u64 {
            return Ok(false);
        }
        let mut head = Vec::new();
        let read = member.by_ref().take(kind::HEAD as u64).read_to_end(&mut head);
        let kind = kind::of(&head, &name);
        if read.is_err() || kind.is_container() {
            return Ok(false);
        }
        self.members += 1;
        if self.members > self.limits.members {
            return Err(ExtractError::Limit("members"));
        }
        let path = format!("{path}!/{}", shown(&name));
        let inner = Box::new(head.as_slice().chain(member));
        self.streamed(inner, (kind, &path), depth, ExtractError::Damaged("archive"))?;
        Ok(true)
    }

    /// Every member, decompressed, one after the other.
    pub(super) fn each_member(
        &mut self,
        source: Source<'_>,
        each: super::Member<'_>,
    ) -> Result<(), ExtractError> {
        let (mut archive, _) = open(source, false)?;
        for index in 0..archive.len() {
            match self.member(&mut archive, index) {
                Ok((name, data)) => each(&name, data.unwrap_or_default(), None),
                Err((name, e @ (ExtractError::Opaque(_) | ExtractError::Damaged(_)))) => {
                    each(&name, Vec::new(), Some(e));
                }
                Err((_, e)) => return Err(e),
            }
        }
        Ok(())
    }

    /// One member, decompressed; `None` for a directory.
    fn member(
        &mut self,
        archive: &mut ZipArchive<Reader<'_>>,
        index: usize,
    ) -> Result<Member, (String, ExtractError)> {
        let unread = |e: ZipError| match e {
            ZipError::UnsupportedArchive(m) if m.contains("assword") => {
                ExtractError::Opaque("it is encrypted in a zip archive")
            }
            ZipError::UnsupportedArchive(_) => ExtractError::Opaque("its compression is not known"),
            ZipError::Io(e) if e.kind() != std::io::ErrorKind::InvalidData => ExtractError::Read(e),
            _ => ExtractError::Damaged("archive"),
        };
        let name = archive.name_for_index(index).unwrap_or_default().to_string();
        let mut member = archive.by_index(index).map_err(|e| (name.clone(), unread(e)))?;
        if member.encrypted() {
            return Err((name, ExtractError::Opaque("it is encrypted in a zip archive")));
        }
        self.members += 1;
        if self.members > self.limits.members {
            return Err((name, ExtractError::Limit("members")));
        }
        if member.is_dir() && member.size() == 0 {
            return Ok((name, None));
        }
        let data = self.held(&mut member, "archive").map_err(|e| (name.clone(), e))?;
        Ok((name, Some(data)))
    }

    /// Decompresses into memory, accounting as it goes.
    pub(super) fn held(
        &mut self,
        reader: &mut dyn Read,
        what: &'static str,
    ) -> Result<Vec<u8>, ExtractError> {
        let mut data = Vec::new();
        self.held_in(reader, what, &mut data).map(|()| data)
    }

    /// The same into `data`, which has what there was before it fails.
    pub(super) fn held_in(
        &mut self,
        reader: &mut dyn Read,
        what: &'static str,
        data: &mut Vec<u8>,
    ) -> Result<(), ExtractError> {
        loop {
            let n =
                (&mut *reader).take(256 * 1024).read_to_end(data).map_err(|_| ExtractError::Damaged(what))?;
            if n == 0 {
                return Ok(());
            }
            self.spend(n as u64)?;
            if data.len() > self.limits.held {
                return Err(ExtractError::Limit("the size of one member"));
            }
        }
    }

    pub(super) fn rewrite_zip(
        &mut self,
        source: Source<'_>,
        depth: u32,
        out: &mut dyn Write,
    ) -> Result<u64, ExtractError> {
        let (mut archive, _) = open(source, false)?;
        let broken = |_| ExtractError::Damaged("archive");
        let mut plan = match workbook::Book::new(&archive) {
            None => None,
            Some(mut book) => {
                for index in 0..archive.len() {
                    if let (name, Some(data)) = self.member(&mut archive, index).map_err(|(_, e)| e)?
                        && book.is_part(&name)
                    {
                        book.part(self, &name, data)?;
                    }
                }
                Some(book.finish(self)?)
            }
        };
        let mut written = ZipWriter::new(Cursor::new(Vec::new()));
        let mut replaced = 0;
        for index in 0..archive.len() {
            let (name, data) = self.member(&mut archive, index).map_err(|(_, e)| e)?;
            let Some(data) = data else {
                written.raw_copy_file(archive.by_index(index).map_err(broken)?).map_err(broken)?;
                continue;
            };
            let mut new = Vec::new();
            let count = match plan.as_mut().and_then(|p| p.rewritten.remove(&name)) {
                Some((part, count)) => {
                    new = part;
                    count
                }
                None if plan.as_ref().is_some_and(|p| p.is_part(&name)) => 0,
                None => self.rewrite(Source::Bytes(&data), &name, depth + 1, &mut new)?,
            };
            let member = archive.by_index(index).map_err(broken)?;
            if count == 0 {
                written.raw_copy_file(member).map_err(broken)?;
                continue;
            }
            replaced += count;
            let mut options = SimpleFileOptions::default().compression_method(member.compression());
            if let Some(time) = member.last_modified() {
                options = options.last_modified_time(time);
            }
            if let Some(mode) = member.unix_mode() {
                options = options.unix_permissions(mode);
            }
            drop(member);
            written.start_file(&*name, options).map_err(broken)?;
            written.write_all(&new)?;
        }
        out.write_all(written.finish().map_err(broken)?.get_ref())?;
        Ok(replaced)
    }
}

/// Opens an archive in which every byte belongs to one member: what overlaps, hides or repeats is refused,
/// because another program would read something else than was inspected. Answers where it begins, which is behind something
/// else only where that is `expected`.
fn open(source: Source<'_>, expected: bool) -> Result<(ZipArchive<Reader<'_>>, u64), ExtractError> {
    let mut archive = ZipArchive::new(source.reader()).map_err(|_| ExtractError::Damaged("archive"))?;
    let mut spans = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|_| ExtractError::Damaged("archive"))?;
        spans.push((member.header_start(), member.data_start().saturating_add(member.compressed_size())));
    }
    spans.sort_unstable();
    let begin = match spans.first() {
        Some((start, _)) if expected => *start,
        _ => 0,
    };
    let mut at = begin;
    for (start, end) in &spans {
        if *start < at {
            return Err(ExtractError::Opaque("its members overlap"));
        }
        if start - at > LOOSE {
            return Err(ExtractError::Opaque("it holds bytes that belong to no member"));
        }
        at = *end;
    }
    if archive.central_directory_start().saturating_sub(at) > LOOSE {
        return Err(ExtractError::Opaque("it holds bytes that belong to no member"));
    }
    if archive.central_directory_start() < at {
        return Err(ExtractError::Opaque("its members overlap"));
    }
    Ok((archive, begin))
}
