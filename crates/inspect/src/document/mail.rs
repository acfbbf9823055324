//! Mails and saved pages: their HTML, as it is, in quoted-printable and in base64.

use super::html;
use super::sink::Sink;

/// Lines of base64 from which on a part is one.
const LEAST: usize = 64;

pub(super) fn scan(bytes: &[u8], sink: &mut Sink) {
    let text = String::from_utf8_lossy(bytes);
    sink.inner(|sink| html::scan(&text, sink));
    sink.inner(|sink| html::scan(&quoted_printable(&text), sink));
    let mut part = String::new();
    for line in text.lines().chain([""]) {
        let is_part = !line.is_empty()
            && line.len() <= 998
            && line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        if is_part {
            part.push_str(line);
            continue;
        }
        if part.len() >= LEAST {
            let decoded = base64(&part);
            sink.inner(|sink| html::scan(&crate::plain::text(&decoded), sink));
        }
        part.clear();
    }
}

fn quoted_printable(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        if let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
            rest = after;
            continue;
        }
        let code = rest
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(2..).unwrap_or_default();
            }
            None => bytes.push(b'='),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}
