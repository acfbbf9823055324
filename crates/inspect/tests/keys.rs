//! A name says little of a key: what begins like one is one, whatever it is called, and what only has its name is none.
#![allow(clippy::unwrap_used, clippy::disallowed_types, reason = "openssl makes the keys of this test")]

mod support;

use std::process::Command;

use chaperone_inspect::outgoing::{Known, Outgoing, Part};
use chaperone_inspect::{Detectors, Spot};
use support::{certain, inspect, redact};

fn made(command: &str) -> Vec<u8> {
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

fn is_key(name: &str, bytes: &[u8]) -> bool {
    let report = support::inspect(name, bytes);
    report
        .items
        .iter()
        .flat_map(|i| &i.findings)
        .any(|f| f.detector == "private_key" && f.certainty.to_string() == "certain")
}

fn leaves(bytes: &[u8]) -> bool {
    let part = Part { spot: Spot::Body, bytes, content_type: None };
    let seen = Outgoing::new(Detectors::builtin().unwrap()).look(&[part], &Known::default());
    seen.findings.iter().any(|f| f.detector == "private_key")
}

/// The beginning of an exported secret key, in the old and the new form of packets.
fn openpgp(tag: &[u8]) -> Vec<u8> {
    [tag, &[4, 0x65, 0x12, 0x34, 0x56, 1, 8, 0, 0xa5], &[0x5a; 400]].concat()
}

#[test]
fn keys_without_armour_are_found_under_any_name() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED keys_without_armour_are_found_under_any_name: no openssl");
        return;
    }
    for command in [
        "openssl genrsa 2048 2>/dev/null | openssl rsa -outform DER -traditional 2>/dev/null",
        "openssl genrsa 2048 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -outform DER",
        "openssl genrsa 2048 2>/dev/null | openssl pkcs8 -topk8 -passout pass:x -outform DER",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -outform DER 2>/dev/null",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -outform DER -no_public 2>/dev/null",
        "openssl genpkey -algorithm ed25519 -outform DER",
        "openssl genrsa 2048 2>/dev/null",
    ] {
        let key = made(command);
        for name in ["server.key", "ca.pem", "identity", "notes.bin"] {
            assert!(is_key(name, &key), "{command} as {name}");
        }
        assert!(leaves(&key), "{command}");
    }
}

#[test]
fn secret_keys_of_openpgp_are_found_under_any_name() {
    assert!(is_key("a.gpg", &openpgp(&[0x95, 1, 0x90])));
    assert!(is_key("notes", &openpgp(&[0xc5, 0xc1, 0x40])));
    assert!(is_key("x.key", b"(21:protected-private-key(3:rsa(1:n257:"));
    assert!(is_key("x.key", b"Key: (private-key (ecc (curve Ed25519)))\n"));
    // As GnuPG writes it, with and without a passphrase.
    for kind in ["private-key", "protected-private-key"] {
        let key = format!(
            "Created: 20261128T003739\nKey: ({kind} (ecc (curve Ed25519)(flags eddsa)(q\n  #4076#)))\n"
        );
        assert!(is_key("C6FE.key", key.as_bytes()) && leaves(key.as_bytes()), "{key}");
    }
}

#[test]
fn what_only_has_the_name_is_no_key() {
    let certificate =
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=ca -days 3 2>/dev/null";
    if Command::new("openssl").arg("version").output().is_ok() {
        for command in [
            certificate.to_string(),
            format!("{certificate} -outform DER"),
            "openssl genrsa 2048 2>/dev/null | openssl rsa -pubout -outform DER 2>/dev/null".to_string(),
            "openssl genrsa 2048 2>/dev/null | openssl rsa -pubout 2>/dev/null".to_string(),
        ] {
            let bytes = made(&command);
            for name in ["ca.pem", "ca.crt", "ca.der", "server.key"] {
                assert!(!support::inspect(name, &bytes).found(), "{command} as {name}");
            }
        }
    }
    // The public keys of a distribution begin with tag 6.
    let public = [&[0x99, 2, 0x0d, 4, 0x65, 0x12, 0x34, 0x56, 1, 0x10, 0][..], &[0x5a; 600]].concat();
    assert!(!is_key("debian-archive.gpg", &public) && !leaves(&public));
    assert!(!is_key("notes", b"Created: today\nGnuPG writes\nKey: (private-key and more\n"));
    assert!(!is_key("notes", b"Created: today\nKey: (public-key (ecc))\n"));
    assert!(!is_key("identity", b"This project's visual identity: blue.\n"));
    assert!(!is_key("x.key", &[0x30, 0x82, 0x40]));
}

