//! What a workbook holds, for differences: its cells, what its names stand for, and by a digest whatever else there is.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use super::formats::Formats;
use super::package::Package;
use super::parts::{Node, attribute, local_name, walk};
use super::refusal::{Limits, WorkbookRefusal};
use super::rest;

/// One cell that holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    pub sheet: String,
    /// As in `B7`.
    pub cell: String,
    /// As it is stored: numbers unformatted, dates as serial numbers.
    pub value: String,
    /// Without `=`; for a cell of a shared formula, the formula of its first cell. The value is what it came to when it was last
    /// worked out, or nothing.
    pub formula: Option<String>,
    pub kind: Kind,
    /// How a number is shown, unless it is as it is.
    pub format: Option<String>,
}

/// What a value is: programs sum up numbers, and pass over a text that looks like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Number,
    Text,
    Truth,
    Error,
}

/// What a workbook holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// In the order of the file's sheets.
    pub cells: Vec<Cell>,
    /// What its names stand for.
    pub names: BTreeMap<String, String>,
    /// By what a person would call it, a digest of all that is neither: formats, layout, rules, pictures.
    pub rest: BTreeMap<String, [u8; 32]>,
}

/// All that a workbook holds; an error when there is more than the limits allow.
pub fn contents(reader: &mut (impl Read + Seek), limits: &Limits) -> Result<Contents, WorkbookRefusal> {
    let package = Package::read(reader, limits)?;
    let part = |name: &str| package.parts.get(name).map(Vec::as_slice);
    let strings = match part("xl/sharedStrings.xml") {
        Some(bytes) => shared_strings(bytes, limits)?,
        None => Vec::new(),
    };
    let formats = Formats::read(part("xl/styles.xml"), limits)?;
    let mut cells = Vec::new();
    let sheets = sheets(&package, limits)?;
    for (sheet, path) in &sheets {
        if let Some(bytes) = part(path) {
            read_sheet(sheet, path, bytes, (&strings, &formats), limits, &mut cells)?;
        }
    }
    Ok(Contents { cells, names: names(&package, limits)?, rest: rest::of(&package, &sheets, limits)? })
}

