//! Cells of a CSV that a spreadsheet program would run as formulas.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::formula::{folded, is_name};
use super::records::BoundedRecords;

/// Formula cells reported for one file; a file with more is refused for the first of them all the same.
const MAX_REPORTED: usize = 1000;
/// Bytes of one row. Protects memory; a file with a longer one is an error.
const MAX_RECORD: u64 = 16 << 20;

/// A cell that runs as a formula.
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
/// line `sep=` names): what calls, names another cell or file, asks a program or computes. An error is one of reading; malformed rows are read as
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

/// Whether a program runs the text of a cell.
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
    let rest = folded(cell.get(first.len_utf8()..)?).replace('$', "");
    let runs = match first {
        '=' | '＝' => reaches(&rest, true) || computes(&rest),
        '@' | '＠' | '+' | '-' | '＋' | '－' => reaches(&rest, false),
        _ => false,
    };
    runs.then_some(first)
}

/// Whether something is called, another cell or file named, or a program asked (DDE): what else begins like a formula (`+07:00`,
/// `-$5.00`, `@home`, `- an item (of two)`) is text or a number to every program, or an error in its cell.
fn reaches(rest: &str, certain: bool) -> bool {
    if rest.contains('|') || certain && rest.contains('[') {
        return true;
    }
    let is_prose = !certain && is_prose(rest);
    let mut at = 0;
    while let Some(begin) = rest.get(at..).and_then(|r| r.find(is_name)).map(|n| n + at) {
        let behind = rest.get(begin..).unwrap_or_default();
        let length = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(length);
        let spaced = behind.trim_start();
        let is_called = match spaced.strip_prefix('(') {
            Some(_) if spaced.len() == behind.len() => true,
            // Some programs leave the blank out; people write it before what they add in brackets.
            Some(inner) => {
                certain || !is_prose && inner.contains(|c: char| c.is_ascii_digit() || "\"'!:,;".contains(c))
            }
            None => false,
        };
        let names_sheet = spaced.strip_prefix('!').is_some_and(|cell| cell.starts_with(is_name));
        if is_called && !name.starts_with(|c: char| c.is_ascii_digit() || c == '.') || names_sheet {
            return true;
        }
        if !is_prose && is_cell(name) {
            return true;
        }
        at = begin + length;
    }
    // Of a sheet whose name is in quotes.
    rest.split_once("'!").is_some_and(|(_, cell)| cell.starts_with(is_name))
}

/// Words or numbers with nothing but blanks between them: a sentence, which no program reads as a formula.
fn is_prose(rest: &str) -> bool {
    let mut words = rest.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let ends = word.ends_with(char::is_alphanumeric);
        if ends && words.peek().is_some_and(|next| next.starts_with(char::is_alphanumeric)) {
            return true;
        }
    }
    false
}

/// Numbers with an operator between them.
fn computes(rest: &str) -> bool {
    let mut parts = rest.split(['+', '-', '*', '/', '^', '&', '<', '>', '=']).map(str::trim);
    let is_value = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '"' | '('))
            && part.ends_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '%' | '"' | ')'))
    };
    parts.next().is_some_and(is_value) && parts.next().is_some_and(is_value)
}

/// A cell as it is named: letters of its column, digits of its row (`B12`; a `$` before each is no part of a name).
fn is_cell(name: &str) -> bool {
    let letters = name.chars().take_while(char::is_ascii_alphabetic).count();
    let row = name.get(letters..).unwrap_or_default();
    (1..=3).contains(&letters)
        && (1..=7).contains(&row.len())
        && row.chars().all(|c| c.is_ascii_digit())
        && !row.starts_with('0')
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
            "\"\t=1+1\"",
            "\" =1+1\"",
            "＝1*2",
            "a;=1+1",
            "'=1+1",
            "=A1",
            "=$B$2",
            "+$A$1",
            "-A1+B2",
            "=Sheet2!A1",
            "=[1]x",
            "@HYPERLINK(1)",
            "+ webservice(a1)",
            "-SUM (A1:A9)",
            "=ＷＥＢＳＥＲＶＩＣＥ (x)",
            "- an item with HYPERLINK(1)",
            "+'Q1 2026'!A1",
            "=1&2",
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
            "- an item (of 2)",
            "- [ ] to do!",
            "- [x] done",
            "+07:00",
            "-03:30",
            "-$5.00",
            "+€ 12.50",
            "\"-3,2 %\"",
            "-$1.200-",
            "+1 555 010 9999 ext. 12",
            "+1-555-CALL-NOW",
            "@home",
            "@ada (on leave)",
            "@scope/package",
            "-A4 paper",
            "+B vitamins",
            "-1 (estimated)",
            "=",
            "==",
            "=== heading ===",
            "=> next",
            "=yes",
            "=5",
            "-v",
            "--verbose",
            "+/-",
            "-∞",
            "-n/a-",
            "+A+",
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
