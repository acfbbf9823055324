//! Documents that are archives: Office (OPC), OpenDocument, books. Each by its relationships and parts.

use std::io::{Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::Event;

use super::sink::Sink;
use super::{html, odf, rtf, xml};

const PARTS: usize = 4096;
const PART_BYTES: u64 = 32 << 20;
const TOTAL_BYTES: u64 = 128 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Package {
    Office,
    OpenDocument,
    Book,
}

pub(super) fn scan(bytes: &[u8], sink: &mut Sink) {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
        return;
    };
    let Some(package) = package(&mut archive) else { return };
    if archive.len() > PARTS {
        sink.reach.unseen = true;
    }
    let mut left = TOTAL_BYTES;
    for index in 0..archive.len().min(PARTS) {
        let Ok(entry) = archive.by_index(index) else {
            sink.reach.unseen = true;
            continue;
        };
        let name = entry.name().to_lowercase();
        if runs(package, &name) {
            sink.active("part", &name);
        }
        if !is_read(package, &name) {
            continue;
        }
        let mut part = Vec::new();
        let most = PART_BYTES.min(left);
        if entry.take(most + 1).read_to_end(&mut part).is_err() || part.len() as u64 > most {
            sink.reach.unseen = true;
        }
        left = left.saturating_sub(part.len() as u64);
        look(package, &name, &part, sink);
    }
}

fn package(archive: &mut zip::ZipArchive<Cursor<&[u8]>>) -> Option<Package> {
    let names: Vec<String> = archive.file_names().map(str::to_lowercase).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    if has("[content_types].xml") {
        return Some(Package::Office);
    }
    if has("meta-inf/container.xml") || names.iter().any(|n| n.ends_with(".opf")) {
        return Some(Package::Book);
    }
    (has("meta-inf/manifest.xml") || has("content.xml")).then_some(Package::OpenDocument)
}

/// Parts that are programs, or hold some.
fn runs(package: Package, name: &str) -> bool {
    let has = |part: &str| name.contains(part);
    match package {
        Package::Office => {
            has("vbaproject")
                || has("vbadata")
                || has("activex/")
                || has("customui")
                || has("webextensions/")
                || has("macrosheets/")
                || has("embeddings/oleobject")
                || has("attachedtoolbars")
        }
        Package::OpenDocument => {
            (name.starts_with("basic/") || name.starts_with("scripts/") || name.starts_with("dialogs/"))
                && !name.ends_with('/')
                && !name.ends_with("script-lc.xml")
                && !name.ends_with("script-lb.xml")
        }
        Package::Book => false,
    }
}

fn is_read(package: Package, name: &str) -> bool {
    let ends = |endings: &[&str]| endings.iter().any(|e| name.ends_with(e));
    match package {
        Package::Office => ends(&[".rels", ".xml", ".htm", ".html", ".mht", ".xhtml", ".rtf", ".vml"]),
        Package::OpenDocument => ends(&[".xml", ".rdf"]) && !name.starts_with("meta-inf/"),
        Package::Book => ends(&[".xhtml", ".html", ".htm", ".svg", ".css", ".opf", ".ncx", ".xml"]),
    }
}

fn look(package: Package, name: &str, part: &[u8], sink: &mut Sink) {
    let text = crate::plain::text(part);
    let ends = |endings: &[&str]| endings.iter().any(|e| name.ends_with(e));
    if ends(&[".htm", ".html", ".mht", ".xhtml"]) {
        sink.inner(|sink| html::scan(&text, sink));
    } else if ends(&[".css"]) {
        sink.css(&text);
    } else if ends(&[".rtf"]) {
        rtf::scan(part, sink);
    } else if package == Package::OpenDocument {
        odf::scan(&text, sink);
    } else if package == Package::Book {
        sink.inner(|sink| xml::scan(&text, name.ends_with(".svg"), sink));
    } else if ends(&[".rels"]) {
        xml::scan(&text, false, sink);
    } else {
        fields(&text, sink);
    }
}

/// The fields of a text: instructions in elements of their own, in pieces, or in an attribute.
fn fields(text: &str, sink: &mut Sink) {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let (mut inside, mut instruction) = (false, String::new());
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                let local = element.local_name();
                inside = local.as_ref() == b"instrText";
                for attribute in element.attributes().with_checks(false).flatten() {
                    let value = attribute.unescape_value().unwrap_or_default();
                    match (local.as_ref(), attribute.key.local_name().as_ref()) {
                        (b"fldSimple", b"instr") => rtf::field(&value, sink),
                        (b"fldChar", b"fldCharType") if value != "separate" => {
                            rtf::field(&std::mem::take(&mut instruction), sink);
                        }
                        (b"imagedata" | b"fill" | b"stroke", b"src" | b"href") => sink.address(&value),
                        _ => {}
                    }
                }
            }
            Ok(Event::Text(text)) if inside => instruction.push_str(&String::from_utf8_lossy(&text)),
            Ok(Event::GeneralRef(reference)) if inside => {
                if let Ok(Some(c)) = reference.resolve_char_ref() {
                    instruction.push(c);
                } else if &*reference == b"quot".as_slice() {
                    instruction.push('"');
                } else if &*reference == b"amp".as_slice() {
                    instruction.push('&');
                }
            }
            Ok(Event::End(_)) => inside = false,
            Ok(Event::Eof) => break,
            Err(_) => {
                sink.reach.unseen = true;
                break;
            }
            Ok(_) => {}
        }
    }
    rtf::field(&instruction, sink);
}
