//! What a piece of an address says, where it says anything but its name.

use crate::encodings::{base64, runs};

/// Shorter pieces say nothing by themselves, in characters.
const SHORTEST: usize = 4;
/// Fewer characters, and fewer behind a letter that is cut, are read by chance.
const LEAST_READ: usize = 3;
const LEAST_CUT: usize = 6;
/// Short names are base32 of something by chance.
const LEAST_BASE32: usize = 8;

/// The text that a segment of a path, or a name in a query, stands for: encoded by itself, or several words. A plain word is a
/// name: lists of names are read and then asked for one by one.
#[must_use]
pub fn said(piece: &[u8]) -> Option<Vec<u8>> {
    let piece = unescaped(piece);
    if piece.len() < SHORTEST {
        return None;
    }
    if piece.iter().any(u8::is_ascii_whitespace) {
        return is_text(&piece).then_some(piece);
    }
    let unpadded = piece.iter().rposition(|b| *b != b'=').and_then(|last| piece.get(..=last))?;
    let readings = [hex_text(unpadded), base32(unpadded), base64(unpadded)];
    readings.into_iter().flatten().find(|text| is_text(text))
}

/// Without `%20` and its like, and `+` for a blank between words.
fn unescaped(piece: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len());
    let mut at = 0;
    while let Some(byte) = piece.get(at) {
        let escaped = piece
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// Letters, digits and what stands between them. A letter of several bytes may be cut at either end.
fn is_text(bytes: &[u8]) -> bool {
    let is_part = |b: &u8| (0x80..0xc0).contains(b);
    let start = bytes.iter().take(3).take_while(|b| is_part(b)).count();
    let bytes = bytes.get(start..).unwrap_or_default();
    let readable = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_read = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c.is_whitespace();
    let least = if start > 0 { LEAST_CUT } else { LEAST_READ };
    readable.chars().count() >= least
        && readable.chars().any(char::is_alphanumeric)
        && readable.chars().all(is_read)
}

fn hex_text(piece: &[u8]) -> Option<Vec<u8>> {
    hex::decode(piece).ok()
}

fn base64(piece: &[u8]) -> Option<Vec<u8>> {
    runs::is_run(piece).then(|| base64::from_base64(piece))
}

/// Of one case, whichever.
fn base32(piece: &[u8]) -> Option<Vec<u8>> {
    let is_mixed = piece.iter().any(u8::is_ascii_uppercase) && piece.iter().any(u8::is_ascii_lowercase);
    if piece.len() < LEAST_BASE32 || is_mixed {
        return None;
    }
    let (mut bits, mut count) = (0_u32, 0);
    let mut out = Vec::with_capacity(piece.len() * 5 / 8);
    for byte in piece {
        let five = match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(five);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_and_a_name_is_a_name() {
        for (piece, text) in [
            ("VGhlIGJyYW5jaA", "The branch"),
            ("VGhlIGJyYW5jaA==", "The branch"),
            ("VGhlIGJyYW5jaA%3D%3D", "The branch"),
            ("546865206272616e6368", "The branch"),
            ("KRUGKIDCOJQW4Y3I", "The branch"),
            ("krugkidcojqw4y3i", "The branch"),
            ("The%20branch", "The branch"),
        ] {
            assert_eq!(said(piece.as_bytes()).as_deref(), Some(text.as_bytes()), "{piece}");
        }
        for name in [
            "",
            "a",
            "simple",
            "lodash",
            "charset-normalizer",
            "python-dateutil",
            "requests-2.31.0-py3-none-any.whl",
            "70a23b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708",
            "@babel",
            "core",
            "-",
            "download",
            "serde_json",
            "v2",
            "blobs",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "github.com",
            "!azure",
            "packages",
            "numpy",
            "index.crates.io",
            "repo.git",
            "info",
            "refs",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            assert_eq!(said(name.as_bytes()), None, "{name}");
        }
    }
}
