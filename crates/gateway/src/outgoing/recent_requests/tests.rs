use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::*;
use crate::body::BufferedBody;
use crate::outgoing::chosen::Chosen;
use crate::outgoing::findings::{OutboundFindings, of, to_findings};
use chaperone_inspect::Detectors;

mod beside;

#[test]
fn small_requests_are_looked_at_together() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let passage = b"The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been made before the strike at the port and was never brought up to date.";
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(passage, 0).unwrap();
    secrets.remember(
        "/workspace/a",
        &Arc::new(chaperone_quota::HeldFile::uncounted(file)),
        ([1; 32], passage.len() as u64),
    );
    let caught_of = |pieces: &[String]| {
        let known = RecentRequests::default();
        let is_caught = |piece: &String| {
            let mut found = OutboundFindings::default();
            let values = Values { main: piece.clone().into_bytes(), slots: Vec::new(), ..Values::default() };
            known.look(&outgoing, &secrets, "a.example", values, &mut found);
            !found.passages.is_empty()
        };
        pieces.iter().filter(|p| is_caught(p)).count()
    };
    let text = std::str::from_utf8(passage).unwrap();
    let cut = |length: usize, before: &str, after: &str| -> Vec<String> {
        let pieces = passage.chunks(length).map(|p| std::str::from_utf8(p).unwrap());
        pieces.map(|p| format!("{before}{p}{after}")).collect()
    };
    assert_eq!(caught_of(&[text.to_owned()]), 1);
    for pieces in [cut(8, "", ""), cut(16, "", ""), cut(8, "{\"note\":\"", "\"}"), cut(8, "note=", "")] {
        let count = caught_of(&pieces);
        assert!(count * 2 >= pieces.len(), "{count} of {}: {}", pieces.len(), pieces[0]);
    }
    let pings: Vec<String> = (0..200).map(|n| format!("{{\"id\":{n},\"method\":\"ping\"}}")).collect();
    assert_eq!(caught_of(&pings), 0);
}

/// What of these requests would be sent, and in how many something was found.
fn sent(requests: impl IntoIterator<Item = Vec<Slot>>, secrets: &Secrets) -> (Vec<Vec<Slot>>, usize) {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let known = RecentRequests::default();
    let is_clean = |slots: &Vec<Slot>| {
        let slots = slots.iter().map(|s| Slot { bytes: s.bytes.clone(), ..*s }).collect();
        let mut found = OutboundFindings::default();
        known.look(
            &outgoing,
            secrets,
            "a.example",
            Values { main: Vec::new(), slots, ..Values::default() },
            &mut found,
        );
        found.is_clean()
    };
    let (sent, refused): (Vec<_>, Vec<_>) = requests.into_iter().partition(is_clean);
    (sent, refused.len())
}

fn caught(requests: impl IntoIterator<Item = Vec<Slot>>, secrets: &Secrets) -> usize {
    sent(requests, secrets).1
}

/// The most of a value that arrived, piece after piece, in one slot or all.
fn most_of(value: &str, length: usize, sent: &[Vec<Slot>]) -> usize {
    let pieces: Vec<&str> = cut(value, length);
    let arrived: Vec<&[u8]> = sent.iter().flatten().map(|s| s.bytes.as_slice()).collect();
    pieces.iter().filter(|p| arrived.contains(&p.as_bytes())).map(|p| p.len()).sum()
}

fn slot(id: u64, kind: Kind, text: &str) -> Slot {
    Slot { id, kind, in_target: false, bytes: text.as_bytes().to_vec() }
}

const TOKEN: &str = "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo";

fn cut(text: &str, length: usize) -> Vec<&str> {
    text.as_bytes().chunks(length).map(|p| std::str::from_utf8(p).unwrap()).collect()
}

