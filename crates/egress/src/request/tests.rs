use super::*;
use proptest::prelude::*;

/// The facts of a request head, parsed as a server would, over TLS to `api.example.com`.
fn facts(head: &str) -> Result<RequestFacts, BadRequest> {
    let mut slots = [httparse::EMPTY_HEADER; 300];
    let mut request = httparse::Request::new(&mut slots);
    let text = format!("{head}\r\n\r\n");
    assert!(request.parse(text.as_bytes()).expect("a head that parses").is_complete());
    let mut headers = HeaderMap::new();
    for header in request.headers.iter() {
        let value = http::HeaderValue::from_bytes(header.value).unwrap();
        headers.append(header.name.parse::<HeaderName>().unwrap(), value);
    }
    let connection = Connection { host: Some(Host::parse("api.example.com").unwrap()), port: 443, tls: true };
    let method = request.method.unwrap().parse().unwrap();
    RequestFacts::of(&method, &request.path.unwrap().parse().unwrap(), &headers, connection)
}

/// The facts with these lines behind a usual head.
fn with(lines: &str) -> Result<RequestFacts, BadRequest> {
    facts(&format!("POST /v1/a HTTP/1.1\r\nHost: api.example.com\r\n{lines}"))
}

#[test]
fn the_facts_of_a_usual_request() {
    let facts = facts("GET /v1/./users/%7Eme?q=%2e%2e HTTP/1.1\r\nHost: API.example.com.:443\r\nAccept: */*")
        .unwrap();
    assert_eq!(facts.host.to_string(), "api.example.com");
    assert_eq!((facts.method.as_str(), facts.port, facts.tls), ("GET", 443, true));
    assert_eq!((facts.path.as_str(), facts.query.as_deref()), ("/v1/users/~me", Some("q=%2e%2e")));
    assert_eq!(facts.target(), "/v1/users/~me?q=%2e%2e");
    assert!(facts.path_changed && !facts.mismatch && !facts.websocket);
    assert_eq!(facts.body, Body::Unstated);
}

#[test]
fn a_host_other_than_the_connections_is_a_mismatch() {
    let mismatch = |head: &str| facts(head).map(|f| f.mismatch);
    assert_eq!(mismatch("GET / HTTP/1.1\r\nHost: api.example.com"), Ok(false));
    assert_eq!(mismatch("GET / HTTP/1.1\r\nHost: evil.example.com"), Ok(true));
    assert_eq!(mismatch("GET / HTTP/1.1\r\nHost: api.example.com:8443"), Ok(true));
    assert_eq!(mismatch("GET https://evil.example.com/ HTTP/1.1\r\nHost: evil.example.com"), Ok(true));
    assert_eq!(mismatch("GET / HTTP/1.1\r\nHost: 127.1"), Ok(true));
}

#[test]
fn a_request_names_one_host() {
    for (head, error) in [
        ("GET / HTTP/1.1\r\nAccept: a", BadRequest::NoHost),
        ("GET / HTTP/1.1\r\nHost: ", BadRequest::NoHost),
        ("GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: api.example.com", BadRequest::ManyHosts),
        ("GET / HTTP/1.1\r\nHost: api.example.com\r\nhost: evil.com", BadRequest::ManyHosts),
        ("GET https://evil.com/ HTTP/1.1\r\nHost: api.example.com", BadRequest::ManyHosts),
        ("GET https://api.example.com:8443/ HTTP/1.1\r\nHost: api.example.com:443", BadRequest::ManyHosts),
        ("GET https://u@api.example.com/ HTTP/1.1\r\nHost: api.example.com", BadRequest::UserInfo),
        ("GET / HTTP/1.1\r\nHost: api.example.com@evil.com", BadRequest::UserInfo),
        ("GET / HTTP/1.1\r\nHost: api.example.com, evil.com", BadRequest::Host(HostError::Character)),
        ("GET / HTTP/1.1\r\nHost: api.example.com evil.com", BadRequest::Host(HostError::Character)),
        ("GET / HTTP/1.1\r\nHost: api.example.com/evil", BadRequest::Host(HostError::Character)),
        ("GET / HTTP/1.1\r\nHost: api%2eexample.com", BadRequest::Host(HostError::Character)),
        ("GET / HTTP/1.1\r\nHost: api.example.com:", BadRequest::Port),
        ("GET / HTTP/1.1\r\nHost: api.example.com:0", BadRequest::Port),
        ("GET / HTTP/1.1\r\nHost: api.example.com:+443", BadRequest::Port),
        ("GET / HTTP/1.1\r\nHost: api.example.com:65536", BadRequest::Port),
        ("GET / HTTP/1.1\r\nHost: api.example.com:443:443", BadRequest::Host(HostError::NotIpv6)),
        ("GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com", BadRequest::Scheme),
        ("GET ftp://api.example.com/ HTTP/1.1\r\nHost: api.example.com", BadRequest::Scheme),
    ] {
        assert_eq!(facts(head), Err(error), "{head}");
    }
    assert!(facts("GET https://API.example.com/a HTTP/1.1\r\nHost: api.example.com:443").is_ok());
}

