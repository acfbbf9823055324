//! Pieces of a text that was read, one after the other, whatever stands between them.

use chaperone_inspect::outgoing::{Hit, said};
use percent_encoding::percent_decode;

use super::super::findings::OutboundFindings;
use super::super::looker::Looker;
use super::super::slots::{Kind, Slot};
use super::HostRequests;
use super::place::{decoded, words};

impl HostRequests {
    /// Look whether a text that was read goes on in what is new in this request.
    pub(super) fn in_order<'s>(
        &mut self,
        fresh: impl Iterator<Item = &'s Slot> + Clone,
        with: &Looker<'_>,
        outbound: &mut OutboundFindings,
    ) {
        let known = with.secrets.known().read();
        if known.in_order.is_empty() {
            return;
        }
        let body = fresh.clone().find(|slot| slot.kind == Kind::Body).map(|slot| &slot.bytes);
        let is_told = |slot: &&'s Slot| {
            let is_again = slot.kind == Kind::Word && body.is_some_and(|body| body.starts_with(&slot.bytes));
            slot.kind != Kind::Label && !is_again
        };
        let of_body = |slot: &Slot| matches!(slot.kind, Kind::Body | Kind::Word);
        let told = fresh.filter(is_told).map(|slot| (slot, texts(slot)));
        let (in_body, in_head): (Vec<_>, Vec<_>) = told.partition(|(slot, _)| of_body(slot));
        // Whoever cuts a text into pieces puts one into either, in turn.
        let mut found = |hits: Vec<Hit>, slot: &Slot| {
            for hit in hits {
                let source = known.sources.get(hit.source_id as usize).cloned().unwrap_or_default();
                if !outbound.passages.contains(&source) {
                    outbound.passages.push(source);
                }
                outbound.in_target |= slot.in_target;
            }
        };
        for (slot, texts) in in_head.iter().chain(&in_body) {
            let codes: Vec<Vec<u8>> = texts.iter().take(1).map(|text| letters_of_codes(text)).collect();
            let mut hits = known.in_order.look(texts.iter().map(Vec::as_slice), &mut self.in_order);
            hits.extend(known.in_order.look(codes.iter().map(Vec::as_slice), &mut self.codes.0));
            found(hits, slot);
        }
        for (slot, texts) in in_body.iter().chain(&in_head) {
            found(known.in_order.look(texts.iter().map(Vec::as_slice), &mut self.in_order_body_first), slot);
        }
    }
}

/// What a slot says, and what its words say, decoded. Lists of packages are read and then asked for one by one, so that plain names of
/// paths and headers say nothing.
fn texts(slot: &Slot) -> Vec<Vec<u8>> {
    let value: Vec<u8> = percent_decode(&slot.bytes).collect();
    if matches!(slot.kind, Kind::Path | Kind::Name) {
        return said(&slot.bytes).into_iter().collect();
    }
    let parts = words(&value).flat_map(|word| word.split(|b| *b == b'.'));
    let parts = parts.map(|part| part.strip_prefix(b"0x").unwrap_or(part));
    let mut texts: Vec<Vec<u8>> = parts.filter_map(decoded).collect();
    texts.insert(0, value);
    texts
}

/// The letters and digits that numbers stand for.
fn letters_of_codes(text: &[u8]) -> Vec<u8> {
    let numbers = text.split(|b| !b.is_ascii_digit()).filter(|digits| (2..=3).contains(&digits.len()));
    let codes = numbers.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse::<u8>().ok());
    codes.filter(u8::is_ascii_alphanumeric).collect()
}
