//! What a workbook holds besides its cells and names, by what a person would call it. How a program wrote it down (the order of
//! attributes, blanks between elements) makes no difference.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::package::Package;
use super::parts::{Node, local_name, walk};
use super::refusal::{Limits, WorkbookRefusal};

/// Parts by the beginning of their names, in lower case.
const CALLED: &[(&str, &str)] = &[
    ("xl/styles.xml", "formats of cells"),
    ("xl/theme/", "colours and fonts"),
    ("xl/workbook.xml", "settings of the workbook"),
    ("xl/drawings/", "pictures and charts"),
    ("xl/media/", "pictures and charts"),
    ("xl/charts/", "pictures and charts"),
    ("xl/comments", "notes at cells"),
    ("xl/threadedcomments/", "notes at cells"),
    ("xl/persons/", "notes at cells"),
    ("xl/tables/", "tables in sheets"),
    ("xl/pivot", "pivot tables"),
    ("xl/worksheets/_rels/", "links of sheets"),
];
/// What follows from the rest, or is different each time that a program saves.
const PASSED_OVER: &[&str] = &[
    "[content_types].xml",
    "_rels/",
    "docprops/",
    "xl/_rels/",
    "xl/calcchain.xml",
    "xl/sharedstrings.xml",
    "xl/printersettings/",
];

/// Digests of all parts that are called the same.
pub(super) fn of(
    package: &Package,
    sheets: &[(String, String)],
    limits: &Limits,
) -> Result<BTreeMap<String, [u8; 32]>, WorkbookRefusal> {
    let mut found: BTreeMap<String, Sha256> = BTreeMap::new();
    for (part, bytes) in &package.parts {
        let lower = part.to_lowercase();
        let sheet = sheets.iter().find(|(_, path)| path == part);
        if PASSED_OVER.iter().any(|passed| lower.starts_with(passed)) {
            continue;
        }
        let known = CALLED.iter().find(|(begin, _)| lower.starts_with(begin)).map(|(_, name)| *name);
        let name = match (sheet, known) {
            (Some((name, _)), _) => format!("layout, filters, rules and links of {name}"),
            (None, Some(name)) => name.to_owned(),
            (None, None) => part.clone(),
        };
        let is_xml = [".xml", ".rels", ".vml"].iter().any(|ending| lower.ends_with(ending));
        let digest = if is_xml { of_xml(part, bytes, limits)? } else { Sha256::digest(bytes).into() };
        found.entry(name).or_default().update(digest);
    }
    Ok(found.into_iter().map(|(name, digest)| (name, digest.finalize().into())).collect())
}

/// Of what the elements say. Cells and names are shown one by one.
fn of_xml(part: &str, bytes: &[u8], limits: &Limits) -> Result<[u8; 32], WorkbookRefusal> {
    let mut digest = Sha256::new();
    let mut open: Vec<String> = Vec::new();
    let told = ["sheetData", "definedNames", "dimension", "calcPr", "fileVersion"];
    walk(part, bytes, limits, &mut |node| {
        let is_told = open.iter().any(|name| told.contains(&name.as_str()));
        match node {
            Node::Start(element) => {
                let name = local_name(element);
                // How rows are laid out is no cell.
                if !is_told && !told.contains(&name.as_str()) || name == "row" {
                    digest.update(name.as_bytes());
                    let attributes = element.attributes().flatten();
                    let mut said: Vec<(Vec<u8>, Vec<u8>)> = attributes
                        .map(|a| (a.key.local_name().as_ref().to_vec(), a.value.to_vec()))
                        .filter(|(key, _)| name != "row" || key == b"hidden")
                        .collect();
                    said.sort();
                    for (key, value) in said {
                        digest.update(key);
                        digest.update([0]);
                        digest.update(value);
                        digest.update([0]);
                    }
                }
                open.push(name);
            }
            Node::Text(text) if !is_told => digest.update(text.trim().as_bytes()),
            Node::Text(_) => {}
            Node::End => drop(open.pop()),
        }
        Ok(())
    })?;
    Ok(digest.finalize().into())
}
