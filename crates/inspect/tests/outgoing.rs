//! What leaves: encodings, splits, bombs, and the traffic that must not be held up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use std::io::Write;

use chaperone_inspect::outgoing::{Fingerprints, Known, Outgoing, Part, Seen, StreamLook};
use chaperone_inspect::{Detectors, Spot};
use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use proptest::prelude::*;

use encode::{base32_of, base64_of, gzip, hex_of, mixed, rot13, zip};

const TOKEN: &str = "ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK";
const KEY: [u8; 32] = [3; 32];

fn outgoing() -> Outgoing {
    Outgoing::new(Detectors::builtin().unwrap())
}

fn look_at(spot: Spot, bytes: &[u8]) -> Seen {
    outgoing().look(&[Part { spot, bytes, content_type: None }], &Known::default())
}

fn body(bytes: &[u8]) -> Seen {
    look_at(Spot::Body, bytes)
}

fn places(seen: &Seen, detector: &str) -> Vec<String> {
    seen.findings.iter().filter(|f| f.detector == detector).map(|f| f.place.to_string()).collect()
}

/// Brotli of `the token is ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK and nothing else, thank you\n`.
const BROTLI: &str = "1b5100f065705e5f490b1567059400c1061cb087253830df651e653265efd8c18ffe3a8c67c165bb201367cf8dc3e7d32deb340df76dd7458aa1fec9ef77e83161b5b7ba201e815a1a4600";
/// Brotli of 256 MiB of one digit.
const BROTLI_BOMB: &str = "cbffff3ff82560e2b14020f7fe8fffff7ff04b00c4611180eefd1fffffffe0970088c30200ddfb3ffeffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8defff1ffff0f7e0980382c00d0bdffe3ffff1ffc1200715800a07bffc7ffff3ff82500e2b00040f7fe8fffff7ff04b00c4610180eefd1fffffffe0970088c30200ddfb3ffeffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8defff1ffff0f7e0980382c00d0bdffe3ffff1ffc1200715800a07bffc7ffff3ff82500e2b00040f7fe8fffff7ff04b00c4610180eefd1fffffffe0970088c30200ddfb3ffeffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8defff1ffff0f7e0980382c00d0bdffe3ffff1ffc1200715800a07bffc7ffff3ff82500e2b00040f7fe8fffff7ff04b00c4610180eefd1fffffffe0970088c30200ddfb3ffeffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8defff1ffff0f7e0980382c00d0bdffe3ffff1ffc1200715800a07bff37";

