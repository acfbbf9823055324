//! The objects of PDF (ISO 32000-1, 7.3), read from bytes that may be anything: bounded in depth, in number and in work.

use std::collections::BTreeMap;

/// Arrays and dictionaries in one another; a deeper one is not followed.
const DEEPEST: u32 = 48;

/// Keys without their slash, in no particular order.
pub(super) type Dict = BTreeMap<Vec<u8>, Value>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Number(f64),
    String(Vec<u8>),
    Name(Vec<u8>),
    Array(Vec<Value>),
    Dict(Dict),
    /// Of an object of this number.
    Reference(u32),
    /// A word: an operator of a content stream, `true`, `endobj`, a bracket that closes nothing.
    Word(Vec<u8>),
}

impl Value {
    pub(super) fn name(&self) -> &[u8] {
        if let Self::Name(name) = self { name } else { &[] }
    }

    pub(super) fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A whole number that is not negative.
    pub(super) fn whole(&self) -> Option<usize> {
        self.number().filter(|n| (0.0..=4e9).contains(n)).map(|n| n as usize)
    }

    pub(super) fn dict(&self) -> Option<&Dict> {
        if let Self::Dict(dict) = self { Some(dict) } else { None }
    }

    /// The elements of an array; anything else is one element.
    pub(super) fn list(&self) -> &[Value] {
        if let Self::Array(list) = self { list } else { std::slice::from_ref(self) }
    }
}

/// Reads values one after the other.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    pub(super) data: &'a [u8],
    pub(super) at: usize,
    /// Values that may still be made; protects memory and time.
    left: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(data: &'a [u8], at: usize, most: usize) -> Self {
        Self { data, at, left: most }
    }

    pub(super) fn byte(&self, ahead: usize) -> Option<u8> {
        self.data.get(self.at + ahead).copied()
    }

    /// The next value; nothing at the end, or where the limit is reached.
    pub(super) fn value(&mut self) -> Option<Value> {
        self.nested(0)
    }

    fn nested(&mut self, depth: u32) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        self.skip_blanks();
        let byte = self.byte(0)?;
        match byte {
            b'(' => Some(Value::String(self.literal())),
            b'<' if self.byte(1) == Some(b'<') => {
                self.at += 2;
                self.dictionary(depth)
            }
            b'<' => Some(Value::String(self.hex())),
            b'/' => {
                self.at += 1;
                Some(Value::Name(self.name()))
            }
            b'[' => {
                self.at += 1;
                self.array(depth)
            }
            b'>' if self.byte(1) == Some(b'>') => self.taken(2),
            b']' | b'>' | b')' | b'{' | b'}' => self.taken(1),
            b'+' | b'-' | b'.' | b'0'..=b'9' => Some(self.number_or_reference()),
            _ => Some(Value::Word(self.regular().to_vec())),
        }
    }

    fn taken(&mut self, length: usize) -> Option<Value> {
        let word = self.data.get(self.at..self.at + length)?.to_vec();
        self.at += length;
        Some(Value::Word(word))
    }

    fn array(&mut self, depth: u32) -> Option<Value> {
        if depth >= DEEPEST {
            return None;
        }
        let mut list = Vec::new();
        loop {
            match self.nested(depth + 1)? {
                Value::Word(word) if word == b"]" => return Some(Value::Array(list)),
                Value::Word(word) if word == b"endobj" || word == b"endstream" => {
                    return Some(Value::Array(list));
                }
                value => list.push(value),
            }
        }
    }

    fn dictionary(&mut self, depth: u32) -> Option<Value> {
        if depth >= DEEPEST {
            return None;
        }
        let mut dict = Dict::new();
        loop {
            match self.nested(depth + 1)? {
                Value::Name(key) => {
                    let before = self.at;
                    match self.nested(depth + 1)? {
                        Value::Word(word) if word == b">>" || word == b"endobj" => {
                            self.at = before;
                        }
                        value => drop(dict.insert(key, value)),
                    }
                }
                Value::Word(word) if word == b">>" => return Some(Value::Dict(dict)),
                Value::Word(word) if word == b"endobj" || word == b"stream" => {
                    self.at -= word.len();
                    return Some(Value::Dict(dict));
                }
                _ => {}
            }
        }
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(byte) = self.byte(0) {
            match byte {
                0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ' => self.at += 1,
                b'%' => {
                    let rest = self.data.get(self.at..).unwrap_or_default();
                    self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Bytes up to the next blank or delimiter, one at least.
    fn regular(&mut self) -> &'a [u8] {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|b| is_regular(**b)).count().max(1);
        self.at += length;
        rest.get(..length).unwrap_or(rest)
    }

    fn name(&mut self) -> Vec<u8> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|b| is_regular(**b)).count();
        self.at += length;
        let raw = rest.get(..length).unwrap_or_default();
        let mut name = Vec::with_capacity(length);
        let mut bytes = raw.iter().enumerate();
        while let Some((i, byte)) = bytes.next() {
            match (byte, raw.get(i + 1).and_then(digit), raw.get(i + 2).and_then(digit)) {
                (b'#', Some(high), Some(low)) => {
                    name.push(high << 4 | low);
                    bytes.nth(1);
                }
                _ => name.push(*byte),
            }
        }
        name
    }

    fn number_or_reference(&mut self) -> Value {
        let number = self.number();
        let whole = number.fract() == 0.0 && (0.0..=8_388_607.0).contains(&number);
        if !whole {
            return Value::Number(number);
        }
        // `12 0 R`: a look ahead of few bytes.
        let rest = self.data.get(self.at..).unwrap_or_default();
        let rest = rest.get(..16).unwrap_or(rest);
        let blanks = |s: &[u8]| s.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let first = blanks(rest);
        let digits = rest.get(first..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
        let second = blanks(rest.get(first + digits..).unwrap_or_default());
        let end = first + digits + second;
        let after = rest.get(end + 1).is_none_or(|b| !is_regular(*b));
        if first > 0 && digits > 0 && second > 0 && rest.get(end) == Some(&b'R') && after {
            self.at += end + 1;
            return Value::Reference(number as u32);
        }
        Value::Number(number)
    }

    fn number(&mut self) -> f64 {
        let (mut value, mut scale, mut negative) = (0.0, 0.0, false);
        while let Some(byte) = self.byte(0) {
            match byte {
                b'-' => negative = true,
                b'+' => {}
                b'.' if scale == 0.0 => scale = 1.0,
                b'0'..=b'9' if scale > 0.0 => {
                    scale /= 10.0;
                    value += f64::from(byte - b'0') * scale;
                }
                b'0'..=b'9' => value = value * 10.0 + f64::from(byte - b'0'),
                _ => break,
            }
            self.at += 1;
        }
        if negative { -value } else { value }
    }

    fn literal(&mut self) -> Vec<u8> {
        let (mut out, mut depth) = (Vec::new(), 1u32);
        self.at += 1;
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            match byte {
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    self.escape(&mut out);
                    continue;
                }
                _ => {}
            }
            out.push(byte);
        }
        out
    }

    fn escape(&mut self, out: &mut Vec<u8>) {
        let Some(byte) = self.byte(0) else { return };
        self.at += 1;
        match byte {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'\r' => self.at += usize::from(self.byte(0) == Some(b'\n')),
            b'\n' => {}
            b'0'..=b'7' => {
                let mut code = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some(more @ b'0'..=b'7') = self.byte(0) else { break };
                    code = code << 3 | u32::from(more - b'0');
                    self.at += 1;
                }
                out.push(code as u8);
            }
            other => out.push(other),
        }
    }

    fn hex(&mut self) -> Vec<u8> {
        self.at += 1;
        let (mut out, mut high) = (Vec::new(), None);
        while let Some(byte) = self.byte(0) {
            self.at += 1;
            if byte == b'>' {
                break;
            }
            let Some(low) = digit(&byte) else { continue };
            match high.take() {
                Some(high) => out.push(high << 4 | low),
                None => high = Some(low),
            }
        }
        out.extend(high.map(|h: u8| h << 4));
        out
    }
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).map(|d| d as u8)
}

