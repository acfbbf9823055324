//! UTF-16 and UTF-32, read as UTF-8.

use std::io::{self, Read, Write};

use super::pulled::Pulled;

/// Bytes read at a time.
const BLOCK: usize = 16 * 1024;

/// UTF-16 read as UTF-8. Lone surrogates become U+FFFD.
pub(crate) fn utf16(inner: &mut dyn Read, big_endian: bool) -> impl Read {
    let (mut bytes, mut begun) = (Vec::new(), false);
    let unit = move |p: &[u8; 2]| if big_endian { u16::from_be_bytes(*p) } else { u16::from_le_bytes(*p) };
    Pulled::new(move |ready| {
        let mut block = [0; BLOCK];
        while ready.is_empty() {
            let n = inner.read(&mut block)?;
            bytes.extend_from_slice(block.get(..n).unwrap_or_default());
            let mut units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(unit).collect();
            let split = n > 0 && units.last().is_some_and(|u| (0xd800..0xdc00).contains(u));
            if split {
                units.pop();
            }
            let used = units.len() * 2;
            if !begun && units.first() == Some(&0xfeff) {
                units.remove(0);
                begun = true;
            }
            ready.extend(
                char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect::<String>().bytes(),
            );
            bytes.drain(..used);
            if n == 0 {
                bytes.clear();
                break;
            }
        }
        Ok(())
    })
}

/// UTF-32 read as UTF-8. What is no character becomes U+FFFD.
pub(crate) fn utf32(inner: &mut dyn Read, big_endian: bool) -> impl Read {
    let mut bytes = Vec::new();
    let code = move |p: &[u8; 4]| if big_endian { u32::from_be_bytes(*p) } else { u32::from_le_bytes(*p) };
    Pulled::new(move |ready| {
        let mut block = [0; BLOCK];
        while ready.is_empty() {
            let n = inner.read(&mut block)?;
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(block.get(..n).unwrap_or_default());
            let (units, _) = bytes.as_chunks::<4>();
            let used = units.len() * 4;
            let character = |unit| char::from_u32(code(unit)).unwrap_or('\u{fffd}');
            let text: String = units.iter().map(character).filter(|c| *c != '\u{feff}').collect();
            ready.extend_from_slice(text.as_bytes());
            bytes.drain(..used);
        }
        Ok(())
    })
}

/// The way back; begins with the byte order mark when the text did.
pub(crate) struct Utf16Writer<'a> {
    inner: &'a mut dyn Write,
    big_endian: bool,
    rest: Vec<u8>,
    begun: bool,
}

impl<'a> Utf16Writer<'a> {
    pub(crate) fn new(inner: &'a mut dyn Write, big_endian: bool, marked: bool) -> Utf16Writer<'a> {
        Utf16Writer { inner, big_endian, rest: Vec::new(), begun: !marked }
    }
}

impl Write for Utf16Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let valid = match std::str::from_utf8(&self.rest) {
            Ok(s) => s.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let text = std::str::from_utf8(self.rest.get(..valid).unwrap_or_default()).unwrap_or_default();
        let mark = if self.begun { "" } else { "\u{feff}" };
        self.begun = true;
        let coded: Vec<u8> = mark
            .encode_utf16()
            .chain(text.encode_utf16())
            .flat_map(|u| if self.big_endian { u.to_be_bytes() } else { u.to_le_bytes() })
            .collect();
        self.inner.write_all(&coded)?;
        self.rest.drain(..valid);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
