//! Documents: what is found in them, where, and what a redaction leaves.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Cursor, Read, Write};
use std::path::Path;

use chaperone_inspect::{Detectors, Limits, inspect_file, inspect_plain};
use support::{file, inspect, redact};
use zip::write::SimpleFileOptions;

const CARD: &str = "4111111111111111";
const SSN: &str = "536-22-8741";

fn detectors() -> Detectors {
    Detectors::builtin().unwrap()
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzipped(data: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(data).unwrap();
    gz.finish().unwrap()
}

fn workbook(shared: &str, sheet: &str) -> Vec<u8> {
    let types = br#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>"#;
    zipped(&[
        ("[Content_Types].xml", types),
        ("xl/sharedStrings.xml", format!("<sst>{shared}</sst>").as_bytes()),
        (
            "xl/worksheets/sheet1.xml",
            format!("<worksheet><sheetData>{sheet}</sheetData></worksheet>").as_bytes(),
        ),
    ])
}

#[test]
fn a_finding_names_its_column_and_row_and_never_the_text() {
    let csv = format!("name,ssn\nAda,\"{SSN}\"\nBob,{SSN}\n");
    let report = inspect("people.csv", csv.as_bytes());
    let finding = &report.items[0].findings[0];
    assert_eq!(
        (finding.detector.as_str(), finding.count, &*finding.place.to_string()),
        ("us_ssn", 2, "row 2, column ssn")
    );
    assert!(!serde_json::to_string(&report.items).unwrap().contains(SSN));
}

#[test]
fn one_value_has_one_fingerprint_wherever_it_is() {
    let of = |name: &str, text: String| {
        let report = inspect(name, text.as_bytes()).fingerprinted(|d| format!("hmac:{}", hex::encode(d)));
        report.items[0].findings[0].fingerprint.clone().unwrap()
    };
    assert_eq!(of("a.txt", format!("pay with {CARD} now\n")), of("b.csv", format!("id,card\n1,{CARD}\n")));
    assert_ne!(
        of("a.txt", format!("pay with {CARD} now\n")),
        of("a.txt", "pay with 5555555555554444 now\n".into())
    );
}

#[test]
fn redacted_tables_keep_every_row_and_column_in_every_dialect() {
    for (delimiter, end) in [(",", "\n"), (";", "\r\n"), ("\t", "\n"), ("|", "\r\n")] {
        let rows = [
            vec!["name".to_string(), "ssn".into(), "note".into()],
            vec!["Ada".into(), SSN.into(), format!("\"says \"\"hi\"\"{delimiter} {end}twice\"")],
            vec!["\"Bob\"".into(), format!("\"{SSN}\""), String::new()],
        ];
        let text: String = rows.iter().map(|r| r.join(delimiter) + end).collect();
        let redacted = String::from_utf8(redact("t.csv", text.as_bytes()).unwrap()).unwrap();
        assert_eq!(redacted, text.replace(SSN, "[REDACTED:us_ssn]"));
        assert!(inspect("t.csv", redacted.as_bytes()).items.iter().all(|i| i.findings.is_empty()));
    }
}

#[test]
fn a_column_that_its_header_names_is_masked_as_a_whole() {
    let csv = format!("id,ssn\n1,{SSN}\n2,536-22-8742\n3,unreadable\n");
    let redacted = String::from_utf8(redact("t.csv", csv.as_bytes()).unwrap()).unwrap();
    assert_eq!(redacted, "id,ssn\n1,[REDACTED:us_ssn]\n2,[REDACTED:us_ssn]\n3,[REDACTED:us_ssn]\n");
}

#[test]
fn texts_that_mention_a_value_each_are_no_column_of_them() {
    let line = |address: &str| {
        format!(
            "{address} - - [04/Nov/2026:03:04:02 +0000] \"GET / HTTP/1.1\" 304 \"Mozilla/5.0 (X11; Linux)\"\n"
        )
    };
    let log: String = (0..40).map(|n| line(&format!("8.8.{n}.4"))).collect();
    let redacted = String::from_utf8(redact("access.log", log.as_bytes()).unwrap()).unwrap();
    assert!(redacted == line("[REDACTED:ip_address]").repeat(40), "{}", &redacted[..80]);
    let seen = inspect("access.log", log.as_bytes());
    assert!(seen.items[0].findings.iter().all(|f| f.certainty != chaperone_inspect::Certainty::Certain));
    let said = |who: &str| {
        format!("1,call {who} about the invoice that was sent to the wrong office in spring\n").repeat(9)
    };
    let redacted =
        redact("said.csv", format!("id,said\n{}", said("jane.doe@example.com")).as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(redacted).unwrap(),
        format!("id,said\n{}", said("[REDACTED:email_address]"))
    );
}

#[test]
fn a_stray_hit_in_a_column_of_plain_numbers_is_not_a_card() {
    let mut csv = String::from("order,amount\n");
    for i in 0..40 {
        csv.push_str(&format!("{},{i}\n", 4_111_111_111_111_102_u64 + i));
    }
    assert!(
        inspect("orders.csv", csv.as_bytes()).items[0].findings.iter().all(|f| f.detector != "credit_card")
    );
}

#[test]
fn an_unclosed_quote_hides_nothing() {
    let csv = format!("a,b\n\"open,{SSN}\n{}", "x,y\n".repeat(600_000));
    assert!(inspect("t.csv", csv.as_bytes()).found());
}

#[test]
fn json_stays_json_with_the_same_keys() {
    let json = format!(
        "{{ \"people\": [ {{\"ssn\":\"{SSN}\", \"card\": {CARD}, \"ok\": 1e400}} ], \"n\\u0061me\": null }}"
    );
    let redacted = redact("a.json", json.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(redacted).unwrap(),
        "{ \"people\": [ {\"ssn\":\"[REDACTED:us_ssn]\", \"card\": \"[REDACTED:credit_card]\", \"ok\": 1e400} ], \"n\\u0061me\": null }"
    );
}

#[test]
fn an_escaped_value_is_found_in_json() {
    let escaped: String = SSN.bytes().map(|b| format!("\\u{b:04x}")).collect();
    assert!(inspect("a.json", format!("{{\"ssn\":\"{escaped}\"}}").as_bytes()).found());
}

#[test]
fn text_in_utf16_is_read_and_written_as_utf16() {
    let coded = |s: &str| -> Vec<u8> {
        [0xfeff].into_iter().chain(s.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let text = format!("Grüße, ssn {SSN} 🦀\n");
    assert_eq!(redact("a.txt", &coded(&text)).unwrap(), coded(&text.replace(SSN, "[REDACTED:us_ssn]")));
}

#[test]
fn a_value_across_blocks_of_a_long_text_is_found_with_its_line() {
    let mut text = "lorem ipsum\n".repeat(100_000);
    text.push_str(&format!("ssn {SSN}\n"));
    let report = inspect("long.txt", text.as_bytes());
    assert_eq!(report.items[0].findings[0].place.to_string(), "line 100001");
    assert_eq!(
        redact("long.txt", text.as_bytes()).unwrap(),
        text.replace(SSN, "[REDACTED:us_ssn]").into_bytes()
    );
}

#[test]
fn members_are_named_by_their_way_in() {
    let inner = zipped(&[("b.csv", format!("id,ssn\n1,{SSN}\n").as_bytes())]);
    let report = inspect("a.zip", &zipped(&[("in.zip", &gzipped(&inner)), ("n\u{1b}[2J\u{202e}.txt", b"x")]));
    assert_eq!(report.items[0].file, "a.zip!/in.zip!/in.zip!/b.csv");
    assert_eq!(report.items[1].file, "a.zip!/n\\u{1b}[2J\\u{202e}.txt");
    assert!(report.found());
}

#[test]
fn archives_are_redacted_member_by_member() {
    let csv = format!("id,ssn\n1,{SSN}\n");
    let redacted = redact(
        "a.zip",
        &zipped(&[("b.csv", csv.as_bytes()), ("c.txt", b"plain"), ("d.csv.gz", &gzipped(csv.as_bytes()))]),
    )
    .unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(redacted)).unwrap();
    let mut member = String::new();
    zip.by_name("b.csv").unwrap().read_to_string(&mut member).unwrap();
    assert_eq!(member, csv.replace(SSN, "[REDACTED:us_ssn]"));
    assert_eq!(zip.len(), 3);
}

#[test]
fn bombs_end_at_a_limit() {
    let gz = gzipped(&vec![b'a'; 64 << 20]);
    assert!(inspect("a.gz", &gz).error().unwrap().contains("limit"));
    assert!(inspect("a.zip", &zipped(&[("z", &vec![0; 40 << 20])])).error().unwrap().contains("limit"));
    let nested = (0..8).fold(b"x".to_vec(), |inner, _| zipped(&[("n.zip", &inner)]));
    assert!(inspect("a.zip", &nested).error().unwrap().contains("containers"));
    let entities = r#"<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">]><a>&b;&b;</a>"#;
    let book = zipped(&[("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", entities.as_bytes())]);
    assert!(inspect("a.xlsx", &book).error().is_some());
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(inspect("a.json", deep.as_bytes()).error().is_none());
}

#[test]
fn an_archive_that_reads_differently_elsewhere_is_refused() {
    let two = [
        zipped(&[("a.txt", format!("ssn {SSN} {}", "x".repeat(400)).as_bytes())]),
        zipped(&[("b.txt", b"clean")]),
    ]
    .concat();
    assert!(inspect("a.zip", &two).error().is_some());
    let good = zipped(&[("a.txt", b"one"), ("b.txt", b"two")]);
    // Both entries of the central directory point at the first member.
    let mut overlapping = good.clone();
    let last = overlapping.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    overlapping[last + 42..last + 46].copy_from_slice(&[0; 4]);
    assert!(inspect("a.zip", &good).error().is_none());
    assert!(inspect("a.zip", &overlapping).error().is_some());
}

#[test]
fn a_workbook_is_read_by_its_headers_and_redacted_in_its_cells() {
    let shared = "<si><t>name</t></si><si><t>ssn</t></si><si><t>Ada</t></si><si><r><t>536-22-</t></r><r><t>8741</t></r></si>";
    let sheet = r#"<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>
        <row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2" t="s"><v>3</v></c></row>
        <row r="3"><c r="A3" t="inlineStr"><is><t>Bob</t></is></c><c r="B3" s="4"><v>536228741</v></c></row>"#;
    let book = workbook(shared, sheet);
    let report = inspect("a.xlsx", &book);
    assert_eq!(report.items[0].findings[0].place.to_string(), "sheet1, cell B2, column ssn", "{report:?}");
    let redacted = redact("a.xlsx", &book).unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(redacted)).unwrap();
    let (mut strings, mut cells) = (String::new(), String::new());
    zip.by_name("xl/sharedStrings.xml").unwrap().read_to_string(&mut strings).unwrap();
    zip.by_name("xl/worksheets/sheet1.xml").unwrap().read_to_string(&mut cells).unwrap();
    assert!(strings.contains("<r><t>[REDACTED:us_ssn]</t></r><r><t></t></r>"), "{strings}");
    assert!(cells.contains(r#"<c r="B3" s="4" t="str"><v>[REDACTED:us_ssn]</v></c>"#), "{cells}");
}

#[test]
fn what_cannot_be_opened_is_an_error_and_not_clean() {
    for magic in [
        &b"%PDF-1.7"[..],
        b"7z\xbc\xaf\x27\x1c",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"PK\x03\x04 torn",
        b"\x1f\x8b torn",
    ] {
        assert!(inspect("a", magic).error().is_some());
        assert!(inspect_plain(&detectors(), magic, "a").is_none());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures time")]
fn tables_are_not_scanned_an_order_slower_than_text() {
    let mut csv = String::from("id,name,city,amount,when\n");
    while csv.len() < 8 << 20 {
        csv.push_str("10423,Ada Example,London,199.20,2026-05-01\n");
    }
    let timed = |name: &str| {
        let start = std::time::Instant::now();
        assert!(!inspect(name, csv.as_bytes()).found());
        start.elapsed()
    };
    let (text, table) = (timed("a.md"), timed("a.csv"));
    println!("text {text:?}, table {table:?} for 8 MiB");
    assert!(table < text * 20 + std::time::Duration::from_secs(2), "text {text:?}, table {table:?}");
}

#[test]
fn the_json_test_suite_is_read_without_a_panic() {
    let Some(cases) = std::env::var_os("CHAPERONE_CASES") else {
        println!("SKIPPED the_json_test_suite_is_read_without_a_panic: CHAPERONE_CASES names no folder");
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(Path::new(&cases).join("json")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let report = inspect_file(&detectors(), &file(&bytes), &path.to_string_lossy(), &Limits::default());
        assert_eq!(report.error(), None, "{path:?}");
        seen += 1;
    }
    assert!(seen > 100);
}

fn tarred(members: &[(&str, &[u8])], modified: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, data) in members {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, "0000644");
        put(124, &format!("{:011o}", data.len()));
        put(136, modified);
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\0");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(*data);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[test]
fn every_byte_of_a_tar_is_looked_at_but_the_numbers_of_its_headers() {
    // A time that is a valid Polish number.
    let time = "44051401458";
    assert!(!inspect("a.txt", format!("{time}\n").as_bytes()).items[0].findings.is_empty());
    let octal = "15110564213";
    assert!(inspect("a.tar", &tarred(&[("a", b"plain")], octal)).items.iter().all(|i| i.findings.is_empty()));
    let ssn = format!("ssn {SSN}");
    let found = |tar: &[u8]| -> Vec<String> {
        let report = inspect("a.tar", tar);
        assert!(report.items.iter().all(|i| i.error.is_none()), "{report:?}");
        report.items.iter().filter(|i| !i.findings.is_empty()).map(|i| i.file.clone()).collect()
    };
    assert_eq!(found(&tarred(&[("x", b"1"), ("in.txt", ssn.as_bytes())], octal)), ["a.tar!/in.txt"]);
    assert_eq!(
        found(&tarred(&[("in.zip", &zipped(&[("deep.txt", ssn.as_bytes())]))], octal)),
        ["a.tar!/in.zip!/deep.txt"]
    );
    let mut after_the_end = tarred(&[("x", b"1")], octal);
    after_the_end.extend(ssn.as_bytes());
    assert_eq!(found(&after_the_end), ["a.tar"]);
    let mut in_the_padding = tarred(&[("x", b"1")], octal);
    in_the_padding[600..600 + ssn.len()].copy_from_slice(ssn.as_bytes());
    assert_eq!(found(&in_the_padding), ["a.tar"]);
    let mut cut = tarred(&[("x", &[b'1'; 5000])], octal);
    cut.truncate(2000);
    assert!(inspect("a.tar", &cut).items.iter().any(|i| i.error.is_some()));
}

#[test]
fn a_document_type_that_declares_nothing_is_read_past_and_one_that_does_is_not() {
    let text = |manifest: &str, generator: &str| {
        let meta = format!(
            "<office:document-meta><meta:generator>{generator}</meta:generator></office:document-meta>"
        );
        zipped(&[
            ("mimetype", b"application/vnd.oasis.opendocument.text-template"),
            (
                "content.xml",
                b"<office:document-content><text:p>Dear reader</text:p></office:document-content>",
            ),
            ("meta.xml", meta.as_bytes()),
            ("META-INF/manifest.xml", format!("{manifest}<manifest:manifest/>").as_bytes()),
        ])
    };
    let own = "LibreOffice/7.4.7.2$Linux_X86_64 LibreOffice_project/40";
    let named =
        "<!DOCTYPE manifest:manifest PUBLIC \"-//OpenOffice.org//DTD Manifest 1.0//EN\" \"Manifest.dtd\">";
    let report = inspect("letter.ott", &text(named, own));
    // The number of the version that wrote it is no address either.
    assert_eq!((report.error(), report.found()), (None, false), "{:?}", report.items);
    let declared = "<!DOCTYPE manifest:manifest [<!ENTITY a \"b\">]>";
    assert!(inspect("letter.ott", &text(declared, own)).error().unwrap().contains("document type"));
    // What is written in it is read like everything else.
    let hidden = format!("<!DOCTYPE a PUBLIC \"{SSN}\" \"a.dtd\">");
    assert!(inspect("letter.ott", &text(&hidden, own)).found());
}
