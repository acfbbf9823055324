//! A document as lines, for somebody who compares two versions of it: paragraphs, rows of tables, and where its links lead. What it
//! looks like is not in them: of that, and of all its other parts, there are digests.
//!
//! Source: OpenDocument 1.3 part 3, ECMA-376 part 1.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::reading::Reading;
use crate::extract::{Limits, text_of};

/// Parts of a document that are read, and bytes of one unpacked and of all. Protects memory and time.
const PARTS: usize = 1_000;
const PART_BYTES: u64 = 32 << 20;
const TOTAL_BYTES: u64 = 128 << 20;

/// Whether a file that begins like this may have lines.
#[must_use]
pub fn may_have_lines(head: &[u8]) -> bool {
    head.starts_with(b"%PDF-") || head.starts_with(b"PK\x03\x04")
}

/// A text document, a table, slides or a PDF as lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// At most 4 MiB.
    pub text: String,
    /// By what it is called, a digest of whatever else there is: how the text looks, and the other parts.
    pub rest: BTreeMap<String, String>,
}

/// The lines of a document; `None` of anything else, and of what cannot be read whole.
#[must_use]
pub fn lines(mut file: &File, name: &str, limits: &Limits) -> Option<Lines> {
    let mut head = [0; 5];
    file.rewind().ok()?;
    file.read_exact(&mut head).ok()?;
    file.rewind().ok()?;
    if head.starts_with(b"%PDF-") {
        let text = String::from_utf8(text_of(file, name, limits)).ok()?;
        let mut bytes = Vec::new();
        file.rewind().ok()?;
        file.take(PART_BYTES).read_to_end(&mut bytes).ok()?;
        let rest = [("how it looks".to_owned(), hex::encode(Sha256::digest(&bytes)))].into();
        return Some(Lines { text, rest });
    }
    let mut archive = zip::ZipArchive::new(file).ok()?;
    let mut names: Vec<String> = archive.file_names().map(str::to_owned).collect();
    // Slides in their order: the second before the tenth.
    names.sort_by_key(|name| (name.len(), name.clone()));
    if !names.iter().any(|name| is_read(name)) || names.len() > PARTS {
        return None;
    }
    let mut document = Lines::default();
    let (mut reading, mut left) = (Reading::default(), TOTAL_BYTES);
    for name in names {
        let mut part = Vec::new();
        archive.by_name(&name).ok()?.take(PART_BYTES + 1).read_to_end(&mut part).ok()?;
        left = left.checked_sub(part.len() as u64)?;
        if part.len() as u64 > PART_BYTES {
            return None;
        }
        let text = || std::str::from_utf8(&part).ok();
        if is_read(&name) {
            let looks = reading.part(text()?)?;
            document.rest.insert(format!("how {name} looks"), looks);
        } else if !OF_THE_PROGRAM.contains(&name.as_str()) && !name.starts_with("Thumbnails/") {
            let digest = match name.as_str() {
                "meta.xml" | "docProps/core.xml" => properties(text()?)?,
                _ => hex::encode(Sha256::digest(&part)),
            };
            document.rest.insert(name, digest);
        }
    }
    document.text = reading.all;
    Some(document)
}

/// Parts that a program writes for itself, and from which nothing is shown.
const OF_THE_PROGRAM: &[&str] = &["mimetype", "META-INF/manifest.xml", "docProps/app.xml"];
/// Properties that change whenever a document is saved.
const OF_SAVING: &[&[u8]] = &[
    b"modified",
    b"created",
    b"date",
    b"creation-date",
    b"editing-cycles",
    b"editing-duration",
    b"generator",
    b"document-statistic",
    b"revision",
    b"lastModifiedBy",
];

/// A digest of the properties of a document, but of those.
fn properties(text: &str) -> Option<String> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut digest, mut skipped) = (Sha256::new(), 0usize);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) if skipped > 0 || OF_SAVING.contains(&element.local_name().as_ref()) => {
                skipped += 1;
            }
            Event::End(_) if skipped > 0 => skipped -= 1,
            Event::Empty(element) if OF_SAVING.contains(&element.local_name().as_ref()) => {}
            Event::Eof => return Some(hex::encode(digest.finalize())),
            event if skipped == 0 => digest.update(&*event),
            _ => {}
        }
    }
}

