//! The documents that ordinary people have, made by the programs that they have (`data/documents/make.py`): three planted
//! values are found in each, a redacted copy keeps none, and what cannot be looked into says why.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and it measures time"
)]

mod support;

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use chaperone_inspect::{Detectors, Limits, inspect_bytes, inspect_plain};
use support::{count, inspect, redact};

macro_rules! documents {
    ($($name:literal),* $(,)?) => { [$(($name, include_bytes!(concat!("data/documents/", $name)) as &[u8])),*] };
}

/// Each holds the three values.
const READ: &[(&str, &[u8])] = &documents![
    "plain.pdf",
    "ascii85.pdf",
    "drawn.pdf",
    "form.pdf",
    "libreoffice.pdf",
    "attachment.pdf",
    "owner-rc4.pdf",
    "owner-aes128.pdf",
    "owner-aes256.pdf",
    "letter.docx",
    "letter.odt",
    "letter.pptx",
    "sheet.xls",
    "sheet-97.xls",
    "sheet.ods",
    "letter.7z",
    "bzip2.7z",
    "letter.txt.lzma",
    "selfextracting.bin",
    "selfextracting7z.bin",
    "compressed-text.png",
    "international-text.png",
    "exif-comment.jpg",
    "exif-description.jpg",
];
const PLANTED: [&str; 3] = ["us_ssn", "credit_card", "github_token"];

