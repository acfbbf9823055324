//! Small requests to one host, inspected together: each of them says nothing, together they may.

mod in_order;
mod place;

use std::collections::{HashMap, HashSet};

use chaperone_inspect::outgoing::{Covered, Outgoing, Progress, said};
use parking_lot::Mutex;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::findings::{OutboundFindings, inspect_parts};
use super::looker::{Looker, Passages};
use super::personal;
use super::pieces::Stream;
use super::secrets::Secrets;
use super::slots::{Kind, Main, PIECE, Slot, Values};
use super::varying::number;
use place::{Last, Next, Place, TOGETHER_IN_SLOT, decoded, words};

/// Bytes and pieces of one host that are inspected together.
const TOGETHER: usize = 16 << 10;
/// Slots of one request that are inspected with those before them, each by itself; what is in the others is in the stream of all.
const MOST_CHANGED: usize = 8;
/// Slots and hosts whose pieces are kept. Protects memory.
const MOST_SLOTS: usize = 64;
const MOST_HOSTS: usize = 64;
/// Slots whose last value is known. Protects memory.
const MOST_LAST: usize = 2_048;

/// Values that were found whole and are known. Protects memory.
const MOST_WHOLE: usize = 4_096;

/// What was sent to each host last in small requests: each of them says nothing, together they may.
#[derive(Debug, Default)]
pub(crate) struct RecentRequests(Mutex<HashMap<String, HostRequests>>);

#[derive(Debug, Default)]
struct HostRequests {
    main: Stream,
    /// All values of queries, headers and cookies.
    values: Stream,
    names: Stream,
    /// All of paths, and the names of queries, as they are and as what each says.
    paths: Stream,
    said: Stream,
    slots: HashMap<u64, Place>,
    /// Words of the names of headers, so that those that come anew are told.
    words: HashSet<u64>,
    /// What was in each slot last: what stays as it is says nothing new.
    last: HashMap<u64, Last>,
    /// Personal data that was found where it stood.
    whole: HashSet<u64>,
    /// What of values that are known was there lately, in pieces.
    registered: Covered,
    read: Covered,
    /// How far texts that were read have come, piece after piece; and the same of the letters that numbers stand for.
    in_order: Progress,
    /// The same where what stands in a body comes before what stands in the head of its request.
    in_order_body_first: Progress,
    codes: Codes,
    /// When it was last used, in requests.
    used: u64,
}

impl RecentRequests {
    /// Look at the values of a small request together with those before it. What it adds to a passage, a key or a registered value
    /// is found in it.
    pub fn look(
        &self,
        outgoing: &Outgoing,
        secrets: &Secrets,
        host: &str,
        mut values: Values,
        outbound: &mut OutboundFindings,
    ) {
        let mut hosts = self.0.lock();
        let now = hosts.values().map(|h| h.used).max().unwrap_or(0) + 1;
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            let oldest = hosts.iter().min_by_key(|(_, h)| h.used).map(|(host, _)| host.clone());
            oldest.and_then(|host| hosts.remove(&host));
        }
        let recent = hosts.entry(host.to_owned()).or_default();
        recent.used = now;
        if recent.whole.len() > MOST_WHOLE {
            recent.whole.clear();
        }
        recent.whole.extend(outbound.findings.iter().flat_map(|f| f.values.iter().copied()));
        let whole = std::mem::take(&mut recent.whole);
        let with = Looker { outgoing, secrets, whole: &whole };
        recent.scattered(&values, &with, outbound);
        // What was judged where it stands is not gone on from by a request that happens to share a few letters with it: of a short one
        // alone a next piece may come.
        let (in_head, in_body) = match outbound.passages.is_empty() {
            true => (HashSet::new(), false),
            false => values.holding(|bytes| with.holds_passage(bytes)),
        };
        if in_body {
            values.slots.retain(|slot| slot.kind != Kind::Body || slot.bytes.len() <= PIECE);
            if !values.main_in_target && !with.holds_passage(&values.main) {
                values.main.clear();
            }
        }
        let in_main = recent.main(values.main, (values.main_is, values.main_in_target), &with, outbound);
        let mut changed = recent.changed(values.slots);
        let long = Slot { id: 0, kind: Kind::Body, in_target: false, bytes: values.long };
        let is_judged = |slot: &&Slot| {
            in_head.contains(&slot.id) || in_body && matches!(slot.kind, Kind::Body | Kind::Word)
        };
        let slots = changed.iter().map(|(slot, _)| slot).chain([&long]).filter(|slot| !is_judged(slot));
        recent.in_order(slots, &with, outbound);
        // A key was judged where it stands.
        changed.retain(|(slot, _)| !with.holds_secret(&slot.bytes));
        let ids: Vec<u64> = changed.iter().map(|(slot, _)| slot.id).collect();
        if recent.slots(changed, &with, outbound) || in_main {
            // It may not arrive, so that the same would be new again.
            recent.last.retain(|id, _| !ids.contains(id));
        }
        recent.whole = whole;
    }
}

