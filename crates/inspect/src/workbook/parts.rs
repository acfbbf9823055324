//! One XML part of a workbook: bounded, without document types or entities, and what in it leads out.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::formula;
use super::refusal::{Limits, WorkbookRefusal};
use crate::doctype::names_nothing_elsewhere;

/// Elements whose text is a formula, whatever their namespace prefix.
const FORMULA_ELEMENTS: &[&str] = &[
    "f",
    "formula",
    "formula1",
    "formula2",
    "definedName",
    "calculatedColumnFormula",
    "totalsRowFormula",
    "oldFormula",
];
/// Attributes whose value is a formula.
const FORMULA_ATTRIBUTES: &[&str] =
    &["formula", "fmla", "fmlaLink", "fmlaRange", "fmlaMacro", "fmlaTxbx", "fmlaPict", "textlink"];
/// Elements that are refused where they stand.
const REFUSED_ELEMENTS: &[(&str, &str)] = &[
    ("ddeLink", "dde"),
    ("ddeItems", "dde"),
    ("oleLink", "ole_object"),
    ("oleObject", "ole_object"),
    ("OLEObject", "ole_object"),
    ("externalReference", "external_reference"),
    ("externalBook", "external_reference"),
    ("control", "active_control"),
    ("connection", "data_connection"),
    ("queryTable", "data_connection"),
    ("dbPr", "data_connection"),
    ("webPr", "data_connection"),
    ("webPublishItem", "data_connection"),
    ("dataRef", "external_reference"),
    ("webImageSrd", "remote_image"),
    ("webextension", "web_extension"),
    ("customUI", "custom_ui"),
    ("FmlaMacro", "macro"),
];
/// Ends of relationship types that are refused.
const REFUSED_RELATIONSHIPS: &[(&str, &str)] = &[
    ("/oleobject", "ole_object"),
    ("/package", "ole_object"),
    ("/vbaproject", "macro"),
    ("/vbaprojectsignature", "macro"),
    ("/wordvbadata", "macro"),
    ("/externallink", "external_reference"),
    ("/externallinkpath", "external_reference"),
    ("/connections", "data_connection"),
    ("/querytable", "data_connection"),
    ("/extensibility", "custom_ui"),
    ("/ui/userCustomization", "custom_ui"),
    ("/webextension", "web_extension"),
    ("/webextensiontaskpanes", "web_extension"),
    ("/xlmacrosheet", "macro"),
    ("/xlintlmacrosheet", "macro"),
    ("/dialogsheet", "macro"),
    ("/control", "active_control"),
    ("/activexcontrolbinary", "active_control"),
    ("/attachedtoolbars", "custom_ui"),
    ("/attachedtemplate", "external_reference"),
    ("/rdrichvaluewebimage", "remote_image"),
    ("/powerpivotdata", "data_connection"),
    ("/afchunk", "ole_object"),
];

/// Checks one XML part; counts the formulas in it.
pub(super) fn check(name: &str, bytes: &[u8], limits: &Limits) -> Result<u64, WorkbookRefusal> {
    let is_relationships = name.ends_with(".rels");
    let mut formulas = 0;
    // The texts of the elements that are open; formulas may hold elements, which hold a part of their text.
    let mut open: Vec<Option<String>> = Vec::new();
    walk(name, bytes, limits, &mut |event| {
        match event {
            Node::Start(element) => {
                let local = local_name(element);
                if let Some((_, code)) = REFUSED_ELEMENTS.iter().find(|(refused, _)| *refused == local) {
                    return Err(WorkbookRefusal::part(code, name));
                }
                if is_relationships && local == "Relationship" {
                    check_relationship(name, element)?;
                }
                formulas += check_attributes(name, &local, element)?;
                open.push(FORMULA_ELEMENTS.contains(&local.as_str()).then(String::new));
            }
            Node::Text(text) => {
                for formula in open.iter_mut().flatten() {
                    formula.push_str(text);
                }
            }
            Node::End => {
                if let Some(text) = open.pop().flatten() {
                    formulas += 1;
                    check_formula(name, &text)?;
                }
            }
        }
        Ok(())
    })?;
    Ok(formulas)
}

fn check_formula(name: &str, text: &str) -> Result<(), WorkbookRefusal> {
    match formula::refused(text) {
        Some((code, found)) => Err(WorkbookRefusal::Refused { code, part: name.to_owned(), found }),
        None => Ok(()),
    }
}

