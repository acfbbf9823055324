//! What the place of a value says of it, in two directions: what is real stays certain, and what ordinary work is full of is not.
//! What leaves is judged without: dressed as any of these, a value is found there all the same.
#![allow(clippy::unwrap_used)]

mod support;

use chaperone_inspect::outgoing::{Known, Outgoing, Part};
use chaperone_inspect::{Certainty, Detectors, Effect, Filter, Limits, Spot, inspect_bytes};

const PHRASE: &str = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above";
const LONG: &str = "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold";

fn worth(name: &str, text: &str, detector: &str) -> Option<Certainty> {
    let report = support::inspect(name, text.as_bytes());
    report.items.iter().flat_map(|i| &i.findings).find(|f| f.detector == detector).map(|f| f.certainty)
}

/// The filters that `inspect --explain` names for a detector, with the class of the first.
fn explained(name: &str, text: &str, detector: &str) -> Option<(String, Vec<String>)> {
    let detectors = Detectors::builtin().unwrap().explaining();
    let report = inspect_bytes(&detectors, text.as_bytes(), name, &Limits::default());
    let mut of = report.items.iter().flat_map(|i| &i.candidates).filter(|c| c.detector == detector);
    let all: Vec<_> = of.clone().flat_map(|c| c.filters.iter().map(|f| f.name.clone())).collect();
    of.next().map(|c| (c.class.clone(), all))
}

fn leaves(text: &str, detector: &str) -> bool {
    let part = Part { spot: Spot::Body, bytes: text.as_bytes(), content_type: None };
    let seen = Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default());
    seen.findings.iter().any(|f| f.detector == detector && f.confidence >= 0.5)
}

fn joined(with: &str) -> String {
    PHRASE.split(' ').collect::<Vec<_>>().join(with)
}

fn numbered() -> String {
    PHRASE.split(' ').enumerate().map(|(i, w)| format!("{}. {w}\n", i + 1)).collect()
}

#[test]
fn seed_phrases_as_people_keep_them_are_certain() {
    let lines = LONG.split(' ').collect::<Vec<_>>();
    let wrapped = lines.chunks(6).map(|c| c.join(" ")).collect::<Vec<_>>().join("\n");
    for text in [
        PHRASE.to_string(),
        format!("{PHRASE}\n"),
        format!("const phrase = \"{PHRASE}\";\n"),
        format!("let words = '{PHRASE}'\n"),
        format!("seed: {PHRASE}\n"),
        format!("My recovery phrase is {PHRASE}, keep it safe.\n"),
        format!("mnemonic={PHRASE} and nothing else\n"),
        format!("# wallet\n{PHRASE}\n\n# next\n"),
        format!("first line of notes\n{PHRASE}\nand the last\n"),
        numbered(),
        format!("My seed:\n{}", numbered()),
        format!("These words:\n{}\nDo not lose them.\n", numbered()),
        joined("\n"),
        format!("Keep these:\n\n{}\n\nThanks\n", joined("\n")),
        format!("words = [\"{}\"]\n", joined("\", \"")),
        format!("words = ['{}']\n", joined("', '")),
        joined(", "),
        joined(" - "),
        format!("{{\"mnemonic\": \"{PHRASE}\"}}"),
        format!("{{\"note\": \"{}\"}}", joined("\\n")),
        format!("name,words\nme,{PHRASE}\nyou,none\n"),
        LONG.to_string(),
        wrapped.clone(),
        format!("notes\n\n{wrapped}\n\nmore notes\n"),
        format!("<p>{PHRASE}</p>"),
        format!("- {PHRASE}\n- another\n"),
        PHRASE.to_uppercase(),
    ] {
        assert_eq!(worth("notes.txt", &text, "seed_phrase"), Some(Certainty::Certain), "{text}");
    }
}