/// Letters that numbers stand for: they are looked at nowhere else.
#[derive(Debug)]
struct Codes(Progress);

impl Default for Codes {
    fn default() -> Self {
        Self(Progress::judging_whole())
    }
}

impl HostRequests {
    /// Look for pieces of values that are known, wherever in a request they stand.
    fn scattered(&mut self, values: &Values, with: &Looker<'_>, outbound: &mut OutboundFindings) {
        if with.secrets.has_none_in_pieces() {
            return;
        }
        let sent = values.slots.iter().map(|slot| slot.bytes.as_slice()).chain([values.main.as_slice()]);
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for text in sent {
            texts.push(text.to_vec());
            if text.contains(&b'%') {
                texts.push(percent_decode(text).collect());
            }
            if text.len() <= PIECE {
                texts.extend(words(text).filter_map(decoded));
            }
        }
        // What is there whole was judged where it stands, and in the coding in which it stands there.
        texts.retain(|text| !with.holds_known(text));
        // Signs of the value itself may stand in its piece.
        let short = texts.iter().filter(|text| text.len() <= PIECE);
        let alone = short.map(|text| text.iter().copied().filter(u8::is_ascii_alphanumeric).collect());
        let alone: Vec<Vec<u8>> = alone.collect();
        texts.extend(alone);
        let texts = || texts.iter().map(Vec::as_slice);
        let known = with.secrets.known().read();
        let source = |id: u32| known.sources.get(id as usize).cloned().unwrap_or_default();
        let registered = known.registered_in_pieces.look(texts(), &mut self.registered);
        let read = known.values_in_pieces.look(texts(), &mut self.read);
        if outbound.registered.is_empty() {
            outbound.registered.extend(registered.into_iter().map(source));
        }
        outbound.has_read_secret |= !read.is_empty();
        if outbound.passages.is_empty() {
            outbound.passages.extend(read.into_iter().map(source));
        }
    }

    fn main(
        &mut self,
        main: Vec<u8>,
        (main_is, in_target): (Main, bool),
        with: &Looker<'_>,
        outbound: &mut OutboundFindings,
    ) -> bool {
        // What holds a key was judged where it stands, and is no piece of what comes after it.
        if main.is_empty() || main.len() > PIECE || with.holds_secret(&main) {
            return false;
        }
        self.main.begin();
        self.main.in_target = in_target;
        self.main.push(values(&main), TOGETHER);
        let look = |pieces: &[&[u8]]| inspect_parts(with.outgoing, with.secrets, pieces);
        let passages = match main_is {
            Main::Value => Passages::All,
            Main::Name => Passages::AllOfNames,
            Main::Word => Passages::Noted,
        };
        with.add(&mut self.main, look, passages, outbound)
    }

    /// The slots that hold something else than last time, or the next of several pieces that are the same.
    fn changed(&mut self, slots: Vec<Slot>) -> Vec<(Slot, Next)> {
        if self.last.len() > MOST_LAST {
            self.last.clear();
        }
        let next = slots.into_iter().map(|slot| {
            let next = self.last.entry(slot.id).or_default().next(number(&slot.bytes));
            // A number that is cut into pieces may have the same digits twice.
            let is_number = slot.kind != Kind::Label && slot.bytes.iter().all(u8::is_ascii_digit);
            (slot, if is_number && next == Next::Same { Next::Other { repeated: 0 } } else { next })
        });
        next.filter(|(_, next)| *next != Next::Same).collect()
    }

