//! The columns of a document: what stands at one place of each of its records. A value that is cut over records is whole in none of
//! them, nor in the document in its order, where the other fields stand between the pieces.
//!
//! Not a parser of any format: strings in quotes and numbers by the name before them (JSON, YAML, attributes, parameters of parts),
//! text between tags by the tag, fields of lines by their number.

use std::collections::HashMap;

use super::values::SHORT_VALUE;

/// Columns of one document, and bytes of one: longer ones are read so far.
const MOST: usize = 64;
const LONGEST: usize = 1 << 20;
/// Values of one document. Protects memory.
const MOST_VALUES: usize = 1 << 18;
/// Names of columns are short.
const LONGEST_NAME: usize = 64;
/// Digits of a number that may stand for a text.
const NUMBER: std::ops::RangeInclusive<usize> = 7..=310;

/// The values at one place of the records of a document, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What names the place; told apart from others, and not shown.
    pub name: Vec<u8>,
    /// Whether they are names themselves, which programs look up one after the other.
    pub is_names: bool,
    pub values: Vec<Vec<u8>>,
}

/// The columns of a document, those with one value too.
#[must_use]
pub fn columns(document: &[u8]) -> Vec<Column> {
    let mut columns = Columns::default();
    columns.quoted(document, 0);
    match document.trim_ascii_start().first() {
        Some(b'<') => columns.tags(document),
        Some(b'{' | b'[') | None => {}
        _ => columns.lines(document),
    }
    columns.list
}

