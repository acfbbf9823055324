//! Encodings, as somebody who wants to hide something would make them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs")]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

pub fn base64_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sign = ALPHABET[(n >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { sign } else { '=' });
        }
    }
    out
}

pub fn base32_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let five = |c: &[u8]| (0..5).fold(0usize, |n, i| n << 1 | usize::from(*c.get(i).unwrap_or(&0)));
    bits.chunks(5).map(|c| ALPHABET[five(c)] as char).collect()
}

pub fn hex_of(bytes: &[u8], separator: &str, prefix: &str) -> String {
    bytes.iter().map(|b| format!("{prefix}{b:02x}")).collect::<Vec<_>>().join(separator)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(Vec::new(), Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// A number that looks random, of `i`.
pub fn mixed(i: u64) -> u64 {
    let mut n = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    n = (n ^ n >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ n >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ n >> 31
}

pub fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut w = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    w.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    w.write_all(bytes).unwrap();
    w.finish().unwrap().into_inner()
}

pub fn rot13(text: &str) -> String {
    let turn = |c: char| match c {
        'a'..='z' => ((c as u8 - b'a' + 13) % 26 + b'a') as char,
        'A'..='Z' => ((c as u8 - b'A' + 13) % 26 + b'A') as char,
        c => c,
    };
    text.chars().map(turn).collect()
}