    fn slots(
        &mut self,
        changed: Vec<(Slot, Next)>,
        with: &Looker<'_>,
        outbound: &mut OutboundFindings,
    ) -> bool {
        let (mut has_values, mut has_names, mut has_paths, mut has_said) = (false, false, false, false);
        let mut found = false;
        for stream in [&mut self.values, &mut self.names, &mut self.paths, &mut self.said] {
            stream.begin();
        }
        for (at, (slot, next)) in changed.into_iter().enumerate() {
            match slot.kind {
                _ if next == Next::Again => {}
                Kind::Name => {
                    let fresh = self.fresh_words(&slot.bytes);
                    has_names |= !fresh.is_empty();
                    for text in fresh.iter().filter_map(|word| decoded(word)) {
                        has_said = true;
                        self.said.push(text, TOGETHER);
                    }
                    self.names.push(fresh.concat().to_ascii_uppercase(), TOGETHER_IN_SLOT);
                    continue;
                }
                Kind::Value => {
                    has_values = true;
                    self.values.in_target |= slot.in_target;
                    self.values.push(slot.bytes.clone(), TOGETHER);
                }
                Kind::Path => {
                    has_paths = true;
                    self.paths.in_target |= slot.in_target;
                    self.paths.push(slot.bytes.clone(), TOGETHER_IN_SLOT);
                }
                Kind::Message | Kind::Word | Kind::Body | Kind::Label => {}
            }
            let used = self.used;
            if self.slots.len() >= MOST_SLOTS && !self.slots.contains_key(&slot.id) {
                let oldest = self.slots.iter().min_by_key(|(_, s)| s.used).map(|(id, _)| *id);
                oldest.and_then(|id| self.slots.remove(&id));
            }
            let place = self.slots.entry(slot.id).or_default();
            place.used = used;
            let is_looked_at = at < MOST_CHANGED;
            let passages = Passages::of(slot.kind);
            if is_looked_at && slot.bytes.len() <= PIECE {
                found |= place.look_again(&slot, next, passages, with, outbound);
            }
            if next == Next::Again {
                continue;
            }
            let several = said(&slot.bytes).filter(|_| slot.kind == Kind::Path);
            // Names of packages hold none of these signs.
            let is_record = slot.kind == Kind::Path && slot.bytes.iter().any(|b| b",;|=\"'() ".contains(b));
            let (kind, in_target, is_short) = (slot.kind, slot.in_target, slot.bytes.len() <= PIECE);
            let fresh = place.push(slot, next);
            let in_parts = if is_record { Passages::All } else { passages };
            if is_looked_at && is_short && kind != Kind::Body && !self.main.ends_with(&place.whole) {
                found |= with.look(&mut place.whole, passages, outbound);
            }
            if is_looked_at && fresh.is_part {
                found |= place.look_at_parts(fresh.several, in_parts, with, outbound);
            }
            if kind == Kind::Label {
                continue;
            }
            if is_looked_at && fresh.said.is_some() {
                found |= with.look(&mut place.said, Passages::All, outbound);
            }
            if let Some(text) = several.or(fresh.said) {
                has_said = true;
                self.said.in_target |= in_target;
                self.said.push(text, TOGETHER);
            }
        }
        if has_values && !self.main.ends_with(&self.values) {
            found |= with.look(&mut self.values, Passages::All, outbound);
        }
        if has_names {
            found |= with.look(&mut self.names, Passages::All, outbound);
        }
        if has_paths {
            found |= with.look(&mut self.paths, Passages::Decoded, outbound);
        }
        if has_said {
            found |= with.look(&mut self.said, Passages::All, outbound);
        }
        found
    }
}

impl HostRequests {
    /// The words of the name of a header that no name had before.
    fn fresh_words(&mut self, name: &[u8]) -> Vec<Vec<u8>> {
        if self.words.len() > MOST_LAST {
            self.words.clear();
        }
        let words = name.split(|b| *b == b'-').filter(|word| !word.is_empty());
        let fresh = words.filter(|word| self.words.insert(number(word)));
        fresh.map(<[u8]>::to_vec).collect()
    }
}

/// The values of a document, of markup, a form or a query, without the names that stand between them; anything else as it is.
fn values(piece: &[u8]) -> Vec<u8> {
    fn strings(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::String(text) => out.extend_from_slice(text.as_bytes()),
            Value::Array(items) => items.iter().for_each(|v| strings(v, out)),
            Value::Object(fields) => fields.values().for_each(|v| strings(v, out)),
            _ => {}
        }
    }
    if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(piece) {
        let mut out = Vec::new();
        strings(&document, &mut out);
        return out;
    }
    if let Some(fields) = personal::fields(piece) {
        return fields.concat();
    }
    if piece.trim_ascii_start().starts_with(b"<") {
        let texts = piece
            .split(|b| *b == b'<')
            .filter_map(|tag| tag.iter().position(|b| *b == b'>').map(|end| (tag, end + 1)));
        return texts.filter_map(|(tag, from)| tag.get(from..)).collect::<Vec<_>>().concat();
    }
    let is_name = |name: &[u8]| name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-[]".contains(b));
    let pairs: Vec<&[u8]> = piece.split(|b| *b == b'&').collect();
    let mut out = Vec::with_capacity(piece.len());
    for pair in pairs {
        match pair.iter().position(|b| *b == b'=') {
            Some(at) if is_name(pair.get(..at).unwrap_or_default()) => {
                out.extend_from_slice(pair.get(at + 1..).unwrap_or_default());
            }
            _ => return piece.to_vec(),
        }
    }
    String::from_utf8(out)
        .map_or_else(|e| e.into_bytes(), |text| text.replace("%20", " ").replace('+', " ").into_bytes())
}

#[cfg(test)]
mod tests;
