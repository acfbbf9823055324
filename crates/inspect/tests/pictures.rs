//! What pictures say out of sight: it is read, and it is looked at where it leaves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod encode;

use std::io::Write;

use chaperone_inspect::outgoing::{Known, Outgoing, Part, Seen};
use chaperone_inspect::{Detectors, Limits, Spot, inspect_bytes};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use encode::mixed;

const TOKEN: &str = "ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK";

fn body(outgoing: &Outgoing, bytes: &[u8]) -> Seen {
    outgoing.look(&[Part { spot: Spot::Body, bytes, content_type: None }], &Known::default())
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// A picture of one point, with these chunks in it.
fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = chunk(b"IHDR", b"\0\0\0\x01\0\0\0\x01\x08\0\0\0\0");
    let shown = [chunk(b"IDAT", &zlib(&[0, 0])), chunk(b"IEND", b"")].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), head, chunks.concat(), shown].concat()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// What a picture says out of sight is read and leaves alike, whatever it stands in.
#[test]
fn what_pictures_say_out_of_sight_is_seen_where_it_is_read_and_where_it_leaves() {
    let said = zlib(format!("the token is {TOKEN} and nothing else").as_bytes());
    // A profile is mostly no text.
    let profile = [&[0, 0, 2, 12][..], &[0x91; 300], format!("desc {TOKEN}").as_bytes(), &[0; 300]].concat();
    let wide: Vec<u8> = format!("token {TOKEN}").bytes().flat_map(|b| [b, 0]).collect();
    let exif = [&b"II*\0\x08\0\0\0\0\0"[..], &wide].concat();
    let segment = [&b"\xff\xe1"[..], &(exif.len() as u16 + 8).to_be_bytes(), b"Exif\0\0", &exif].concat();
    let begin = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
    let filler = vec![[&b"\xff\xee\xff\xff"[..], &[0x91; 65533]].concat(); 2].concat();
    let webp = [&b"RIFF\0\0\x02\0WEBPVP8L\0\0\x01\0"[..], &[0x91; 65536], b"EXIF\0\x01\0\0", &exif].concat();
    let pictures = [
        ("zTXt", png(&[chunk(b"zTXt", &[b"Comment\0\0", &said[..]].concat())])),
        ("iTXt", png(&[chunk(b"iTXt", &[b"Comment\0\x01\0en\0Kommentar\0", &said[..]].concat())])),
        ("iCCP", png(&[chunk(b"iCCP", &[b"ICC Profile\0\0", &zlib(&profile)[..]].concat())])),
        ("eXIf", png(&[chunk(b"eXIf", &exif)])),
        ("JPEG", [b"\xff\xd8".to_vec(), segment.clone()].concat()),
        ("JPEG with much before it", [b"\xff\xd8".to_vec(), begin, filler, segment].concat()),
        ("TIFF", [&b"II*\0\x08\0\x03\0"[..], &[0x91; 200_000], &wide].concat()),
        ("WebP", webp),
    ];
    let (detectors, mut missed) = (Detectors::builtin().unwrap(), Vec::new());
    let outgoing = Outgoing::new(detectors.clone());
    let found = |seen: &Seen| seen.findings.iter().any(|f| f.detector == "github_token");
    for (name, picture) in pictures {
        let read = inspect_bytes(&detectors, &picture, "picture", &Limits::default());
        if !read.items.iter().flat_map(|i| &i.findings).any(|f| f.detector == "github_token") {
            missed.push(format!("{name} as it is read"));
        }
        let form = [
            &b"--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n"[..],
            &picture,
            b"\r\n--x--\r\n",
        ]
        .concat();
        let decoy = [png(&[]), picture.clone()].concat();
        for (how, bytes) in [("alone", picture), ("in a form", form), ("behind another", decoy)] {
            if !found(&body(&outgoing, &bytes)) {
                missed.push(format!("{name} {how} as it leaves"));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    // Without a secret none of them is a question, nor is noise with the marks.
    let noise: Vec<u8> = (0..400_000u64).map(|i| mixed(i) as u8).chain(*b"zTXtiTXtiCCPWEBPVP8 ").collect();
    for plain in [noise, png(&[chunk(b"zTXt", &[b"Software\0\0", &zlib(b"a program")[..]].concat())])] {
        let seen = body(&outgoing, &plain);
        assert!(seen.findings.is_empty() && seen.unread.is_empty(), "{seen:?}");
    }
    // A bomb is a question and costs little.
    let bomb = chunk(b"zTXt", &[b"Comment\0\0", &zlib(&vec![b'1'; 64 << 20])[..]].concat());
    assert!(!body(&outgoing, &png(std::slice::from_ref(&bomb))).unread.is_empty());
    let binary = chunk(b"iCCP", &[b"ICC Profile\0\0", &zlib(&vec![0x91; 4 << 20])[..]].concat());
    let many = body(&outgoing, &png(&vec![binary; 2000]));
    assert!(!many.unread.is_empty());
    assert!(many.work < 512 << 20, "{}", many.work);
}