fn check_relationship(name: &str, element: &BytesStart<'_>) -> Result<(), WorkbookRefusal> {
    let value = |of: &str| attribute(name, element, of);
    let kind = value("Type")?.unwrap_or_default().to_lowercase();
    if let Some((_, code)) = REFUSED_RELATIONSHIPS.iter().find(|(end, _)| kind.ends_with(&end.to_lowercase()))
    {
        return Err(WorkbookRefusal::part(code, name));
    }
    let target = value("Target")?.unwrap_or_default();
    let is_external = value("TargetMode")?.is_some_and(|mode| !mode.eq_ignore_ascii_case("internal"));
    let leads_out = target.contains(':') || target.starts_with("//") || target.contains('\\');
    if (is_external && !target.starts_with('#')) || leads_out {
        let code = match kind.rsplit('/').next() {
            // Where a person may go by a click, as from any other document.
            Some("hyperlink") if is_external && is_address(&target) => return Ok(()),
            Some("hyperlink") => "hyperlink_to_host",
            Some("image") => "remote_image",
            _ => "external_reference",
        };
        return Err(WorkbookRefusal::part(code, name));
    }
    Ok(())
}

/// An address of the web or of mail, and no file, share or program.
fn is_address(target: &str) -> bool {
    let scheme = target.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel"))
        && !target.contains('\\')
}

fn check_attributes(name: &str, local: &str, element: &BytesStart<'_>) -> Result<u64, WorkbookRefusal> {
    let mut formulas = 0;
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|_| WorkbookRefusal::part("malformed_xml", name))?;
        let key = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
        let value = attribute.unescape_value().map_err(|_| WorkbookRefusal::part("malformed_xml", name))?;
        let is_refused = match (local, key.as_str()) {
            ("definedName", "function" | "vbProcedure" | "xlm") => value != "0" && value != "false",
            (_, "macro") => !value.is_empty(),
            _ => false,
        };
        if is_refused {
            return Err(WorkbookRefusal::part("macro", name));
        }
        if local == "cacheSource" && key == "type" && value != "worksheet" {
            return Err(WorkbookRefusal::part("data_connection", name));
        }
        if local == "worksheetSource" && attribute.key.as_ref() == b"r:id" {
            return Err(WorkbookRefusal::part("external_reference", name));
        }
        if matches!(key.as_str(), "src" | "href" | "relhref" | "url")
            && (value.contains(':') || value.contains("\\\\") || value.starts_with("//"))
        {
            return Err(WorkbookRefusal::part("hyperlink_to_host", name));
        }
        let is_formula = FORMULA_ATTRIBUTES.contains(&key.as_str()) || (local == "cfvo" && key == "val");
        if is_formula {
            formulas += 1;
            check_formula(name, &value)?;
        }
    }
    Ok(formulas)
}

/// The value of an attribute by its local name.
pub(super) fn attribute(
    part: &str,
    element: &BytesStart<'_>,
    of: &str,
) -> Result<Option<String>, WorkbookRefusal> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|_| WorkbookRefusal::part("malformed_xml", part))?;
        if attribute.key.local_name().as_ref() == of.as_bytes() {
            let value =
                attribute.unescape_value().map_err(|_| WorkbookRefusal::part("malformed_xml", part))?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

pub(super) fn local_name(element: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(element.local_name().as_ref()).into_owned()
}

pub(super) enum Node<'a> {
    Start(&'a BytesStart<'a>),
    Text(&'a str),
    End,
}

/// Reads an XML part event by event, within the limits; document types and unknown entities are refused.
pub(super) fn walk(
    name: &str,
    bytes: &[u8],
    limits: &Limits,
    visit: &mut dyn FnMut(Node<'_>) -> Result<(), WorkbookRefusal>,
) -> Result<(), WorkbookRefusal> {
    let malformed = || WorkbookRefusal::part("malformed_xml", name);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_end_names = true;
    let mut depth = 0usize;
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(element) => {
                depth += 1;
                if depth > limits.depth {
                    return Err(WorkbookRefusal::Limit("depth of XML"));
                }
                visit(Node::Start(&element))?;
            }
            Event::Empty(element) => {
                visit(Node::Start(&element))?;
                visit(Node::End)?;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or_else(malformed)?;
                visit(Node::End)?;
            }
            Event::Text(text) => visit(Node::Text(&text.decode().map_err(|_| malformed())?))?,
            Event::CData(text) => visit(Node::Text(&text.decode().map_err(|_| malformed())?))?,
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref().map_err(|_| malformed())? {
                    Some(character) => character,
                    None => match reference.decode().map_err(|_| malformed())?.as_ref() {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err(WorkbookRefusal::part("xml_entity", name)),
                    },
                };
                visit(Node::Text(resolved.encode_utf8(&mut [0; 4])))?;
            }
            Event::DocType(declaration) if names_nothing_elsewhere(&declaration) => {}
            Event::DocType(_) => return Err(WorkbookRefusal::part("xml_document_type", name)),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof if depth == 0 => return Ok(()),
            Event::Eof => return Err(malformed()),
        }
    }
}
