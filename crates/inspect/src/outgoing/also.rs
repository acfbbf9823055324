//! What a text says besides its letters as they stand: whoever has read it may send that.

use crate::encodings::{escape, legacy, runs};

/// Longer texts are not read so. Protects the time of whoever reads the file.
const MOST: usize = 1 << 20;
/// A shorter reading is no passage.
const LEAST: usize = 64;

/// The text in UTF-8 of what is in another set of characters, and what stands in it as escapes, or as numbers from its beginning to
/// its end.
#[must_use]
pub fn also_says(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.len() > MOST {
        return Vec::new();
    }
    let mut says = legacy::readings(bytes);
    says.extend(escape::KINDS.into_iter().filter_map(|(_, first, one)| escape::decode(bytes, first, one)));
    let is_digits = |b: &u8| b.is_ascii_hexdigit() || b.is_ascii_whitespace();
    if bytes.iter().take(LEAST * 2).all(is_digits) {
        let digits: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        says.push(runs::decode_as_written(&digits, MOST as u64).hex);
    }
    says.retain(|text| text.len() >= LEAST);
    says
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_or_in_another_set_is_said_in_plain_letters() {
        let text =
            "Филиал на севере закрыл год с убытком против плана правления, который был составлен раньше";
        let has = |bytes: &[u8]| {
            let says = also_says(bytes);
            let found = says.iter().any(|said| memchr::memmem::find(said, text.as_bytes()).is_some());
            (found, says.len())
        };
        assert!(has(&encoding_rs::KOI8_R.encode(text).0).0);
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(has(json.as_bytes()), (false, 0));
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        assert!(has(escaped.as_bytes()).0);
        let markup: String = text.chars().map(|c| format!("&#{};", c as u32)).collect();
        assert!(has(markup.as_bytes()).0);
        assert!(has(hex::encode(text).as_bytes()).0);
        assert!(also_says(b"fn main() { println!(\"{}\", 5); }").is_empty());
    }
}
