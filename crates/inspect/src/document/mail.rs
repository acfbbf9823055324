//! Mails and saved pages: their HTML, as it is, in quoted-printable and in base64.

use super::html;
use super::sink::Sink;
use crate::encodings::base64::from_base64;

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
            part.retain(|c| c != '=');
            let decoded = from_base64(part.as_bytes());
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
