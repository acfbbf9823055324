//! Small requests to one host, inspected together: each of them says nothing, together they may.

use std::collections::{HashMap, VecDeque};

use chaperone_inspect::Finding;
use chaperone_inspect::outgoing::Outgoing;
use parking_lot::Mutex;
use serde_json::Value;

use super::secrets::Secrets;
use super::{OutboundFindings, inspect_parts, to_findings};

/// Longest body that counts as a piece of something longer.
pub(crate) const PIECE: usize = 1 << 10;
/// Bytes and pieces of one host that are inspected together.
const TOGETHER: usize = 16 << 10;
const MOST_PIECES: usize = 1_024;
/// Hosts whose pieces are kept. Protects memory.
const MOST_HOSTS: usize = 256;

/// What was sent to each host last in small requests: each of them says nothing, together they may.
#[derive(Debug, Default)]
pub(crate) struct RecentRequests(Mutex<HashMap<String, HostRequests>>);

#[derive(Debug, Default)]
struct HostRequests {
    /// Those that were refused, too: the next one would go on where they ended.
    pieces: VecDeque<Vec<u8>>,
    /// What was found in them before the newest came.
    found: u64,
}

impl RecentRequests {
    /// Look at a small request together with those before it. What it adds to a passage, a key or a registered value is
    /// found in it.
    pub fn look(
        &self,
        outgoing: &Outgoing,
        secrets: &Secrets,
        host: &str,
        piece: &[u8],
        outbound: &mut OutboundFindings,
    ) {
        if piece.is_empty() || piece.len() > PIECE {
            return;
        }
        let mut hosts = self.0.lock();
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            hosts.clear();
        }
        let recent = hosts.entry(host.to_owned()).or_default();
        recent.pieces.push_back(values(piece));
        while recent.pieces.len() > MOST_PIECES
            || recent.pieces.iter().map(Vec::len).sum::<usize>() > TOGETHER
        {
            recent.pieces.pop_front();
        }
        let all: Vec<&[u8]> = recent.pieces.iter().map(Vec::as_slice).collect();
        let seen = inspect_parts(outgoing, secrets, &all);
        // Digits of two requests make no card number; a key or a passage is one however it was cut.
        let is_joined = |place: &str| place.contains("joined");
        let secret = seen.findings.iter().filter(|f| f.category == "secret" && is_joined(&f.where_));
        let registered = seen.registered.iter().filter(|r| is_joined(&r.where_));
        let passages = seen.passages.iter().map(|p| p.hit.matched_bytes);
        let found = passages.sum::<u64>()
            + secret.clone().map(|f| f.count).sum::<u64>()
            + registered.map(|r| r.hit.count).sum::<u64>();
        let is_more = found > recent.found;
        recent.found = found;
        if is_more && outbound.passages.is_empty() && outbound.registered.is_empty() {
            let secret: Vec<Finding> = secret.cloned().collect();
            let seen = to_findings(&secrets.known().read(), seen);
            outbound.findings.extend(secret);
            outbound.passages.extend(seen.passages);
            outbound.registered.extend(seen.registered);
        }
    }
}

/// The values of a document, a form or a query, without the names that stand between them; anything else as it is.
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
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::*;
    use chaperone_inspect::Detectors;

    #[test]
    fn small_requests_are_looked_at_together() {
        let outgoing = Outgoing::new(Detectors::builtin().unwrap());
        let secrets = Secrets::new().unwrap();
        let passage = b"The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been made before the strike at the port and was never brought up to date.";
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(passage, 0).unwrap();
        secrets.remember("/workspace/a", &Arc::new(file), ([1; 32], passage.len() as u64));
        let caught = |pieces: &[String]| {
            let known = RecentRequests::default();
            let is_caught = |piece: &String| {
                let mut found = OutboundFindings::default();
                known.look(&outgoing, &secrets, "a.example", piece.as_bytes(), &mut found);
                !found.passages.is_empty()
            };
            pieces.iter().filter(|p| is_caught(p)).count()
        };
        let text = std::str::from_utf8(passage).unwrap();
        let cut = |length: usize, before: &str, after: &str| -> Vec<String> {
            let pieces = passage.chunks(length).map(|p| std::str::from_utf8(p).unwrap());
            pieces.map(|p| format!("{before}{p}{after}")).collect()
        };
        assert_eq!(caught(&[text.to_owned()]), 1);
        for pieces in [cut(8, "", ""), cut(16, "", ""), cut(8, "{\"note\":\"", "\"}"), cut(8, "note=", "")] {
            let count = caught(&pieces);
            assert!(count * 2 >= pieces.len(), "{count} of {}: {}", pieces.len(), pieces[0]);
        }
        let pings: Vec<String> = (0..200).map(|n| format!("{{\"id\":{n},\"method\":\"ping\"}}")).collect();
        assert_eq!(caught(&pings), 0);
    }

    #[test]
    fn of_documents_forms_and_queries_the_values_alone_are_joined() {
        for (piece, expected) in [
            (&b"{\"a\":\"one\",\"b\":[\"two\",3]}"[..], "onetwo"),
            (b"a=one&b=two", "onetwo"),
            (b"a=one+two%20three", "one two three"),
            (b"just text", "just text"),
            (b"not a name=x", "not a name=x"),
        ] {
            assert_eq!(String::from_utf8(values(piece)).unwrap(), expected);
        }
    }
}