#[test]
fn a_key_in_pieces_is_found_whatever_carries_them() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let agent = || slot(9, Kind::Value, "curl/8.5.0");
    let noise = |n: usize| slot(8, Kind::Value, &format!("noise {n} of some length"));
    for kind in [Kind::Value, Kind::Path, Kind::Message] {
        let requests = cut(TOKEN, 5).into_iter().enumerate();
        let requests = requests.map(|(n, p)| vec![agent(), slot(1, kind, p), noise(n)]);
        let most = most_of(TOKEN, 5, &sent(requests, &secrets).0);
        assert!(most < 20, "{kind:?} in one place: {most}");
    }
    let requests = cut(TOKEN, 5).into_iter().enumerate();
    let requests = requests.map(|(n, p)| vec![agent(), slot(10 + n as u64, Kind::Value, p)]);
    assert!(most_of(TOKEN, 5, &sent(requests, &secrets).0) < 20, "each under a name of its own");
    let upper = "AKIAQ3EGRVHBDY2T5LZX".to_lowercase();
    let requests = cut(&upper, 5).into_iter().enumerate();
    let requests =
        requests.map(|(n, p)| vec![agent(), slot(10 + n as u64, Kind::Name, p), slot(1, Kind::Value, "1")]);
    assert!(most_of(&upper, 5, &sent(requests, &secrets).0) < 20, "in the names of headers");
}

/// A value that was refused as a whole is no piece of what comes after it.
#[test]
fn what_was_refused_as_a_whole_does_not_hold_up_what_follows() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let own = "qV7fT2mXr9LkZ4wNs8HbYc3PdJ6gAe5U";
    secrets.register(own);
    let is_clean = |known: &RecentRequests, main: &str, slots: Vec<Slot>| {
        let mut found = OutboundFindings::default();
        let values = Values { main: main.as_bytes().to_vec(), slots, ..Values::default() };
        known.look(&outgoing, &secrets, "a.example", values, &mut found);
        found.is_clean()
    };
    let known = RecentRequests::default();
    is_clean(&known, "", vec![slot(1, Kind::Value, own)]);
    for page in 2..9 {
        assert!(is_clean(&known, "", vec![slot(2, Kind::Value, &page.to_string())]), "page {page}");
        assert!(is_clean(&known, "", vec![slot(1, Kind::Value, &format!("user {page}"))]));
    }
    is_clean(&known, own, Vec::new());
    for n in 0..5 {
        assert!(is_clean(&known, &format!("{{\"a\":{n}}}"), Vec::new()), "body {n}");
    }
    let with_key = "{\"content\": \"SECRET_KEY = 'x7#kq2!vd9$w4m@zt6^pb1&hn8*rj3(fc5)ly0'\"}";
    is_clean(&known, with_key, Vec::new());
    for text in ["hello", "the weather is nice today", "what else"] {
        assert!(is_clean(&known, &format!("{{\"content\": \"{text}\"}}"), Vec::new()), "{text}");
    }
    let mut pieces = cut(own, 5).into_iter().enumerate();
    assert!(!pieces.all(|(n, p)| is_clean(&known, "", vec![slot(20 + n as u64, Kind::Value, p)])));
}

#[test]
fn a_key_that_was_refused_is_refused_again_however_it_comes() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let value = "Kq7-unusual-value-of-theirs";
    secrets.register(value);
    for (value, most) in [(value, 25), (TOKEN, 19)] {
        for kind in [Kind::Value, Kind::Message, Kind::Path] {
            // Each twice, and all of them again.
            let twice = cut(value, 5).into_iter().flat_map(|p| [p, p]);
            let again = twice.chain(cut(value, 5)).map(|p| vec![slot(1, kind, p)]);
            // Of values, then each under a name of its own, too.
            let named = cut(value, 5).into_iter().enumerate().filter(|_| kind == Kind::Value);
            let all = again.chain(named.map(|(n, p)| vec![slot(20 + n as u64, kind, p)]));
            let arrived = most_of(value, 5, &sent(all, &secrets).0);
            assert!(arrived <= most, "{value} {kind:?}: {arrived}");
        }
    }
}