#[test]
fn planted_values_are_found_in_the_documents_of_ordinary_programs() {
    let mut missed = Vec::new();
    for (name, bytes) in READ {
        // What it is called is no help.
        for name in [*name, "document"] {
            let report = inspect(name, bytes);
            let found = PLANTED.map(|detector| count(&report, detector));
            if found.contains(&0) || report.error().is_some() {
                missed.push(format!("{name}: {found:?} {:?}", report.error()));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_the_broker_reads_itself_it_reads_whole_or_leaves_to_the_worker() {
    for (name, bytes) in READ {
        if let Some(report) = inspect_plain(&Detectors::builtin().unwrap(), bytes, name) {
            assert!(!PLANTED.map(|detector| count(&report, detector)).contains(&0), "{name}");
        }
    }
}

#[test]
fn a_redacted_copy_of_them_keeps_nothing_or_is_refused() {
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for (name, bytes) in READ {
        match redact(name, bytes) {
            Err(why) => {
                assert!(why.contains("cannot be redacted"), "{name}: {why}");
                refused.push(format!("{name}: {why}"));
            }
            Ok(copy) => {
                made.push(*name);
                let left = inspect(name, &copy);
                assert!(!left.found() && left.error().is_none(), "{name}");
            }
        }
    }
    for name in ["letter.docx", "letter.odt"] {
        assert!(made.contains(&name), "{name} of {made:?}, {refused:?}");
    }
}

#[test]
fn a_document_that_cannot_be_written_anew_is_copied_where_there_is_nothing_in_it() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let clean = b"%PDF-1.4\n1 0 obj <</A (nothing)>> endobj\n%%EOF\n";
    for (name, data) in [("a.pdf", &clean[..]), ("b.txt", b"card 4111 1111 1111 1111\n")] {
        zip.start_file(name, options).unwrap();
        zip.write_all(data).unwrap();
    }
    let copy = redact("two.zip", &zip.finish().unwrap().into_inner()).unwrap();
    assert!(!inspect("two.zip", &copy).found());
    assert_eq!(redact("a.pdf", clean).unwrap(), clean);
}

#[test]
fn what_cannot_be_looked_into_says_why() {
    for (name, bytes) in documents!["encrypted.pdf", "encrypted.7z", "encrypted-names.7z"] {
        let error = inspect(name, bytes).error().unwrap_or_default().to_owned();
        assert!(error.contains("encrypted"), "{name}: {error}");
    }
    let rar = inspect("a.rar", b"Rar!\x1a\x07\x01\0rest");
    assert_eq!(rar.error(), Some("cannot be inspected: it is a RAR archive, a kind that is not known"));
}

#[test]
fn a_document_that_ends_too_early_is_an_error_or_read_as_far_as_it_goes() {
    let begin = Instant::now();
    for (name, bytes) in READ {
        for part in 1..10 {
            let cut = bytes.get(..bytes.len() * part / 10).unwrap();
            let report = inspect(name, cut);
            let complete = PLANTED.iter().all(|detector| count(&report, detector) > 0);
            let is_format = name.ends_with("pdf") || name.ends_with("7z");
            assert!(complete || !is_format || report.error().is_some(), "{name} {part}/10 hides something");
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
}

#[test]
fn flipped_bytes_end_with_an_error_or_a_result() {
    for (name, bytes) in READ {
        for at in (0..bytes.len()).step_by(bytes.len() / 8 + 1) {
            let mut broken = bytes.to_vec();
            broken[at] ^= 0xff;
            let _ = inspect(name, &broken);
        }
    }
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn stream(number: u32, dict: &str, data: &[u8]) -> Vec<u8> {
    let head = format!("{number} 0 obj <<{dict} /Length {}>> stream\n", data.len());
    [head.as_bytes(), data, b"\nendstream endobj\n"].concat()
}

#[test]
fn hostile_pdf_documents_are_bounded() {
    let bomb = zlib(&vec![b' '; 60 << 20]);
    let nested = format!("1 0 obj {} endobj\n", "[".repeat(200_000));
    let forms: Vec<u8> =
        (1..200).flat_map(|n| stream(n, "/Filter /FlateDecode", &zlib(&vec![b' '; 1 << 20]))).collect();
    let unclosed = "1 0 obj [ (".repeat(20_000);
    let loops = "1 0 obj <</Type /Page /Parent 1 0 R /Contents 2 0 R>> endobj 2 0 obj [2 0 R 3 0 R] endobj 3 0 obj 3 0 R endobj\
                 4 0 obj <</Length 4 0 R>> stream endstream endobj xref trailer <</Prev 0 /Root 1 0 R>>";
    let range =
        b"1 beginbfrange <0000> <ffffffff> <0041> endbfrange 1 beginbfrange <0000> <ffff> <0041> endbfrange";
    for (what, body, is_limit) in [
        ("bomb", stream(1, "/Filter /FlateDecode", &bomb), true),
        ("filters", stream(1, &format!("/Filter [{}]", "/Fl ".repeat(5_000)), &bomb), true),
        ("many", forms, true),
        ("nested", nested.into_bytes(), false),
        ("unclosed", unclosed.into_bytes(), false),
        ("loops", loops.as_bytes().to_vec(), false),
        (
            "table",
            [&b"2 0 obj <</Type /Font /ToUnicode 1 0 R>> endobj\n"[..], &stream(1, "", range)].concat(),
            false,
        ),
    ] {
        let begin = Instant::now();
        let limits = Limits { unpacked: 16 << 20, ..Limits::default() };
        let bytes = [b"%PDF-1.7\n", &body[..], b"%%EOF\n"].concat();
        let report = inspect_bytes(&Detectors::builtin().unwrap(), &bytes, "hostile.pdf", &limits);
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: {:?}", begin.elapsed());
        assert!(!is_limit || report.error().is_some(), "{what}");
    }
}

#[test]
fn what_an_earlier_version_said_and_what_no_page_shows_is_read() {
    let text = "BT /F1 12 Tf (her social security number is 536-22-8741) Tj ET";
    let old = stream(4, "", text.as_bytes());
    let new = stream(4, "", b"BT (nothing) Tj ET");
    let bytes = [b"%PDF-1.7\n", &old[..], &new, b"startxref 0 %%EOF\n"].concat();
    assert_eq!(count(&inspect("a.pdf", &bytes), "us_ssn"), 1);
}

/// Digits that a font draws in an order of its own.
#[test]
fn the_fonts_table_says_which_characters_are_shown() {
    let font = "2 0 obj <</Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 3 0 R>> endobj\n";
    let table = "1 begincodespacerange <0000> <ffff> endcodespacerange\n\
                 2 beginbfrange <0003> <000c> <0030> <0020> <0021> [<002d> <0020>] endbfrange\n";
    let codes: String = "536-22-8741"
        .bytes()
        .map(|b| if b == b'-' { "0020".to_owned() } else { format!("{:04x}", b - b'0' + 3) })
        .collect();
    let content = format!("BT (SSN ) Tj /F 9 Tf [<{}> 4 <{}>] TJ ET", &codes[..12], &codes[12..]);
    let page = "1 0 obj <</Type /Page /Contents 4 0 R /Resources <</Font <</F 2 0 R>>>>>> endobj\n";
    let bytes = [
        b"%PDF-1.7\n",
        page.as_bytes(),
        font.as_bytes(),
        &stream(3, "", table.as_bytes()),
        &stream(4, "", content.as_bytes()),
        b"%%EOF",
    ]
    .concat();
    assert_eq!(count(&inspect("a.pdf", &bytes), "us_ssn"), 1);
}

#[test]
fn rtf_escapes_hidden_groups_and_cut_words_are_read() {
    for rtf in [
        r"{\rtf1\ansi SSN \'35\'33\'36-22-8741\par}",
        r"{\rtf1\ansi SSN 5{\b 36}\_22\u8209 ?8741\par}",
        r"{\rtf1\ansi{\header SSN {\v 536-22-8741}}text\par}",
        r"{\rtf1\ansi{\*\annotation SSN \uc0\u53\u51\u54-22-8741}text}",
    ] {
        assert_eq!(count(&inspect("letter", rtf.as_bytes()), "us_ssn"), 1, "{rtf}");
    }
    let deep = format!("{{\\rtf1 {}{}", "{".repeat(1 << 20), r"SSN 536-22-8741");
    assert_eq!(count(&inspect("deep.rtf", deep.as_bytes()), "us_ssn"), 1);
}

/// Ordinary work is no archive and no question.
#[test]
fn ordinary_binaries_are_read_without_an_error() {
    let mut kinds: Vec<(&str, Vec<u8>)> = vec![
        (
            "a.png",
            [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], &[0; 17], b"\0\0\0\0IEND\xae\x42\x60\x82"].concat(),
        ),
        ("a.jpg", [&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], &[7; 64]].concat()),
        ("a.woff2", [&b"wOF2\0\x01\0\0"[..], &[9; 64]].concat()),
        ("a.wasm", b"\0asm\x01\0\0\0".to_vec()),
        ("a.pyc", [&b"\xcb\x0d\x0d\x0a"[..], &[0; 64]].concat()),
        ("a.parquet", [&b"PAR1"[..], &[0; 64], b"PAR1"].concat()),
        ("a.mp4", [&b"\0\0\0\x20ftypisom"[..], &[0; 64]].concat()),
        ("a.safetensors", [&[8u8, 0, 0, 0, 0, 0, 0, 0][..], b"{\"a\":{}}", &[0; 64]].concat()),
        ("a.txt", b"%PDF is how it begins\n".to_vec()),
        ("lib.rs", b"const MAGIC: &[u8] = b\"%PDF-1.4\";\n".to_vec()),
    ];
    // A program with the marks of archives in it, as one that works with them has.
    kinds.push((
        "a.so",
        [&b"\x7fELF\x02\x01\x01"[..], &[0; 64], b"PK\x05\x06\0 7z\xbc\xaf\x27\x1c\0", &[0; 64]].concat(),
    ));
    for (name, bytes) in kinds {
        assert_eq!(inspect(name, &bytes).error(), None, "{name}");
    }
}

const LETTER: &str = "Dear Ann,\rher social security number is 536\u{1e}22-8741\rcard 4111 1111 1111 1111\r";

/// A compound file with these streams, as Office writes them.
fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (name, data) in streams {
        file.create_stream(name).unwrap().write_all(data).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A Word document in two pieces, of which the second comes first in the file (MS-DOC 2.8.35).
fn word(flags: u16) -> Vec<u8> {
    let (first, second) = LETTER.split_at(60);
    let mut document = vec![0; 0x400];
    document[0..4].copy_from_slice(&[0xec, 0xa5, 0xc1, 0]);
    document[0x0a..0x0c].copy_from_slice(&flags.to_le_bytes());
    document.extend(wide(second));
    let place = document.len() as u32;
    document.extend(first.bytes());
    let mut table = vec![2];
    table.extend(28u32.to_le_bytes());
    for at in [0, first.len() as u32, LETTER.len() as u32] {
        table.extend(at.to_le_bytes());
    }
    for place in [(place * 2) | 0x4000_0000, 0x400] {
        table.extend([0, 0]);
        table.extend(place.to_le_bytes());
        table.extend([0, 0]);
    }
    document[0x1a2..0x1a6].copy_from_slice(&7u32.to_le_bytes());
    document[0x1a6..0x1aa].copy_from_slice(&(table.len() as u32).to_le_bytes());
    compound(&[("/WordDocument", &document), ("/1Table", &[&[0; 7][..], &table].concat())])
}

#[test]
fn a_legacy_word_document_is_read_in_its_pieces() {
    let report = inspect("letter.doc", &word(0x0200));
    assert_eq!((count(&report, "us_ssn"), count(&report, "credit_card"), report.error()), (1, 1, None));
    let encrypted = inspect("letter.doc", &word(0x0300));
    assert_eq!(encrypted.error(), Some("cannot be inspected: it is an encrypted Office document"));
}

#[test]
fn a_legacy_presentation_is_read() {
    let atom = |kind: u16, data: &[u8]| {
        [&0u16.to_le_bytes()[..], &kind.to_le_bytes(), &(data.len() as u32).to_le_bytes(), data].concat()
    };
    let texts =
        [atom(4000, &wide(&LETTER.replace('\u{1e}', "-"))), atom(4008, b"card 5555 5555 5555 4444\r")]
            .concat();
    let container =
        [&0x0fu16.to_le_bytes()[..], &1000u16.to_le_bytes(), &(texts.len() as u32).to_le_bytes(), &texts]
            .concat();
    let report = inspect("a.ppt", &compound(&[("/PowerPoint Document", &container)]));
    assert_eq!((count(&report, "us_ssn"), count(&report, "credit_card"), report.error()), (1, 2, None));
}

#[test]
fn a_message_of_outlook_and_what_is_embedded_is_read() {
    let csv = b"name,ssn\nAnn,536-22-8741\n";
    let native = [
        &[0; 6][..],
        b"a.csv\0C:\\a.csv\0",
        &[0, 0, 3, 0, 4, 0, 0, 0],
        b"tmp\0",
        &(csv.len() as u32).to_le_bytes(),
        csv,
    ]
    .concat();
    let message = compound(&[
        ("/__substg1.0_1000001F", &wide("her card is 4111 1111 1111 1111")),
        ("/__substg1.0_37010102", csv),
        ("/\u{1}Ole10Native", &native),
    ]);
    let report = inspect("a.msg", &message);
    assert_eq!((count(&report, "us_ssn"), count(&report, "credit_card"), report.error()), (2, 1, None));
    let encrypted = compound(&[("/EncryptionInfo", b"\x04\0\x04\0"), ("/EncryptedPackage", &[7; 64])]);
    assert!(inspect("a.xlsx", &encrypted).error().unwrap().contains("encrypted Office document"));
}

#[test]
fn special_characters_of_newer_documents_are_read() {
    let paragraph = "<w:p><w:r><w:t>SSN 536</w:t><w:noBreakHyphen/><w:t>22</w:t><w:noBreakHyphen/><w:t>8741</w:t></w:r></w:p>";
    let deleted = "<w:p><w:del><w:r><w:delText>card 4111</w:delText><w:delText> </w:delText><w:delText>1111 1111 1111</w:delText></w:r></w:del></w:p>";
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, body) in [
        ("[Content_Types].xml", ""),
        ("word/header1.xml", paragraph),
        ("word/document.xml", deleted),
        ("word/comments.xml", paragraph),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        write!(zip, "<w:document>{body}</w:document>").unwrap();
    }
    let document = zip.finish().unwrap().into_inner();
    let report = inspect("a.docx", &document);
    assert_eq!((count(&report, "us_ssn"), count(&report, "credit_card"), report.error()), (2, 1, None));
    let left = inspect("a.docx", &redact("a.docx", &document).unwrap());
    assert!(!left.found() && left.error().is_none());
}
