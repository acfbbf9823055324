//! Pieces of a value that stand at one place of each record of a document, or in all places of one kind of a head.

use std::collections::HashSet;

use chaperone_inspect::outgoing::{Column, Outgoing, said, text_of_number};

use super::findings::{OutboundFindings, of, to_findings};
use super::personal;
use super::secrets::KnownHere;

/// Longer values hold a whole number, on average in bytes.
const SHORT: usize = 32;

/// Look at the values of a column as if they were one, and at what each says by itself. `whole` as in [`personal::across`].
pub(super) fn look(
    outgoing: &Outgoing,
    known: &KnownHere,
    column: Column,
    whole: &HashSet<u64>,
    found: &mut OutboundFindings,
) {
    let Column { values, is_names, .. } = column;
    // The same in nearly every record is no piece.
    let changes = values.windows(2).filter(|pair| matches!(pair, [a, b] if a != b)).count();
    if changes == 0 || changes * 8 < values.len() {
        return;
    }
    let read: Vec<u8> =
        values.iter().filter_map(|v| text_of_number(v).or_else(|| said(v))).flatten().collect();
    let number = values.len();
    let several_words = values.iter().filter(|v| v.contains(&b' ')).count() * 4 > number;
    let joined = values.concat();
    let is_short = joined.len() <= number * SHORT;
    for (text, counts) in [(joined, !is_names || several_words), (read, true)] {
        if text.is_empty() {
            continue;
        }
        let mut seen = outgoing.look_at_pieces(&[&text], &of(known));
        // Lists of names are read, and then asked for.
        seen.passages.retain(|passage| counts || passage.place.is_joined_and_decoded());
        found.extend(to_findings(known, seen));
        for stretch in text.chunks(personal::TOGETHER).filter(|_| is_short) {
            found.findings.extend(personal::across(outgoing, stretch, whole));
        }
    }
}
