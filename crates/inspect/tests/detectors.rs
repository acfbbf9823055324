//! The shipped detectors: examples, splits, hostile inputs, false-positive classes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use chaperone_inspect::{Detectors, LoadError, Match, ScanOptions, Scanner, scan, scan_labelled};
use proptest::prelude::*;

fn detectors() -> Detectors {
    Detectors::builtin().unwrap()
}

fn names(text: &str) -> Vec<String> {
    let d = detectors();
    scan(&d, text.as_bytes()).iter().map(|m| d.info(m.detector).name.clone()).collect()
}

fn fed(d: &Detectors, bytes: &[u8], block: usize) -> Vec<Match> {
    let mut out = Vec::new();
    let mut scanner = Scanner::new(d, ScanOptions::default());
    bytes.chunks(block.max(1)).for_each(|b| scanner.feed(b, &mut out));
    scanner.finish(&mut out);
    out
}

#[test]
fn every_example_matches_and_every_counterexample_does_not() {
    let failures = detectors().self_test();
    assert!(failures.is_empty(), "{} failures: {failures:#?}", failures.len());
}

#[test]
fn every_detector_has_an_example_and_a_counterexample() {
    let shipped = ["personal", "national", "secrets", "tokens"];
    for pack in shipped {
        let path = format!("{}/../../packs/detectors/{pack}.toml", env!("CARGO_MANIFEST_DIR"));
        let value: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        for detector in value["detector"].as_array().unwrap() {
            for list in ["examples", "counterexamples"] {
                assert!(
                    detector.get(list).is_some_and(|l| !l.as_array().unwrap().is_empty()),
                    "{} has no {list}",
                    detector["name"]
                );
            }
        }
    }
}

const MIXED: &str = "ssn: 536-22-1234, card 4111 1111 1111 1111; jane@example.org\n\
    password = \"Tr0ub4dor&3\" AKIAQWADE5R42RDZ4JEM https://bob:s3cretpw@db.example.com/x 10.1.2.3\n\
    -----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75XCPkOjVnFaVGZRbQm\nabcdefghijklmnop\n-----END RSA PRIVATE KEY-----\n\
    iban GB82 WEST 1234 5698 7654 32 phone +44 20 7946 0958 eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U\n";

#[test]
fn every_split_of_an_input_finds_the_same() {
    let d = detectors();
    let whole = scan(&d, MIXED.as_bytes());
    assert!(whole.len() >= 9, "{whole:?}");
    for block in 1..MIXED.len() {
        assert_eq!(fed(&d, MIXED.as_bytes(), block), whole, "blocks of {block}");
    }
}

#[test]
fn values_across_the_blocks_of_a_long_input_are_found() {
    let d = detectors();
    for padding in (60_000..84_000).step_by(1_511).chain(65_400..65_560) {
        let text = format!(
            "{}\n{MIXED}{}",
            "lorem ipsum ".repeat(padding / 12) + &"x".repeat(padding % 12),
            "dolor sit ".repeat(10_000)
        );
        let shift = (text.find("ssn:").unwrap()) as u64;
        let expected: Vec<(u64, u64)> =
            scan(&d, MIXED.as_bytes()).iter().map(|m| (m.start + shift, m.end + shift)).collect();
        let found: Vec<(u64, u64)> =
            fed(&d, text.as_bytes(), 64 * 1024).iter().map(|m| (m.start, m.end)).collect();
        assert_eq!(found, expected, "padding {padding}");
    }
}