#[test]
fn what_smuggles_a_second_request_is_refused() {
    for (lines, error) in [
        ("Content-Length: 5\r\nContent-Length: 6", BadRequest::ContentLength),
        ("Content-Length: 5, 6", BadRequest::ContentLength),
        ("Content-Length: +5", BadRequest::ContentLength),
        ("Content-Length: 0x5", BadRequest::ContentLength),
        ("Content-Length: 5 5", BadRequest::ContentLength),
        ("Content-Length: ", BadRequest::ContentLength),
        ("Content-Length: -1", BadRequest::ContentLength),
        ("Content-Length: 99999999999999999999", BadRequest::ContentLength),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", BadRequest::TwoLengths),
        ("Transfer-Encoding: gzip, chunked", BadRequest::TransferEncoding),
        ("Transfer-Encoding: identity", BadRequest::TransferEncoding),
        ("Transfer-Encoding: xchunked", BadRequest::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"", BadRequest::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadRequest::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", BadRequest::TransferEncoding),
        ("Content_Length: 5", BadRequest::Override),
        ("Transfer_Encoding: chunked", BadRequest::Override),
        ("Connection: Host", BadRequest::Connection),
        ("Connection: close, Content-Length", BadRequest::Connection),
        ("Connection: close\r\nConnection: authorization", BadRequest::Connection),
        ("Connection: cl\u{e9}", BadRequest::Connection),
        ("Upgrade: h2c\r\nUpgrade: h2c\r\nConnection: upgrade", BadRequest::Upgrade),
        ("Upgrade: TLS/1.0\r\nConnection: upgrade", BadRequest::Upgrade),
        ("Upgrade: websocket\r\nConnection: upgrade", BadRequest::Upgrade),
        ("X-HTTP-Method-Override: DELETE", BadRequest::Override),
        ("X-Original-URL: /admin", BadRequest::Override),
        ("X_HTTP_METHOD_OVERRIDE: DELETE", BadRequest::Override),
        ("X_Original_URL: /admin", BadRequest::Override),
        ("X_Forwarded_Host: admin.internal", BadRequest::Override),
        ("X-HTTP-Host-Override: admin.internal", BadRequest::Override),
        ("X-Forwarded-Uri: /admin", BadRequest::Override),
        ("X-Forwarded-Prefix: /admin", BadRequest::Override),
        ("Forwarded: for=1.2.3.4;host=admin.internal", BadRequest::Override),
    ] {
        assert_eq!(with(lines), Err(error), "{lines}");
    }
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 5").unwrap().body, Body::Length(5));
    assert_eq!(with("Transfer-Encoding: Chunked").unwrap().body, Body::Chunked);
    for method in ["CONNECT", "TRACE", "TRACK", "trace"] {
        let head = format!("{method} /a HTTP/1.1\r\nHost: api.example.com");
        assert_eq!(facts(&head), Err(BadRequest::Method));
    }
    let many = (0..MAX_HEADERS).map(|n| format!("A{n}: b\r\n")).collect::<String>();
    assert_eq!(with(many.trim_end()), Err(BadRequest::TooLarge));
}

#[test]
fn a_websocket_is_asked_for_properly() {
    let ask = |lines: &str| {
        facts(&format!("GET /ws HTTP/1.1\r\nHost: api.example.com\r\n{lines}")).map(|f| f.websocket)
    };
    assert_eq!(ask("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade"), Ok(true));
    assert_eq!(ask("Upgrade: websocket"), Err(BadRequest::Upgrade));
    assert_eq!(ask("Upgrade: websocket, h2c\r\nConnection: Upgrade"), Err(BadRequest::Upgrade));
    assert_eq!(
        ask("Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5"),
        Err(BadRequest::Upgrade)
    );
    assert_eq!(ask("Connection: Upgrade"), Ok(false));
    assert_eq!(
        ask("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
        Ok(false)
    );
}

#[test]
fn paths_are_judged_in_one_spelling() {
    let path = |p: &str| facts(&format!("GET {p} HTTP/1.1\r\nHost: api.example.com")).map(|f| f.path);
    assert_eq!(path("/a/%2e%2e/b"), Ok("/b".into()));
    assert_eq!(path("/v1/..%2f..%2fadmin"), Err(BadRequest::Path(PathError::HiddenDots)));
    assert_eq!(path("/a%0d%0aHost:%20evil"), Err(BadRequest::Path(PathError::Character)));
    assert_eq!(facts("OPTIONS * HTTP/1.1\r\nHost: api.example.com").map(|f| f.path), Ok("*".into()));
    assert_eq!(path("*"), Err(BadRequest::Path(PathError::NotAbsolute)));
}

#[test]
fn what_concerns_one_connection_is_not_forwarded() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, X-Private"),
        ("keep-alive", "5"),
        ("x-private", "a"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "secret"),
        ("proxy-connection", "close"),
        ("accept", "a"),
        ("authorization", "b"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    strip_for_forwarding(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept", "authorization"]);
}

proptest! {
    #[test]
    fn any_headers_are_read_without_a_panic(
        names in proptest::collection::vec(0usize..8, 0..6), values in proptest::collection::vec("\\PC{0,20}", 6),
        target in "/[!-~]{0,30}",
    ) {
        let known = ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "x-a", "expect"];
        let mut headers = HeaderMap::new();
        for (name, value) in names.iter().zip(&values) {
            if let Ok(value) = http::HeaderValue::from_str(value) {
                headers.append(known[*name], value);
            }
        }
        if let Ok(uri) = target.parse() {
            let over = Connection { host: None, port: 80, tls: false };
            if let Ok(facts) = RequestFacts::of(&Method::GET, &uri, &headers, over) {
                prop_assert!(!facts.mismatch);
                prop_assert_eq!(path::normalise(&facts.path), Ok(facts.path.clone()));
            }
        }
        strip_for_forwarding(&mut headers);
        prop_assert!(!headers.contains_key("transfer-encoding"));
    }
}