fn is_regular(byte: u8) -> bool {
    !matches!(
        byte,
        0 | b'\t'
            | b'\n'
            | 0x0c
            | b'\r'
            | b' '
            | b'('
            | b')'
            | b'<'
            | b'>'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'/'
            | b'%'
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Lexer, Value};

    fn read(text: &str) -> Value {
        Lexer::new(text.as_bytes(), 0, 1_000).value().unwrap()
    }

    #[test]
    fn values_are_read_as_the_standard_writes_them() {
        assert_eq!(
            read(
                r"(a\(b\) (c) \061\
2)"
            ),
            Value::String(b"a(b) (c) 12".to_vec())
        );
        assert_eq!(read("<41 4>"), Value::String(b"A@".to_vec()));
        assert_eq!(read("/A#42C"), Value::Name(b"ABC".to_vec()));
        assert_eq!(read("-.5"), Value::Number(-0.5));
        let dict = read("<< /A 12 0 R /B [1 2 R true] % x\n /C << /D (e) >> >>");
        let dict = dict.dict().unwrap();
        assert_eq!(dict[&b"A"[..]], Value::Reference(12));
        assert_eq!(dict[&b"B"[..]].list().len(), 2);
        assert_eq!(dict[&b"C"[..]].dict().unwrap().len(), 1);
    }

    #[test]
    fn what_never_ends_ends() {
        for hostile in ["[".repeat(100_000), "<</A".repeat(100_000), "(".repeat(100_000), "<".repeat(9)] {
            let _ = Lexer::new(hostile.as_bytes(), 0, 1_000_000).value();
        }
    }
}