#[test]
fn lists_of_words_are_not_certain_phrases() {
    for (text, filter) in [
        (format!("then {PHRASE} abandon every hope\n"), "running_words"),
        (format!("\"able|{}|actor|zoo\"", joined("|")), "running_words"),
        (format!("able\n{}\nactor\n", joined("\n")), "running_words"),
        (PHRASE.replace("cage absurd", "cage, absurd"), "mixed_separators"),
        (PHRASE.replacen(' ', "|", 3), "mixed_separators"),
    ] {
        assert_eq!(worth("words.txt", &text, "seed_phrase"), Some(Certainty::Likely), "{text}");
        let (class, filters) = explained("words.txt", &text, "seed_phrase").unwrap();
        assert!(class == "likely" && filters.contains(&filter.to_string()), "{text}: {class} {filters:?}");
        assert!(leaves(&text, "seed_phrase"), "{text}");
    }
}

/// Text, detector, what it is worth on reads, the filter that says so.
const PLACED: &[(&str, &str, Certainty, &str)] = &[
    ("here (2341 2341 2346) and", "in_aadhaar", Certainty::Likely, "no_label"),
    ("fine 2341-2341-2346", "in_aadhaar", Certainty::Likely, "no_label"),
    ("call 911-70-1234 now", "us_itin", Certainty::Likely, "no_label"),
    ("4e00 4e59 4e01 4111 1111 1111 1111 4e43 4e5d", "credit_card", Certainty::Likely, "among_numbers"),
    ("0a10 17 4111 1111 1111 1111 ffee", "credit_card", Certainty::Likely, "among_numbers"),
    ("y = Math.sin(.130692544)", "ca_sin", Certainty::Possible, "fraction"),
    ("y = sin(130692544)", "ca_sin", Certainty::Possible, "call"),
    ("offset -960121-1021413", "kr_rrn", Certainty::Possible, "signed"),
    ("+960121-1021413", "kr_rrn", Certainty::Possible, "signed"),
    ("id a123456780", "de_health_insurance", Certainty::Possible, "lower_case"),
    ("ssn : 111-22-3333", "us_ssn", Certainty::Possible, "example"),
    (
        "-----BEGIN RSA PRIVATE KEY----- MIIEpQIBAAKCAQEAuyf/lNrH9ck8DmNyo3fGgvCI1l9s+cmBY3WIz+cUDqmx. -----END RSA PRIVATE KEY-----",
        "private_key",
        Certainty::Likely,
        "cut_short",
    ),
    ("birthday handling changed 2020-01-02", "date_of_birth", Certainty::Likely, "words_between"),
    ("dob = parse('1980-07-28')", "date_of_birth", Certainty::Likely, "words_between"),
    (SHOWN_TOKEN, "jwt", Certainty::Possible, "sample"),
    (
        "eyJpZCI6NSwibmFtZSI6Iml0c2Rhbmdlcm91cyJ9.6YP6T0BaO67XP--9UzTrmurXSmg",
        "jwt",
        Certainty::Likely,
        "not_read",
    ),
];

/// The one that jwt.io opens with.
const SHOWN_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";

#[test]
fn a_filter_holds_back_on_reads_and_names_itself() {
    for (text, detector, expected, filter) in PLACED {
        let (class, filters) = explained("a.txt", text, detector).unwrap_or_default();
        assert_eq!(worth("a.txt", text, detector), Some(*expected), "{text}: {filters:?}");
        assert!(filters.contains(&(*filter).to_string()), "{text}: {class} {filters:?}");
        assert_eq!(class, expected.to_string(), "{text}");
    }
}

#[test]
fn what_leaves_is_judged_without_them() {
    for (text, detector, ..) in PLACED {
        assert!(leaves(text, detector), "{text}");
    }
}

/// Text, detector, and the filter by which its place makes it no finding on reads.
const SPARED: &[(&str, &str, &str)] = &[
    ("order 4111 1111 1111 1111 shipped", "credit_card", "counted"),
    ("\"order_id\": \"4111111111111111\"", "credit_card", "counted"),
    ("{\"id\": 4111111111111111}", "credit_card", "counted"),
    ("row: 2341 2341 2346", "in_aadhaar", "counted"),
    ("span 536-22-8713 ended", "us_ssn", "counted"),
    ("9999 4111 1111 1111 1111 9999", "credit_card", "in_a_row"),
    ("4111 1111 1111 1111 1234 5678 1234", "credit_card", "in_a_row"),
    ("1111 2341 2341 2346 7777", "in_aadhaar", "in_a_row"),
    ("house 536 22 8713 street", "us_ssn", "in_prose"),
];

