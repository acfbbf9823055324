//! Cells of a CSV that a spreadsheet program would run as formulas.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::records::BoundedRecords;

/// Formula cells reported for one file; a file with more is refused for the first of them all the same.
const MAX_REPORTED: usize = 1000;
/// Bytes of one row. Protects memory; a file with a longer one is an error.
const MAX_RECORD: u64 = 16 << 20;

/// A cell that begins like a formula.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormulaCell {
    /// From 1.
    pub row: u64,
    /// From 1.
    pub column: u64,
    /// The character that makes it a formula.
    pub starts_with: char,
}

/// Bytes of a CSV in another encoding than UTF-8.
const MAX_DECODED: u64 = 64 << 20;
/// Bytes that tell encoding and separator.
const HEAD: u64 = 4096;

/// The formula cells of a CSV in any encoding of Unicode (also of the pieces that a program splits at `;`, tab, `|`, or at what a
/// line `sep=` names); numbers with a sign and phone numbers are none. An error is one of reading; malformed rows are read as
/// they are.
pub fn validate_csv(mut reader: impl Read) -> std::io::Result<Vec<FormulaCell>> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;
    let is_plain = matches!(crate::plain::text(&head), std::borrow::Cow::Borrowed(_)) || !head.contains(&0);
    if is_plain {
        let first = String::from_utf8_lossy(&head).into_owned();
        return formula_cells(std::io::Cursor::new(head).chain(reader), &separators(&first));
    }
    reader.take(MAX_DECODED).read_to_end(&mut head)?;
    if head.len() as u64 >= MAX_DECODED {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let text = crate::plain::text(&head);
    formula_cells(text.as_bytes(), &separators(&text))
}

/// What splits cells besides the usual separators.
fn separators(text: &str) -> Vec<char> {
    let first = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default();
    let named = first
        .get(..4)
        .filter(|s| s.eq_ignore_ascii_case("sep="))
        .and_then(|_| first.get(4..)?.chars().next());
    let pipe = first.contains('|').then_some('|');
    named.into_iter().chain(pipe).collect()
}

fn formula_cells(reader: impl Read, more: &[char]) -> std::io::Result<Vec<FormulaCell>> {
    let reader = BoundedRecords::new(reader, MAX_RECORD);
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
    let mut found = Vec::new();
    let mut record = csv::ByteRecord::new();
    let mut row = 0;
    while rows.read_byte_record(&mut record).map_err(std::io::Error::from)? {
        rows.get_mut().next_record();
        row += 1;
        for (column, field) in record.iter().enumerate() {
            let text = String::from_utf8_lossy(field);
            let is_first = row == 1 && column == 0;
            if is_first && text.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("sep=")) {
                continue;
            }
            let pieces = text
                .split([';', '\n', ','])
                .chain(text.split('\t'))
                .chain(text.split(more))
                .map(|piece| piece.trim_start_matches('"'));
            if let Some(starts_with) = std::iter::once(text.as_ref()).chain(pieces).find_map(formula_start) {
                found.push(FormulaCell { row, column: column as u64 + 1, starts_with });
                if found.len() == MAX_REPORTED {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// Whether a program takes the text of a cell for a formula.
pub(super) fn is_formula(cell: &str) -> bool {
    formula_start(cell).is_some()
}

/// The first character of a cell that would run, or `None` for plain data.
fn formula_start(cell: &str) -> Option<char> {
    if let Some(first @ ('\t' | '\r')) = cell.chars().next() {
        let rest = cell.trim_start();
        return formula_start(rest).map(|_| first);
    }
    let cell = cell
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\'' | '\u{a0}'));
    let first = cell.chars().next()?;
    match first {
        '=' | '＝' | '@' | '＠' => Some(first),
        '+' | '-' | '＋' | '－' if is_plain(cell) => None,
        '+' | '-' | '＋' | '－' => Some(first),
        _ => None,
    }
}

/// A signed number, amount or percentage, a phone number, a lone dash, or a list item without anything callable.
fn is_plain(cell: &str) -> bool {
    let rest = cell.strip_prefix(|_: char| true).unwrap_or_default();
    let is_number = !rest.is_empty()
        && rest.chars().all(|c| {
            c.is_ascii_digit()
                || matches!(c, '.' | ',' | ' ' | '\u{a0}' | '%' | '$' | '€' | '£' | 'e' | 'E' | '-' | '/')
        })
        && rest.chars().filter(|c| c.is_ascii_alphabetic()).count() <= 1;
    let is_phone = rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '(' | ')' | '-' | '.' | '/'));
    let is_dash = rest.chars().all(|c| c == '-');
    let is_item = rest.starts_with(' ') && !rest.contains(['(', '|', '!', '=', '[']);
    is_number || is_phone || is_dash || is_item
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::validate_csv;

    #[test]
    fn a_row_without_end_is_an_error_and_not_memory() {
        // As a file with a hole: 64 GiB of zeros, and as many quoted line breaks.
        assert!(validate_csv(std::io::repeat(0).take(64 << 30)).is_err());
        assert!(validate_csv((&b"\""[..]).chain(std::io::repeat(b'\n').take(64 << 30))).is_err());
        assert!(validate_csv(b"1;2\n".repeat(5 << 20).as_slice()).unwrap().is_empty());
    }

    #[test]
    fn cells_that_would_run_are_found_and_numbers_are_not() {
        let bad = [
            "=1+1",
            "@SUM(A1)",
            "+cmd|'/c calc'!A0",
            "-2+3+cmd|'x'!A0",
            "\"\t=1\"",
            "\" =1\"",
            "＝1",
            "a;=1",
            "'=1",
        ];
        for cell in bad {
            assert_eq!(validate_csv(format!("x,{cell}\n").as_bytes()).unwrap().len(), 1, "{cell:?} passed");
        }
        let good = [
            "-5",
            "-1.5e3",
            "+49 30 1234567",
            "+1 (555) 010-9999",
            "-12%",
            "-",
            "--",
            "- an item",
            "a=b",
            "a@b.de",
        ];
        for cell in good {
            assert!(
                validate_csv(format!("x,{cell}\n").as_bytes()).unwrap().is_empty(),
                "{cell:?} was flagged"
            );
        }
    }
}