/// The start of a key of each encoding, in lines as they stand in a block; the rest of it is noise.
const IN_LINES: [&[&str]; 2] = [
    &[
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
        "QyNTUxOQAAACBOEZXfAg3lng1lozpCefEYPnrk5dmA4wn4tVrf8uYcPvVf8W9m9DNgJmuV",
        "22+P7AHXYDEFQwauSks4BZj2z9EULDpCSddwcAWGSdvYItyveVdYb85CjPssqIuUdB7aiw",
        "f0bdKKVJnY7+8Lj7juHsHFpeQHyTgXQdV2uo3rT1nsP0U55LSIkHnCoAr+rgv8FDmEDvI3",
        "mh+4HIuic2GtR21rZiIOcVkbLZM8DpNcE46/1gcQuR/i+3WZ7O1EMLPbs8lzC+pP8W8gDw",
        "==",
    ],
    &[
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwCwLll4COr7oCPK1",
        "SNjVGTqLUim+bzEhpvFuLUGkSbN9yW93bIQj5XonhUiaP5xD+251aHbWrZqcrEqk",
        "5y7Bk0gU2SCTrIoPSiFjq4fe5Qm6MGpY9YiL4O3LL80HEgKLdqgnc0f1",
    ],
];

#[test]
fn a_private_key_is_found_whatever_its_lines_stand_in() {
    for lines in IN_LINES {
        let each = |form: &dyn Fn(usize, &str) -> String| -> String {
            lines.iter().enumerate().map(|(i, l)| form(i, l)).collect()
        };
        let forms = [
            (
                "a.ipynb",
                format!(
                    "{{\"cells\":[{{\"cell_type\":\"code\",\"source\":[{}\"end\"]}}]}}",
                    each(&|_, l| format!("\"{l}\\n\",\n"))
                ),
            ),
            ("a.json", format!("{{\"key\": [{}\"end\"]}}", each(&|_, l| format!("\"{l}\",\n")))),
            ("docker.json", each(&|_, l| format!("{{\"log\":\"{l}\\n\",\"stream\":\"stdout\"}}\n"))),
            ("p.html", each(&|_, l| format!("<p>{l}</p>\n"))),
            ("br.html", format!("<pre>{}</pre>", each(&|_, l| format!("{l}<br>")))),
            ("a.csv", format!("line,text\n{}", each(&|i, l| format!("{i},{l}\n")))),
            ("numbered.txt", each(&|i, l| format!("{i:4}\t{l}\n"))),
            ("table.md", each(&|_, l| format!("| {l} |\n"))),
            (
                "form.txt",
                format!("key={}", each(&|_, l| format!("{l}%0A").replace('+', "%2B").replace('/', "%2F"))),
            ),
            (
                "begun.txt",
                format!("key=-----BEGIN%20PRIVATE%20KEY-----%0A{}", each(&|_, l| format!("{l}%0A"))),
            ),
            ("escaped.txt", format!("x\\n{}", each(&|_, l| format!("{l}\\n")))),
            ("body.txt", each(&|_, l| format!("{l}\n"))),
        ];
        for (name, text) in forms {
            let found = certain(&inspect(name, text.as_bytes()));
            assert!(found.iter().any(|f| f.starts_with("private_key")), "{name}: {found:?}\n{text}");
            assert!(redact(name, text.as_bytes()).is_err(), "{name}: the rest of the key would remain");
        }
    }
}