#[test]
fn a_place_that_spares_a_value_on_reads_spares_it_nothing_when_it_leaves() {
    for (text, detector, filter) in SPARED {
        let (class, filters) = explained("a.txt", text, detector).unwrap_or_default();
        assert_eq!((class.as_str(), worth("a.txt", text, detector)), ("spared", None), "{text}");
        assert!(filters.contains(&(*filter).to_string()), "{text}: {filters:?}");
        assert!(leaves(text, detector), "{text}");
    }
}

/// Padding: among so many other numbers a few cards are chance in what is read, and cards all the same when they leave.
#[test]
fn cards_among_other_numbers_of_a_column_do_not_leave() {
    let row = |n: u64| format!("{},{},{}\n", n, 4_000_000_000_000_002 + n * 1_000, n * 7);
    let mut table = String::from("row,number,amount\n");
    (0..60).for_each(|n| table.push_str(&row(n)));
    assert_eq!(worth("t.csv", &table, "credit_card"), None);
    table.push_str("61,4111111111111111,5\n");
    assert_eq!(worth("t.csv", &table, "credit_card"), None);
    assert!(leaves(&table, "credit_card"));
}

/// Twenty numbers make a list of people, whatever word stands before each.
#[test]
fn telephone_numbers_that_are_called_otherwise_leave_no_more_easily() {
    let count = |text: &str| {
        let part = Part { spot: Spot::Body, bytes: text.as_bytes(), content_type: None };
        let seen = Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default());
        seen.findings.iter().filter(|f| f.detector == "phone_number").map(|f| f.distinct).sum::<u64>()
    };
    let list: String = (0..30).map(|n| format!("order +49 30 1234{n:02}5\n")).collect();
    assert_eq!(worth("a.txt", &list, "phone_number"), None);
    assert!(count(&list) >= 20);
}

/// Strings of a program are full of words that label nothing; what has a form of its own is certain there too.
#[test]
fn what_says_little_by_itself_is_only_possible_among_bytes() {
    let secret = "api_key = \"q7Gd81bK20sXz4PmN3vR\"";
    assert_eq!(worth("a.py", secret, "generic_secret"), Some(Certainty::Likely));
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    let bytes: Vec<u8> = (0..2_000u32).map(|n| ((n * 37) >> 3) as u8 | 0x80).collect();
    program.extend_from_slice(&bytes);
    program.extend_from_slice(secret.as_bytes());
    program.push(0);
    program.extend_from_slice(b"key ghp_8XnBE3NnYJoQ9WmXeHH2fdeeTFJGvVvQe1sK");
    program.extend_from_slice(&bytes);
    let report = support::inspect("program", &program);
    let found: Vec<_> = report.items[0].findings.iter().map(|f| (f.detector.as_str(), f.certainty)).collect();
    assert!(found.contains(&("generic_secret", Certainty::Possible)), "{found:?}");
    assert!(found.iter().any(|f| f.1 == Certainty::Certain), "{found:?}");
}

#[test]
fn a_key_in_lines_is_certain_however_short_it_is() {
    for text in [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75XCPkOjVnFaVGZRbQm\n-----END RSA PRIVATE KEY-----\n",
        "KEY=\"-----BEGIN RSA PRIVATE KEY-----\\nMIIEpAIBAAKCAQEA75XCPkOjVnFaVGZRbQm\\n-----END RSA PRIVATE KEY-----\"",
    ] {
        assert_eq!(worth("a.txt", text, "private_key"), Some(Certainty::Certain), "{text}");
    }
}

#[test]
fn names_of_files_and_symbols_are_no_labels() {
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    for name in ["src/token.rs", "src/private_key.rs", "keys/mod.rs", "auth/api-key.test.ts"] {
        assert_eq!(
            worth("a.json", &format!("{{\"{name}\":\"{digest}\"}}"), "generic_secret"),
            None,
            "{name}"
        );
    }
    assert!(worth("a.json", &format!("{{\"api.secret\":\"{digest}\"}}"), "generic_secret").is_some());
    for name in [
        "_ZNK5arrow16KeyValueMetadata4sizeEv",
        "_ZNK5arrow16KeyValueMetadata3keyB5cxx11ElQz7Rk2Lp9Xv4",
        "_ZN5arrow6StatusC1ENS_10StatusCodeERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    ] {
        assert_eq!(worth("a.txt", &format!("{name}\n"), "generic_secret"), None, "{name}");
    }
}