fn deflate_of(text: &str) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_secret_is_found_in_every_encoding() {
    let plain = format!("the token is {TOKEN} and nothing else, thank you");
    let encoded = base64_of(plain.as_bytes());
    let (mut zlib, mut deflate) = (
        ZlibEncoder::new(Vec::new(), Compression::default()),
        DeflateEncoder::new(Vec::new(), Compression::default()),
    );
    zlib.write_all(plain.as_bytes()).unwrap();
    deflate.write_all(plain.as_bytes()).unwrap();
    let percent: String = TOKEN.bytes().map(|b| format!("%{b:02X}")).collect();
    let wrapped: String =
        encoded.as_bytes().chunks(20).map(|c| format!("{}\r\n", std::str::from_utf8(c).unwrap())).collect();
    let escaped: String = TOKEN.bytes().map(|b| format!("\\u{:04x}", b)).collect();
    let entities: String = TOKEN.bytes().map(|b| format!("&#{b};")).collect();
    let wide: String = TOKEN.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect();
    let bold: String = TOKEN
        .chars()
        .map(|c| match c {
            'a'..='z' => char::from_u32(0x1d41a + c as u32 - 'a' as u32).unwrap(),
            'A'..='Z' => char::from_u32(0x1d400 + c as u32 - 'A' as u32).unwrap(),
            c => c,
        })
        .collect();
    let tags: String = TOKEN.chars().map(|c| char::from_u32(0xe0000 + c as u32).unwrap()).collect();
    let selectors: String =
        TOKEN.bytes().map(|b| char::from_u32(0xe0100 + u32::from(b) - 16).unwrap()).collect();
    let array = |size: usize| {
        let pieces: Vec<String> = encoded
            .as_bytes()
            .chunks(size)
            .map(|c| format!("\"{}\"", std::str::from_utf8(c).unwrap()))
            .collect();
        format!("{{\"parts\": [{}]}}", pieces.join(", "))
    };
    let cut: Vec<String> =
        TOKEN.as_bytes().chunks(7).map(|c| format!("\"{}\"", std::str::from_utf8(c).unwrap())).collect();
    let divided = |between: &str, size: usize| {
        let groups: Vec<&str> =
            encoded.as_bytes().chunks(size).map(|g| std::str::from_utf8(g).unwrap()).collect();
        groups.join(between).into_bytes()
    };
    let saml = base64_of(&deflate_of(&plain)).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("plain", plain.clone().into_bytes()),
        ("percent", percent.clone().into_bytes()),
        ("one percent", TOKEN.replace('_', "%5f").into_bytes()),
        ("double percent", percent.replace('%', "%25").into_bytes()),
        ("base64", encoded.clone().into_bytes()),
        ("base64 without padding", encoded.trim_end_matches('=').into()),
        ("base64 behind a path", format!("GET /collect/x/{encoded}/pixel.gif").into_bytes()),
        ("base64 behind letters", format!("ab{encoded}").into_bytes()),
        (
            "base64 URL-safe",
            base64_of(format!("~~~???{plain}~~??>>").as_bytes()).replace('+', "-").replace('/', "_").into(),
        ),
        ("base64 divided by blanks", divided(" ", 4)),
        ("base64 divided by dots", divided(".", 5)),
        ("base64 divided by dashes", divided("-", 4)),
        ("base64 divided by low lines", divided("_", 6)),
        ("base64 in short lines", divided("\n", 3)),
        ("base64 in pairs", divided(" ", 2)),
        ("base64 divided by commas and blanks", divided(", ", 7)),
        ("deflate in base64", base64_of(&deflate_of(&plain)).into_bytes()),
        ("deflate in base64 in percent", format!("SAMLRequest={saml}&RelayState=x").into_bytes()),
        ("base64 in lines", wrapped.clone().into_bytes()),
        ("base64 in lines in JSON", serde_json::json!({ "data": wrapped }).to_string().into_bytes()),
        ("base64 in an array", array(8).into_bytes()),
        ("token in an array", format!("[{}]", cut.join(",")).into_bytes()),
        ("base64 twice", base64_of(encoded.as_bytes()).into_bytes()),
        ("base64 of UTF-16", base64_of(&utf16).into_bytes()),
        ("UTF-16", utf16.clone()),
        ("base32", base32_of(plain.as_bytes()).into_bytes()),
        ("base32 lower", base32_of(plain.as_bytes()).to_lowercase().into_bytes()),
        ("hex", hex_of(plain.as_bytes(), "", "").into_bytes()),
        ("hex upper", hex_of(plain.as_bytes(), "", "").to_uppercase().into_bytes()),
        ("hex with colons", hex_of(plain.as_bytes(), ":", "").into_bytes()),
        ("hex with blanks", hex_of(plain.as_bytes(), " ", "").into_bytes()),
        ("hex escapes", hex_of(plain.as_bytes(), "", "\\x").into_bytes()),
        ("hex numbers", hex_of(plain.as_bytes(), ", ", "0x").into_bytes()),
        ("bytes", format!("{:?}", plain.as_bytes()).into_bytes()),
        ("gzip", gzip(plain.as_bytes())),
        ("zlib", zlib.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("brotli", hex::decode(BROTLI).unwrap()),
        ("zip", zip("notes.txt", plain.as_bytes())),
        ("name in a zip", zip(&format!("{TOKEN}.txt"), b"nothing")),
        ("base64 of gzip", base64_of(&gzip(plain.as_bytes())).into_bytes()),
        ("hex of gzip", hex_of(&gzip(plain.as_bytes()), "", "").into_bytes()),
        ("gzip of base64 of gzip", gzip(base64_of(&gzip(plain.as_bytes())).as_bytes())),
        (
            "JSON of base64 of gzip",
            format!("{{\"a\":1,\"b\":\"{}\"}}", base64_of(&gzip(plain.as_bytes()))).into_bytes(),
        ),
        (
            "zip in a form",
            [&b"--x\r\nContent-Type: application/zip\r\n\r\n"[..], &zip("a.txt", plain.as_bytes())].concat(),
        ),
        (
            "gzip in a form",
            [&b"--x\r\nContent-Type: x\r\n\r\n"[..], &gzip(plain.as_bytes()), b"\r\n--x--\r\n"].concat(),
        ),
        ("entities", entities.into_bytes()),
        ("escapes", escaped.clone().into_bytes()),
        ("escapes twice", escaped.replace('\\', "\\\\").into_bytes()),
        ("octal", TOKEN.bytes().map(|b| format!("\\{b:03o}")).collect::<String>().into_bytes()),
        ("quoted-printable", TOKEN.replace('_', "=5F").into_bytes()),
        ("quoted-printable line", format!("{}=\r\n{}", &TOKEN[..20], &TOKEN[20..]).into_bytes()),
        ("rot13", rot13(&plain).into_bytes()),
        ("reversed", plain.chars().rev().collect::<String>().into_bytes()),
        ("base64 reversed", encoded.chars().rev().collect::<String>().into_bytes()),
        ("base64 in rot13", rot13(&encoded).into_bytes()),
        ("base64 of rot13", base64_of(rot13(&plain).as_bytes()).into_bytes()),
        ("zero-width", TOKEN.chars().flat_map(|c| [c, '\u{200b}']).collect::<String>().into_bytes()),
        ("bidi", format!("{}\u{202e}{}", &TOKEN[..9], &TOKEN[9..]).into_bytes()),
        ("soft hyphen", format!("{}\u{ad}{}", &TOKEN[..9], &TOKEN[9..]).into_bytes()),
        ("homoglyphs", TOKEN.replace('p', "р").replace('e', "е").replace('H', "Н").into_bytes()),
        ("full width", wide.into_bytes()),
        ("mathematical", bold.into_bytes()),
        ("tags", format!("hello{tags}").into_bytes()),
        ("variation selectors", format!("😀{selectors}").into_bytes()),
    ];
    let missed: Vec<&str> = cases
        .iter()
        .filter(|(_, bytes)| places(&body(bytes), "github_token").is_empty())
        .map(|(name, _)| *name)
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn the_place_says_how_it_was_encoded() {
    let inner = gzip(format!("token {TOKEN}").as_bytes());
    let seen = body(format!("{{\"blob\": \"{}\"}}", base64_of(&inner)).as_bytes());
    assert_eq!(places(&seen, "github_token"), ["body > base64 > gzip"]);
    let seen = look_at(Spot::Header("x-\u{202e}trace".into()), base64_of(TOKEN.as_bytes()).as_bytes());
    assert_eq!(places(&seen, "github_token"), ["header x-\\u{202e}trace > base64"]);
    assert!(!format!("{seen:?}").contains(TOKEN));
}

#[test]
fn a_secret_in_pieces_is_found() {
    let encoded = hex_of(TOKEN.as_bytes(), "", "");
    let labels: Vec<&str> = encoded.as_bytes().chunks(30).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let name = format!("{}.evil.example.com", labels.join("."));
    assert!(look_at(Spot::DnsLabel, name.as_bytes()).is_grave());
    let lower = base32_of(TOKEN.as_bytes()).to_lowercase();
    let labels: Vec<&str> = lower.as_bytes().chunks(20).map(|c| std::str::from_utf8(c).unwrap()).collect();
    assert!(
        !places(
            &look_at(Spot::DnsLabel, format!("{}.t.example.com", labels.join(".")).as_bytes()),
            "github_token"
        )
        .is_empty()
    );
    let query = format!("https://x.example.com/p?a={}&b={}&c={}", &TOKEN[..10], &TOKEN[10..25], &TOKEN[25..]);
    assert!(!places(&look_at(Spot::Url, query.as_bytes()), "github_token").is_empty());
    let form = format!("a={}&b={}&c={}", &TOKEN[..10], &TOKEN[10..25], &TOKEN[25..]);
    assert!(!places(&body(form.as_bytes()), "github_token").is_empty());
    let messages: Vec<Part<'_>> = [&TOKEN[..5], &TOKEN[5..21], &TOKEN[21..]]
        .iter()
        .map(|t| Part { spot: Spot::Message, bytes: t.as_bytes(), content_type: None })
        .collect();
    assert!(!places(&outgoing().look(&messages, &Known::default()), "github_token").is_empty());
}

#[test]
fn what_git_pushes_is_unpacked() {
    let zlib = |plain: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let note = format!("the token is {TOKEN}\n");
    let number = |n: usize| [0x80 | 0x30 | (n & 15) as u8, (n >> 4) as u8];
    // A push: a line of the protocol, a blob, a difference from it, one from elsewhere.
    let mut push = b"00a80000 1111 refs/heads/main\0 report-status side-band-64k agent=git/2.470000PACK\0\0\0\x02\0\0\0\x03".to_vec();
    push.extend(number(20));
    push.extend(zlib(b"nothing of interest\n"));
    push.extend([0x65, 0x81, 0x05]);
    push.extend(zlib(b"\x14\x01\x01-"));
    let whole = push.len();
    push.push(0x7f);
    push.extend([9; 20]);
    push.extend(zlib(note.as_bytes()));
    push.extend([7; 20]);
    let seen = body(&push);
    assert!(places(&seen, "github_token").contains(&"body > git pack".to_owned()), "{seen:?}");
    assert!(seen.unread.is_empty(), "{seen:?}");
    // What is packed may hold what begins an escape.
    let signs = (0..=255u8).flat_map(|i| [i, b'%', b'4', b'1', 0, b'=', b'4', b'1']).collect::<Vec<_>>();
    let mut stored = ZlibEncoder::new(Vec::new(), Compression::none());
    stored.write_all(&signs).unwrap();
    let one = [b"0000PACK\0\0\0\x02\0\0\0\x01", &[0xb0, 0x80, 0x01][..], &stored.finish().unwrap()].concat();
    assert!(body(&one).unread.is_empty(), "{:?}", body(&one).unread);
    // Cut off, or something else than it says.
    push.truncate(whole + 30);
    assert!(!body(&push).unread.is_empty());
    assert!(body(b"a PACK of lies\0\0\0\x02").unread.is_empty());
}

#[test]
fn decoys_do_not_hide_what_is_packed() {
    let hidden = gzip(format!("the token is {TOKEN}\n").as_bytes());
    let behind = |decoy: &[u8]| body(&[b"\xff", decoy.repeat(40).as_slice(), &hidden].concat());
    assert!(!places(&behind(b"a\r\n\r\n"), "github_token").is_empty());
    assert!(!behind(b"\x1f\x8b\x08").unread.is_empty());
    assert!(!behind(b"PACK\0\0\0\x02").unread.is_empty());
}

#[test]
fn rows_of_invisible_characters_are_a_sign() {
    let hidden: String = (0..64u8).map(|n| if n % 3 == 0 { '\u{200b}' } else { '\u{200c}' }).collect();
    for text in [
        "lo\u{200b}\u{200c}rem ipsum".to_owned(),
        format!("a note {hidden} from me"),
        hidden.clone(),
        format!("\u{43f} {hidden} \u{43f}"),
    ] {
        let seen = body(text.as_bytes());
        assert_eq!(places(&seen, "disguised_text"), ["body"], "{text:?}");
    }
    // Joiners of emoji and of scripts, and several marks on one letter, are what they seem.
    for text in [
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}",
        "a\u{300}\u{301}\u{302}\u{303}\u{304} b",
    ] {
        assert!(places(&body(text.as_bytes()), "disguised_text").is_empty(), "{text:?}");
    }
    // Where a decoding comes to no text, letters of another script among others are chance.
    let noise = b"caf\xe9 of p\xd0\xb0ypal and others, each of them written in another way\n";
    assert!(places(&body(&gzip(noise)), "disguised_text").is_empty());
    let text = "cafe of p\u{430}ypal and others, each of them written in another way\n";
    assert_eq!(places(&body(&gzip(text.as_bytes())), "disguised_text"), ["body > gzip"]);
}

