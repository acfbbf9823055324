//! Claims about whole workbooks: good ones of real programs pass, each way out is refused.

use std::io::{Cursor, Write};

use super::{Limits, WorkbookRefusal, contents, validate_xlsx};

const TYPES: &str = r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#;
const RELS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
const BOOK: &str =
    r#"<workbook xmlns:r="r"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>"#;

fn workbook(extra: &[(&str, &str)]) -> Vec<u8> {
    let mut parts = vec![
        ("[Content_Types].xml", TYPES),
        ("_rels/.rels", "<Relationships/>"),
        ("xl/workbook.xml", BOOK),
        ("xl/_rels/workbook.xml.rels", RELS),
        ("xl/worksheets/sheet1.xml", "<worksheet><sheetData/></worksheet>"),
    ];
    parts.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    parts.extend_from_slice(extra);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn code(bytes: Vec<u8>) -> &'static str {
    validate_xlsx(&mut Cursor::new(bytes), &Limits::default())
        .map_or_else(|refusal| refusal.code(), |_| "passed")
}

fn sheet_with(inner: &str) -> Vec<u8> {
    workbook(&[("xl/worksheets/sheet1.xml", &format!("<worksheet>{inner}</worksheet>"))])
}

#[test]
fn formulas_that_reach_out_are_refused_wherever_they_stand() {
    assert_eq!(code(workbook(&[])), "passed");
    for inner in [
        "<c><f>_xlfn.WEBSERVICE(A1)</f></c>",
        "<c><f t=\"shared\" si=\"0\" ref=\"A1:A9\">WEBSERVICE(A1)</f></c>",
        "<x:c><x:f t=\"array\">1+Web&#83;ervice(A1)</x:f></x:c>",
        "<c><f><![CDATA[WEBSERVICE(A1)]]></f></c>",
        "<dataValidation><formula1>WEBSERVICE(A1)</formula1></dataValidation>",
        "<cfRule><cfvo type=\"formula\" val=\"WEBSERVICE(A1)\"/></cfRule>",
        "<extLst><x14:f><xm:f>WEBSERVICE(A1)</xm:f></x14:f></extLst>",
        "<c><f>WEB<!-- -->SERVICE(A1)</f></c>",
        "<c><f>WEB<x>SERV</x>ICE(A1)</f></c>",
        "<formula1><xm:f/>WEBSERVICE(A1)</formula1>",
    ] {
        assert_eq!(code(sheet_with(inner)), "function_reaches_out", "{inner}");
    }
    let named =
        BOOK.replace("</workbook>", "<definedName name=\"n\">_xlfn.WEBSERVICE(A1)</definedName></workbook>");
    assert_eq!(code(workbook(&[("xl/workbook.xml", &named)])), "function_reaches_out");
}

#[test]
fn parts_and_relationships_that_lead_out_are_refused() {
    let link = |kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"a\" Type=\"http://x/{kind}\" Target=\"{target}\" TargetMode=\"External\"/></Relationships>"
        )
    };
    let rels = "xl/worksheets/_rels/sheet1.xml.rels";
    for (kind, target, expected) in [
        ("hyperlink", "file:///etc/passwd", "hyperlink_to_host"),
        ("hyperlink", "\\\\host\\share", "hyperlink_to_host"),
        ("hyperlink", "javascript:x()", "hyperlink_to_host"),
        ("hyperlink", "https://x.example/", "passed"),
        ("hyperlink", "mailto:me@example.com", "passed"),
        ("image", "http://x.example/a.png", "remote_image"),
        ("externalLinkPath", "b.xlsx", "external_reference"),
        ("oleObject", "file:///x", "ole_object"),
    ] {
        assert_eq!(code(workbook(&[(rels, &link(kind, target))])), expected, "{kind}");
    }
    for (part, expected) in [
        ("xl/vbaProject.bin", "macro"),
        ("xl/macrosheets/sheet1.xml", "macro"),
        ("xl/externalLinks/externalLink1.xml", "external_reference"),
        ("xl/connections.xml", "data_connection"),
        ("xl/embeddings/a.bin", "ole_object"),
        ("customUI/customUI.xml", "custom_ui"),
        ("xl/a.exe", "unexpected_part"),
        ("../evil.xml", "bad_part_name"),
        ("XL/Workbook.xml", "duplicate_part"),
    ] {
        assert_eq!(code(workbook(&[(part, "<a/>")])), expected, "{part}");
    }
    let pivot = "<pivotCacheDefinition><cacheSource type=\"external\"/></pivotCacheDefinition>";
    assert_eq!(code(workbook(&[("xl/pivotCache/p.xml", pivot)])), "data_connection");
}