/// Every filter that lowers has a case above; a new one cannot come without.
#[test]
fn every_filter_that_lowers_has_its_case() {
    let of_words = [Filter::RunningWords, Filter::MixedSeparators];
    // Of the value itself, as before there were filters.
    let own = [Filter::Bare, Filter::Unsure, Filter::AmongBytes, Filter::Published];
    for filter in Filter::ALL.iter().filter(|f| matches!(f.effect(), Effect::AtMost(_))) {
        let placed = PLACED.iter().any(|p| p.3 == filter.name());
        assert!(placed || of_words.contains(filter) || own.contains(filter), "{}", filter.name());
    }
}

#[test]
fn the_same_values_where_people_keep_them_stay_certain() {
    for (text, detector) in [
        ("Aadhaar: 2341 2341 2346", "in_aadhaar"),
        ("aadhaar 2341-2341-2346", "in_aadhaar"),
        ("ITIN 911-70-1234", "us_itin"),
        ("card 4111 1111 1111 1111", "credit_card"),
        ("4111 1111 1111 1111, 5500 0000 0000 0004, 4012 8888 8888 1881", "credit_card"),
        ("2026-11-26 10:12:33 charged 4111 1111 1111 1111 amount 35", "credit_card"),
        ("4111-1111-1111-1111 12/27 123", "credit_card"),
        ("| Jane | 4111 1111 1111 1111 | 12/27 |", "credit_card"),
        ("SIN: 130 692 544", "ca_sin"),
        ("my SIN is 130-692-544", "ca_sin"),
        ("SIN (optional): 130692544", "ca_sin"),
        ("Number 960121-1021413", "kr_rrn"),
        ("KVNR: A123456780", "de_health_insurance"),
        ("kvnr: a123456780", "de_health_insurance"),
        ("dob: 1980-07-28", "date_of_birth"),
        ("Date of birth: 28/07/1980", "date_of_birth"),
        ("DOB is 1980-07-28", "date_of_birth"),
        ("Date of birth (dd/mm/yyyy): 28/07/1980", "date_of_birth"),
        ("Date of birth of the patient: 28/07/1980", "date_of_birth"),
        ("<birthDate value=\"1980-07-28\"/>", "date_of_birth"),
        ("<td>Date of birth</td><td>28/07/1980</td>", "date_of_birth"),
        ("\"birth_date\": \"1980-07-28\"", "date_of_birth"),
    ] {
        let why = explained("a.txt", text, detector);
        assert_eq!(worth("a.txt", text, detector), Some(Certainty::Certain), "{text}: {why:?}");
    }
}

#[test]
fn texts_that_mention_addresses_are_no_address_book() {
    let licence = |i: usize| {
        format!(
            "{{\"name\": \"p{i}\", \"text\": \"Copyright (c) 2014 The authors of package number {i}. Permission is hereby granted to any person who writes to author{i}@host{i}.example.org, free of charge.\"}}"
        )
    };
    let list: Vec<_> = (0..30).map(licence).collect();
    let prose = format!("[{}]", list.join(","));
    assert_eq!(worth("licenses.json", &prose, "email_address"), Some(Certainty::Likely));
    let book: Vec<_> = (0..30)
        .map(|i| format!("{{\"who\": \"P {i}\", \"mail\": \"Pat {i} <pat{i}@host{i}.example.org>\"}}"))
        .collect();
    let book = format!("[{}]", book.join(","));
    assert_eq!(worth("people.json", &book, "email_address"), Some(Certainty::Certain));
}

