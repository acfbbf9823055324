//! Any bytes as the head of an HTTP request. The first byte chooses the connection: TLS (bit 0), a known name (bit 1).
//! What has facts has them in one spelling, and the forwarded form has the same facts.
#![no_main]

use chaperone_egress::request::{Connection, RequestFacts, strip_for_forwarding};
use chaperone_egress::{Host, PathGlob, normalise};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let Some((method, uri, mut headers)) = parse(bytes) else { return };
    let over = Connection {
        host: (choice & 2 != 0).then(|| Host::parse("api.example.com").expect("a host")),
        port: 443,
        tls: choice & 1 != 0,
    };
    if let Ok(facts) = RequestFacts::of(&method, &uri, &headers, over.clone()) {
        assert_eq!(Host::parse(&facts.host.to_string()).as_ref(), Ok(&facts.host));
        assert!(facts.mismatch || over.host.as_ref().is_none_or(|h| *h == facts.host), "fronting");
        if facts.path != "*" {
            assert_eq!(normalise(&facts.path).as_ref(), Ok(&facts.path));
            assert!(!facts.path.split('/').any(|s| s == "." || s == ".."));
            assert!(PathGlob::parse("/*").expect("a pattern").matches(&facts.path));
        }
        let target: Uri = facts.target().parse().expect("the forwarded target parses");
        if target.authority().is_none() {
            let mut again = HeaderMap::new();
            again.insert("host", facts.host.to_string().parse().expect("a host is a header value"));
            let again = RequestFacts::of(&method, &target, &again, over).expect("the forwarded form is good");
            assert_eq!((&again.path, &again.query, &again.host), (&facts.path, &facts.query, &facts.host));
            assert!(!again.path_changed);
        }
    }
    strip_for_forwarding(&mut headers);
    for name in ["connection", "transfer-encoding", "upgrade", "te", "keep-alive", "proxy-authorization"] {
        assert!(!headers.contains_key(name));
    }
});

/// The head as a server's parser reads it.
fn parse(bytes: &[u8]) -> Option<(Method, Uri, HeaderMap)> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut slots);
    if !request.parse(bytes).ok()?.is_complete() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some((request.method?.parse().ok()?, request.path?.parse().ok()?, headers))
}
