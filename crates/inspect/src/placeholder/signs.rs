//! Whether a file may hold placeholders, before anybody looks for them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::IN_BASE64;
use crate::extract::needs_a_parser;

/// The word of every placeholder, in the letters that others share in base64 as well.
const WORD: &[u8] = b"REDACTED";
/// Bytes that are read together, and those that tell what a file is.
const BLOCK: usize = 64 * 1024;
const HEAD: usize = 4096;

/// What there is of placeholders in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    None,
    /// Their word is in it.
    Plain,
    /// What it says does not stand in its bytes.
    Packed,
}

impl Signs {
    /// # Errors
    /// When the file cannot be read.
    pub fn of(file: &File, name: &str) -> io::Result<Self> {
        // As it stands, in two and four bytes a letter, and in base64 at each place of a group.
        let wide = |bytes: usize| -> Vec<u8> {
            let letters =
                WORD.iter().flat_map(|b| std::iter::once(*b).chain(std::iter::repeat_n(0, bytes - 1)));
            letters.take((WORD.len() - 1) * bytes + 1).collect()
        };
        let (two, four) = (wide(2), wide(4));
        // What follows on the word differs.
        let in_base64 = IN_BASE64.map(|whole| whole.get(..10).unwrap_or(whole));
        let words: [&[u8]; 6] = [WORD, &two, &four, in_base64[0], in_base64[1], in_base64[2]];
        let words = words.map(memchr::memmem::Finder::new);
        let mut block = vec![0; BLOCK];
        let (mut at, mut have) = (0, 0);
        loop {
            let n = file.read_at(block.get_mut(have..).unwrap_or_default(), at)?;
            let held = block.get(..have + n).unwrap_or_default();
            if at == 0 && needs_a_parser(held.get(..HEAD).unwrap_or(held), name) {
                return Ok(Self::Packed);
            }
            if n == 0 {
                return Ok(Self::None);
            }
            if words.iter().any(|word| word.find(held).is_some()) {
                return Ok(Self::Plain);
            }
            let keep = held.len().min(4 * WORD.len());
            let from = held.len() - keep;
            block.copy_within(from..from + keep, 0);
            (at, have) = (at + n as u64, keep);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn of(bytes: &[u8], name: &str) -> Signs {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        Signs::of(&file, name).unwrap()
    }

    #[test]
    fn a_placeholder_shows_in_every_form_and_elsewhere_nothing_does() {
        let placeholder = "name: [REDACTED:us_ssn:xkdfmtbzrwqhlpgvcn]\n";
        let wide = |unit: usize| -> Vec<u8> {
            placeholder
                .bytes()
                .flat_map(|b| std::iter::once(b).chain(std::iter::repeat_n(0, unit - 1)))
                .collect()
        };
        for bytes in [placeholder.as_bytes().to_vec(), wide(2), wide(4)] {
            assert_eq!(of(&bytes, "a.txt"), Signs::Plain);
            assert_eq!(of(&[vec![b' '; BLOCK - 9], bytes].concat(), "a.txt"), Signs::Plain);
        }
        for skip in 0..3 {
            let text = format!(
                "x = \"{}\"",
                BASE64_STANDARD.encode([&b"ab"[..skip.min(2)], placeholder.as_bytes()].concat())
            );
            assert_eq!(of(text.as_bytes(), "a.py"), Signs::Plain, "{skip}");
        }
        for packed in [b"PK\x03\x04".as_slice(), b"\x1f\x8b\x08\0", b"%PDF-1.7\n", b"BZh91AY&SY"] {
            assert_eq!(of(packed, "a"), Signs::Packed);
        }
        assert_eq!(of(b"nothing", "a.txt"), Signs::None);
        assert_eq!(of(b"", "a.txt"), Signs::None);
    }
}
