//! Tables of OpenDocument are tables, as those of Excel are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Cursor, Write};

use chaperone_inspect::{Certainty, Detectors, Limits, inspect_bytes};

fn ods(rows: &[Vec<String>]) -> Vec<u8> {
    let cell = |text: &String| format!("<table:table-cell><text:p>{text}</text:p></table:table-cell>");
    let row = |row: &Vec<String>| {
        format!("<table:table-row>{}</table:table-row>", row.iter().map(cell).collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    let content = format!(
        "<office:document-content><office:body><office:spreadsheet><table:table table:name=\"S\">{rows}</table:table>\
         </office:spreadsheet></office:body></office:document-content>"
    );
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in
        [("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", &content)]
    {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn certain(rows: &[Vec<String>]) -> Vec<String> {
    let report = inspect_bytes(&Detectors::builtin().unwrap(), &ods(rows), "a.ods", &Limits::default());
    assert!(report.error().is_none(), "{:?}", report.error());
    let findings = report.items.iter().flat_map(|item| &item.findings);
    findings.filter(|f| f.certainty == Certainty::Certain).map(|f| f.detector.clone()).collect()
}

#[test]
fn a_column_of_addresses_is_known_by_its_rows() {
    let head = vec!["name".to_owned(), "email".to_owned(), "city".to_owned()];
    let row = |n: usize| vec![format!("Name {n}"), format!("person{n}.of{n}@posteo.de"), "Berlin".to_owned()];
    let rows: Vec<Vec<String>> = std::iter::once(head).chain((0..40).map(row)).collect();
    assert!(certain(&rows).contains(&"email_address".to_owned()), "{:?}", certain(&rows));
    let plain: Vec<Vec<String>> =
        (0..40).map(|n| vec![format!("item {n}"), format!("{n}.50"), "kg".to_owned()]).collect();
    assert_eq!(certain(&plain), Vec::<String>::new());
}
