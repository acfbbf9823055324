//! What was read or registered, recognised when it leaves, and not when it does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use chaperone_inspect::outgoing::{Fingerprints, KeyedSecrets, Known, Outgoing, Part, RegisterError};
use chaperone_inspect::{Detectors, Spot};
use proptest::prelude::*;

use encode::{base64_of, gzip, hex_of, mixed, rot13};

const KEY: [u8; 32] = [3; 32];

fn outgoing() -> Outgoing {
    Outgoing::new(Detectors::builtin().unwrap())
}

#[test]
fn registered_values_are_found_in_any_form() {
    let mut secrets = KeyedSecrets::new(&KEY);
    let binary: Vec<u8> = (0..32u8).map(|i| i.wrapping_mul(197) ^ 0xa5).collect();
    secrets.register(1, b"correct horse battery").unwrap();
    secrets.register(2, &binary).unwrap();
    assert_eq!(secrets.register(3, b"short"), Err(RegisterError::Short));
    assert_eq!(secrets.register(3, &vec![1; 70_000]), Err(RegisterError::Long));
    let known = Known { secrets: Some(&secrets), ..Known::default() };
    let ids = |bytes: &[u8]| -> Vec<u32> {
        let part = Part { spot: Spot::Body, bytes, content_type: None };
        let mut ids: Vec<u32> =
            outgoing().look(&[part], &known).registered.iter().map(|r| r.hit.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    for skip in 0..3 {
        let coded = base64_of(&[&b"xy"[..skip.min(2)], &binary, b"tail"].concat());
        assert_eq!(ids(format!("{{\"k\":\"{coded}\"}}").as_bytes()), [2], "offset {skip}");
    }
    assert_eq!(ids(&[b"head".as_slice(), &binary].concat()), [2]);
    assert_eq!(ids(hex_of(&binary, "", "").as_bytes()), [2]);
    assert_eq!(ids(b"say: correct horse battery, twice"), [1]);
    assert_eq!(ids(base64_of(b"say: correct horse battery").as_bytes()), [1]);
    assert_eq!(ids(b"yrettab esroh tcerroc"), [1]);
    assert_eq!(ids(rot13("correct horse battery").as_bytes()), [1]);
    assert_eq!(ids(b"correct horse staple"), [0u32; 0]);
    for apart in [
        "c.o.r.r.e.c.t.h.o.r.s.e.b.a.t.t.e.r.y",
        "correct-horse-battery",
        "[\"corr\",\"ect hor\",\"se batt\",\"ery\"]",
        "CORRECT HO/RSE BAT/TERY",
        "correct\nhorse\nbattery",
    ] {
        assert_eq!(ids(apart.as_bytes()), [1], "{apart}");
    }
}

const CSV: &str = "id,name,email,city,opened\n\
    1041,Margarethe Ohlsen,m.ohlsen@nordmail.example,Flensburg,2019-04-12\n\
    1042,Tadeusz Wojcik,tad.wojcik@polmail.example,Gdansk,2020-11-03\n\
    1043,Ines Carvalho,ines.c@lusomail.example,Coimbra,2018-07-29\n\
    1044,Hamish Drummond,h.drummond@scotmail.example,Inverness,2021-02-17\n";
const PROSE: &str = "The board decided in its closed session to sell the northern works before the end of the year, \
    provided that the union agrees to the transfer of all apprentices to the plant in Halden.";

fn read() -> Fingerprints {
    let mut read = Fingerprints::new(&KEY);
    read.add(7, CSV.as_bytes());
    read.add(8, PROSE.as_bytes());
    read
}

#[test]
fn passages_are_recognised_in_other_shapes() {
    let known = read();
    let rows: Vec<&str> = CSV.lines().collect();
    let reordered = format!("{}\n{}\n{}", rows[3], rows[1], rows[4]);
    let json: Vec<serde_json::Value> = rows[1..]
        .iter()
        .map(|r| {
            let c: Vec<&str> = r.split(',').collect();
            serde_json::json!({ "a_id": c[0], "b_name": c[1], "c_email": c[2], "d_city": c[3], "e_opened": c[4] })
        })
        .collect();
    let html = format!("<table><tr><td>{}</td></tr></table>", rows[2].replace(',', "</td><td>"));
    let cases: Vec<(&str, String, u32)> = vec![
        ("as it is", CSV.into(), 7),
        ("one row", rows[2].into(), 7),
        ("reordered", reordered, 7),
        ("JSON", serde_json::to_string(&json).unwrap(), 7),
        ("HTML", html, 7),
        ("other separators", rows[1].replace(',', " | "), 7),
        ("upper case", rows[4].to_uppercase(), 7),
        ("reversed", CSV.chars().rev().collect(), 7),
        ("rot13", rot13(CSV), 7),
        ("prose in other lines", PROSE.replace(' ', "\n  "), 8),
        ("half of the prose", PROSE[..90].into(), 8),
        ("quoted in a mail", format!("Hello Bob,\n> {}\nBest, A", &PROSE[10..120]), 8),
    ];
    for (name, text, source) in cases {
        let hits = known.hits(text.as_bytes());
        assert_eq!(hits.first().map(|h| h.source_id), Some(source), "{name}");
        assert!(hits[0].share > 0.2 && hits[0].share <= 1.0, "{name}: {hits:?}");
    }
    let part = |bytes| [Part { spot: Spot::Body, bytes, content_type: None }];
    let coded = base64_of(&gzip(rows[2].as_bytes()));
    let seen = outgoing().look(&part(coded.as_bytes()), &Known { read: Some(&known), ..Known::default() });
    assert_eq!(seen.passages[0].place.to_string(), "body > base64 > gzip");
    assert!(seen.is_grave());
    let other = Fingerprints::new(&[4; 32]);
    assert!(other.is_empty() && other.hits(CSV.as_bytes()).is_empty());
}

#[test]
fn every_row_of_a_table_is_recognised_on_its_own() {
    let mut read = Fingerprints::new(&KEY);
    let row = |i: u64| {
        let n = mixed(i);
        let name = ["Amsel", "Berger", "Castellan", "Drost", "Eklund", "Fabre", "Gruber", "Holm"]
            [(n >> 61) as usize];
        let town =
            ["Aachen", "Bergen", "Cadiz", "Delft", "Exeter", "Faro", "Ghent", "Hull"][(n >> 51 & 7) as usize];
        format!("{:07},{name} {},{town},{:05}", n >> 41, (n >> 30 & 0xff) as u8 % 26, n >> 20 & 0xffff)
    };
    let table: String = (0..2000).map(|i| row(i) + "\n").collect();
    read.add(1, table.as_bytes());
    let missed = (0..2000).filter(|i| read.hits(row(*i).as_bytes()).is_empty()).count();
    println!("{missed} of 2000 short rows missed");
    assert!(missed <= 100, "{missed}");
    let false_hits = (5000..9000).filter(|i| !read.hits(row(*i).as_bytes()).is_empty()).count();
    // Some of the made-up rows have a name, a house and a town in common, which are 16 characters.
    println!("{false_hits} of 4000 other rows taken for one");
    assert!(false_hits <= 30, "{false_hits}");
}

#[test]
fn ordinary_traffic_is_no_passage() {
    let mut read = read();
    let root = env!("CARGO_MANIFEST_DIR");
    for file in ["src/scan/walk.rs", "src/detect/mod.rs", "Cargo.toml", "../../LICENSE", "../../README.md"] {
        read.add(20, &std::fs::read(format!("{root}/{file}")).unwrap());
    }
    for (name, text) in [
        (
            "api",
            r#"{"model":"x-large","messages":[{"role":"user","content":"Please summarise the table of customers."}],"temperature":0.2,"max_tokens":1024,"stream":true}"#,
        ),
        (
            "pip",
            "GET /simple/requests/ HTTP/1.1\r\nHost: pypi.org\r\nUser-Agent: pip/24.0 {\"ci\":null,\"cpu\":\"x86_64\",\"distro\":{\"name\":\"Debian GNU/Linux\",\"version\":\"12\"},\"implementation\":{\"name\":\"CPython\",\"version\":\"3.11.2\"}}\r\nAccept: application/vnd.pypi.simple.v1+json",
        ),
        (
            "npm",
            "GET /lodash HTTP/1.1\r\nuser-agent: npm/10.2.4 node/v20.11.0 linux x64 workspaces/false\r\naccept: application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*\r\nnpm-command: install",
        ),
        (
            "cargo",
            "GET /se/rd/serde HTTP/2\r\nuser-agent: cargo/1.85.0 (d73d2caf9 2024-12-31)\r\naccept: */*\r\ncargo-protocol: version=1",
        ),
        (
            "git",
            "POST /org/repo.git/git-upload-pack HTTP/1.1\r\nUser-Agent: git/2.43.0\r\nContent-Type: application/x-git-upload-pack-request\r\nAccept: application/x-git-upload-pack-result\r\nGit-Protocol: version=2\r\n\r\n0014command=ls-refs\n0015agent=git/2.43.00016object-format=sha1",
        ),
        (
            "own code",
            "import pandas as pd\n\ndf = pd.read_csv('customers.csv')\nby_city = df.groupby('city')['opened'].count()\nprint(by_city.sort_values(ascending=False).head(10))\n# Flensburg and Coimbra come first\n",
        ),
        ("few words", "The board decided to wait. Nothing about the northern works yet, says the union."),
        ("header row", "df = df[['id', 'name', 'email', 'city']]"),
        (
            "licence",
            "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify",
        ),
        (
            "rule",
            "----------------------------------------------------------------\n0000000000000000000000000000000000000000\n",
        ),
        (
            "own rust",
            "fn main() {\n    let total: u64 = items.iter().map(|item| item.price * item.count).sum();\n    println!(\"{total}\");\n}\n",
        ),
    ] {
        assert_eq!(read.hits(text.as_bytes()), [], "{name}");
    }
}

#[test]
fn the_handshake_of_a_client_is_no_passage_of_its_source() {
    let handshakes = [
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\"clientInfo\":{\"name\":\"client\",\"version\":\"1.0.0\"}}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}",
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
        "EHLO localhost\r\n",
        "SET standard_conforming_strings = on; SET client_encoding TO 'UTF8'",
    ];
    let own = "the harbour offer of Ohlsen and Wojcik is 3,217,400 kroner, not before 14 March";
    let mut read = Fingerprints::new(&KEY);
    for (at, handshake) in handshakes.iter().enumerate() {
        // As the client has it in its source, beside what is its own.
        let source = format!("# {own}\nHANDSHAKE = \"\"\"{handshake}\"\"\"\nsend(HANDSHAKE)\n");
        read.add(u32::try_from(at).unwrap(), source.as_bytes());
        read.add(100, format!("{handshake:?}").as_bytes());
    }
    for handshake in handshakes {
        assert_eq!(read.hits(handshake.as_bytes()), [], "{handshake}");
        // Nothing hides behind it.
        assert!(!read.hits(format!("{handshake}{own}").as_bytes()).is_empty(), "{handshake}");
    }
}

#[test]
fn a_full_set_becomes_sparse_and_stays_right() {
    let mut read = Fingerprints::with_memory(&KEY, 64 << 10);
    let page = |i: u64| -> String { (0..400u64).map(|j| format!("{:x} ", mixed(i * 1000 + j))).collect() };
    for i in 0..60 {
        read.add(i as u32, page(i).as_bytes());
    }
    let found = (0..60)
        .filter(|i| read.hits(page(*i).as_bytes()).first().is_some_and(|h| h.source_id == *i as u32))
        .count();
    assert!(found >= 55, "{found} of 60");
    assert!((100..160).all(|i| read.hits(page(i).as_bytes()).is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_passage_is_found_in_any_noise(before in "[a-z ]{0,60}", after in "[a-z ]{0,60}", from in 0usize..60) {
        let text = format!("{before}{}{after}", &PROSE[from..from + 70]);
        prop_assert_eq!(read().hits(text.as_bytes()).first().map(|h| h.source_id), Some(8));
    }
}

#[test]
fn the_same_words_again_and_again_are_one_passage() {
    let words = "GET info/refs?service=git-upload-pack command=ls-refs peel symrefs object-format=sha1";
    let mut read = Fingerprints::new(&[7; 32]);
    read.add_from(
        1,
        format!("{words}\n{}", "an unlike text of other things goes on. ".repeat(40)).as_bytes(),
        200,
    );
    assert!(read.hits(format!("{words}\n").repeat(30).as_bytes()).is_empty());
    let all = format!("{words}\n{}", "an unlike text of other things goes on. ".repeat(40));
    let mut other = Fingerprints::new(&[7; 32]);
    other.add_from(1, all.as_bytes(), 60);
    assert_eq!(other.hits(words.as_bytes()).len(), 1);
}