#[test]
fn bombs_entities_and_ambiguous_archives_are_refused() {
    assert_eq!(code(sheet_with(&" ".repeat(64 << 20))), "workbook_too_large");
    assert_eq!(code(sheet_with(&"<a>".repeat(200))), "workbook_too_large");
    let doctype = "<!DOCTYPE a [<!ENTITY b \"c\">]><worksheet>&b;</worksheet>";
    assert_eq!(code(workbook(&[("xl/worksheets/sheet1.xml", doctype)])), "xml_document_type");
    let foreign = "<!DOCTYPE a SYSTEM \"https://evil.example/a.dtd\"><worksheet/>";
    assert_eq!(code(workbook(&[("xl/worksheets/sheet1.xml", foreign)])), "xml_document_type");
    // What only names its type has nothing to fetch, and no entity of it is known.
    let named = "<!DOCTYPE worksheet PUBLIC \"-//A//B//EN\" \"a.dtd\"><worksheet>&b;</worksheet>";
    assert_eq!(code(workbook(&[("xl/worksheets/sheet1.xml", named)])), "xml_entity");
    assert_eq!(code(sheet_with("<c><f>&b;</f></c>")), "xml_entity");
    let mut prepended = b"MZ".to_vec();
    prepended.extend(workbook(&[]));
    assert_eq!(code(prepended), "not_a_workbook");
    let mut appended = workbook(&[]);
    appended.push(0);
    assert_eq!(code(appended), "not_a_workbook");
    assert_eq!(code(b"not a zip".to_vec()), "not_a_workbook");
}

#[test]
fn no_cut_or_flipped_byte_makes_the_reader_panic() {
    let good = sheet_with("<sheetData><c r=\"A1\"><f>SUM(B1:B2)</f><v>3</v></c></sheetData>");
    for at in 0..good.len() {
        let _ = code(good.iter().copied().take(at).collect());
        let mut flipped = good.clone();
        flipped[at] ^= 0x41;
        let _ = code(flipped.clone());
        let _ = contents(&mut Cursor::new(flipped), &Limits::default());
    }
}

#[test]
fn cells_show_values_shared_texts_and_shared_formulas() {
    let strings = "<sst><si><t>to</t></si><si><r><t>a&amp;</t></r><r><t>b</t></r></si></sst>";
    let sheet = "<worksheet><sheetData><row><c r=\"A1\" t=\"s\"><v>1</v></c><c r=\"B1\"><f t=\"shared\" si=\"0\">A1*2</f><v>4</v></c>\
                 <c r=\"B2\"><f t=\"shared\" si=\"0\"/><v>6</v></c></row></sheetData></worksheet>";
    let bytes = workbook(&[("xl/sharedStrings.xml", strings), ("xl/worksheets/sheet1.xml", sheet)]);
    let found = contents(&mut Cursor::new(bytes), &Limits::default()).unwrap().cells;
    let shown: Vec<_> =
        found.iter().map(|c| (c.cell.as_str(), c.value.as_str(), c.formula.as_deref())).collect();
    assert_eq!(shown, [("A1", "a&b", None), ("B1", "4", Some("A1*2")), ("B2", "6", Some("A1*2"))]);
}

