//! Names of files as text. Paths are text wherever they are decided on, recorded, sent and shown; the kernel's names are
//! bytes. Every name has exactly one text, and no two names have the same: a name that is UTF-8 is its own text, a byte
//! that is none is written `\xNN`, and only a backslash that would look like the beginning of one is written `\x5c`.

#![forbid(unsafe_code)]

mod joiners;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

pub use joiners::without_meant_joiners;

/// The text of a name or a path.
#[must_use]
pub fn name_as_text(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if !has_escape(text) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut text = String::with_capacity(name.len() + 16);
    for chunk in name.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find('\\') {
            let (before, after) = rest.split_at(at);
            text.push_str(before);
            // What comes behind may end with this chunk: a byte that is no UTF-8 begins no escape of its own.
            text.push_str(if escaped(after.as_bytes()).is_some() { "\\x5c" } else { "\\" });
            rest = after.get(1..).unwrap_or_default();
        }
        text.push_str(rest);
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    Cow::Owned(text)
}

/// The name or path that a text stands for; none where it is no text of a name.
#[must_use]
pub fn text_as_name(text: &str) -> Option<Cow<'_, [u8]>> {
    if !has_escape(text) {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if let Some(byte) = escaped(rest) {
            name.push(byte);
            rest = rest.get(4..)?;
        } else {
            name.push(*first);
            rest = behind;
        }
    }
    // One name, one text: what would be written in another way stands for nothing.
    let is_its_text = name_as_text(&name) == text;
    is_its_text.then_some(Cow::Owned(name))
}

/// A path for the kernel. For what is no text of a name it is one that no file can have: the call fails with `EINVAL`.
#[must_use]
pub fn native(text: &str) -> Cow<'_, OsStr> {
    match text_as_name(text) {
        Some(Cow::Borrowed(name)) => Cow::Borrowed(OsStr::from_bytes(name)),
        Some(Cow::Owned(name)) => Cow::Owned(std::os::unix::ffi::OsStringExt::from_vec(name)),
        None => Cow::Borrowed(OsStr::from_bytes(b"\0")),
    }
}

fn has_escape(text: &str) -> bool {
    text.contains('\\') && text.as_bytes().windows(4).any(|four| escaped(four).is_some())
}

/// The byte that an escape at the beginning stands for: one that is no ASCII, or the backslash.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = *text else { return None };
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let byte = digit(high)? << 4 | digit(low)?;
    (byte >= 0x80 || byte == b'\\').then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_text_of_its_own_that_leads_back_to_it() {
        let parts: [&[u8]; 9] =
            [b"a", b"\\", b"\\x5c", b"\\xff", b"\xff", b"x", b"5c", "\u{fc}".as_bytes(), b"\xc3"];
        let mut texts = std::collections::HashMap::new();
        for n in 0..9usize.pow(4) {
            let name: Vec<u8> = (0..4).flat_map(|at| parts[n / 9usize.pow(at) % 9].iter().copied()).collect();
            let text = name_as_text(&name).into_owned();
            assert_eq!(text_as_name(&text).as_deref(), Some(&*name), "{text}");
            assert_eq!(native(&text).as_bytes(), name);
            let other = texts.insert(text, name.clone());
            assert!(other.is_none_or(|other| other == name));
        }
    }

    #[test]
    fn ordinary_names_are_their_own_texts() {
        for name in ["a", "gr\u{fc}n \\", "C:\\x\\y", "\\x41", "\\xFF", "\\x5", "a\\"] {
            assert_eq!(name_as_text(name.as_bytes()), name);
            assert_eq!(text_as_name(name).as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(name_as_text(b"a\xffb\\xff"), "a\\xffb\\x5cxff");
    }

    #[test]
    fn what_is_no_text_of_a_name_stands_for_nothing() {
        for text in ["\\x5c", "\\x5ca", "\\xc3\\xbc", "\\x5cx41"] {
            assert_eq!(text_as_name(text), None, "{text}");
            assert_eq!(native(text).as_bytes(), b"\0");
        }
    }
}