/// What a whole number says when its bytes are read as text, the first of them first.
#[must_use]
pub fn text_of_number(digits: &[u8]) -> Option<Vec<u8>> {
    if !NUMBER.contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(digits.len() / 2);
    for digit in digits {
        // Least first while it grows.
        let mut carry = u32::from(digit - b'0');
        for byte in &mut bytes {
            carry += u32::from(*byte) * 10;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.reverse();
    let is_read = |b: &u8| (b' '..0x7f).contains(b) || matches!(b, b'\n' | b'\r' | b'\t');
    (bytes.len() >= 3 && bytes.iter().all(is_read)).then_some(bytes)
}

#[derive(Default)]
struct Columns {
    list: Vec<Column>,
    places: HashMap<Vec<u8>, usize>,
    lengths: Vec<usize>,
    values: usize,
}

impl Columns {
    fn add(&mut self, (kind, name): (u8, &[u8]), value: &[u8]) {
        let value = value.trim_ascii_start();
        if value.is_empty() || value.len() > SHORT_VALUE || self.values == MOST_VALUES {
            return;
        }
        let name = [&[kind], name.get(..LONGEST_NAME).unwrap_or(name)].concat();
        let at = match self.places.get(&name) {
            Some(at) => *at,
            None if self.list.len() >= MOST => return,
            None => {
                self.list.push(Column { name: name.clone(), is_names: kind == b'k', values: Vec::new() });
                self.lengths.push(0);
                self.places.insert(name, self.list.len() - 1);
                self.list.len() - 1
            }
        };
        if let (Some(column), Some(length)) = (self.list.get_mut(at), self.lengths.get_mut(at))
            && *length + value.len() <= LONGEST
        {
            *length += value.len();
            self.values += 1;
            column.values.push(value.to_vec());
        }
    }

    /// Strings and numbers behind a colon or an equals sign, by the name before it; those of a list by the name of the list.
    fn quoted(&mut self, text: &[u8], depth: usize) {
        let mut name: Vec<u8> = Vec::new();
        let mut at = 0;
        while let Some(b) = text.get(at) {
            let before = text.get(..at).unwrap_or_default();
            match b {
                b'"' => {
                    let (value, end) = string(text, at, *b);
                    at = end;
                    let next = text.get(at..).unwrap_or_default().iter().find(|b| !b.is_ascii_whitespace());
                    if next == Some(&b':') {
                        name = value.to_vec();
                        self.add((b'k', b""), value);
                        continue;
                    }
                    if let Some(own) = name_before(before) {
                        name = own.to_vec();
                    }
                    self.add((b'v', &name), value);
                    if depth == 0
                        && value.len() > SHORT_VALUE
                        && memchr::memmem::find(value, b"\\\"").is_some()
                    {
                        self.quoted(&unescaped(value), depth + 1);
                    }
                }
                b'\'' if matches!(before.trim_ascii_end().last(), Some(b':' | b'=' | b'[' | b',' | b'-')) => {
                    let (value, end) = string(text, at, *b);
                    at = end;
                    if let Some(own) = name_before(before) {
                        name = own.to_vec();
                    }
                    self.add((b'v', &name), value);
                }
                b'0'..=b'9'
                    if before.last().is_none_or(|b| matches!(b, b':' | b' ' | b'[' | b',' | b'\n')) =>
                {
                    let rest = text.get(at..).unwrap_or_default();
                    let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                    at += length;
                    let is_whole =
                        matches!(rest.get(length), None | Some(b',' | b'}' | b']' | b'\n' | b'\r' | b' '));
                    if is_whole && matches!(before.trim_ascii_end().last(), Some(b':' | b'[' | b',')) {
                        self.add((b'n', &name), rest.get(..length).unwrap_or_default());
                    }
                }
                _ => at += 1,
            }
        }
    }

    /// Text between tags, by the tag before it.
    fn tags(&mut self, text: &[u8]) {
        for piece in text.split(|b| *b == b'<').skip(1) {
            let Some(end) = memchr::memchr(b'>', piece) else { continue };
            let tag = piece.get(..end).unwrap_or_default();
            let name = tag.split(|b| b.is_ascii_whitespace() || *b == b'/').next().unwrap_or_default();
            // What stands between the two brackets of a section is text.
            let section = tag.strip_prefix(b"![CDATA[").map(|rest| rest.strip_suffix(b"]]").unwrap_or(rest));
            self.add((b't', if section.is_some() { b"!" } else { name }), section.unwrap_or_default());
            self.add((b't', name), piece.get(end + 1..).unwrap_or_default());
        }
    }

    /// Fields of lines: behind a name, or by their number where lines have as many.
    fn lines(&mut self, text: &[u8]) {
        let lines = || text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let delimiter = |by: u8| {
            let mut counts = lines().take(3).map(|line| line.iter().filter(|b| **b == by).count());
            let first = counts.next().unwrap_or(0);
            first > 0 && counts.next() == Some(first) && counts.next().is_none_or(|count| count == first)
        };
        let by = [b',', b';', b'\t', b'|'].into_iter().find(|by| delimiter(*by));
        for line in lines() {
            if let Some(by) = by {
                for (number, field) in line.split(|b| *b == by).enumerate().take(MOST) {
                    self.add((b'f', &number.to_be_bytes()), field.trim_ascii().trim_ascii_end());
                }
                continue;
            }
            let line = line.strip_prefix(b"- ").unwrap_or(line);
            let end = line.iter().position(|b| matches!(b, b':' | b'='));
            let (name, value) = match end {
                Some(end) if line.get(..end).is_some_and(is_name) => line.split_at(end),
                _ => continue,
            };
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if !value.starts_with(b"\"") && !value.starts_with(b"'") {
                self.add((b'l', name), value);
            }
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
}

/// The name that stands before a colon or an equals sign at the end of `before`, unless quotes are around it.
fn name_before(before: &[u8]) -> Option<&[u8]> {
    let before =
        before.get(before.len().saturating_sub(2 * LONGEST_NAME)..).unwrap_or_default().trim_ascii_end();
    let before = before.strip_suffix(b"=").or_else(|| before.strip_suffix(b":"))?.trim_ascii_end();
    let length = before.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b)).count();
    before.get(before.len() - length..).filter(|name| !name.is_empty())
}

/// What stands in quotes that open at `open`, and where it goes on behind them.
fn string(text: &[u8], open: usize, quote: u8) -> (&[u8], usize) {
    let mut at = open + 1;
    while let Some(b) = text.get(at) {
        match b {
            b'\\' => at += 1,
            b if *b == quote => break,
            _ => {}
        }
        at += 1;
    }
    let end = at.min(text.len());
    (text.get(open + 1..end).unwrap_or_default(), end + 1)
}

/// Without the backslashes before quotes and themselves.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match (b, bytes.peek()) {
            (b'\\', Some(b'"' | b'\\')) => out.extend(bytes.next()),
            _ => out.push(b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: [&str; 4] = ["The bran", "ch in th", "e north ", "closed"];

    #[test]
    fn pieces_are_whole_in_a_column_whatever_stands_between_them() {
        let each = |f: &dyn Fn(usize, &str) -> String, by: &str| -> String {
            PIECES.iter().enumerate().map(|(n, p)| f(n, p)).collect::<Vec<_>>().join(by)
        };
        let part = |head: &str| {
            each(&|_, p| format!("--b\r\nContent-Disposition: form-data; {head}\"{p}\"\r\n\r\nx"), "\r\n")
        };
        let calls = each(&|n, p| format!("a{n}:f(x:\\\"{p}\\\")"), " ");
        for document in [
            format!("[{}]", each(&|n, p| format!("{{\"id\":{n},\"t\":\"a\",\"v\":\"{p}\"}}"), ",")),
            each(&|n, p| format!("{{\"v\": \"{p}\", \"n\": \"{n}\"}}"), "\n"),
            format!("id,v\n{}", each(&|n, p| format!("{n},{p}"), "\n")),
            format!("id,v\n{}", each(&|n, p| format!("{n},\"{p}\""), "\n")),
            each(&|n, p| format!("- v: \"{p}\"\n  n: {n}"), "\n"),
            each(&|n, p| format!("- v: '{p}'\n  n: {n}"), "\n"),
            format!("<r>{}</r>", each(&|n, p| format!("<v n=\"{n}\" a=\"{p}\"/>"), "")),
            format!("<r>{}</r>", each(&|n, p| format!("<v>{p}</v><n>{n}</n>"), "")),
            format!("<r>{}</r>", each(&|_, p| format!("<v><![CDATA[{p}]]></v>"), "")),
            format!("{{{}}}", each(&|_, p| format!("\"{p}\": 1"), ",")),
            format!("{{\"query\": \"{{{calls}}}{}\"}}", " ".repeat(128)),
            part("name="),
            part("name=\"f\"; filename="),
        ] {
            let found = columns(document.as_bytes());
            let is_whole = found.iter().any(|c| {
                let joined = String::from_utf8(c.values.concat()).unwrap();
                joined.replace(' ', "").contains("Thebranchinthenorthclosed")
            });
            assert!(is_whole, "{document}\n{found:?}");
        }
    }

    #[test]
    fn a_number_says_what_its_bytes_say() {
        for text in ["The bran", "4539", "a long text that is one number"] {
            let number = text.bytes().fold(vec![0_u8], |digits, b| {
                let mut carry = u32::from(b);
                let mut out: Vec<u8> = digits
                    .iter()
                    .rev()
                    .map(|d| {
                        carry += u32::from(*d) * 256;
                        let digit = (carry % 10) as u8;
                        carry /= 10;
                        digit
                    })
                    .collect();
                while carry > 0 {
                    out.push((carry % 10) as u8);
                    carry /= 10;
                }
                out.reverse();
                out
            });
            let digits: Vec<u8> = number.iter().skip_while(|d| **d == 0).map(|d| d + b'0').collect();
            assert_eq!(text_of_number(&digits).as_deref(), Some(text.as_bytes()));
        }
        for other in ["", "1", "1790000000000", "12345x78"] {
            assert_eq!(text_of_number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_hostile_document_is_read_once() {
        for document in [
            "\"".repeat(200_000),
            "\\".repeat(200_000),
            "a=\"".repeat(60_000),
            "<".repeat(200_000),
            "1,".repeat(90_000),
        ] {
            let bytes: usize = columns(document.as_bytes()).iter().map(|c| c.values.concat().len()).sum();
            assert!(bytes <= document.len() * 2);
        }
    }
}
