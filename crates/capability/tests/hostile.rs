//! Hostile spellings of a token: one reading only, or none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use chaperone_capability::*;
use ed25519_dalek::Signer as _;
use support::*;

/// Signs any header and claims with the true issuer key: only the form can be at fault.
fn signed(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let signature = SigningKey::from_bytes(&[1; 32]).sign(input.as_bytes());
    format!("{input}.{}", B64.encode(signature.to_bytes()))
}

fn claims() -> String {
    let office = office();
    serde_json::to_string(&inspect(office.root(vec![read("/a")], None).as_str()).unwrap()[0]).unwrap()
}

const HEADER: &str = r#"{"alg":"EdDSA","typ":"chaperone-cap"}"#;

#[test]
fn the_twin_in_good_form_verifies() {
    assert!(office().verify(&signed(HEADER, &claims())).is_ok());
}

#[test]
fn a_header_says_algorithm_and_type_and_nothing_else() {
    for header in [
        r#"{"alg":"none","typ":"chaperone-cap"}"#,
        r#"{"alg":"eddsa","typ":"chaperone-cap"}"#,
        r#"{"alg":"HS256","typ":"chaperone-cap"}"#,
        r#"{"alg":"ES256","typ":"chaperone-cap"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","typ":"chaperone-cap"}"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap","jku":"https://evil.example/k"}"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap","x5u":"https://evil.example/k"}"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap","kid":"../../dev/null"}"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap","b64":false}"#,
        r#"["EdDSA","chaperone-cap"]"#,
        r#"{"alg":"EdDSA","typ":"chaperone-cap"} "x""#,
        "",
    ] {
        assert_eq!(office().verify(&signed(header, &claims())).unwrap_err().code(), "malformed", "{header}");
    }
}

#[test]
fn a_root_that_brings_its_own_key_is_not_the_issuers() {
    let key = SigningKey::from_bytes(&[9; 32]);
    let input = signing_input(claims().as_bytes(), Some(key.verifying_key().as_bytes()));
    let token = compact(&input, &key.sign(input.as_bytes()).to_bytes());
    assert_eq!(office().verify(&token).unwrap_err().code(), "wrong_issuer");
}

#[test]
fn claims_have_each_member_once_and_no_others() {
    let good = claims();
    for bad in [
        good.replace(r#""sub":"agent""#, r#""sub":"agent","sub":"root""#),
        good.replace(r#""sub":"agent""#, r#""sub":"agent","admin":true"#),
        good.replace(r#""sub":"agent","#, ""),
        good.replace(r#""sub":"agent""#, r#""sub":7"#),
        good.replace(r#""sub":"agent""#, r#""sub":"ag\u001bent""#),
        good.replace(r#""jti":"root""#, r#""jti":"a b""#),
        good.replace(r#""jti":"root""#, r#""jti":"""#),
        good.replace(r#""aud":"session:s1""#, r#""aud":["session:s1"]"#),
        good.replace(r#""iat":1716196400"#, r#""iat":1"#),
        good.replace(r#""action":"read""#, r#""action":"*""#),
        good.replace(r#""path":"/a""#, r#""path":"/a/../b""#),
        good.replace(r#""path":"/a""#, r#""path":"/a","host":"b.c""#),
        good.replace(r#"{"action""#, r#"["action""#),
        format!("[{good}]"),
        String::new(),
    ] {
        assert_ne!(bad, good);
        assert_eq!(office().verify(&signed(HEADER, &bad)).unwrap_err().code(), "malformed", "{bad}");
    }
}

#[test]
fn base64_has_one_spelling() {
    let token = signed(HEADER, &claims());
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let last = signature.chars().last().unwrap();
    // 64 bytes leave four unused bits in the last character: another character with the same used bits.
    let twin = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .nth("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".find(last).unwrap() + 1)
        .unwrap();
    for bad in [
        format!("{rest}.{}{twin}", &signature[..signature.len() - 1]),
        format!("{rest}.{signature}="),
        format!("{rest}.{signature}=="),
        format!("{rest}.{signature}\n"),
        format!(" {token}"),
        format!("{token}.x"),
        format!("{token}~"),
        format!("~{token}"),
        token.replace('.', ".."),
        "..".into(),
        "~~~~".into(),
        String::new(),
        "a".repeat(16 * 1024 + 1),
    ] {
        assert_eq!(office().verify(&bad).unwrap_err().code(), "malformed", "{bad:.60}");
    }
}

#[test]
fn every_flipped_character_is_noticed() {
    let office = office();
    let root = office.root(vec![read("/a")], None);
    let token = office.narrow(root.as_str(), "c", only(vec![read("/a")])).unwrap().into_string();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap();
        assert!(office.verify(&flipped).is_err(), "character {at}");
    }
}
