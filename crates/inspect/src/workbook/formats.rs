//! How a workbook shows numbers: with a format of its own, a number may look like any other.
//!
//! Source: ECMA-376, Part 1, 18.8 (numFmts, cellXfs).

use std::collections::HashMap;

use super::parts::{Node, attribute, local_name, walk};
use super::refusal::{Limits, WorkbookRefusal};

/// Formats by the style of a cell.
#[derive(Debug, Default)]
pub(super) struct Formats {
    /// Those that the workbook writes out, by their number.
    codes: HashMap<String, String>,
    /// The number of the format of each style.
    styles: Vec<String>,
}

impl Formats {
    pub fn read(styles: Option<&[u8]>, limits: &Limits) -> Result<Self, WorkbookRefusal> {
        let part = "xl/styles.xml";
        let mut formats = Self::default();
        let Some(bytes) = styles else { return Ok(formats) };
        let mut open: Vec<String> = Vec::new();
        walk(part, bytes, limits, &mut |node| {
            match node {
                Node::Start(element) => {
                    let name = local_name(element);
                    let of = |name: &str| attribute(part, element, name).map(Option::unwrap_or_default);
                    if name == "numFmt" {
                        formats.codes.insert(of("numFmtId")?, of("formatCode")?);
                    } else if name == "xf" && open.last().is_some_and(|above| above == "cellXfs") {
                        formats.styles.push(of("numFmtId")?);
                    }
                    open.push(name);
                }
                Node::End => drop(open.pop()),
                Node::Text(_) => {}
            }
            Ok(())
        })?;
        Ok(formats)
    }

    /// The format of a style, unless numbers are shown as they are.
    pub fn of(&self, style: &str) -> Option<String> {
        let number = self.styles.get(style.parse::<usize>().ok()?)?;
        let built_in = || BUILT_IN.iter().find(|(built_in, _)| built_in == number).map(|(_, code)| *code);
        let code = self.codes.get(number).map(String::as_str).or_else(built_in);
        let code = code.map_or_else(|| format!("format {number}"), plain);
        (!code.is_empty() && !code.eq_ignore_ascii_case("general")).then_some(code)
    }
}

/// Without the signs that say that what follows is shown as it is, where nothing else could be meant.
fn plain(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut signs = code.chars().peekable();
    while let Some(sign) = signs.next() {
        if sign != '\\' || !signs.peek().is_some_and(|next| "-/ ,.:".contains(*next)) {
            out.push(sign);
        }
    }
    out
}

/// Formats that every program knows by their numbers.
///
/// Source: ECMA-376, Part 1, 18.8.30.
const BUILT_IN: &[(&str, &str)] = &[
    ("0", "General"),
    ("1", "0"),
    ("2", "0.00"),
    ("3", "#,##0"),
    ("4", "#,##0.00"),
    ("9", "0%"),
    ("10", "0.00%"),
    ("11", "0.00E+00"),
    ("12", "# ?/?"),
    ("13", "# ??/??"),
    ("14", "mm-dd-yy"),
    ("15", "d-mmm-yy"),
    ("16", "d-mmm"),
    ("17", "mmm-yy"),
    ("18", "h:mm AM/PM"),
    ("19", "h:mm:ss AM/PM"),
    ("20", "h:mm"),
    ("21", "h:mm:ss"),
    ("22", "m/d/yy h:mm"),
    ("37", "#,##0 ;(#,##0)"),
    ("38", "#,##0 ;[Red](#,##0)"),
    ("39", "#,##0.00;(#,##0.00)"),
    ("40", "#,##0.00;[Red](#,##0.00)"),
    ("45", "mm:ss"),
    ("46", "[h]:mm:ss"),
    ("47", "mmss.0"),
    ("48", "##0.0E+0"),
    ("49", "@"),
];
