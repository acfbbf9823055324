//! Compound files (MS-CFB): legacy Word, Excel and PowerPoint documents, Outlook messages, what is embedded in newer documents.
//! What no reader here accounts for is read as loose strings, so nothing that an earlier version left behind is missed.

mod shared;
mod sheet;
mod slides;
mod word;

use self::shared::{DAMAGED, ENCRYPTED, text};
use super::batch::Sink;
use super::{ExtractError, Source, Visit, kind, loose};
use crate::place::{FieldKind, Unit};
use crate::shown::shown;

/// The streams that a document is kept in; read together, not each as an item.
const TABLES: [&str; 2] = ["0Table", "1Table"];
/// What ends the names of the properties of a message: UTF-16, and bytes that are an attachment or a page.
const TEXT_PROPERTY: &str = "001F";
const BYTES_PROPERTIES: [&str; 2] = ["__substg1.0_37010102", "__substg1.0_10130102"];

impl Visit<'_> {
    pub(super) fn ole(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        let mut file = cfb::CompoundFile::open(source.reader()).map_err(|_| DAMAGED)?;
        let names: Vec<(std::path::PathBuf, String)> = file
            .walk()
            .filter(|e| e.is_stream())
            .map(|e| (e.path().to_owned(), e.name().to_owned()))
            .take(usize::try_from(self.limits.members).unwrap_or(usize::MAX).saturating_add(1))
            .collect();
        if names.iter().any(|(_, name)| name == "EncryptedPackage" || name == "EncryptedSummary") {
            return Err(ENCRYPTED);
        }
        let mut sink = Sink::new(self.detectors);
        (sink.unit, sink.column) = (Unit::Row, FieldKind::Column);
        let mut outcome = Ok(());
        let mut inner = Vec::new();
        for (at, name) in &names {
            self.members += 1;
            if self.members > self.limits.members {
                outcome = Err(ExtractError::Limit("members"));
                break;
            }
            if TABLES.contains(&name.as_str()) {
                continue;
            }
            let mut stream = |at: &std::path::Path| -> Result<Vec<u8>, ExtractError> {
                let mut opened = file.open_stream(at).map_err(|_| DAMAGED)?;
                self.held(&mut opened, "Office document")
            };
            let data = match stream(at) {
                Ok(data) => data,
                Err(e @ ExtractError::Limit(_)) => {
                    outcome = Err(e);
                    break;
                }
                Err(e) => {
                    outcome = Err(e);
                    continue;
                }
            };
            let read = match name.as_str() {
                "WordDocument" => {
                    let table = at.with_file_name(TABLES[usize::from(word::table(&data))]);
                    let table = stream(&table).unwrap_or_default();
                    word::read(&data, &table, &mut sink)
                }
                "Workbook" | "Book" => sheet::read(&data, &mut sink),
                "PowerPoint Document" => slides::read(&data, self.limits.held, &mut sink, &mut inner),
                "\u{1}Ole10Native" => {
                    inner.push((name.clone(), native(&data).to_vec()));
                    Ok(())
                }
                name if BYTES_PROPERTIES.contains(&name) => {
                    inner.push((name.to_owned(), data));
                    Ok(())
                }
                name if name.starts_with("__substg1.0_") && name.ends_with(TEXT_PROPERTY) => {
                    text(&loose::utf16(&data), &mut sink)
                }
                _ if kind::of(&data, "").is_container() => {
                    inner.push((name.clone(), data));
                    Ok(())
                }
                _ => super::text::walk(&mut &*loose::strings(&data), &mut sink),
            };
            outcome = outcome.and(read);
        }
        self.note_and_follow(sink, path, depth);
        for (name, data) in inner {
            self.spend(data.len() as u64)?;
            self.item(Source::Bytes(&data), "", &format!("{path}!/{}", shown(&name)), depth + 1);
        }
        outcome
    }
}

/// The file inside of a package (MS-OLEDS 2.3.6): behind names, of which the last is where it came from.
fn native(data: &[u8]) -> &[u8] {
    let whole = || -> Option<&[u8]> {
        let mut rest = data.get(6..)?;
        for _ in 0..2 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
        let path = loose::four(rest, 4)? as usize;
        let rest = rest.get(8usize.checked_add(path)?..)?;
        let length = loose::four(rest, 0)? as usize;
        rest.get(4..4usize.checked_add(length)?)
    };
    whole().unwrap_or(data.get(4..).unwrap_or_default())
}
