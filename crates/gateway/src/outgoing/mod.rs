//! A look at what is about to leave: secrets and personal data in every encoding, passages of what the session has read, values
//! that are registered.

pub(crate) mod chosen;
mod column;
mod findings;
pub(crate) mod history;
mod looker;
mod open_directories;
mod personal;
mod pieces;
pub(crate) mod recent_requests;
pub(crate) mod redirects;
pub(crate) mod secrets;
mod slots;
pub(crate) mod undo;
mod varying;

use std::collections::HashSet;

use chaperone_inspect::outgoing::{Outgoing, Part, StreamLook, WHOLE, columns};
use chaperone_inspect::{Finding, Spot};

use crate::body::BufferedBody;
use chosen::Chosen;
pub(crate) use findings::OutboundFindings;
use findings::{of, to_findings};
use history::Messages;
use recent_requests::RecentRequests;
use secrets::Secrets;
use slots::{Kind, Slot, VARYING, Values};

/// Places of names that are looked at each by itself, from the domain on, besides the first: with it and the whole as many as are looked
/// at of one request, in two readings.
const MOST_LABELS: usize = 2;

/// Look at a whole request.
pub(crate) fn inspect_request(
    outgoing: &Outgoing,
    secrets: &Secrets,
    head: &Chosen<'_>,
    body: &BufferedBody,
) -> std::io::Result<OutboundFindings> {
    secrets.settle();
    let known = secrets.known().read();
    let whole = if body.len <= WHOLE as u64 { body.read()? } else { Vec::new() };
    let mut found = OutboundFindings::default();
    let undone = if body.len > 0 { undo(head, &whole, body.len, &mut found) } else { None };
    let is_short = undone.as_ref().is_some_and(|undone| undone.len() <= WHOLE);
    let mut parts = head.parts();
    // What was found in it is not counted again where its coding is seen through.
    for bytes in undone.iter().filter(|_| is_short).chain([&whole]).filter(|bytes| !bytes.is_empty()) {
        parts.push(Part { spot: Spot::Body, bytes, content_type: head.content_type });
    }
    found.extend(to_findings(&known, outgoing.look(&parts, &of(&known))));
    let said = undone.as_ref().filter(|_| is_short).unwrap_or(&whole);
    let found_whole: HashSet<u64> = found.findings.iter().flat_map(|f| f.values.iter().copied()).collect();
    if let Some(values) = personal::short_values(said) {
        for stretch in values.chunks(personal::TOGETHER) {
            found.findings.extend(personal::across(outgoing, stretch, &found_whole));
        }
        // The fields of a form in parts; those of others are read as one with the body.
        if personal::fields(said).is_some() {
            let seen =
                outgoing.look_at_pieces(&[values.get(..personal::TOGETHER).unwrap_or(&values)], &of(&known));
            found.extend(to_findings(&known, seen));
        }
    }
    for column in head.columns().into_iter().chain(columns(said)).filter(|column| column.values.len() > 1) {
        column::look(outgoing, &known, column, &found_whole, &mut found);
    }
    if let Some(long) = undone.as_ref().filter(|_| !is_short) {
        let mut look = StreamLook::new(outgoing, Spot::Body, head.content_type, of(&known));
        look.feed(long);
        found.extend(to_findings(&known, look.finish()));
    }
    if body.len > WHOLE as u64 {
        let mut look = StreamLook::new(outgoing, Spot::Body, head.content_type, of(&known));
        body.pieces(|piece| look.feed(piece))?;
        found.extend(to_findings(&known, look.finish()));
    }
    Ok(found)
}

/// What a body says without its coding; what cannot be undone is said to be unread.
fn undo(head: &Chosen<'_>, whole: &[u8], length: u64, found: &mut OutboundFindings) -> Option<Vec<u8>> {
    if head.codings.is_none() || length > WHOLE as u64 && head.codings.is_streamed() {
        return None;
    }
    let undone = match length > WHOLE as u64 {
        true => Err("it is too long to undo its content coding"),
        false => head.codings.undo(whole),
    };
    undone.unwrap_or_else(|why| {
        found.unread.push(format!("{}: {why}", Spot::Body));
        None
    })
}

/// Look at messages of one conversation; values that are cut into several are found too, also over conversations with the same
/// recipient. `codes` are the numbers beside them.
pub(crate) fn inspect_messages(
    outgoing: &Outgoing,
    secrets: &Secrets,
    recent: &RecentRequests,
    to: &str,
    (said, codes): (Option<&Messages>, Vec<u8>),
) -> OutboundFindings {
    secrets.settle();
    let (before, newest) = said.map(Messages::split).unwrap_or_default();
    let mut found = {
        let known = secrets.known().read();
        to_findings(&known, outgoing.look_at_messages(&before, &newest, &of(&known)))
    };
    let slots = [newest.concat(), codes].into_iter().zip(0..);
    let slots = slots.map(|(bytes, id)| Slot { id, kind: Kind::Message, in_target: false, bytes });
    let slots: Vec<Slot> = slots.filter(|s| !s.bytes.is_empty() && s.bytes.len() <= VARYING).collect();
    if !slots.is_empty() {
        recent.look(
            outgoing,
            secrets,
            to,
            Values { main: Vec::new(), slots, ..Values::default() },
            &mut found,
        );
    }
    found
}

/// Whether a name that is asked for, by itself or with those before it, holds a key or a registered value. Other passages do not count:
/// names stand in files, too.
pub(crate) fn name_carries(
    outgoing: &Outgoing,
    secrets: &Secrets,
    recent: &RecentRequests,
    domain: &str,
    name: &str,
) -> bool {
    secrets.settle();
    let below = name.strip_suffix(domain).unwrap_or(name).trim_end_matches('.');
    if below.is_empty() {
        return false;
    }
    let part = Part { spot: Spot::DnsLabel, bytes: below.as_bytes(), content_type: None };
    let mut found = {
        let known = secrets.known().read();
        to_findings(&known, outgoing.look(&[part], &of(&known)))
    };
    let values = Values { main: Vec::new(), slots: labels(below), ..Values::default() };
    recent.look(outgoing, secrets, &format!("names below {domain}"), values, &mut found);
    let is_key = |f: &Finding| f.category == "secret" && f.confidence >= 0.5;
    !found.registered.is_empty() || found.has_read_secret || found.findings.iter().any(is_key)
}

/// What stands in a name below its domain, as one, and at each place of it: beside pieces there may stand a number each time. No letter
/// case of a key arrives, so that each is read in both.
fn labels(below: &str) -> Vec<Slot> {
    let all: Vec<&str> = below.split('.').filter(|label| !label.is_empty()).collect();
    let mut texts = vec![below];
    if let [first, rest @ ..] = all.as_slice()
        && !rest.is_empty()
    {
        texts.extend(rest.iter().rev().take(MOST_LABELS));
        texts.push(first);
    }
    let slots = texts.into_iter().zip(0..).flat_map(|(text, at)| {
        let text = text.replace(['.', '-'], "");
        [(2 * at, text.to_ascii_lowercase()), (2 * at + 1, text.to_ascii_uppercase())]
    });
    slots
        .map(|(id, text)| Slot { id, kind: Kind::Label, in_target: false, bytes: text.into_bytes() })
        .collect()
}

#[cfg(test)]
mod tests;
