//! Packed parts of texts that are cut short, many, or none at all, and members too large for memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use std::io::{Cursor, Write};

use chaperone_inspect::{Detectors, Limits, Report, inspect_bytes};
use encode::{base64_of, gzip, mixed};

const TOKEN: &str = "ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK";

fn inspect(bytes: &[u8], name: &str) -> Report {
    inspect_bytes(&Detectors::builtin().unwrap(), bytes, name, &Limits::default())
}

/// Lines that do not repeat, so that what they come to is as long.
fn lines(count: u64) -> String {
    (0..count).map(|n| format!("{:016x} is line {n}\n", mixed(n))).collect()
}

#[test]
fn a_stream_in_a_text_is_read_as_far_as_it_goes() {
    let packed = base64_of(&gzip(lines(2_000).as_bytes()));
    for cut in [40, 400, packed.len() / 2, packed.len() - 30] {
        let report = inspect(format!("body={}\n", &packed[..cut]).as_bytes(), "requests.log");
        assert!(report.error().is_none() && !report.found(), "{cut} {report:?}");
    }
    // What comes before the cut is seen.
    let secret = format!("{}token {TOKEN}\n{}", lines(40), lines(2_000));
    let packed = base64_of(&gzip(secret.as_bytes()));
    let report = inspect(format!("body={}\n", &packed[..packed.len() / 2]).as_bytes(), "requests.log");
    assert!(report.error().is_none() && report.found(), "{report:?}");
    // A file that is nothing else is one that cannot be read.
    let whole = gzip(lines(2_000).as_bytes());
    assert!(inspect(&whole[..whole.len() / 2], "a.gz").error().is_some());
}

#[test]
fn a_picture_in_a_page_is_no_stream_by_chance() {
    let picture: Vec<u8> = (0..300_000u64).flat_map(|n| mixed(n).to_le_bytes()).collect();
    let coded = base64_of(&picture);
    for at in [1_001, 2_002, 40_003, 400_000] {
        let page = format!("<img src=\"data:image/png;base64,{}H4sI{}\">\n", &coded[..at], &coded[at + 4..]);
        let report = inspect(page.as_bytes(), "page.html");
        assert!(report.error().is_none() && !report.found(), "{at} {report:?}");
    }
}

#[test]
fn a_log_may_have_thousands_of_packed_bodies() {
    let body = |text: &str| format!("{{\"body\": \"{}\"}}\n", base64_of(&gzip(text.as_bytes())));
    let plain: String = (0..3_000).map(|n| body(&format!("request {n} of the page"))).collect();
    let report = inspect(plain.as_bytes(), "log.jsonl");
    assert!(report.error().is_none() && !report.found(), "{:?}", report.error());
    assert!(report.items.len() < 10, "{}", report.items.len());
    let report = inspect(format!("{plain}{}", body(&format!("token {TOKEN}"))).as_bytes(), "log.jsonl");
    assert!(report.found(), "{:?}", report.items.len());
}

#[test]
fn a_member_that_is_too_large_for_memory_is_read_as_it_comes() {
    let zip = |end: &str| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("lib/big.so", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"\x7fELF\x02\x01\x01").unwrap();
        let noise: Vec<u8> = (0..1 << 17).flat_map(|n| mixed(n).to_le_bytes()).collect();
        (0..60).for_each(|_| archive.write_all(&noise).unwrap());
        archive.write_all(end.as_bytes()).unwrap();
        archive.finish().unwrap().into_inner()
    };
    let report = inspect(&zip(""), "a.whl");
    assert!(report.error().is_none(), "{:?}", report.error());
    let report = inspect(&zip(&format!("\0token {TOKEN}\0")), "a.whl");
    assert!(report.error().is_none() && report.found(), "{:?}", report.error());
}
