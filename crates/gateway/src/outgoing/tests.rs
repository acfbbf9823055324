use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chaperone_inspect::Detectors;
use http::HeaderMap;

const TOKEN: &str = "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo";

fn look(secrets: &Secrets, method: &str, target: &str, sent: &[(&str, &str)]) -> OutboundFindings {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let mut head = http::Request::new(()).into_parts().0;
    (head.method, head.headers) = (method.parse().unwrap(), headers);
    let chosen = Chosen::of(&head, target);
    inspect_request(&outgoing, secrets, &chosen, &BufferedBody::of(Vec::new())).unwrap()
}

#[test]
fn a_secret_in_a_credentials_place_is_told_apart() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let look = |name: &str| look(&secrets, "GET", "/", &[(name, &bearer)]);
    let in_its_place = look("authorization");
    assert!(in_its_place.findings.is_empty());
    assert_eq!(in_its_place.credentials[0].detector, "github_token");
    assert!(!in_its_place.credentials[0].own);
    let elsewhere = look("x-note");
    assert!(elsewhere.findings.iter().any(|f| f.category == "secret"), "only where credentials belong");
    secrets.register(TOKEN);
    assert!(look("authorization").credentials[0].own);
}

#[test]
fn what_leaves_in_a_name_or_a_method_is_found_and_not_written_down() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    secrets.register("Kq7-Unusual-Value-Of-Theirs");
    for (method, headers) in [
        ("GET", &[("x-ssn-237-82-2033", "1")][..]),
        ("GET", &[("x-akiaq3egrvhbdy2t5lzx", "1")]),
        ("GET", &[("x-akia-q3eg-rvhb-dy2t-5lzx", "1")]),
        ("GET", &[("kq7-unusual-value-of-theirs", "1")]),
        ("GET", &[("x-akiaq3egrvhbdy2t5lzx", TOKEN)]),
        ("GET", &[("names-akiaq3egrvhbdy2t5lzx", TOKEN)]),
        ("AKIAQ3EGRVHBDY2T5LZX", &[]),
        ("akia-q3eg-rvhb-dy2t-5lzx", &[]),
        ("Kq7-Unusual-Value-Of-Theirs", &[]),
    ] {
        let found = look(&secrets, method, "/", headers);
        assert!(!found.findings.is_empty() || !found.registered.is_empty(), "{method} {headers:?}");
        assert_eq!(found.in_method, method != "GET", "{method}");
        let told = format!("{:?}", found.findings).to_lowercase();
        assert!(!told.contains("q3eg") && !told.contains("237-82") && !told.contains("kq7"), "{told}");
    }
}

/// What a header is called says nothing of what else the request is.
#[test]
fn a_header_is_mistaken_for_no_other_part() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    for name in
        ["names", "names-of-mine", "body", "method", "message", "url", "query", "joined", "authorization-x"]
    {
        let note = TOKEN.replace('8', "9");
        let found = look(&secrets, "GET", "/", &[(name, TOKEN), ("x-note", &note)]);
        let mut told: Vec<String> = found.findings.iter().map(|f| f.place.to_string()).collect();
        told.sort();
        let mut all = [format!("header {name}"), "header x-note".to_owned()];
        all.sort();
        assert_eq!(told, all);
        assert!(!found.in_target && !found.in_method && found.credentials.is_empty(), "{name}");
    }
}

#[test]
fn the_values_of_one_request_are_read_as_one() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let (a, b, c) = (&TOKEN[..13], &TOKEN[13..26], &TOKEN[26..]);
    let cookies = format!("a={a}; b={b}; c={c}");
    let query = format!("/x?a={a}");
    for (target, headers) in [
        ("/", vec![("cookie", &*cookies)]),
        ("/", vec![("x-a", a), ("x-b", b), ("x-c", c)]),
        ("/", vec![("x-a", a), ("cookie", b), ("if-none-match", c)]),
        (&*query, vec![("x-a", b), ("x-b", c)]),
        ("/", vec![("authorization", a), ("x-api-key", b), ("user-agent", c)]),
    ] {
        let found = look(&secrets, "GET", target, &headers);
        assert!(found.findings.iter().any(|f| f.category == "secret"), "{target} {headers:?}");
    }
    secrets.register("Kq7-unusual-value-of-theirs");
    let found = look(&secrets, "GET", "/", &[("x-a", "Kq7-unusual-"), ("x-b", "value-of-theirs")]);
    assert_eq!(found.registered.len(), 1);
}

