//! Mail: one message (RFC 5322) or a mailbox of many (RFC 4155). The whole is scanned as the text that it is; parts that are
//! encoded, and what is attached, are items of their own.

use std::io::{BufRead, BufReader, Read};

use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::batch::Sink;
use super::{ExtractError, Source, Visit};
use crate::shown::shown;

impl Visit<'_> {
    pub(super) fn mail(&mut self, source: Source<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        // The parts that are encoded are decoded below.
        let mut sink = Sink::new(self.detectors).only_as_written();
        let walked = super::text::walk(&mut source.reader(), &mut sink);
        self.note(path, &sink.tally);
        walked?;
        let mut reader = BufReader::new(source.reader());
        let (mut message, mut number, mut after_blank) = (Vec::new(), 0, true);
        loop {
            let begin = message.len();
            let n = take_line(&mut reader, &mut message, self.limits.held)?;
            let line = message.get(begin..).unwrap_or_default();
            let begins = after_blank && line.starts_with(b"From ");
            after_blank = line.trim_ascii().is_empty();
            if n == 0 || begins && begin > 0 {
                let next = message.split_off(begin);
                number += 1;
                self.message(&message, path, number, depth)?;
                message = next;
            }
            if n == 0 {
                return Ok(());
            }
        }
    }

    fn message(&mut self, bytes: &[u8], path: &str, number: u64, depth: u32) -> Result<(), ExtractError> {
        // The line that divides a mailbox is no field.
        let bytes = match bytes.strip_prefix(b"From ") {
            Some(rest) => {
                rest.get(memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1)..).unwrap_or_default()
            }
            None => bytes,
        };
        // What is no message was scanned as the text that it is.
        let Some(message) = MessageParser::default().parse(bytes) else { return Ok(()) };
        self.parts(&message, &format!("{path}!/{number}"), depth)
    }

    fn parts(&mut self, message: &Message<'_>, path: &str, depth: u32) -> Result<(), ExtractError> {
        if depth >= self.limits.depth {
            return Err(ExtractError::Limit("messages inside messages"));
        }
        for (i, part) in message.parts.iter().enumerate() {
            let (name, data): (String, &[u8]) = match &part.body {
                PartType::Multipart(_) => continue,
                PartType::Text(_) | PartType::Html(_) if is_plain(part) => continue,
                PartType::Text(text) => (named(part, i, "txt"), text.as_bytes()),
                PartType::Html(text) => (named(part, i, "html"), text.as_bytes()),
                PartType::Binary(data) | PartType::InlineBinary(data) => (named(part, i, ""), data.as_ref()),
                PartType::Message(inner) => {
                    self.parts(inner, &format!("{path}/{}", shown(&named(part, i, "eml"))), depth + 1)?;
                    continue;
                }
            };
            self.members += 1;
            if self.members > self.limits.members {
                return Err(ExtractError::Limit("members"));
            }
            self.spend(data.len() as u64)?;
            let inner = format!("{path}/{}", shown(&name));
            self.item(Source::Bytes(data), &name, &inner, depth + 1);
        }
        Ok(())
    }
}

/// Whether the text of a part stands in the message as it is read.
fn is_plain(part: &MessagePart<'_>) -> bool {
    let utf8 = part.content_type().and_then(|t| t.attribute("charset")).is_none_or(|c| {
        ["utf-8", "us-ascii", "iso-8859-1", "windows-1252"].iter().any(|known| c.eq_ignore_ascii_case(known))
    });
    part.encoding == Encoding::None && utf8
}

fn named(part: &MessagePart<'_>, number: usize, ending: &str) -> String {
    match part.attachment_name() {
        Some(name) => name.to_owned(),
        None if ending.is_empty() => format!("part-{number}"),
        None => format!("part-{number}.{ending}"),
    }
}

/// Appends the next line with its end; 0 at the end.
fn take_line(reader: &mut impl BufRead, into: &mut Vec<u8>, most: usize) -> Result<usize, ExtractError> {
    let left = most.saturating_sub(into.len()) as u64 + 1;
    let n = reader.take(left).read_until(b'\n', into)?;
    if into.len() > most { Err(ExtractError::Limit("the size of one message")) } else { Ok(n) }
}