#[test]
fn ordinary_traffic_is_let_through() {
    let source = std::fs::read_to_string(format!("{}/src/scan/walk.rs", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let lock = std::fs::read_to_string(format!("{}/../../Cargo.lock", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let noise: Vec<u8> = (0..1_000_000u64).map(|i| mixed(i) as u8).collect();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("source", source.into_bytes()),
        ("lock file", lock.into_bytes()),
        ("picture in base64", base64_of(&noise).into_bytes()),
        ("noise", noise),
        ("git", b"0032want 9b06e2800879d20efc4eaa150da9f56bc6ad4750 side-band-64k\n00000009done\n".to_vec()),
        ("npm", br#"{"name":"x","version":"1.0.0","dist":{"integrity":"sha512-UDALebqJrk4rgLsjqGwgGtIkDrbUGWmWUHjgtBWjwxrI2Ts3Udu5lKPtDdJfOCR7siJyP1xHhmW0fcdjumWt+5==","shasum":"f60d6b8e1c33a2e5d5a7e8f5a2a0e2a3b4c5d6e7"}}"#.to_vec()),
        ("chat", r#"{"model":"x","messages":[{"role":"user","content":"Грузите апельсины бочками. Ça va très bien, naïve café — “quoted” … 日本語のＡＢＣ"}]}"#.into()),
        ("russian", "Добрый день! Отчёт за неделю готов, все заказы отправлены вовремя.".into()),
        ("mathematics", "the root of n/2ⁱ + log₂k, dα/dx and αx, ΔT of 3 µs".into()),
        ("turkish", "Kapıyı açtı ve dışarı çıktı; ışık sönüktü.".into()),
        ("emoji", "Great work 👩‍👩‍👧‍👦 ❤️ 🏳️‍🌈 see you".into()),
        ("hashes", b"d41d8cd98f00b204e9800998ecf8427e  a.txt\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b.txt\n".to_vec()),
        ("numbers", (0..500).map(|i| format!("{},{}\n", i * 37 % 101, i * 53 % 89)).collect::<String>().into_bytes()),
    ];
    for (name, bytes) in bodies {
        let seen = body(&bytes);
        assert!(!seen.is_grave() && seen.unread.is_empty(), "{name}: {:?} {:?}", seen.findings, seen.unread);
    }
    for url in [
        "https://registry.npmjs.org/@babel/helper-plugin-utils/-/helper-plugin-utils-7.24.0.tgz",
        "https://files.pythonhosted.org/packages/5e/65/5e6505f5a5d5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3/requests-2.31.0-py3-none-any.whl",
        "https://index.crates.io/se/rd/serde_json",
        "https://github.com/rust-lang/rust.git/info/refs?service=git-upload-pack",
        "https://d2f8a1b2c3e4f5.cloudfront.net/assets/main.3f2a9c1d.js",
        "https://my-long-service-name-frontend.eu-central-1.elb.amazonaws.com/health",
        "https://api.example.com/v1/users/550e8400-e29b-41d4-a716-446655440000/orders?limit=100&offset=200",
        "https://fonts.gstatic.com/s/roboto/v30/KFOmCnqEu92Fr1Mu4mxK.woff2",
        "https://e3b0c44298fc1c149afbf4c8996fb924.storage.example.com/object",
        "https://xn--bcher-kva.example/",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    ] {
        let seen = look_at(Spot::Url, url.as_bytes());
        assert!(!seen.is_grave(), "{url}: {:?}", seen.findings);
    }
}

#[test]
fn ids_drawn_at_random_are_said_to_be() {
    // No reader can tell the id of a document from data in a path: hosts that are known to use such ids belong in a policy.
    let url = "https://docs.google.com/document/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit";
    assert_eq!(places(&look_at(Spot::Url, url.as_bytes()), "random_path"), ["url"]);
}

#[test]
fn turned_numbers_are_no_personal_data() {
    let turned: String = "card 4111 1111 1111 1111, ssn 536-22-1234".chars().rev().collect();
    let seen = body(format!("{turned} password ghp_").as_bytes());
    assert!(seen.findings.iter().all(|f| f.category != "pii"), "{:?}", seen.findings);
}

#[test]
fn bombs_end_at_a_limit_and_say_so() {
    let limit = |bytes: &[u8]| bytes.len() as u64 * 8 + (32 << 20) + (48 << 20);
    let zeros = vec![b'0'; 64 << 20];
    let mut nested = b"a line of text that is nested in many layers of gzip\n".to_vec();
    for _ in 0..50 {
        nested = gzip(&nested);
    }
    let mut coded = b"a line of text that is coded again and again".to_vec();
    for _ in 0..12 {
        coded = base64_of(&coded).into_bytes();
    }
    for (name, bytes) in [
        ("gzip", gzip(&zeros)),
        ("zip", zip("zeros", &zeros)),
        ("brotli", hex::decode(BROTLI_BOMB).unwrap()),
        ("nested", nested),
        ("base64 of base64", coded),
        ("gzip of gzip", gzip(&gzip(&zeros))),
    ] {
        let seen = body(&bytes);
        assert!(!seen.unread.is_empty(), "{name} was passed in silence");
        assert!(seen.work <= limit(&bytes), "{name}: {} for {}", seen.work, bytes.len());
    }
}

#[test]
fn a_table_that_cannot_be_read_is_said_to_be() {
    let part = Part { spot: Spot::Body, bytes: b"%PDF-1.7 not a table", content_type: Some("text/csv") };
    assert!(!outgoing().look(&[part], &Known::default()).unread.is_empty());
}

#[test]
fn hostile_bodies_cost_work_in_proportion() {
    for seed in [
        "%25",
        "&#37;",
        "\\u005c",
        "=3D",
        "A",
        "QUJD",
        "41",
        "41:",
        "65,",
        "ghp_",
        "_phg",
        "tuc_",
        "PK\x03\x04",
        "\u{200b}",
        "а",
        "\"a\",",
        "{",
        "<",
        "\x1f",
    ] {
        let bytes = seed.repeat((1 << 20) / seed.len());
        let seen = body(bytes.as_bytes());
        let most = bytes.len() as u64 * 8 + (32 << 20) + (8 << 20);
        assert!(seen.work <= most, "{seed:?}: {}", seen.work);
    }
}

#[test]
fn a_stream_finds_what_lies_across_its_borders() {
    let out = outgoing();
    for at in [(16 << 20) - 20, (4 << 20) - 20, (20 << 20) - 20] {
        let mut bytes = b"lorem ipsum dolor sit amet\n".repeat((22 << 20) / 27);
        bytes.splice(at..at + TOKEN.len() + 2, format!(" {TOKEN} ").into_bytes());
        let mut stream = StreamLook::new(&out, Spot::Body, None, Known::default());
        bytes.chunks(100_003).for_each(|c| stream.feed(c));
        let seen = stream.finish();
        assert_eq!(places(&seen, "github_token"), ["body"], "at {at}");
        assert_eq!(seen.findings.iter().map(|f| f.count).sum::<u64>(), 1, "at {at}: {:?}", seen.findings);
    }
    let mut stream = StreamLook::new(&out, Spot::Body, None, Known::default());
    base64_of(TOKEN.as_bytes()).as_bytes().chunks(3).for_each(|c| stream.feed(c));
    assert_eq!(places(&stream.finish(), "github_token"), ["body > base64"]);
}

#[test]
fn a_long_compressed_stream_is_unpacked_as_it_comes() {
    let out = outgoing();
    let mut state = 1u64;
    let mut text = String::new();
    while text.len() < 40 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:x} ", state >> 8));
    }
    text.push_str(TOKEN);
    let packed = gzip(text.as_bytes());
    assert!(packed.len() > 17 << 20);
    let mut stream = StreamLook::new(&out, Spot::Body, None, Known::default());
    packed.chunks(1 << 20).for_each(|c| stream.feed(c));
    let seen = stream.finish();
    assert_eq!(places(&seen, "github_token"), ["body"], "{:?}", seen.unread);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        for spot in [Spot::Body, Spot::Url, Spot::DnsLabel, Spot::Query, Spot::FileName] {
            let _ = look_at(spot, &bytes);
        }
        let mut read = Fingerprints::new(&KEY);
        read.add(1, &bytes);
        let _ = read.hits(&bytes);
    }

    #[test]
    fn words_of_every_encoding_never_panic(parts in proptest::collection::vec(prop_oneof![
        Just("%"), Just("%41"), Just("\\u00"), Just("\\ud83d\\u"), Just("&#x"), Just(";"), Just("=\n"), Just("QUJDREVGR0hJSktM"), Just("41:42:"), Just("0x"),
        Just("\u{200b}"), Just("Ａ"), Just("а"), Just("\u{e0041}"), Just("{\""), Just("\":"), Just("\","), Just("<"), Just(">"), Just("PK\x03\x04"),
        Just("\x1f\u{8b}\x08"), Just("ghp_"), Just("_phg"), Just("\0"), Just("a\0"), Just("\n"), Just("\\n"), Just("="), Just("&"), Just("."),
    ], 0..200)) {
        let _ = body(parts.concat().as_bytes());
    }
}

#[test]
fn personal_data_as_numbers_and_in_wide_characters_is_found() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let plain = "Anna Kovacs, card 4111111111111111\nBert Smit, card 5500005555555559\n";
    let wide =
        |order: fn(u32) -> [u8; 4]| -> Vec<u8> { plain.chars().flat_map(|c| order(c as u32)).collect() };
    let marked = [vec![0xff, 0xfe, 0, 0], wide(u32::to_le_bytes)].concat();
    let numbers: Vec<String> = plain.bytes().map(|b| b.to_string()).collect();
    let buffer = format!("{{\"type\":\"Buffer\",\"data\":[{}]}}", numbers.join(",")).into_bytes();
    let found = |bytes: &[u8]| -> u64 {
        let part = Part { spot: Spot::Body, bytes, content_type: None };
        let seen = outgoing.look(&[part], &Known::default());
        seen.findings.iter().filter(|f| f.detector == "credit_card").map(|f| f.distinct).sum()
    };
    for bytes in [plain.as_bytes(), &wide(u32::to_le_bytes), &wide(u32::to_be_bytes), &marked, &buffer] {
        assert_eq!(found(bytes), 2, "{:?}", String::from_utf8_lossy(&bytes[..40]));
    }
    // What a sensor says is no text.
    let measured: Vec<String> = (0..400u32).map(|n| (n * 37 % 251).to_string()).collect();
    assert_eq!(found(format!("[{}]", measured.join(",")).as_bytes()), 0);
}

#[test]
fn every_different_value_is_counted_over_the_views_of_a_look() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let text = "card 4111111111111111, card 5500005555555559, card 4111 1111 1111 1111";
    let part = |bytes| Part { spot: Spot::Body, bytes, content_type: None };
    let seen = outgoing.look(&[part(text.as_bytes()), part(b"card 340000000000009")], &Known::default());
    let cards: Vec<_> = seen.findings.iter().filter(|f| f.detector == "credit_card").collect();
    assert_eq!(cards.len(), 1, "{cards:?}");
    assert_eq!((cards[0].distinct, cards[0].values.len()), (3, 3));
}