/// What clients send that nobody has to be asked about.
const ORDINARY: &[(&str, &[(&str, &str)])] = &[
    (
        "/simple/requests/",
        &[
            (
                "user-agent",
                r#"pip/25.3 {"ci":null,"cpu":"x86_64","distro":{"id":"bookworm","libc":{"lib":"glibc","version":"2.36"},"name":"Debian GNU/Linux","version":"12"},"implementation":{"name":"CPython","version":"3.11.2"},"installer":{"name":"pip","version":"25.3"},"openssl_version":"OpenSSL 3.0.15 3 Sep 2024","python":"3.11.2","setuptools_version":"66.1.1","system":{"name":"Linux","release":"6.1.0-28-amd64"}}"#,
            ),
            (
                "accept",
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
            ),
            ("cache-control", "max-age=0"),
        ],
    ),
    (
        "/lodash",
        &[
            ("user-agent", "npm/10.9.2 node/v22.14.0 linux x64 workspaces/false"),
            ("npm-command", "install"),
            ("npm-session", "1d9d8a6f2b7c4e0f"),
            ("pacote-version", "19.0.1"),
            ("pacote-req-type", "packument"),
            ("pacote-pkg-id", "registry:lodash"),
            ("npm-in-ci", "false"),
            ("npm-scope", "@me"),
            ("accept", "application/json"),
            ("if-none-match", "\"a3f5c8d9e0b1a2c3d4e5f60718293a4b\""),
        ],
    ),
    (
        "/repo.git/info/refs?service=git-upload-pack",
        &[
            ("user-agent", "git/2.47.3"),
            ("git-protocol", "version=2"),
            ("pragma", "no-cache"),
            ("accept-language", "de-DE, *;q=0.9"),
        ],
    ),
    (
        "/se/rd/serde",
        &[
            ("user-agent", "cargo/1.95.0 (5c7a2b1e0 2026-03-12)"),
            ("cargo-protocol", "version=1"),
            ("if-modified-since", "Tue, 24 Nov 2026 20:31:05 GMT"),
        ],
    ),
    (
        "/search?q=weather+in+berlin&page=2",
        &[
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
            ),
            ("sec-ch-ua", r#""Chromium";v="143", "Not A(Brand";v="24""#),
            ("sec-ch-ua-mobile", "?0"),
            ("sec-ch-ua-platform", "\"Linux\""),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-user", "?1"),
            ("sec-fetch-dest", "document"),
            ("upgrade-insecure-requests", "1"),
            ("referer", "https://www.example.com/"),
            ("dnt", "1"),
            ("priority", "u=0, i"),
            (
                "cookie",
                "_ga=GA1.2.1234567890.1700000000; _gid=GA1.2.987654321.1700000001; sessionid=f3a9c1d27b8e4f60a1b2c3d4e5f60718; csrftoken=Qm9Zk3LrT8vWx2YpN6sDfGh4JkLz7XcV",
            ),
        ],
    ),
    (
        "/v1/items",
        &[
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            ("x-request-id", "7b7d0b6e-5c1f-4a0e-9d3e-2f6a1c8b9e10"),
            ("idempotency-key", "0f8fad5b-d9cb-469f-a165-70867728950e"),
            ("x-stainless-lang", "python"),
            ("x-stainless-os", "Linux"),
            ("x-stainless-runtime-version", "3.11.2"),
            ("x-stainless-retry-count", "0"),
            ("baggage", "userId=alice,serverNode=DF%2028,isProduction=false"),
            ("if-match", "W/\"5d8c72a5edda8d6a:0\""),
            ("range", "bytes=0-65535"),
        ],
    ),
    (
        "/bucket/key",
        &[
            ("x-amz-date", "20261126T014255Z"),
            ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("amz-sdk-invocation-id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
            ("amz-sdk-request", "attempt=1"),
            ("x-amz-user-agent", "aws-sdk-js/3.600.0"),
        ],
    ),
    (
        "/talk",
        &[
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "graphql-transport-ws"),
            ("origin", "https://app.example.com"),
        ],
    ),
    ("/", &[("authorization", BEARER), ("user-agent", "x/1"), ("accept", "*/*")]),
    (
        "/",
        &[
            ("authorization", "Basic dXNlcjpwYXNzd29yZDEyMw=="),
            ("x-csrf-token", "Qm9Zk3LrT8vWx2YpN6sDfGh4JkLz7XcV"),
        ],
    ),
];