#[test]
fn a_key_between_the_same_words_is_found_from_its_first_piece_on() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    for text in ["AKIAQ3EGRVHBDY2T5LZX", TOKEN] {
        for kind in [Kind::Value, Kind::Path, Kind::Message] {
            for [before, after] in [["page;v=", ""], ["from <", "> to 7"], ["{\"a\": \"", "\", \"b\": 1}"]] {
                let requests =
                    cut(text, 5).into_iter().map(|p| vec![slot(1, kind, &format!("{before}{p}{after}"))]);
                assert!(caught(requests, &secrets) > 0, "{kind:?} {before}{text}{after}");
            }
        }
    }
}

#[test]
fn what_goes_on_with_a_key_of_which_a_piece_was_refused_is_refused_in_every_coding() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let turned: String = TOKEN.bytes().map(|b| char::from(rot13(b))).collect();
    for (how, text) in [
        ("plain", TOKEN.to_owned()),
        ("base64", base64(TOKEN.as_bytes())),
        ("hex", hex::encode(TOKEN)),
        ("rot13", turned),
    ] {
        for kind in [Kind::Value, Kind::Message, Kind::Path, Kind::Word] {
            for size in [3, 4, 5, 6, 7, 11] {
                let pieces = cut(&text, size);
                let requests = pieces.iter().map(|p| vec![slot(1, kind, p)]);
                let arrived = sent(requests, &secrets).0;
                let last =
                    arrived.iter().flatten().next_back().map(|s| s.bytes.as_slice()).unwrap_or_default();
                let at = pieces.iter().rposition(|p| p.as_bytes() == last).map_or(0, |at| (at + 1) * size);
                assert!(at * 20 <= text.len() * 11, "{how} {kind:?} of {size}: {at} of {}", text.len());
            }
        }
    }
}

#[test]
fn after_a_refusal_ordinary_values_in_the_same_place_pass() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    for kind in [Kind::Value, Kind::Message, Kind::Path] {
        let key = cut(TOKEN, 5).into_iter().map(|p| vec![slot(1, kind, p)]);
        let ordinary = (0..40u64).map(|n| vec![slot(1, kind, &format!("/page-{n}/x"))]);
        let refused = caught(key.clone(), &secrets);
        let all = caught(key.chain(ordinary), &secrets);
        assert_eq!(all, refused, "{kind:?}");
    }
}

fn rot13(b: u8) -> u8 {
    match b {
        b'a'..=b'z' => (b - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (b - b'A' + 13) % 26 + b'A',
        b => b,
    }
}

#[test]
fn a_registered_value_in_pieces_is_found_in_names_and_paths_too() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    secrets.register("Kq7-unusual-value-of-theirs");
    for kind in [Kind::Value, Kind::Path] {
        let requests = cut("Kq7-unusual-value-of-theirs", 6).into_iter().map(|p| vec![slot(1, kind, p)]);
        assert!(caught(requests, &secrets) >= 1, "{kind:?}");
    }
}

#[test]
fn what_ordinary_clients_send_again_and_again_is_no_piece() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let requests = (0..30u64).map(|n| {
        let trace = format!("00-{:032x}-{:016x}-01", n * 7919 + 5, n * 104_729 + 11);
        let etag = format!("W/\"{:x}-{:x}\"", n * 31, n * 2_654_435_761);
        let time = format!("Wed, 21 Oct 2026 07:{:02}:00 GMT", n % 60);
        vec![
            slot(1, Kind::Value, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            slot(2, Kind::Value, &trace),
            slot(3, Kind::Value, &etag),
            slot(4, Kind::Value, &time),
            slot(5, Kind::Value, &format!("Bearer {:x}", n / 25)),
            slot(6, Kind::Path, &format!("package-{n}")),
            slot(7, Kind::Value, &format!("bytes={}-{}", n * 65536, n * 65536 + 65535)),
        ]
    });
    assert_eq!(caught(requests, &secrets), 0);
}

