//! Archives as parts of a form: each is read once, as a whole, and what its list does not name is not passed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Cursor, Write};

use chaperone_inspect::outgoing::{Known, Outgoing, Part, Seen};
use chaperone_inspect::{Detectors, Spot};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

const TOKEN: &str = "ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK";
const PLAIN: &str = "Another little text on what the weather will be in the mountains this week.\n";

fn zip_of(members: &[(&str, &str)], method: CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut form = Vec::new();
    for part in parts {
        form.extend_from_slice(b"--x\r\nContent-Type: application/octet-stream\r\n\r\n");
        form.extend_from_slice(part);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--x--\r\n");
    form
}

fn look(bytes: &[u8]) -> Seen {
    let part = Part { spot: Spot::Body, bytes, content_type: Some("multipart/form-data; boundary=x") };
    Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default())
}

fn has_token(seen: &Seen) -> bool {
    seen.findings.iter().any(|f| f.detector == "github_token")
}

const METHODS: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

#[test]
fn archives_of_several_files_are_read_in_a_form() {
    let token = format!("the token is {TOKEN}\n");
    for method in METHODS {
        let plain = zip_of(&[("a.txt", PLAIN), ("b/c.txt", &PLAIN.repeat(20)), ("d", "d")], method);
        let secret = zip_of(&[("a.txt", PLAIN), ("last.txt", &token)], method);
        for parts in
            [vec![plain.clone()], vec![plain.clone(), plain.clone()], vec![PLAIN.into(), plain.clone()]]
        {
            let seen = look(&form(&parts));
            assert!(seen.unread.is_empty() && seen.findings.is_empty(), "{method} {seen:?}");
        }
        for parts in [vec![secret.clone()], vec![plain.clone(), secret.clone()], vec![secret, plain]] {
            let seen = look(&form(&parts));
            assert!(seen.unread.is_empty() && has_token(&seen), "{method} {seen:?}");
        }
    }
}

/// An archive within an archive has an end of its own.
#[test]
fn an_archive_in_an_archive_in_a_form_is_read() {
    let token = format!("the token is {TOKEN}\n");
    let inner = zip_of(&[("a.txt", PLAIN), ("b.txt", &token)], CompressionMethod::Deflated);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("first.txt", PLAIN.as_bytes()), ("inner.zip", &inner), ("last.txt", b"d")] {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(name, stored).unwrap();
        archive.write_all(bytes).unwrap();
    }
    let seen = look(&form(&[archive.finish().unwrap().into_inner()]));
    assert!(has_token(&seen) && seen.unread.is_empty(), "{seen:?}");
}

/// A member that the list does not name is found by who looks for marks: it is read, or said to be unread.
#[test]
fn a_member_that_the_list_leaves_out_is_not_passed() {
    let token = format!("the token is {TOKEN}\n");
    let hidden = zip_of(&[("h.txt", &token)], CompressionMethod::Deflated);
    let hidden = &hidden[..hidden.windows(4).position(|w| w == b"PK\x01\x02").unwrap()];
    let plain = zip_of(&[("a.txt", PLAIN), ("b.txt", PLAIN)], CompressionMethod::Deflated);
    let list = plain.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let mut archive = [&plain[..list], hidden, &plain[list..]].concat();
    let end = archive.len() - 22;
    let moved = u32::try_from(list + hidden.len()).unwrap();
    archive[end + 16..end + 20].copy_from_slice(&moved.to_le_bytes());
    let seen = look(&form(&[archive]));
    assert!(has_token(&seen) || !seen.unread.is_empty(), "{seen:?}");
}

/// What leaves is held against what a document says, not against how it is packed.
#[test]
fn the_text_of_documents_is_told_without_what_it_stands_in() {
    let said = "The merger between Halvorsen and Lindqvist closes on the fourth of March";
    let words: Vec<&str> = said.split(' ').collect();
    let runs: String =
        words.iter().map(|word| format!("<w:r><w:t xml:space=\"preserve\">{word} </w:t></w:r>")).collect();
    let document =
        format!("<?xml version=\"1.0\"?><w:document><w:body><w:p>{runs}</w:p></w:body></w:document>");
    let docx = zip_of(
        &[("[Content_Types].xml", "<Types/>"), ("word/document.xml", &document)],
        CompressionMethod::Deflated,
    );
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(said.as_bytes()).unwrap();
    let zip = zip_of(&[("a/notes.txt", said)], CompressionMethod::Deflated);
    let mail = format!(
        "From: a@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n{said}\r\n"
    );
    let mut object = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    object.write_all(format!("blob {}\0{said}", said.len()).as_bytes()).unwrap();
    let coded = base64::prelude::Engine::encode(&base64::prelude::BASE64_STANDARD, said);
    for (name, bytes) in [
        ("a.docx", docx),
        ("a.gz", gz.finish().unwrap()),
        ("a.zip", zip),
        ("a.eml", mail.into_bytes()),
        ("ab", object.finish().unwrap()),
        ("a.txt", coded.into_bytes()),
    ] {
        assert!(chaperone_inspect::needs_a_parser(&bytes, name), "{name}");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let text = chaperone_inspect::text_of(&file, name, &chaperone_inspect::Limits::default());
        let letters = |text: &[u8]| -> String {
            text.iter().filter(|b| b.is_ascii_alphanumeric()).map(|b| char::from(*b)).collect()
        };
        assert!(
            letters(&text).contains(&letters(said.as_bytes())),
            "{name}: {}",
            String::from_utf8_lossy(&text)
        );
    }
    assert!(!chaperone_inspect::needs_a_parser(said.as_bytes(), "a.txt"));
}