const BEARER: &str =
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

#[test]
fn what_ordinary_clients_send_says_nothing() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    for (target, headers) in ORDINARY {
        let found = look(&secrets, "GET", target, headers);
        // A version of four numbers may be an address; policy lets twenty of them pass.
        let says_nothing = found.findings.iter().all(|f| f.detector == "ip_address");
        assert!(says_nothing && found.unread.is_empty(), "{target}: {found:?}");
        assert!(found.registered.is_empty() && found.passages.is_empty());
    }
}

#[test]
fn a_key_in_a_name_is_found_whole_and_in_pieces() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    secrets.register("Kq7UnusualValueOfTheirs");
    let carries = |recent: &RecentRequests, name: &str| {
        name_carries(&outgoing, &secrets, recent, "carrier.example", name)
    };
    let is_caught = |names: &[&str]| {
        let recent = RecentRequests::default();
        names.iter().any(|name| carries(&recent, &format!("{name}.carrier.example")))
    };
    assert!(is_caught(&["akiaq3egrvhbdy2t5lzx"]));
    assert!(is_caught(&["kq7unusualvalueoftheirs"]));
    assert!(is_caught(&["kq7unusual.value-of.theirs"]), "over labels");
    assert!(is_caught(&["kq7unusual", "value", "oftheirs"]), "over names");
    assert!(is_caught(&["x0.kq7unusual", "x1.value", "x2.oftheirs"]), "beside a number");
    assert!(is_caught(&["kq7unusual.x0", "value.x1", "oftheirs.x2"]), "before a number");
    assert!(is_caught(&["x0.akiaq", "x1.3egrv", "x2.hbdy2", "x3.t5lzx"]), "a key beside a number");
    assert!(is_caught(&["akiaq.x0", "3egrv.x1", "hbdy2.x2", "t5lzx.x3"]), "a key before a number");
    assert!(is_caught(&["akiaq", "3egrv", "hbdy2", "t5lzx"]), "a key over names");
    assert!(!is_caught(&["", "www", "cdn-7.eu-west-1", "d111111abcdef8", "api", "static", "www"]));
}

#[test]
fn an_own_key_that_is_lent_to_the_agent_stays_in_its_place() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    secrets.register(TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    let found = look(&secrets, "GET", "/user", &[("authorization", &bearer), ("user-agent", "gh/2.60")]);
    assert!(found.findings.is_empty() && found.registered.is_empty(), "{found:?}");
    for headers in [[("accept-language", TOKEN)], [("x-note", &*bearer)], [("cache-control", &*bearer)]] {
        assert_eq!(look(&secrets, "GET", "/", &headers).registered.len(), 1, "{headers:?}");
    }
}