/// Five lines with the token, in every form that is read.
fn compressed(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("bzip2", bzip2_of(plain)),
        ("zstd", ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)),
        ("xz", include_bytes!("data/token.txt.xz").to_vec()),
        ("lzma", include_bytes!("data/token.txt.lzma").to_vec()),
    ]
}

fn bzip2_of(plain: &[u8]) -> Vec<u8> {
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bzip2.write_all(plain).unwrap();
    bzip2.finish().unwrap()
}

#[test]
fn what_is_compressed_in_any_way_is_looked_into() {
    let plain = format!("the token is {TOKEN} and nothing else, thank you\n").repeat(5);
    for (how, packed) in compressed(plain.as_bytes()) {
        let form =
            [&b"--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n"[..], &packed, b"\r\n--b--\r\n"]
                .concat();
        let json = format!("{{\"data\": \"{}\"}}", base64_of(&packed));
        let nested = [("as it is", packed.clone()), ("form", form), ("json", json.into_bytes())];
        for (name, bytes) in
            nested.into_iter().chain([("gzip", gzip(&packed)), ("zip", zip("notes", &packed))])
        {
            let seen = body(&bytes);
            assert!(!places(&seen, "github_token").is_empty(), "{how} in {name}: {seen:?}");
            assert_eq!(seen.unread, [], "{how} in {name}");
        }
        let cut = packed.get(..packed.len() - packed.len() / 4).unwrap();
        let seen = body(cut);
        assert!(how == "lzma" || !seen.unread.is_empty(), "a cut {how} stream passes for whole");
    }
}