/// Name, version, address and digest of what npm fetched for two real projects.
const NPM: &str = include_str!("npm.txt");

#[test]
fn what_npm_says_of_each_package_is_no_secret() {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let known = RecentRequests::default();
    let look = |target: &str, headers: [(&str, &str); 3]| {
        let mut request = http::Request::get(target).header("npm-command", "install");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let (chosen, body) = (Chosen::of(&head, target), BufferedBody::of(Vec::new()));
        let mut found = crate::outgoing::inspect_request(&outgoing, &secrets, &chosen, &body).unwrap();
        known.look(&outgoing, &secrets, "registry.npmjs.org", chosen.values(&body).unwrap(), &mut found);
        (!found.is_clean()).then(|| format!("{target}: {found:?}"))
    };
    let mut odd = Vec::new();
    // A third of each project's, in the order in which they were asked for.
    for line in NPM.lines().step_by(3) {
        let name = line.split(' ').next().unwrap();
        let kind = ("pacote-req-type", "packument");
        let package = format!("registry:{name}");
        let headers = [kind, ("pacote-pkg-id", &*package), ("pacote-version", "18.0.6")];
        odd.extend(look(&format!("/{}", name.replace('/', "%2f")), headers));
    }
    for line in NPM.lines().step_by(6) {
        let [name, _, address, digest] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let kind = ("pacote-req-type", "tarball");
        let package = format!("registry:{name}@{address}");
        let headers = [kind, ("pacote-pkg-id", &*package), ("pacote-integrity", digest)];
        odd.extend(look(address.trim_start_matches("https://registry.npmjs.org"), headers));
    }
    assert!(odd.is_empty(), "{}: {}", odd.len(), odd.join("\n"));
}

#[test]
fn a_list_of_packages_that_was_read_is_asked_for_one_by_one() {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let packages = ["requests", "urllib3", "certifi", "charset-normalizer", "python-dateutil", "numpy"];
    let file = tempfile::tempfile().unwrap();
    let list = packages.join("\n");
    file.write_all_at(list.as_bytes(), 0).unwrap();
    secrets.remember(
        "/workspace/requirements.txt",
        &Arc::new(chaperone_quota::HeldFile::uncounted(file)),
        ([2; 32], list.len() as u64),
    );
    secrets.settle();
    let asked = packages.map(|p| vec![slot(1, Kind::Path, "simple"), slot(2, Kind::Path, p)]);
    assert_eq!(caught(asked, &secrets), 0);
    let told = packages.map(|p| vec![slot(2, Kind::Value, p)]);
    assert!(caught(told, &secrets) > 0);
}

const PASSAGE: &str = "The branch in the north closed the year with a loss of eleven percent against the plan of the board, which had been made before the strike at the port and was never brought up to date.";

fn remembering(text: &str) -> Secrets {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    let held = Arc::new(chaperone_quota::HeldFile::uncounted(file));
    secrets.remember("/workspace/a", &held, ([3; 32], text.len() as u64));
    secrets.settle();
    secrets
}

/// The targets as requests of one client, and in how many passages were found.
fn carrying(targets: impl IntoIterator<Item = String>, secrets: &Secrets) -> usize {
    let outgoing = Outgoing::new(Detectors::builtin().unwrap());
    let known = RecentRequests::default();
    let is_caught = |target: &String| {
        let head = http::Request::new(()).into_parts().0;
        let (chosen, body) = (Chosen::of(&head, target), BufferedBody::of(Vec::new()));
        let mut found = crate::outgoing::inspect_request(&outgoing, secrets, &chosen, &body).unwrap();
        known.look(&outgoing, secrets, "a.example", chosen.values(&body).unwrap(), &mut found);
        !found.passages.is_empty()
    };
    targets.into_iter().filter(is_caught).count()
}