#[test]
fn the_fields_of_one_body_are_read_as_one() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let people = "name Anna Kovacs, card 4111111111111111 name Bert Smit, card 5500005555555559 ".repeat(40);
    let key = format!("the token is {TOKEN}");
    let found = |body: String| {
        let head = http::Request::new(()).into_parts().0;
        let found = inspect_request(
            &outgoing,
            &secrets,
            &Chosen::of(&head, "/"),
            &BufferedBody::of(body.into_bytes()),
        );
        let found = found.unwrap();
        let has = |category: &str| found.findings.iter().any(|f| f.category == category);
        (has("pii"), has("secret"))
    };
    let pieces = |text: &str, size: usize| -> Vec<String> {
        text.as_bytes().chunks(size).map(|p| String::from_utf8(p.to_vec()).unwrap()).collect()
    };
    for size in [4, 12] {
        for (text, expected) in [(people.as_str(), (true, false)), (&key, (false, true))] {
            let parts = |head: &str| -> String {
                let parts = pieces(text, size).into_iter().enumerate();
                let parts: String =
                    parts.map(|(n, p)| format!("--b\r\n{head}; name=\"d{n}\"\r\n\r\n{p}\r\n")).collect();
                parts + "--b--\r\n"
            };
            let form: Vec<String> = pieces(text, size)
                .iter()
                .enumerate()
                .map(|(n, p)| format!("k{n}={}", p.replace(' ', "+")))
                .collect();
            let json = serde_json::to_string(&pieces(text, size)).unwrap();
            assert_eq!(found(parts("Content-Disposition: form-data")), expected, "in parts of {size}");
            assert_eq!(found(form.join("&")).0, expected.0, "a form of {size}");
            assert_eq!(found(json).0, expected.0, "JSON of {size}");
        }
    }
    let documents = (0..400u32).map(|n| serde_json::json!({ "id": n, "version": format!("{}.{}.{n}", n % 7, n % 13),
        "date": format!("2026-11-{:02}", n % 28 + 1), "sum": format!("{:08x}", n.wrapping_mul(0x9E37_79B9)), "count": n * 4111 }));
    let documents: Vec<_> = documents.collect();
    assert_eq!(found(serde_json::to_string(&documents).unwrap()), (false, false));
}

#[test]
fn a_body_in_a_coding_is_looked_into_or_said_to_be_unread() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let look = |coding: Option<&str>, body: &[u8]| {
        let mut head = http::Request::post("/").body(()).unwrap().into_parts().0;
        if let Some(coding) = coding {
            head.headers.insert("content-encoding", coding.parse().unwrap());
        }
        let body = BufferedBody::of(body.to_vec());
        inspect_request(&outgoing, &secrets, &Chosen::of(&head, "/"), &body).unwrap()
    };
    let text = format!("{{\"token\": \"{TOKEN}\"}}");
    let zstd =
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let found = look(Some("zstd"), &zstd);
    assert!(found.findings.iter().any(|f| f.category == "secret"), "{found:?}");
    assert!(found.unread.is_empty(), "{found:?}");
    for (coding, body) in [("br", text.as_bytes()), ("foo", b"x"), ("zstd, foo", &zstd), ("gzip", &zstd)] {
        let unread = look(Some(coding), body).unread;
        assert!(
            unread.iter().any(|why| why.starts_with("body: ") && !why.contains("foo")),
            "{coding} {unread:?}"
        );
    }
    // Ordinary requests are not asked about.
    for (coding, body) in [(None, &b"{\"q\": 1}"[..]), (Some("aws-chunked"), b"{}"), (Some("br"), b"")] {
        assert!(look(coding, body).is_clean(), "{coding:?}");
    }
    // What was found once is counted once.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let found = look(Some("gzip"), &gzip.finish().unwrap());
    assert_eq!(found.findings.iter().map(|f| f.count).sum::<u64>(), 1, "{found:?}");
}

const PASSAGE: &str = "The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been made before the strike at the port and was never brought up to date.";

fn that_read_a_passage() -> Secrets {
    that_read("/workspace/a", PASSAGE)
}

fn that_read(path: &str, text: &str) -> Secrets {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0).unwrap();
    let held = std::sync::Arc::new(chaperone_quota::HeldFile::uncounted(file));
    secrets.remember(path, &held, ([1; 32], text.len() as u64));
    secrets
}

fn cut(text: &str, size: usize) -> Vec<&str> {
    text.as_bytes().chunks(size).map(|p| std::str::from_utf8(p).unwrap()).collect()
}

fn base32(text: &str) -> String {
    let bits: String = text.bytes().map(|b| format!("{b:08b}")).collect();
    let fives = bits.as_bytes().chunks(5).map(|five| format!("{:0<5}", std::str::from_utf8(five).unwrap()));
    fives
        .map(|five| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from_str_radix(&five, 2).unwrap()]))
        .collect()
}

/// A request by its target, headers and body.
type Sent = (String, Vec<(String, String)>, String);
/// What makes a request of a piece.
type Carrier<'a> = &'a dyn Fn(&str) -> Sent;