/// What the names of a workbook stand for; those of one sheet with its number.
fn names(package: &Package, limits: &Limits) -> Result<BTreeMap<String, String>, WorkbookRefusal> {
    let workbook = "xl/workbook.xml";
    let mut found = BTreeMap::new();
    let mut open: Option<(String, String)> = None;
    let Some(bytes) = package.parts.get(workbook) else { return Ok(found) };
    walk(workbook, bytes, limits, &mut |node| {
        match node {
            Node::Start(element) if local_name(element) == "definedName" => {
                let name = attribute(workbook, element, "name")?.unwrap_or_default();
                let sheet = attribute(workbook, element, "localSheetId")?;
                let name = sheet.map_or_else(|| name.clone(), |sheet| format!("{name} of sheet {sheet}"));
                open = Some((name, String::new()));
            }
            Node::Text(text) => {
                if let Some((_, value)) = &mut open {
                    value.push_str(text);
                }
            }
            Node::End => found.extend(open.take()),
            Node::Start(_) => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Names and parts of the sheets, in their order.
fn sheets(package: &Package, limits: &Limits) -> Result<Vec<(String, String)>, WorkbookRefusal> {
    let (workbook, relationships) = ("xl/workbook.xml", "xl/_rels/workbook.xml.rels");
    let missing = WorkbookRefusal::NotAWorkbook;
    let (Some(sheets), Some(targets)) = (package.parts.get(workbook), package.parts.get(relationships))
    else {
        return Err(missing);
    };
    let mut paths = HashMap::new();
    walk(relationships, targets, limits, &mut |node| {
        if let Node::Start(element) = node
            && let Some(id) = attribute(relationships, element, "Id")?
        {
            let target = attribute(relationships, element, "Target")?.unwrap_or_default();
            let path = match target.strip_prefix('/') {
                Some(absolute) => absolute.to_owned(),
                None => format!("xl/{}", target.trim_start_matches("./")),
            };
            paths.insert(id, path);
        }
        Ok(())
    })?;
    let mut found = Vec::new();
    walk(workbook, sheets, limits, &mut |node| {
        if let Node::Start(element) = node
            && local_name(element) == "sheet"
        {
            let name = attribute(workbook, element, "name")?.unwrap_or_default();
            if let Some(path) = attribute(workbook, element, "id")?.and_then(|id| paths.get(&id)) {
                found.push((name, path.clone()));
            }
        }
        Ok(())
    })?;
    Ok(found)
}

fn shared_strings(bytes: &[u8], limits: &Limits) -> Result<Vec<String>, WorkbookRefusal> {
    let mut strings: Vec<String> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    walk("xl/sharedStrings.xml", bytes, limits, &mut |node| {
        match node {
            Node::Start(element) => {
                open.push(local_name(element));
                if open.last().is_some_and(|name| name == "si") {
                    if strings.len() == limits.cells {
                        return Err(WorkbookRefusal::Limit("number of texts"));
                    }
                    strings.push(String::new());
                }
            }
            Node::Text(text) => {
                let is_text =
                    open.last().is_some_and(|name| name == "t") && !open.iter().any(|name| name == "rPh");
                if let Some(string) = strings.last_mut().filter(|_| is_text) {
                    string.push_str(text);
                }
            }
            Node::End => drop(open.pop()),
        }
        Ok(())
    })?;
    Ok(strings)
}

#[derive(Default)]
struct Open {
    cell: String,
    kind: String,
    value: String,
    formula: String,
    shared: Option<String>,
    has_formula: bool,
    format: Option<String>,
}

fn read_sheet(
    sheet: &str,
    part: &str,
    bytes: &[u8],
    (strings, formats): (&[String], &Formats),
    limits: &Limits,
    found: &mut Vec<Cell>,
) -> Result<(), WorkbookRefusal> {
    let mut names: Vec<String> = Vec::new();
    let mut open: Option<Open> = None;
    let mut shared: HashMap<String, String> = HashMap::new();
    walk(part, bytes, limits, &mut |node| {
        match node {
            Node::Start(element) => {
                let name = local_name(element);
                if name == "c" {
                    let cell = attribute(part, element, "r")?.unwrap_or_default();
                    let kind = attribute(part, element, "t")?.unwrap_or_default();
                    let style = attribute(part, element, "s")?;
                    let format = style.and_then(|style| formats.of(&style));
                    open = Some(Open { cell, kind, format, ..Open::default() });
                } else if name == "f"
                    && let Some(open) = &mut open
                {
                    open.has_formula = true;
                    open.shared = attribute(part, element, "si")?;
                }
                names.push(name);
            }
            Node::Text(text) => {
                if let Some(open) = &mut open {
                    match names.last().map(String::as_str) {
                        Some("f") => open.formula.push_str(text),
                        Some("v" | "t") => open.value.push_str(text),
                        _ => {}
                    }
                }
            }
            Node::End => {
                if names.pop().is_some_and(|name| name == "c")
                    && let Some(open) = open.take()
                    && let Some(cell) = finish(sheet, open, strings, &mut shared)
                {
                    if found.len() == limits.cells {
                        return Err(WorkbookRefusal::Limit("number of cells"));
                    }
                    found.push(cell);
                }
            }
        }
        Ok(())
    })
}

fn finish(sheet: &str, open: Open, strings: &[String], shared: &mut HashMap<String, String>) -> Option<Cell> {
    let kind = match open.kind.as_str() {
        "s" | "str" | "inlineStr" => Kind::Text,
        "b" => Kind::Truth,
        "e" => Kind::Error,
        _ => Kind::Number,
    };
    let value = match open.kind.as_str() {
        "s" => open.value.trim().parse().ok().and_then(|index: usize| strings.get(index).cloned())?,
        _ => open.value,
    };
    let formula = match (open.has_formula, open.shared) {
        (false, _) => None,
        (true, Some(group)) if open.formula.is_empty() => {
            Some(shared.get(&group).cloned().unwrap_or_default())
        }
        (true, group) => {
            if let Some(group) = group {
                shared.insert(group, open.formula.clone());
            }
            Some(open.formula)
        }
    };
    let is_empty = value.is_empty() && formula.is_none();
    let format = open.format.filter(|_| kind == Kind::Number);
    (!is_empty).then(|| Cell { sheet: sheet.to_owned(), cell: open.cell, value, formula, kind, format })
}