#[test]
fn hostile_inputs_take_work_in_proportion_to_their_length() {
    let d = detectors();
    let nested = "password_secret_token_key_".repeat(5_000);
    let inputs: Vec<(&str, String)> = vec![
        ("digits", "1".into()),
        ("spaced digits", "4111 ".into()),
        ("dashed digits", "536-22-".into()),
        ("equals", "=".into()),
        ("ats", "@".into()),
        ("mail", "a@b.".into()),
        ("base64", "QUJDREVGR0hJSktMTU5PUA".into()),
        ("jwt", "eyJhbGciOiJI.eyJ.".into()),
        ("sk", "sk-".into()),
        ("labels", "password secret token key ".into()),
        ("label operators", "password=secret:token=".into()),
        ("colons", "a:".into()),
        ("urls", "a://b:".into()),
        ("armour", "-----BEGIN ".into()),
        ("dashes", "-".into()),
        ("quotes", "key\"='".into()),
        ("services", "datadog stripe ".into()),
        ("addresses", "address: 1 ".into()),
        ("passports", "passport ".into()),
    ];
    for (name, seed) in inputs.into_iter().chain([("nested", nested)]) {
        let work = |n: usize| {
            let text = seed.repeat(n / seed.len() + 1);
            let mut scanner = Scanner::new(&d, ScanOptions::default());
            scanner.feed(text.as_bytes(), &mut Vec::new());
            scanner.finish(&mut Vec::new());
            scanner.work() as f64 / text.len() as f64
        };
        let (small, large) = (work(1 << 14), work(1 << 17));
        println!("{name}: {large:.1} steps a byte");
        assert!(large < 220.0, "{name}: {large} steps a byte");
        assert!(large <= small * 1.5 + 1.0, "{name}: {small} steps a byte at 16 KiB, {large} at 128 KiB");
    }
}

