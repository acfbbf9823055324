//! A name says little of a key: what begins like one is one, whatever it is called, and what only has its name is none.
#![allow(clippy::unwrap_used, clippy::disallowed_types, reason = "openssl makes the keys of this test")]

mod support;

use std::process::Command;

use chaperone_inspect::Detectors;
use chaperone_inspect::outgoing::{Known, Outgoing, Part, Place};

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
    let part = Part { place: Place::Body, bytes, content_type: None };
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
    assert!(!is_key("identity", b"This project's visual identity: blue.\n"));
    assert!(!is_key("x.key", &[0x30, 0x82, 0x40]));
}
