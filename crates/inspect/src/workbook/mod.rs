//! Workbooks and CSV files before they reach the user: whether they hold anything that runs or reaches out.

mod cells;
mod csv_formula;
mod formats;
mod formula;
mod package;
mod parts;
mod records;
mod refusal;
mod rest;
mod sheet;
#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};

pub use cells::{Cell, Contents, Kind, contents};
pub use csv_formula::{FormulaCell, validate_csv};
pub use formula::refused as refused_formula;
pub use records::BoundedRecords;
pub use refusal::{Limits, WorkbookRefusal};
pub use sheet::{Sheet, look, may_be_table, reaches_out};

/// What a harmless workbook holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkbookReport {
    pub parts: usize,
    pub formulas: u64,
    /// Bytes of all parts, unpacked.
    pub bytes: u64,
}

/// Parts that a plain workbook has, by extension; `.bin` is allowed for printer settings alone.
const EXTENSIONS: &[&str] = &["xml", "rels", "vml", "png", "jpeg", "jpg", "gif", "bmp", "emf", "wmf", "tiff"];
/// Directories and files that hold code, connections or other documents; in lower case.
const REFUSED_PARTS: &[(&str, &str)] = &[
    ("vbaproject", "macro"),
    ("vbadata", "macro"),
    ("macrosheets/", "macro"),
    ("dialogsheets/", "macro"),
    ("externallinks/", "external_reference"),
    ("activex/", "active_control"),
    ("embeddings/", "ole_object"),
    ("customui", "custom_ui"),
    ("webextensions/", "web_extension"),
    ("xl/connections.xml", "data_connection"),
    ("xl/querytables/", "data_connection"),
    ("xl/model/", "data_connection"),
    ("xl/customdata/", "data_connection"),
    ("rdrichvaluewebimage", "remote_image"),
];
/// Content types that are refused, in lower case.
const REFUSED_CONTENT: &[(&str, &str)] = &[
    ("macroenabled", "macro"),
    ("vbaproject", "macro"),
    ("macrosheet", "macro"),
    ("sheet.binary", "binary_workbook"),
    ("oleobject", "ole_object"),
    ("activex", "active_control"),
    ("externallink", "external_reference"),
    ("connections+xml", "data_connection"),
    ("querytable", "data_connection"),
    ("template.main", "template"),
];

/// Whether the beginning of a file is that of a workbook (or of another office document): a hint, no validation.
pub fn is_xlsx(head: &[u8]) -> bool {
    let holds = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    head.starts_with(b"PK\x03\x04") && (holds(b"xl/") || holds(b"[Content_Types].xml"))
}

/// Checks that a workbook holds nothing that runs, reaches out or reads differently in two programs.
///
/// Everything is bounded by `limits`; call it in the worker process all the same.
pub fn validate_xlsx(
    reader: &mut (impl Read + Seek),
    limits: &Limits,
) -> Result<WorkbookReport, WorkbookRefusal> {
    let package = package::Package::read(reader, limits)?;
    let has = |name: &str| package.parts.contains_key(name);
    if !has("[Content_Types].xml") || !has("_rels/.rels") || !has("xl/workbook.xml") {
        return Err(WorkbookRefusal::NotAWorkbook);
    }
    let mut report = WorkbookReport { parts: package.parts.len(), ..WorkbookReport::default() };
    for (name, bytes) in &package.parts {
        report.bytes += bytes.len() as u64;
        let lower = name.to_lowercase();
        if let Some((_, code)) = REFUSED_PARTS.iter().find(|(part, _)| lower.contains(part)) {
            return Err(WorkbookRefusal::part(code, name));
        }
        let extension = lower.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_printer = extension == "bin" && lower.starts_with("xl/printersettings/");
        if !is_printer && !EXTENSIONS.contains(&extension) {
            return Err(WorkbookRefusal::part("unexpected_part", name));
        }
        if matches!(extension, "xml" | "rels" | "vml") {
            report.formulas += parts::check(name, bytes, limits)?;
        }
        if name == "[Content_Types].xml" {
            check_content_types(name, bytes, limits)?;
        }
    }
    Ok(report)
}

fn check_content_types(name: &str, bytes: &[u8], limits: &Limits) -> Result<(), WorkbookRefusal> {
    parts::walk(name, bytes, limits, &mut |node| {
        let parts::Node::Start(element) = node else { return Ok(()) };
        let content = parts::attribute(name, element, "ContentType")?.unwrap_or_default().to_lowercase();
        match REFUSED_CONTENT.iter().find(|(refused, _)| content.contains(refused)) {
            Some((_, code)) => Err(WorkbookRefusal::part(code, name)),
            None => Ok(()),
        }
    })
}