/// What somebody reads of a document, and the lists of where its links lead.
fn is_read(part: &str) -> bool {
    let is_one_of = |folder: &str, names: &[&str]| {
        part.strip_prefix(folder)
            .and_then(|name| name.strip_suffix(".xml"))
            .is_some_and(|name| names.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit())))
    };
    part == "content.xml"
        || is_one_of("word/", &["document", "header", "footer", "footnotes", "endnotes", "comments"])
        || is_one_of("ppt/slides/", &["slide"])
        || is_one_of("ppt/notesSlides/", &["notesSlide"])
        || part == "word/_rels/document.xml.rels"
        || part.starts_with("ppt/slides/_rels/")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    fn told(parts: &[(&str, &str)]) -> Option<String> {
        of(parts).map(|document| document.text)
    }

    fn of(parts: &[(&str, &str)]) -> Option<Lines> {
        let mut archive = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, content) in parts {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        lines(&archive.finish().unwrap(), "x", &Limits::default())
    }

    #[test]
    fn a_table_says_every_value_and_formula_in_rows() {
        let content = r#"<office:document-content><office:automatic-styles><style:style><x>no</x></style:style></office:automatic-styles>
            <table:table table:name="Costs"><table:table-row><table:table-cell><text:p>Rent</text:p></table:table-cell><table:table-cell
            office:value="1.2"><text:p>1.20</text:p></table:table-cell><table:table-cell table:formula="of:=[.A1]*2"><text:p>2</text:p>
            </table:table-cell><table:table-cell table:number-columns-repeated="16000"/></table:table-row><table:table-row
            table:number-rows-repeated="2"><table:table-cell table:number-columns-repeated="2"><text:p>a<text:s text:c="2"/>&amp;
            b</text:p><text:p>c</text:p></table:table-cell></table:table-row><table:table-row
            table:number-rows-repeated="1048576"><table:table-cell/></table:table-row></table:table></office:document-content>"#;
        let content = content.replace("\n            ", " ").replace("> <", "><");
        assert_eq!(
            told(&[("content.xml", &content)]).unwrap(),
            "[Costs]\nRent | 1.20 | 2 {of:=[.A1]*2}\na  & b c | a  & b c\na  & b c | a  & b c\n"
        );
    }

    #[test]
    fn a_letter_says_its_paragraphs_tables_and_links() {
        let document = r#"<w:document><w:body><w:p><w:r><w:t>Dear </w:t></w:r><w:r><w:t>Sir,</w:t></w:r></w:p><w:p/><w:tbl><w:tr><w:tc><w:p>
            <w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:p><w:r><w:delText>gone
            </w:delText></w:r><w:r><w:instrText>PAGE</w:instrText></w:r></w:p></w:body></w:document>"#;
        let document = document.replace("\n            ", "");
        let links = r#"<Relationships><Relationship Id="a" Target="styles.xml"/><Relationship Target="https://x.example/a?b" TargetMode="External"/></Relationships>"#;
        let parts = [
            ("word/document.xml", document.as_str()),
            ("word/_rels/document.xml.rels", links),
            ("word/styles.xml", "<x>Times</x>"),
            ("word/footer1.xml", "<w:ftr><w:p><w:r><w:t>page</w:t></w:r></w:p></w:ftr>"),
        ];
        let lines = told(&parts).unwrap();
        let mut sorted: Vec<&str> = lines.lines().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, ["<https://x.example/a?b>", "Dear Sir,", "a | b", "gone", "page"]);
    }

    #[test]
    fn slides_stand_in_their_order_and_other_archives_say_nothing() {
        let slide = |text: &str| format!("<p:sld><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>");
        let (two, ten) = (slide("two"), slide("ten"));
        let parts = [("ppt/slides/slide10.xml", ten.as_str()), ("ppt/slides/slide2.xml", &two)];
        assert_eq!(told(&parts).unwrap(), "two\nten\n");
        assert_eq!(told(&[("a.txt", "text")]), None);
        for bad in ["<!DOCTYPE x [<!ENTITY a 'b'>]><p>&a;</p>", "<p>&a;</p>", "<p", "<a></b>"] {
            assert_eq!(told(&[("content.xml", bad)]), None, "{bad}");
        }
    }

    #[test]
    fn what_is_shown_and_does_not_stand_in_the_text_is_known_to_differ() {
        let plain = "<p>We do <s/>not owe</p>";
        let before = of(&[("content.xml", plain), ("styles.xml", "<a/>"), ("meta.xml", "<t>x</t>")]).unwrap();
        let differs = |content: &str, styles: &str, meta: &str| {
            let now = of(&[("content.xml", content), ("styles.xml", styles), ("meta.xml", meta)]).unwrap();
            assert_eq!(now.text, before.text);
            let other = now.rest.iter().filter(|(name, digest)| before.rest.get(*name) != Some(*digest));
            other.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert!(differs(plain, "<a/>", "<t>x</t>").is_empty());
        assert!(differs(plain, "<a/>", "<t>x</t><date>2026</date>").is_empty());
        assert_eq!(
            differs("<p>We do <s hidden='1'/>not owe</p>", "<a/>", "<t>x</t>"),
            ["how content.xml looks"]
        );
        assert_eq!(differs(plain, "<b/>", "<t>y</t>"), ["meta.xml", "styles.xml"]);
        // A table shows the value, whatever text stands beside it.
        let cell = |value: &str| {
            told(&[(
                "content.xml",
                &format!("<table-row><table-cell value='{value}'><p>100</p></table-cell></table-row>"),
            )])
        };
        assert_eq!(cell("100.0").unwrap(), "100\n");
        assert_eq!(cell("99999").unwrap(), "100 [99999]\n");
    }

    #[test]
    fn what_is_repeated_a_million_times_is_bounded() {
        let row = r#"<table-row number-rows-repeated="1000000"><table-cell number-columns-repeated="1000000"><p>x</p></table-cell></table-row>"#;
        assert!(told(&[("content.xml", row)]).unwrap().len() < 1 << 20);
        let deep = format!("{}{}", "<tr><tc>".repeat(10_000), "</tc></tr>".repeat(10_000));
        assert!(told(&[("content.xml", &deep)]).is_some());
    }
}
