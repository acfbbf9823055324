//! What a file does when a program opens it: what it reaches for as a document, and what it is as a table.

use std::io::{self, Read, Seek};

use serde::{Deserialize, Serialize};

use crate::document::{self, Reach};
use crate::workbook;

/// Bytes of the beginning by which a file is known.
const HEAD: u64 = 4096;

/// What a file does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// As a document, of a file that is one.
    pub reach: Option<Reach>,
    /// Why it must not be written as a table: a reason code.
    pub refusal: Option<String>,
    /// Cells that a program takes for formulas.
    pub formula_cells: Option<usize>,
}

impl Effects {
    /// Of a file that nobody could look into.
    #[must_use]
    pub fn unseen() -> Self {
        Self { reach: Some(Reach { unseen: true, ..Reach::default() }), ..Self::default() }
    }
}

/// Whether a file with this beginning may be a document or a table: of others nothing has to be parsed.
#[must_use]
pub fn may_have_effects(name: &str, head: &[u8]) -> bool {
    document::kind(name, head).is_some() || workbook::may_be_table(name, head)
}

/// What a file does, by its name and its content. Everything is bounded; call it in the worker process all the same.
///
/// # Errors
/// When it cannot be read.
pub fn effects(name: &str, file: &mut (impl Read + Seek)) -> io::Result<Effects> {
    let mut head = Vec::new();
    file.rewind()?;
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let reach = match document::kind(name, &head) {
        Some(kind) => {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.by_ref().take(document::MOST as u64 + 1).read_to_end(&mut bytes)?;
            Some(document::look(kind, &bytes))
        }
        None => None,
    };
    let sheet = workbook::look(name, file);
    Ok(Effects { reach, refusal: sheet.refusal.map(str::to_owned), formula_cells: sheet.formula_cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_none_has_none() {
        let files: &[(&str, &[u8])] = &[
            ("a.md", b"![x](https://a.example/x.png)"),
            ("a.csv", b"=cmd|'/c calc'!A1,2\n"),
            ("a.txt", b"sep=;\n=1;2\n"),
            ("a.txt", b"<html><script>alert(1)</script></html>"),
            ("a.dat", b"WEB\n1\nhttps://a.example/\n"),
            ("a.iqy", b"x"),
            ("a.svg", b"<svg onload='x'/>"),
            (
                "a.xml",
                b"<?xml version='1.0'?><Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'/>",
            ),
            ("a", b"PK\x03\x04"),
            ("a.rs", b"fn main() {}"),
            ("a.txt", b"plain text"),
            ("a.bin", b"\x7fELF\x02\x01"),
            ("a.json", b"{\"a\": 1}"),
            ("a", b""),
        ];
        for (name, bytes) in files {
            let found = effects(name, &mut io::Cursor::new(bytes)).unwrap();
            let may = may_have_effects(name, bytes);
            assert!(may || found == Effects::default(), "{name}: {found:?}");
        }
        assert!(!may_have_effects("a.rs", b"fn main() {}") && may_have_effects("a.csv", b"1,2"));
    }
}
