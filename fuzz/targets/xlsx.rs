//! Workbooks. The first byte chooses: 0: any bytes as the file; 1: a workbook built of parts, each `name LF content NUL`,
//! over a plain one, so that the XML inside is reached. A workbook that passes holds no formula that would be refused.
#![no_main]

use std::io::{Cursor, Write};
use std::sync::LazyLock;

use chaperone_inspect::workbook::{Limits, contents, is_xlsx, refused_formula, validate_xlsx};
use chaperone_inspect::{Detectors, Limits as Depths, inspect_bytes, redact_file};
use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

static DETECTORS: LazyLock<Detectors> =
    LazyLock::new(|| Detectors::builtin().expect("the shipped detectors"));

const PLAIN: [(&str, &str); 5] = [
    (
        "[Content_Types].xml",
        r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#,
    ),
    ("_rels/.rels", "<Relationships/>"),
    (
        "xl/workbook.xml",
        r#"<workbook xmlns:r="r"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>"#,
    ),
    (
        "xl/_rels/workbook.xml.rels",
        r#"<Relationships><Relationship Id="r1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#,
    ),
    ("xl/worksheets/sheet1.xml", "<worksheet><sheetData/></worksheet>"),
];

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 2 == 0 {
        judge(rest);
    } else if let Some(file) = built(rest) {
        judge(&file);
    }
});

fn judge(file: &[u8]) {
    is_xlsx(file);
    let limits = Limits { total_bytes: 8 << 20, part_bytes: 4 << 20, ..Limits::default() };
    let verdict = validate_xlsx(&mut Cursor::new(file), &limits);
    let held = contents(&mut Cursor::new(file), &limits);
    if verdict.is_ok()
        && let Ok(held) = held
    {
        for cell in held.cells {
            let refused = cell.formula.as_deref().and_then(refused_formula);
            assert!(refused.is_none(), "a formula passed that is refused by itself: {refused:?}");
        }
    }
    let depths = Depths { unpacked: 16 << 20, held: 4 << 20, ..Depths::default() };
    let report = inspect_bytes(&DETECTORS, file, "book.xlsx", &depths);
    if report.found() {
        let mut before = tempfile::tempfile().expect("a file");
        let after = tempfile::tempfile().expect("a file");
        before.write_all(file).expect("it is written");
        redact_file(&DETECTORS, &before, "book.xlsx", None, &after, &depths).ok();
    }
}

fn built(sections: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<(String, &[u8])> = Vec::new();
    for section in sections.split(|b| *b == 0) {
        let end = section.iter().position(|b| *b == b'\n')?;
        let name = String::from_utf8_lossy(&section[..end]).into_owned();
        parts.retain(|(other, _)| *other != name);
        parts.push((name, &section[end + 1..]));
    }
    for (name, content) in PLAIN {
        if !parts.iter().any(|(other, _)| other == name) {
            parts.push((name.to_owned(), content.as_bytes()));
        }
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in parts {
        zip.start_file(name, stored).ok()?;
        zip.write_all(content).ok()?;
    }
    Some(zip.finish().ok()?.into_inner())
}