#[test]
fn numbers_that_documents_make_up_interrupt_no_read_and_do_not_leave() {
    for made_up in ["111-22-3333", "333-22-4444", "123-45-6788", "123-12-1234", "555-66-7777"] {
        let text = format!("ssn : {made_up}\n");
        let expected = if made_up == "123-45-6788" { Certainty::Certain } else { Certainty::Possible };
        assert_eq!(worth("actions.py", &text, "us_ssn"), Some(expected), "{made_up}");
        assert!(leaves(&text, "us_ssn"), "{made_up}");
    }
    for burnt in ["078-05-1120", "219-09-9999", "123-45-6789", "111-11-1111", "987-65-4321"] {
        assert_eq!(worth("actions.py", &format!("ssn : {burnt}\n"), "us_ssn"), None, "{burnt}");
    }
    assert_eq!(worth("staff.txt", "ssn : 536-22-8713\n", "us_ssn"), Some(Certainty::Certain));
}

#[test]
fn tokens_of_documents_interrupt_no_read_and_do_not_leave() {
    let header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    let sample = format!(
        "{header}.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    );
    let two_parts = "eyJpZCI6NSwibmFtZSI6Iml0c2Rhbmdlcm91cyJ9.6YP6T0BaO67XP--9UzTrmurXSmg";
    let whole = format!(
        "{header}.eyJzdWIiOiJ1c2VyLTQ4MTIiLCJyb2xlIjoiYWRtaW4ifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    );
    for (token, expected) in [
        (sample.as_str(), Certainty::Possible),
        (two_parts, Certainty::Likely),
        ("eyJ-taken-out.eyJ-taken-out.taken-out-too", Certainty::Likely),
        (whole.as_str(), Certainty::Certain),
    ] {
        let (name, text) = ("README.md", format!("assert decode(\"{token}\")\n"));
        assert_eq!(worth(name, &text, "jwt"), Some(expected), "{token}: {:?}", explained(name, &text, "jwt"));
        assert!(leaves(&text, "jwt"), "{token}");
    }
}

/// Of ordinary source what stands behind the name of a service or a word for keys is an address, a type or an expression: it leaves
/// without a question.
#[test]
fn addresses_types_and_expressions_leave() {
    for ordinary in [
        "// See https://github.com/golang/go/blob/v1.22.4/src/net/http/server_http2Connection.go#L586-L1024",
        "# https://github.com/RaRe-Technologies/gensim/pull/2481#issuecomment-549456750",
        "# https://github.com/apache/arrow/pull/44963#discussion_r1875771953",
        "  private val handshakeCertificates: HandshakeCertificates = HandshakeCertificates.Builder()",
        "  private val http2Connection: Http2Connection,",
        "   * @return \\Illuminate\\Contracts\\Auth\\CanResetPassword|null",
        "        ri->auth_pass = sdsnew(argv[2]);",
    ] {
        let found: Vec<_> =
            ["generic_secret", "generic_password"].into_iter().filter(|d| leaves(ordinary, d)).collect();
        assert_eq!(found, Vec::<&str>::new(), "{ordinary}");
    }
}

/// Whoever sends a value chose what stands around it. Dressed as a path, a pin, a digest or an expression, a key is found that is
/// found without the dress: the value itself decides.
#[test]
fn a_key_that_is_dressed_as_ordinary_source_does_not_leave() {
    let keys = [
        "3a2844b7e9c422d3c10d287c895573f7108da1b3",
        "dd91c0a8854e1559b00f5fc9c7bfae70",
        "q7Gd81bK20sXz4PmN3vR",
        "Tz-9fKq_3WmX8vLp2RbYc",
    ];
    let mut missed = Vec::new();
    for key in keys {
        assert!(leaves(&format!("github: {key}"), "generic_secret"), "{key} as it is");
        for dressed in [
            format!("https://github.com/golang/go/blob/{key}/src/net/http/server.go#L586"),
            format!("https://github.com/golang/go/tree/{key}"),
            format!("https://gist.github.com/swankjesse/{key}"),
            format!("https://github.com/a/b/pull/12#issuecomment-{key}"),
            format!("https://github.com/a/b?tab={key}"),
            format!("cdn/npm/github/{key}/index.js"),
            format!("uses: actions/github-script@{key}"),
            format!("token: actions/checkout@{key}"),
            format!("token: github.com/actions/checkout/{key}"),
            format!("https://github.com/golang/go?access_token={key}"),
            format!("api_key = &{key}"),
            format!("k23s51sgYix4ZgbvpmyB1ZgXLjr4ZTkY/token/{key}"),
            format!("token: k23s51sgYix4ZgbvpmyB1ZgXLjr4ZTkY/{key}"),
        ] {
            if !leaves(&dressed, "generic_secret") {
                missed.push(dressed);
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for dressed in [
        "private val token: q7Gd81bK20sXz4PmN3vR = build()",
        "token: &Gd81bK20.sXz4PmN3vR|aB3dE5gH",
        "secret_key = HzqWbVtRxKpLmNdGfScJ4",
    ] {
        assert!(leaves(dressed, "generic_secret"), "{dressed}");
    }
    let token = "ghp_X8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uV";
    assert!(leaves(&format!("https://github.com/a/b/blob/{token}"), "github_token"));
    assert!(leaves("password = sdsnew(hunter22", "generic_password"));
}

/// A key of a published package interrupts no read, however it is written; it is judged like any other where it leaves, and a key
/// that only looks like it is certain.
#[test]
fn a_published_key_interrupts_no_read_and_does_not_leave() {
    let body: String =
        (0..600).map(|n: usize| char::from(b"ABCDEFGHabcdefgh01234567+/"[n * n % 26])).collect();
    let lines = |body: &str, end: &str| {
        body.as_bytes().chunks(64).map(|l| format!("{}{end}", String::from_utf8_lossy(l))).collect::<String>()
    };
    let pem = |body: &str, end: &str| {
        format!("-----BEGIN PRIVATE KEY-----{end}{}-----END PRIVATE KEY-----{end}", lines(body, end))
    };
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&body));
    let shipped: Vec<(&str, &str)> =
        chaperone_packs::below("packs/detectors").map(|file| (file.name, file.text)).collect();
    let published = format!("[published]\nkeys = [\"{}\"]\n", &digest[..32]);
    let detectors = Detectors::from_toml(&[&shipped[..], &[("more.toml", &published)]].concat()).unwrap();
    let worth = |text: &str| {
        let report = inspect_bytes(&detectors, text.as_bytes(), "test.key", &Limits::default());
        report
            .items
            .iter()
            .flat_map(|i| &i.findings)
            .find(|f| f.detector == "private_key")
            .map(|f| f.certainty)
    };
    for end in ["\n", "\r\n", "\\n", "\n    "] {
        assert_eq!(worth(&pem(&body, end)), Some(Certainty::Likely), "{end:?}");
    }
    assert_eq!(worth(&pem(&body.replacen('A', "B", 1), "\n")), Some(Certainty::Certain));
    assert_eq!(worth(&pem(&format!("{body}A"), "\n")), Some(Certainty::Certain));
    let outgoing = Outgoing::new(detectors.clone());
    let key = pem(&body, "\n");
    let seen = outgoing
        .look(&[Part { spot: Spot::Body, bytes: key.as_bytes(), content_type: None }], &Known::default());
    assert!(seen.findings.iter().any(|f| f.detector == "private_key" && f.confidence >= 0.5));
}

/// A value that is certain by its own form is so wherever it stands, also where a weaker finding takes it in.
#[test]
fn what_is_certain_by_its_form_is_so_within_a_weaker_finding() {
    let token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    let texts = [
        (format!("url = https://me:{token}@github.com/me/x\n"), "github_token"),
        (format!("https://{token}@github.com/me/x\n"), "github_token"),
        (format!("postgres://app:{token}@db:5432/app\n"), "github_token"),
        (format!("curl -u me:{token} https://api.example.org\n"), "github_token"),
        (format!("password = \"{token}\"\n"), "github_token"),
        ("curl https://api.example.org -u AKIAQWADE5R42RDZ4JEM: -d a=1\n".to_owned(), "aws_access_key"),
        ("postgres://u:AKIAQWADE5R42RDZ4JEM@db/app\n".to_owned(), "aws_access_key"),
        ("password: GB82 WEST 1234 5698 7654 32\n".to_owned(), "iban_code"),
        ("secret = GB82WEST12345698765432\n".to_owned(), "iban_code"),
    ];
    for (text, detector) in texts {
        assert_eq!(worth("notes.txt", &text, detector), Some(Certainty::Certain), "{text}");
    }
}