/// A script of the workspace that walks through a server is ordinary work; what is not a word for itself goes on to be found.
#[test]
fn places_of_a_server_that_a_script_lists_are_asked_for_one_by_one() {
    let places = [
        "/ok",
        "/users",
        "/orders",
        "/invoices",
        "/products",
        "/search",
        "/login",
        "/logout",
        "/health",
        "/metrics",
        "/status",
        "/settings",
        "/profile",
        "/reports",
        "/export",
        "/version",
        "/about",
        "/docs",
        "/items",
        "/cart",
        "/reset-password",
        "/api/order_items",
        "/favicon.ico",
    ];
    let script = format!("for p in {places:?}: get(p)");
    let secrets = remembering(&script);
    assert_eq!(carrying(places.map(str::to_owned), &secrets), 0);
    // Twice over, and by a client that has been refused something.
    let twice = places.iter().chain(&places).map(|p| (*p).to_owned());
    assert_eq!(carrying(twice, &secrets), 0);
    let secrets = remembering(PASSAGE);
    let phrases: Vec<String> =
        PASSAGE.as_bytes().chunks(12).map(|p| String::from_utf8_lossy(p).replace(' ', "%20")).collect();
    let caught = carrying(phrases.iter().map(|p| format!("/{p}")), &secrets);
    assert!(caught * 2 >= phrases.len(), "{caught} of {}", phrases.len());
    // A word among them is no way around it.
    let mixed = PASSAGE.split(' ').collect::<Vec<_>>();
    let mixed: Vec<String> = mixed
        .chunks(3)
        .flat_map(|three| match three {
            [one, rest @ ..] => [format!("/{one}"), format!("/{}", rest.join("%20"))],
            [] => [String::new(), String::new()],
        })
        .collect();
    let caught = carrying(mixed.clone(), &secrets);
    assert!(caught * 4 >= mixed.len(), "{caught} of {}", mixed.len());
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let of = |three: &[u8]| {
        let n = (0..3).fold(0, |n, i| n << 8 | usize::from(three.get(i).copied().unwrap_or(0)));
        let signs = [n >> 18, n >> 12 & 63, n >> 6 & 63, n & 63].map(|six| char::from(SIGNS[six]));
        signs.into_iter().take(three.len() + 1).collect::<String>()
    };
    bytes.chunks(3).map(of).collect()
}

#[test]
fn a_passage_over_the_segments_of_a_path_and_the_names_of_a_query_is_found() {
    let secrets = remembering(PASSAGE);
    for length in [5, 7, 12] {
        let chunks = || PASSAGE.as_bytes().chunks(length);
        for how in ["base64", "hex", "words"] {
            let encode = |chunk: &[u8]| match how {
                "base64" => base64(chunk),
                "hex" => hex::encode(chunk),
                _ => String::from_utf8_lossy(chunk).replace(' ', "%20"),
            };
            let segments = chunks().map(encode).collect::<Vec<_>>();
            assert_eq!(carrying([format!("/{}", segments.join("/"))], &secrets), 1, "{how} {length}");
            let names: Vec<String> = segments.iter().map(|s| format!("{s}=1")).collect();
            if how == "words" {
                continue;
            }
            let target = format!("/a?{}", names.join("&"));
            assert_eq!(carrying([target], &secrets), 1, "{how} {length} in names");
            let one_by_one = segments.iter().map(|s| format!("/v1/{s}/x"));
            let caught = carrying(one_by_one, &secrets);
            assert!(caught * 3 > segments.len(), "{how} {length} one by one: {caught}");
            let named = segments.iter().map(|s| format!("/a?{s}=1"));
            let caught = carrying(named, &secrets);
            assert!(caught * 3 > segments.len(), "{how} {length} named one by one: {caught}");
        }
    }
    // Encoded as a whole, then cut anywhere, one or several to a request.
    let (whole, digits) = (base64(PASSAGE.as_bytes()), hex::encode(PASSAGE));
    for text in [&whole, &digits] {
        let one = cut(text, 11).into_iter().map(|p| format!("/v1/{p}/x"));
        assert!(carrying(one, &secrets) * 3 > text.len() / 11);
        let pieces = cut(text, 7);
        let three: Vec<String> = pieces.chunks(3).map(|three| format!("/{}", three.join("/"))).collect();
        let requests = three.len();
        assert!(carrying(three, &secrets) * 3 > requests);
    }
}

