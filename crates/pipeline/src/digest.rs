//! What an approval signs: the exact action, down to all that the user was shown of it.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::access::AccessRequest;

/// All that an answer is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub session: &'a str,
    pub request: &'a AccessRequest,
    /// SHA-256 of the content that was inspected.
    pub content: Option<&'a [u8; 32]>,
    /// The revision of the policies.
    pub policy: &'a str,
    pub capability: Option<&'a str>,
    pub nonce: &'a [u8],
    pub expires: i64,
}

/// The digest, as it is shown and signed.
pub(crate) fn of(bound: &Bound<'_>) -> String {
    let request = bound.request;
    let bound = json!({
        "session": bound.session, "action": request.action.as_str(), "entry": request.entry.as_str(), "pid": request.pid,
        "resource": request.resource.bound(), "content": bound.content.map(hex::encode),
        "policy": bound.policy, "capability": bound.capability,
        "nonce": hex::encode(bound.nonce), "expires": bound.expires,
    });
    format!("sha256:{}", hex::encode(Sha256::digest(bound.to_string().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;

    use chaperone_capability::{Action, PermissionClaim};
    use chaperone_inspect::{Finding, Spot};
    use proptest::prelude::*;

    use crate::access::{
        ElevationResource, Entry, FileObject, FileResource, NetworkResource, ObjectKind, Resource,
        ToolResource,
    };
    use crate::network_facts::{BudgetLevel, Credential, NetworkFacts, RequestFacts};

    fn credential(own: bool) -> Credential {
        Credential { detector: "x".into(), own, place: Spot::Header("authorization".into()).into(), count: 1 }
    }

    fn of_request(request: &AccessRequest) -> String {
        let (session, policy, nonce) = ("s", "r", [0; 16].as_slice());
        of(&Bound { session, request, content: None, policy, capability: None, nonce, expires: 0 })
    }

    /// Each edit, and the request as it was, has a digest of its own.
    fn all_differ<T: Clone>(
        first: &T,
        edits: &[fn(&mut T)],
        request: impl Fn(T) -> AccessRequest,
    ) -> Result<(), TestCaseError> {
        let mut seen = HashSet::from([of_request(&request(first.clone()))]);
        for (i, edit) in edits.iter().enumerate() {
            let mut edited = first.clone();
            edit(&mut edited);
            prop_assert!(seen.insert(of_request(&request(edited))), "edit {} changes nothing", i);
        }
        Ok(())
    }

    fn a_finding(count: u64) -> Finding {
        Finding {
            detector: "email".into(),
            category: "pii".into(),
            severity: "low".into(),
            confidence: 0.5,
            certainty: chaperone_inspect::Certainty::Likely,
            count,
            distinct: count,
            place: Spot::Body.into(),
            fingerprint: None,
            sha256: [0; 32],
            values: Vec::new(),
        }
    }

    fn file_edits() -> Vec<fn(&mut FileResource)> {
        vec![
            |f| f.path.push('x'),
            |f| f.to = Some(f.to.clone().unwrap_or_default() + "x"),
            |f| f.origin = Some(f.origin.clone().unwrap_or_default() + "x"),
            |f| {
                f.object.kind =
                    if f.object.kind == ObjectKind::Dir { ObjectKind::Symlink } else { ObjectKind::Dir };
            },
            |f| f.object.dev ^= 1,
            |f| f.object.ino ^= 1,
            |f| f.object.nlink ^= 1,
            |f| f.object.size ^= 1,
            |f| f.object.mtime_ns ^= 1,
            |f| f.object.ctime_ns ^= 1,
            |f| f.object.staged ^= true,
            |f| f.content ^= true,
            |f| f.verbatim ^= true,
            |f| f.change = Some(json!({ "before": f.change })),
        ]
    }

    fn network_edits() -> Vec<fn(&mut NetworkResource)> {
        fn request(n: &mut NetworkResource) -> &mut RequestFacts {
            n.facts.request.get_or_insert_default()
        }
        vec![
            |n| n.shown.push('x'),
            |n| n.host.push('x'),
            |n| n.port ^= 1,
            |n| n.addresses.push([192, 0, 2, 7].into()),
            |n| n.method = Some(n.method.clone().unwrap_or_default() + "X"),
            |n| n.url_path = Some(n.url_path.clone().unwrap_or_default() + "x"),
            |n| n.content = Some((n.content.map_or([0; 32], |(c, _)| c.map(|b| !b)), 1)),
            |n| n.content = n.content.map_or(Some(([0; 32], 2)), |(c, bytes)| Some((c, bytes ^ 1))),
            |n| n.findings.push(a_finding(1)),
            |n| n.findings.push(a_finding(2)),
            |n| n.findings.push(Finding { sha256: [1; 32], ..a_finding(1) }),
            |n| n.sources.push("x".into()),
            |n| n.text = Some(n.text.clone().unwrap_or_default() + "x"),
            |n| n.leaves ^= true,
            |n| n.facts.allowed ^= true,
            |n| n.facts.source = Some("x".into()),
            |n| n.facts.trusted ^= true,
            |n| n.facts.reaches = Some("private"),
            |n| n.facts.named ^= true,
            |n| n.facts.budget = Some(BudgetLevel::Near),
            |n| n.facts.untrusted_recent = Some(3),
            |n| n.facts.first_contact = Some(true),
            |n| n.facts.tunnel = Some("entropy"),
            |n| n.facts.kind = Some("TXT".into()),
            |n| request(n).tls = true,
            |n| request(n).request_allowed = true,
            |n| request(n).websocket = true,
            |n| request(n).bytes = 9,
            |n| request(n).passages = 9,
            |n| request(n).read_from.push("x".into()),
            |n| request(n).registered = 9,
            |n| request(n).unread.push("x".into()),
            |n| request(n).credentials.push(credential(false)),
            |n| request(n).credentials.push(credential(true)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_field_of_a_file_changes_the_digest(
            path in ".{0,8}", to in prop::option::of(".{0,8}"), origin in prop::option::of(".{0,8}"),
            numbers in any::<[u64; 4]>(), times in any::<[i64; 2]>(), flags in any::<[bool; 3]>(),
        ) {
            let [dev, ino, nlink, size] = numbers;
            let [mtime_ns, ctime_ns] = times.map(i128::from);
            let [staged, content, verbatim] = flags;
            let object = FileObject { kind: ObjectKind::File, dev, ino, nlink, size, mtime_ns, ctime_ns, staged };
            let named = FileResource::named(path, object);
            let first = FileResource { to, origin, content, verbatim, ..named };
            all_differ(&first, &file_edits(), |file| AccessRequest {
                action: Action::Read, resource: Resource::File(file), entry: Entry::FileSystem, pid: None,
            })?;
        }

        #[test]
        fn any_field_of_what_leaves_changes_the_digest(
            host in "[a-z]{0,8}", port: u16, content in prop::option::of((any::<[u8; 32]>(), any::<u64>())),
            text in prop::option::of(".{0,8}"), sources in prop::collection::vec(".{0,4}", 0..3), leaves: bool,
        ) {
            // The first edit of the content makes it one byte long.
            let content = content.filter(|(_, bytes)| *bytes > 1);
            let facts = NetworkFacts { request: Some(RequestFacts::default()), ..NetworkFacts::default() };
            let first = NetworkResource { host, port, content, text, sources, leaves, facts, ..Default::default() };
            all_differ(&first, &network_edits(), |n| AccessRequest::network(Action::Request, n))?;
        }
    }

    #[test]
    fn any_field_of_a_tool_an_elevation_and_the_request_itself_changes_the_digest() {
        let tool = |name, byte| Resource::Tool(ToolResource { name, arguments: [byte; 32] });
        let first = ElevationResource {
            subject: "a".into(),
            wish: "b".into(),
            facts: json!(1),
            permissions: vec![PermissionClaim::path(Action::Read, "/workspace/a")],
            seconds: 60,
            justification: "c".into(),
        };
        let wish = |edit: fn(&mut ElevationResource)| {
            let mut wish = first.clone();
            edit(&mut wish);
            Resource::Elevation(wish)
        };
        let request =
            |action, resource, entry, pid| of_request(&AccessRequest { action, resource, entry, pid });
        let digests = [
            request(Action::Tool, tool("a", 1), Entry::Rpc, None),
            request(Action::Tool, tool("b", 1), Entry::Rpc, None),
            request(Action::Tool, tool("a", 2), Entry::Rpc, None),
            request(Action::Read, tool("a", 1), Entry::Rpc, None),
            request(Action::Tool, tool("a", 1), Entry::Network, None),
            request(Action::Tool, tool("a", 1), Entry::Rpc, Some(1)),
            request(Action::Elevate, wish(|_| ()), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.subject.push('x')), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.wish.push('x')), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.facts = json!(2)), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.permissions.clear()), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.seconds += 1), Entry::Rpc, None),
            request(Action::Elevate, wish(|w| w.justification.push('x')), Entry::Rpc, None),
        ];
        assert_eq!(HashSet::from(digests.clone()).len(), digests.len());
    }

    #[test]
    fn whatever_else_an_answer_is_bound_to_changes_the_digest() {
        let request = AccessRequest::file(Entry::Rpc, Action::Read, "/a".into(), FileObject::ABSENT);
        let content = [1; 32];
        let first = Bound {
            session: "s",
            request: &request,
            content: None,
            policy: "r",
            capability: None,
            nonce: &[0],
            expires: 0,
        };
        let digests = [
            of(&first),
            of(&Bound { session: "t", ..first }),
            of(&Bound { content: Some(&content), ..first }),
            of(&Bound { policy: "t", ..first }),
            of(&Bound { capability: Some("c"), ..first }),
            of(&Bound { nonce: &[1], ..first }),
            of(&Bound { expires: 1, ..first }),
        ];
        assert_eq!(HashSet::from(digests.clone()).len(), digests.len());
    }
}