fn parts_of(sent: &Sent) -> http::request::Parts {
    let mut head = http::Request::post("/").body(()).unwrap().into_parts().0;
    for (name, value) in &sent.1 {
        head.headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    head
}

fn is_found(outgoing: &Outgoing, secrets: &Secrets, sent: &Sent) -> (bool, bool, bool) {
    let head = parts_of(sent);
    let body = BufferedBody::of(sent.2.clone().into_bytes());
    let found = inspect_request(outgoing, secrets, &Chosen::of(&head, &sent.0), &body).unwrap();
    let has = |category: &str| {
        let mut of = found.findings.iter().filter(|f| f.category == category);
        of.any(|f| category == "secret" || f.severity == "high")
    };
    (has("pii"), has("secret"), !found.passages.is_empty())
}

#[test]
fn pieces_over_the_records_of_one_request_are_read_as_one() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = that_read_a_passage();
    let people = "name Anna Kovacs, card 4111111111111111 name Bert Smit, card 5500005555555559 ".repeat(3);
    let key = format!("the token is {TOKEN}");
    let body = |text: String| -> Sent { ("/".to_owned(), Vec::new(), text) };
    let all = |pieces: &[&str], f: &dyn Fn(usize, &str) -> String, by: &str| -> String {
        pieces.iter().enumerate().map(|(n, p)| f(n, p)).collect::<Vec<_>>().join(by)
    };
    let hex = |p: &str| hex::encode(p);
    for size in [4, 8] {
        for (text, expected) in [
            (people.as_str(), (true, false, false)),
            (&key, (false, true, false)),
            (PASSAGE, (false, false, true)),
        ] {
            let pieces = cut(text, size);
            let names: String = all(&pieces, &|_, p| format!("{}=1", hex(p)), "; ");
            let headers = |f: &dyn Fn(usize, &str) -> (String, String)| -> Sent {
                ("/".to_owned(), pieces.iter().enumerate().map(|(n, p)| f(n, p)).collect(), String::new())
            };
            let requests = [
                (
                    "json",
                    body(format!(
                        "[{}]",
                        all(&pieces, &|n, p| format!("{{\"id\":{n},\"t\":\"a\",\"v\":\"{p}\"}}"), ",")
                    )),
                ),
                ("keys", body(format!("{{{}}}", all(&pieces, &|_, p| format!("\"{p}\":1"), ",")))),
                ("csv", body(format!("id,v\n{}", all(&pieces, &|n, p| format!("{n},\"{p}\""), "\n")))),
                ("yaml", body(all(&pieces, &|n, p| format!("- v: \"{p}\"\n  n: {n}"), "\n"))),
                ("xml", body(format!("<r>{}</r>", all(&pieces, &|_, p| format!("<v a=\"{p}\"/>"), "")))),
                (
                    "graphql",
                    body(format!(
                        "{{\"query\":\"{{{}}}\"}}",
                        all(&pieces, &|n, p| format!("a{n}:f(x:\\\"{p}\\\")"), " ")
                    )),
                ),
                (
                    "names of files",
                    body(all(
                        &pieces,
                        &|_, p| {
                            format!(
                                "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{p}\"\r\n\r\nx"
                            )
                        },
                        "\r\n",
                    )),
                ),
                ("names of headers", headers(&|n, p| (format!("x{n}-{}", hex(p)), "1".to_owned()))),
                (
                    "names of cookies",
                    headers(&|n, _| {
                        ("cookie".to_owned(), if n == 0 { names.clone() } else { "z=1".to_owned() })
                    }),
                ),
                (
                    "parameters",
                    (
                        format!(
                            "/a;{}",
                            all(&pieces, &|n, p| format!("k{n}={}", p.replace(' ', "%20")), ";")
                        ),
                        Vec::new(),
                        String::new(),
                    ),
                ),
                (
                    "base64",
                    body(format!(
                        "[{}]",
                        all(&pieces, &|n, p| format!("{{\"id\":{n},\"v\":\"{}\"}}", STANDARD.encode(p)), ",")
                    )),
                ),
            ];
            for (name, sent) in requests {
                let found = is_found(&outgoing, &secrets, &sent);
                let (pii, secret, passage) = found;
                assert!(
                    (!expected.0 || pii) && (!expected.1 || secret) && (!expected.2 || passage),
                    "{name} in {size}: {found:?} for {expected:?}"
                );
            }
        }
    }
    let records = (0..400_u64).map(|n| {
        serde_json::json!({ "id": n, "size": n * 977 + 4_111, "at": 1_790_000_000 + n * 61, "ratio": n as f64 / 7.0,
            "digest": format!("{:016x}{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)),
            "day": format!("2026-11-{:02}", n % 28 + 1), "name": format!("worker-{}", n % 9) })
    });
    let records = serde_json::to_string(&records.collect::<Vec<_>>()).unwrap();
    assert_eq!(is_found(&outgoing, &secrets, &body(records)), (false, false, false));
}

#[test]
fn pieces_one_a_request_are_put_together_whatever_carries_them() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let b64 = |p: &str| URL_SAFE_NO_PAD.encode(p);
    let number = |p: &str| p.bytes().fold(0_u128, |n, b| n << 8 | u128::from(b)).to_string();
    let get = |target: String| -> Sent { (target, Vec::new(), String::new()) };
    let head = |name: &str, value: String| -> Sent {
        ("/".to_owned(), vec![(name.to_owned(), value)], String::new())
    };
    let body = |text: String| -> Sent { ("/".to_owned(), Vec::new(), text) };
    let carriers: [(&str, Carrier<'_>); 16] = [
        ("query", &|p| get(format!("/q?v={}", b64(p)))),
        ("segment", &|p| get(format!("/s/{}", b64(p)))),
        ("body", &|p| body(b64(p))),
        ("cookie", &|p| head("cookie", format!("a={}", b64(p)))),
        ("basic", &|p| head("x-auth", format!("Basic {}", b64(p)))),
        ("base32", &|p| get(format!("/q?v={}", base32(p)))),
        ("if-none-match", &|p| head("if-none-match", format!("\"{}\"", hex::encode(p)))),
        ("bearer", &|p| head("x-token", format!("Bearer {}", hex::encode(p)))),
        ("name of a header", &|p| head(&format!("x-{}", hex::encode(p)), "1".to_owned())),
        ("name of a cookie", &|p| head("cookie", format!("{}=1", hex::encode(p)))),
        ("range", &|p| head("range", format!("bytes={}-", number(p)))),
        ("json number", &|p| body(format!("{{\"v\":{}}}", number(p)))),
        ("json key", &|p| body(format!("{{\"{p}\":1}}"))),
        ("attribute", &|p| body(format!("<a v=\"{p}\"/>"))),
        ("name of a file", &|p| {
            body(format!(
                "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"{p}\"\r\n\r\n1\r\n--b--\r\n"
            ))
        }),
        ("boundary", &|p| {
            let boundary = hex::encode(p);
            let head = format!("multipart/form-data; boundary={boundary}");
            let text = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--{boundary}--\r\n"
            );
            ("/".to_owned(), vec![("content-type".to_owned(), head)], text)
        }),
    ];
    let key = format!("token {TOKEN}");
    for (name, carrier) in carriers {
        let secrets = that_read_a_passage();
        // Which stretches of a passage are remembered is chance: its key is drawn anew each time.
        for (text, most) in [(key.as_str(), 6), (PASSAGE, 21)] {
            let recent = RecentRequests::default();
            let is_clean = |piece: &&str| {
                let sent = carrier(piece);
                let head = parts_of(&sent);
                let body = BufferedBody::of(sent.2.clone().into_bytes());
                let chosen = Chosen::of(&head, &sent.0);
                let mut found = inspect_request(&outgoing, &secrets, &chosen, &body).unwrap();
                recent.look(&outgoing, &secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
                found.is_clean()
            };
            let passed = cut(text, 6).iter().filter(|p| is_clean(p)).count();
            assert!(passed <= most, "{name}: {passed} of {} passed", cut(text, 6).len());
        }
    }
}

#[test]
fn pieces_that_go_in_turn_in_the_head_and_the_body_are_one_text() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let text = format!("{PASSAGE} {}", PASSAGE.to_ascii_uppercase().replace('E', "A"));
    let pieces = cut(&text, 12);
    for turned in [false, true] {
        let (secrets, recent) = (that_read("/workspace/a", &text), RecentRequests::default());
        let is_clean = |pair: &&[&str]| {
            let (one, two) = (pair[0], pair.get(1).copied().unwrap_or_default());
            let (head, body) = if turned { (two, one) } else { (one, two) };
            let sent = ("/".to_owned(), vec![("x-q".to_owned(), head.to_owned())], body.to_owned());
            let (head, body) = (parts_of(&sent), BufferedBody::of(sent.2.clone().into_bytes()));
            let chosen = Chosen::of(&head, &sent.0);
            let mut found = inspect_request(&outgoing, &secrets, &chosen, &body).unwrap();
            recent.look(&outgoing, &secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
            found.is_clean()
        };
        let passed = pieces.chunks(2).filter(is_clean).count();
        assert!(passed * 3 <= pieces.len() / 2 * 2, "{turned}: {passed} of {}", pieces.len() / 2);
    }
}

/// What is asked about a file is asked about that file: the next request is another one, though it shares some words with it.
#[test]
fn a_request_after_one_with_a_passage_is_judged_by_itself() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let order = |n: u64| {
        format!("{{\"id\":{},\"items\":[{{\"sku\":\"A{}\",\"qty\":{}}}]}}", 40_000 + n, n * 7 % 99, n % 9)
    };
    let code =
        |n: u64| format!("def rows_{n}(client, name):\n    return client.get('items', name)['id', {n}]\n");
    let ask = "{\"model\":\"m1\",\"messages\":[{\"role\":\"user\",\"content\":\"return the items by id and name\"}]}";
    let harmless = [order(8_812), "name=rows&items=client&page=3".to_owned(), ask.to_owned()];
    for rows in [20, 60, 400] {
        let orders = (0..rows).map(order).collect::<Vec<_>>().join(",\n");
        let program = (0..rows).map(code).collect::<String>();
        for file in [orders, program] {
            let secrets = that_read("/workspace/a", &file);
            let recent = RecentRequests::default();
            let passes = |text: &str| {
                let sent = ("/up".to_owned(), Vec::new(), text.to_owned());
                let (head, body) = (parts_of(&sent), BufferedBody::of(text.as_bytes().to_vec()));
                let chosen = Chosen::of(&head, &sent.0);
                let mut found = inspect_request(&outgoing, &secrets, &chosen, &body).unwrap();
                recent.look(&outgoing, &secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
                found.passages.is_empty()
            };
            assert!(!passes(&file));
            for text in harmless.iter().chain(&harmless) {
                assert!(passes(text), "{rows}: {text}");
            }
        }
    }
}

/// A path is hidden from the one who is asked, and from the log, for what it carries itself.
#[test]
fn a_path_is_hidden_for_what_stands_in_it() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let in_body = |text: &str| ("/gists".to_owned(), Vec::new(), text.to_owned());
    let in_path = |text: &str| (format!("/gists/{}", text.replace(' ', "+")), Vec::new(), String::new());
    let in_query = |text: &str| (format!("/gists?t={}", text.replace(' ', "+")), Vec::new(), String::new());
    let hidden = |all: &[Sent]| -> Vec<bool> {
        let (secrets, recent) = (that_read_a_passage(), RecentRequests::default());
        let look = |sent: &Sent| {
            let (head, body) = (parts_of(sent), BufferedBody::of(sent.2.clone().into_bytes()));
            let chosen = Chosen::of(&head, &sent.0);
            let mut found = inspect_request(&outgoing, &secrets, &chosen, &body).unwrap();
            recent.look(&outgoing, &secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
            (!found.passages.is_empty()).then_some(found.in_target)
        };
        all.iter().filter_map(look).collect()
    };
    for whole in [in_body(PASSAGE), in_body(&format!("{{\"content\":\"{PASSAGE}\"}}"))] {
        assert_eq!(hidden(&[whole.clone(), whole]), [false, false]);
    }
    let pieces = |carry: &dyn Fn(&str) -> Sent| cut(PASSAGE, 8).into_iter().map(carry).collect::<Vec<_>>();
    let of_body = hidden(&pieces(&in_body));
    assert!(!of_body.is_empty() && of_body.iter().all(|hidden| !hidden), "{of_body:?}");
    for carry in [&in_path as &dyn Fn(&str) -> Sent, &in_query] {
        let of_target = hidden(&pieces(carry));
        assert!(!of_target.is_empty() && of_target.iter().all(|hidden| *hidden), "{of_target:?}");
    }
}

/// Where nothing but the label that stood before it tells what it is.
#[test]
fn a_password_that_was_read_is_recognised_without_its_label() {
    let files = [
        ("db_password = \"gT5rWq8ZxLm2Kp7vNb4Hs9Yd\"\n", "gT5rWq8ZxLm2Kp7vNb4Hs9Yd"),
        ("smtp:\n  host: mail.internal\n  password: \"Blue-Harbour-77!x\"\n", "Blue-Harbour-77!x"),
        ("{\"user\":\"app\",\"password\":\"kR8wPz3vXq6Lm1Tn\"}\n", "kR8wPz3vXq6Lm1Tn"),
        ("DATABASE_URL=postgres://app:vN4xKq9LmZ2w@db.internal/app\n", "vN4xKq9LmZ2w"),
    ];
    for (file, value) in files {
        let sent = [
            value.to_owned(),
            format!("{{\"note\":\"{value}\"}}"),
            format!("it is {value} then"),
            format!("v={}", STANDARD.encode(value)),
            hex::encode(value),
        ];
        let nothing = Secrets::new(Detectors::builtin().unwrap()).unwrap();
        for body in sent {
            let found = look_at_body(&that_read("/workspace/settings", file), &body);
            assert_eq!(found.passages, ["/workspace/settings"], "{body} of {file}");
            assert!(look_at_body(&nothing, &body).passages.is_empty());
        }
        let secrets = that_read("/workspace/settings", file);
        let target = format!("/?v={}", value.replace('!', "%21"));
        assert_eq!(look(&secrets, "GET", &target, &[]).passages.len(), 1, "{target}");
        assert_eq!(look(&secrets, "GET", "/", &[("x-v", value)]).passages.len(), 1);
    }
}

#[test]
fn what_a_program_of_a_package_sends_of_itself_is_no_passage() {
    let text = "ACCEPT = 'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01'";
    let accept = text.split('\'').nth(1).unwrap();
    let sends = |path: &str, headers: &[(&str, &str)]| {
        !look(&that_read(path, text), "GET", "/simple/tomli/", headers).passages.is_empty()
    };
    assert!(sends("/workspace/index.py", &[("accept", accept)]));
    let installed = "/workspace/.venv/lib/python3.11/site-packages/pip/_internal/index.py";
    assert!(!sends(installed, &[("accept", accept)]));
    // More than a program says of itself is one, wherever it was read.
    let whole = format!(
        "{PASSAGE} Nobody who sat there that evening had read as far as the second page of the report, and those who wrote it were \
         not asked. What had been lost in the spring came back in parts: two ships in May, the warehouse behind the old customs house \
         in June, and the trust of the insurers never again, which the chairman put down to the weather on the coast."
    );
    let secrets = that_read("/workspace/node_modules/notes/index.md", &whole);
    assert!(!look(&secrets, "GET", "/", &[("x-note", &whole)]).passages.is_empty());
}

#[test]
fn words_behind_a_label_are_nobodys_password() {
    let secrets =
        that_read("/workspace/settings", "password = \"elephants\"\nuser = \"admin\"\ntoken: string\n");
    assert!(look_at_body(&secrets, "all elephants of the admin are a string").passages.is_empty());
}

/// A key that the profile gives is the agent's own, also where a file has it.
#[test]
fn an_own_key_that_was_read_goes_where_it_belongs() {
    let value = "kR8wPz3vXq6L";
    let secrets = that_read("/workspace/settings", &format!("api_password = \"{value}\"\n"));
    secrets.register(value);
    let found = look(&secrets, "GET", "/", &[("authorization", &format!("Bearer {value}"))]);
    assert!(found.passages.is_empty() && found.registered.is_empty(), "{found:?}");
}

fn look_at_body(secrets: &Secrets, body: &str) -> OutboundFindings {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let head = http::Request::new(()).into_parts().0;
    let chosen = Chosen::of(&head, "/");
    inspect_request(&outgoing, secrets, &chosen, &BufferedBody::of(body.as_bytes().to_vec())).unwrap()
}