#[test]
fn ordinary_addresses_of_registries_say_nothing() {
    let names = ["requests", "charset-normalizer", "python-dateutil", "serde", "left-pad"];
    let hash = |n: usize| hex::encode([n as u8 * 7 + 3; 32]);
    let mut targets = Vec::new();
    for (n, name) in names.iter().enumerate() {
        targets.extend([
            format!("/simple/{name}/"),
            format!(
                "/packages/{}/{}/{}/{name}-2.31.0-py3-none-any.whl",
                &hash(n)[..2],
                &hash(n)[2..4],
                &hash(n)[4..]
            ),
            format!("/{name}"),
            format!("/{name}/-/{name}-1.{n}.0.tgz"),
            format!("/@scope%2f{name}"),
            format!("/se/rd/{name}"),
            format!("/crates/{name}/{name}-1.0.{n}.crate"),
            format!("/api/v1/crates/{name}/1.0.{n}/download"),
            format!("/github.com/!azure/{name}/@v/v1.{n}.0.mod"),
            format!("/maven2/org/example/{name}/1.{n}/{name}-1.{n}.jar.sha1"),
            format!("/debian/pool/main/{}/{name}/{name}_1.{n}-2_amd64.deb", &name[..1]),
            format!("/v2/library/{name}/blobs/sha256:{}", hash(n)),
            format!("/search?q={name}&page={n}&per_page=100&sort=updated&order=desc"),
        ]);
    }
    // The lock file and the sources that ask for them were read.
    let read = format!(
        "{}\n{}\nparams: q, page, per_page, sort, order\n{}",
        names.join("\n"),
        targets.join("\n"),
        (0..names.len()).map(hash).collect::<Vec<_>>().join("\n")
    );
    let (nothing, lists) = (remembering(PASSAGE), remembering(&names.join("\n")));
    assert_eq!(carrying(targets.clone(), &nothing), 0);
    let one_by_one = |segment: &dyn Fn(&str) -> String| names.map(segment);
    assert_eq!(carrying(one_by_one(&|n| format!("/simple/{n}/")), &lists), 0);
    assert_eq!(carrying(one_by_one(&|n| format!("/api/v1/crates/{n}/1.0.0/download")), &lists), 0);
    let everything = remembering(&read);
    assert_eq!(carrying(names.map(|n| format!("/simple/{n}/?per_page=1&sort=a&order=b")), &everything), 0);
}

#[test]
fn what_is_kept_does_not_grow_without_end() {
    let (outgoing, secrets) =
        (Outgoing::new(Detectors::builtin().unwrap()), Secrets::new(Detectors::builtin().unwrap()).unwrap());
    let known = RecentRequests::default();
    for n in 0..(MOST_HOSTS as u64 + 20) {
        let slots = (0..3).map(|at| slot(n * 3 + at, Kind::Value, &format!("v{n}"))).collect();
        let mut found = OutboundFindings::default();
        let host = if n % 2 == 0 { "a.example".to_owned() } else { format!("{n}.example") };
        known.look(
            &outgoing,
            &secrets,
            &host,
            Values { main: Vec::new(), slots, ..Values::default() },
            &mut found,
        );
    }
    let hosts = known.0.lock();
    assert!(hosts.len() <= MOST_HOSTS && hosts.contains_key("a.example"));
    assert!(hosts.values().all(|h| h.slots.len() <= MOST_SLOTS && h.values.all.bytes <= TOGETHER));
}