#[test]
fn what_peers_take_for_secrets_is_left_alone() {
    for text in [
        "\"public_key\": \"sjmYjmhAL0QQrcmp2PqS00sj7IRgs/5vHv2KoSsgq4U=\"",
        "keyword: \"Befaehigung_P2\"",
        "monkeys-audio:mx64-uwp=fail",
        "request_id=864fe941-b2a0-49f5-adf6-3034b9e50c7a",
        "\"uid\": \"5632dd17-aedd-449f-a0fd-88c218de8276\"",
        "commit 9b06e2800879d20efc4eaa150da9f56bc6ad4750",
        "checksum = \"c15c1d7e979a0da1c54ab41784aaee1a7453a52f8de10fcde36927800894471a\"",
        "\"integrity\": \"sha512-UDALebqJrk4rgLsjqGwgGtIkDrbUGWmWUHjgtBWjwxrI2Ts3Udu5lKPtDdJfOCR7siJyP1xHhmW0fcdjumWt+5==\",",
        "golang.org/x/net v0.30.0 h1:7pKIVVEXEj5QZ6KDty4RBtUhvQXRvu9681fsy2uPQVL=",
        "resolved \"https://registry.yarnpkg.com/a/-/a-1.0.0.tgz#f60d6b8e1c33a2e5d5a7e8f5a2a0e2a3b4c5d6e7\"",
        "{\"ts\": 1700000000123, \"order\": 4111111111111111}",
        "1700000000000000",
        "traceparent: 00-3b472389ef3f263122e2d9535dfae8c2-aad0c6080a7ab049-01",
        "for key in sorted(self.tokens): token = self.next_token(key)",
    ] {
        assert_eq!(names(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn epoch_milliseconds_are_no_cards() {
    let log: String =
        (0..4000u64).map(|i| format!("{{\"at\":{},\"n\":{}}}\n", 1_700_000_000_000 + i * 997, i)).collect();
    assert_eq!(scan(&detectors(), log.as_bytes()), []);
}

#[test]
fn a_label_says_nothing_of_the_next_cell() {
    let d = detectors();
    assert_eq!(scan(&d, b"ssn: \x1fn/a\x1f\nrow: \x1f536221234\x1f\n"), []);
    assert_eq!(scan(&d, b"ssn: \x1f536221234\x1f\n").len(), 1);
}

#[test]
fn a_header_is_the_label_of_its_values() {
    let d = detectors();
    let name = |label: &str, value: &str| {
        scan_labelled(&d, label, value).first().map(|m| (d.info(m.detector).name.clone(), m.start, m.end))
    };
    assert_eq!(name("SSN", "536221234"), Some(("us_ssn".into(), 0, 9)));
    assert_eq!(name("Card Number", "6759649826438453"), Some(("credit_card".into(), 0, 16)));
    assert_eq!(name("phone", "5551234567"), Some(("phone_number".into(), 0, 10)));
    assert_eq!(name("order_id", "536221234"), None);
    assert_eq!(name("password", "hunter 2000 \"x\""), Some(("generic_password".into(), 0, 15)));
}

#[test]
fn a_broken_pack_says_where_and_what_to_do() {
    let text = "[[detector]]\nname = \"x\"\ncategory = \"pii\"\nseverity = \"high\"\ndescription = \"d\"\nshapes = [\"3-2-4\"]\ncheck = \"lunh\"\n";
    let LoadError::Pack { file, line, message, suggestion } =
        Detectors::from_toml(&[("mine.toml", text)]).unwrap_err();
    assert_eq!((file.as_str(), line), ("mine.toml", 7));
    assert!(message.contains("lunh") && suggestion.contains("luhn"), "{message}; {suggestion}");
    assert!(Detectors::from_toml(&[("mine.toml", "[[detector]]\nnome = 1\n")]).is_err());
    assert!(
        Detectors::from_toml(&[("mine.toml", &text.replace("lunh", "luhn").replace("pii", "pi"))]).is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic_and_splits_agree(bytes in proptest::collection::vec(any::<u8>(), 0..2048), block in 1usize..600) {
        let d = detectors();
        prop_assert_eq!(fed(&d, &bytes, block), scan(&d, &bytes));
    }

    #[test]
    fn arbitrary_text_of_the_scanners_own_words_splits_alike(
        parts in proptest::collection::vec(prop_oneof![
            Just("password"), Just("secret"), Just("="), Just(": "), Just("\""), Just("ssn"), Just("536-22-1234"), Just("4111111111111111"),
            Just("@example.com"), Just("://"), Just("-----BEGIN "), Just("PRIVATE KEY-----"), Just("-----END "), Just("\n"), Just(" "), Just("eyJ"),
            Just("Zf3D0LXCM3EIMbgJpUNnkRtOfOueHznB"), Just("."), Just("+44 20 7946 0958"), Just("::1"), Just("curl -u "), Just("\x1f"), Just("é"),
        ], 0..200),
        block in 1usize..200,
    ) {
        let d = detectors();
        let text = parts.concat();
        let whole = scan(&d, text.as_bytes());
        prop_assert_eq!(fed(&d, text.as_bytes(), block), whole.clone());
        for m in whole {
            prop_assert!(m.start < m.end && m.end <= text.len() as u64);
        }
    }
}

#[test]
fn a_pattern_that_is_too_large_to_compile_refuses_its_pack() {
    let pack = "[[detector]]\nname = \"huge\"\ncategory = \"secret\"\nseverity = \"high\"\ndescription = \"d\"\nprefixes = [\"abcd\"]\npattern = '(?:[a-z]{1000}){1000}'\nexamples = []\ncounterexamples = []\n";
    let refused = chaperone_inspect::Detectors::from_toml(&[("mine.toml", pack)]).unwrap_err().to_string();
    assert!(refused.starts_with("mine.toml:7: huge: "), "{refused}");
}

#[test]
fn passwords_are_known_by_the_form_of_the_file_or_address_that_holds_them() {
    for (text, detector) in [
        ("url=jdbc:oracle:thin:scott/tiger@db.example.com:1521:orcl", "url_password"),
        ("\"jdbc:oracle:thin:app/Gr8xTurnip@//db.example.com:1521/shop\"", "url_password"),
        ("jdbc:oracle:oci:app/turnips@shop", "url_password"),
        ("db.example.com:5432:shop:app:turnips\n", "url_password"),
        ("# comment\n*:*:*:app:turnips\nlocalhost:5432:*:postgres:lemon\n", "url_password"),
        ("machine ftp.example.com login ada password turnips\n", "generic_password"),
        ("machine ftp.example.com\n  login ada\n  password turnips\n", "generic_password"),
        ("[client]\nuser = root\npassword = tiger\n", "generic_password"),
        ("[mysqldump]\npassword=\"lemon\"\n", "generic_password"),
    ] {
        assert!(names(text).iter().any(|n| n == detector), "{text:?}: {:?}", names(text));
    }
    for text in [
        "jdbc:oracle:thin:@db.example.com:1521:orcl",
        "jdbc:oracle:thin:user/password@host:1521:sid",
        "jdbc:oracle:thin:${user}/${pw}@host:1521:sid",
        "docs/jdbc.md mail a/b@example.com",
        "src/main.rs:12:5:error:unused",
        "user:1000:session:token:abcdef",
        "localhost:5432:shop:app:password\n",
        "10.0.0.1:5432:closed the connection: timeout",
        "the machine has a login page password reset",
        "login ada password turnips",
        "[client]\npassword =\n",
        "[section]\npassword = tiger\n",
    ] {
        let found = names(text);
        assert!(!found.iter().any(|n| n == "url_password" || n == "generic_password"), "{text:?}: {found:?}");
    }
}
