//! Any bytes as a CSV file: validated, inspected, redacted. A redacted copy keeps rows and columns and holds nothing more
//! to find.
#![no_main]

use std::io::{Read, Seek, Write};
use std::sync::LazyLock;

use chaperone_inspect::workbook::validate_csv;
use chaperone_inspect::{Detectors, Limits, inspect_bytes, redact_file};
use libfuzzer_sys::fuzz_target;

static DETECTORS: LazyLock<Detectors> =
    LazyLock::new(|| Detectors::builtin().expect("the shipped detectors"));

fuzz_target!(|data: &[u8]| {
    let formulas = validate_csv(data).expect("bytes in memory can be read");
    assert!(formulas.iter().all(|f| f.row > 0 && f.column > 0));
    let limits = Limits::default();
    let report = inspect_bytes(&DETECTORS, data, "table.csv", &limits);
    let again = inspect_bytes(&DETECTORS, data, "table.csv", &limits);
    assert_eq!(report, again, "one inspection says what another does not");
    let mut file = tempfile::tempfile().expect("a file");
    let mut out = tempfile::tempfile().expect("a file");
    file.write_all(data).expect("it is written");
    let Ok(redaction) = redact_file(&DETECTORS, &file, "table.csv", None, &out, &limits) else { return };
    let mut copy = Vec::new();
    out.rewind().expect("it can be read again");
    out.read_to_end(&mut copy).expect("it can be read");
    assert_eq!(copy.len() as u64, redaction.bytes);
    if !report.found() {
        assert_eq!(copy, data, "there was nothing to redact");
    }
    assert!(!inspect_bytes(&DETECTORS, &copy, "table.csv", &limits).found(), "something remains");
    if let Ok(text) = std::str::from_utf8(data)
        && is_table(text)
    {
        assert_eq!(shape(data), shape(&copy), "the copy has other rows or columns");
    }
});

/// A table as a program writes it: a header, at least two columns, every row as wide, no control characters.
fn is_table(text: &str) -> bool {
    let widths = shape(text.as_bytes());
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.contains(|c: char| c.is_control() && c != '\n' && c != '\r')
        && widths.len() > 1
        && widths.iter().all(|w| *w == widths[0] && *w > 1)
}

/// Fields of each row.
fn shape(bytes: &[u8]) -> Vec<usize> {
    let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    rows.into_byte_records().map_while(Result::ok).map(|r| r.len()).collect()
}