#[test]
fn of_documents_forms_and_queries_the_values_alone_are_joined() {
    for (piece, expected) in [
        (&b"{\"a\":\"one\",\"b\":[\"two\",3]}"[..], "onetwo"),
        (b"a=one&b=two", "onetwo"),
        (b"a=one+two%20three", "one two three"),
        (b"<m><id>one</id><v a='b'>two</v></m>", "onetwo"),
        (b"just text", "just text"),
        (b"not a name=x", "not a name=x"),
    ] {
        assert_eq!(String::from_utf8(values(piece)).unwrap(), expected);
    }
}

const PEOPLE: &str = "name Anna Kovacs, card 4111111111111111\nname Bert Smit, card 5500005555555559\nname Carl Du, card 340000000000009\n";

/// The most digits in a row of the first card that arrived.
fn digits_of(requests: impl IntoIterator<Item = Vec<Slot>>) -> usize {
    let secrets = Secrets::new(Detectors::builtin().unwrap()).unwrap();
    let (sent, _) = sent(requests, &secrets);
    let text: Vec<u8> = sent.iter().flatten().flat_map(|s| s.bytes.clone()).collect();
    let runs = text.split(|b| !b.is_ascii_digit());
    runs.map(<[u8]>::len).max().unwrap_or(0)
}

#[test]
fn personal_data_in_pieces_is_found_whatever_carries_them() {
    for kind in [Kind::Value, Kind::Path, Kind::Message] {
        for size in [3, 4, 5, 8, 13] {
            let requests = cut(PEOPLE, size).into_iter().map(|p| vec![slot(1, kind, p)]);
            assert!(digits_of(requests) < 16, "{kind:?} of {size}");
            let plus = PEOPLE.replace([' ', '\n'], "+");
            let requests = cut(&plus, size).into_iter().map(|p| vec![slot(1, kind, p)]);
            assert!(digits_of(requests) < 16, "{kind:?} of {size}, as a query");
        }
    }
    let (outgoing, secrets) =
        (Outgoing::new(Detectors::builtin().unwrap()), Secrets::new(Detectors::builtin().unwrap()).unwrap());
    for size in [4, 8] {
        let known = RecentRequests::default();
        let refused = cut(PEOPLE, size).into_iter().filter(|p| {
            let mut found = OutboundFindings::default();
            let values = Values { main: p.as_bytes().to_vec(), slots: Vec::new(), ..Values::default() };
            known.look(&outgoing, &secrets, "a.example", values, &mut found);
            found.findings.iter().any(|f| f.category == "pii")
        });
        assert!(refused.count() > 0, "bodies of {size}");
    }
    let spread =
        vec![cut(PEOPLE, 4).into_iter().enumerate().map(|(n, p)| slot(n as u64, Kind::Value, p)).collect()];
    assert_eq!(digits_of(spread), 0, "over the headers of one request");
}

#[test]
fn what_was_found_where_it_stood_is_not_found_again_in_what_follows() {
    let (outgoing, secrets) =
        (Outgoing::new(Detectors::builtin().unwrap()), Secrets::new(Detectors::builtin().unwrap()).unwrap());
    let known = RecentRequests::default();
    let look = |text: &str| {
        let part = chaperone_inspect::outgoing::Part {
            spot: chaperone_inspect::Spot::Body,
            bytes: text.as_bytes(),
            content_type: None,
        };
        let mut found =
            to_findings(&secrets.known().read(), outgoing.look(&[part], &of(&secrets.known().read())));
        let before = found.findings.len();
        let values = Values {
            main: text.as_bytes().to_vec(),
            slots: vec![slot(1, Kind::Value, text)],
            ..Values::default()
        };
        known.look(&outgoing, &secrets, "a.example", values, &mut found);
        (before, found.findings.len() - before)
    };
    for line in PEOPLE.lines() {
        let (whole, joined) = look(line);
        assert!(whole > 0);
        assert_eq!(joined, 0, "{line}");
    }
    for n in 0..80 {
        assert_eq!(look(&format!("{{\"page\":{n},\"size\":50}}")), (0, 0));
        assert_eq!(look(&(4_111_111 + n * 13).to_string()), (0, 0), "{n}");
    }
}
