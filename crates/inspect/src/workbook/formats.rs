//! How a workbook shows numbers: with a format of its own, a number may look like any other.
//!
//! Source: ECMA-376, Part 1, 18.8 (numFmts, cellXfs).

use std::collections::HashMap;

use super::parts::{Node, attribute, local_name, walk};
use super::refusal::{Limits, WorkbookRefusal};

/// Formats by the style of a cell.
#[derive(Debug, Default)]
pub(super) struct Formats {
    /// Those that are written out, by their number.
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

    /// The format of a style, where it is written out: of the others everybody knows what they show.
    pub fn of(&self, style: &str) -> Option<String> {
        let number = self.styles.get(style.parse::<usize>().ok()?)?;
        self.codes.get(number).cloned()
    }
}