#[test]
fn names_formats_and_the_rest_are_told_apart_from_how_they_are_written() {
    let styles = |code: &str| {
        format!(
            "<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"{code}\"/></numFmts>\
             <cellStyleXfs><xf numFmtId=\"9\"/></cellStyleXfs><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"164\"/></cellXfs></styleSheet>"
        )
    };
    let sheet = |more: &str| {
        format!(
            "<worksheet><sheetData><row r=\"1\"><c s=\"1\" r=\"A1\"><v>100</v></c></row></sheetData>{more}</worksheet>"
        )
    };
    let book = |rate: &str| {
        BOOK.replace(
            "</workbook>",
            &format!(
                "<definedNames><definedName name=\"rate\">{rate}</definedName></definedNames></workbook>"
            ),
        )
    };
    let of = |rate: &str, code: &str, more: &str| {
        let (book, styles, sheet) = (book(rate), styles(code), sheet(more));
        let parts =
            [("xl/workbook.xml", &*book), ("xl/styles.xml", &styles), ("xl/worksheets/sheet1.xml", &sheet)];
        contents(&mut Cursor::new(workbook(&parts)), &Limits::default()).unwrap()
    };
    let before = of("2", "0.00", "<autoFilter ref=\"A1\" x=\"1\"/>");
    assert_eq!(before.cells[0].format.as_deref(), Some("0.00"));
    assert_eq!(before.names["rate"], "2");
    assert_eq!(before, of("2", "0.00", "\n  <autoFilter x='1'  ref='A1'></autoFilter>"));
    assert_eq!(before.rest, of("9", "0.00", "<autoFilter ref=\"A1\" x=\"1\"/>").rest);
    let as_percent = workbook(&[
        ("xl/styles.xml", "<styleSheet><cellXfs><xf numFmtId='0'/><xf numFmtId='9'/></cellXfs></styleSheet>"),
        ("xl/worksheets/sheet1.xml", &sheet("")),
    ]);
    let built_in = contents(&mut Cursor::new(as_percent), &Limits::default()).unwrap();
    assert_eq!(built_in.cells[0].format.as_deref(), Some("0%"));
    let escaped = of("2", "yyyy\\-mm\\-dd", "");
    assert_eq!(escaped.cells[0].format.as_deref(), Some("yyyy-mm-dd"));
    let other = of("2", "&quot;5555&quot;", "");
    assert_eq!(other.cells[0].format.as_deref(), Some("\"5555\""));
    let changed: Vec<&String> = before
        .rest
        .iter()
        .filter(|(name, digest)| other.rest.get(*name) != Some(digest))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(changed, ["formats of cells", "layout, filters, rules and links of S"]);
}

#[test]
#[expect(clippy::disallowed_types, reason = "the program of others that writes it")]
fn a_workbook_that_libreoffice_wrote_passes() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("a.csv");
    std::fs::write(&source, "region,amount\nnorth,10\nsouth,20\n=SUMPRODUCT(B2:B3),1\n").unwrap();
    let profile = format!("-env:UserInstallation=file://{}", folder.path().join("profile").display());
    let status = std::process::Command::new("soffice")
        .args([
            profile.as_str(),
            "--headless",
            "--infilter=Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,true",
        ])
        .args(["--convert-to", "xlsx", "--outdir"])
        .arg(folder.path())
        .arg(&source)
        .stdout(std::process::Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "soffice is needed in CI");
        println!("SKIPPED a_workbook_that_libreoffice_wrote_passes: no soffice");
        return;
    }
    let mut file = std::fs::File::open(folder.path().join("a.xlsx")).unwrap();
    let report: Result<_, WorkbookRefusal> = validate_xlsx(&mut file, &Limits::default());
    assert!(report.as_ref().is_ok_and(|report| report.formulas >= 1), "{report:?}");
    assert!(contents(&mut file, &Limits::default()).unwrap().cells.iter().any(|cell| cell.value == "south"));
}