#[test]
fn a_bomb_of_any_kind_is_not_unpacked_and_not_passed() {
    let bombs = [bzip2_of(&vec![b'7'; 64 << 20]), include_bytes!("data/sevens.txt.xz").to_vec()];
    for packed in bombs {
        let seen = body(&packed);
        assert!(!seen.unread.is_empty(), "{seen:?}");
        assert!(seen.work < 400 << 20, "{}", seen.work);
    }
}

#[test]
fn a_secret_is_found_in_every_way_to_write_letters_as_numbers() {
    let token = "token ghp_R4nd0mLettersAndDigits0123456789abcd";
    let each = |between: &str, of: fn(u8) -> String| token.bytes().map(of).collect::<Vec<_>>().join(between);
    let wide: Vec<u8> = token.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let base64 = {
        use base64::Engine;
        let big: Vec<u8> = token.encode_utf16().flat_map(u16::to_be_bytes).collect();
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(big)
    };
    let prose = "The report of this week is about the weather and about nothing else. ";
    for (how, bytes) in [
        ("bits", each(" ", |b| format!("{b:08b}")).into_bytes()),
        ("a row of bits", each("", |b| format!("{b:08b}")).into_bytes()),
        ("octal", each(" ", |b| format!("{b:03o}")).into_bytes()),
        ("chr", each("+", |b| format!("chr({b})")).into_bytes()),
        ("char codes", format!("String.fromCharCode({})", each(",", |b| b.to_string())).into_bytes()),
        ("bytes", format!("[{}]", each(",", |b| b.to_string())).into_bytes()),
        ("words", each(", ", |b| format!("0x{b:04x}")).into_bytes()),
        ("utf-7", format!("+{base64}-").into_bytes()),
        ("utf-16 behind text", [prose.repeat(3).as_bytes(), &wide].concat()),
    ] {
        let part = Part { spot: Spot::Body, bytes: &bytes, content_type: None };
        let seen = Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default());
        assert!(seen.findings.iter().any(|f| f.detector == "github_token"), "{how}: {:?}", seen.findings);
    }
    let numbers: String =
        (0..3_000u32).map(|n| format!("{:03o},{:08b},0x{:04x},{n}\n", n % 256, n % 256, n * 7)).collect();
    let part = Part { spot: Spot::Body, bytes: numbers.as_bytes(), content_type: None };
    let seen = Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default());
    assert!(!seen.is_grave(), "{:?}", seen.findings);
}
