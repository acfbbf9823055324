//! PowerPoint 97 to 2003 (MS-PPT): the texts of slides, notes and comments.

use super::shared::{DAMAGED, inflated};
use crate::extract::ExtractError;
use crate::extract::batch::Sink;
use crate::extract::loose::{four, latin, strings, two, utf16};

const TEXT_WIDE: u16 = 4000;
const TEXT_BYTES: u16 = 4008;
const STRING: u16 = 4026;
const EMBEDDED: u16 = 4113;

pub(super) fn read(
    document: &[u8],
    most: usize,
    sink: &mut Sink<'_>,
    inner: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), ExtractError> {
    let (mut at, mut text, mut held) = (0, Vec::new(), 0);
    let mut outcome = Ok(());
    while let (Some(head), Some(kind), Some(length)) =
        (two(document, at), two(document, at + 2), four(document, at + 4))
    {
        at += 8;
        // A container: what is in it comes next.
        if head & 0x0f == 0x0f {
            continue;
        }
        let end = at.saturating_add(length as usize).min(document.len());
        let data = document.get(at..end).unwrap_or_default();
        if data.len() < length as usize {
            outcome = Err(DAMAGED);
        }
        at = end;
        match kind {
            TEXT_WIDE | STRING => text.extend(lines(&utf16(data)).bytes()),
            TEXT_BYTES => text.extend(lines(&latin(data)).bytes()),
            EMBEDDED if head >> 4 == 1 => {
                let data = inflated(data.get(4..).unwrap_or_default(), most)?;
                held += data.len();
                if held > most {
                    return Err(ExtractError::Limit("the size of what is embedded"));
                }
                inner.push(("embedded".to_owned(), data));
            }
            EMBEDDED => inner.push(("embedded".to_owned(), data.to_vec())),
            _ => text.extend(strings(data)),
        }
    }
    crate::extract::text::walk(&mut &*text, sink).and(outcome)
}

fn lines(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\r' | '\u{b}') { '\n' } else { c }).chain(['\n']).collect()
}
