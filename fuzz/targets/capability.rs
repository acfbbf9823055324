//! Tokens and path patterns. The first byte chooses:
//! 0: any text as a token: nothing verifies but what was minted; 1: any claims, signed by the true issuer;
//! 2: two patterns and a path, a line each: what the narrower one matches, the wider one matches.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chaperone_capability::{
    Action, Context, Holder, HolderKey, Issue, LocalIssuer, Narrowing, PathPattern, PermissionClaim,
    Possession, Request, SigningKey, Target, VerifyingKey, attenuate, compact, escape_path, inspect, mint,
    signing_input, thumbprint, verify,
};
use ed25519_dalek::Signer as _;
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_716_196_400;

struct Office {
    key: SigningKey,
    verifier: VerifyingKey,
    jkt: String,
    minted: Vec<String>,
}

static OFFICE: LazyLock<Office> = LazyLock::new(|| {
    let (key, holder) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let jkt = thumbprint(holder.verifying_key().as_bytes());
    let issuer = LocalIssuer::new("home", key.clone());
    let request = Request {
        sub: "agent".into(),
        permissions: vec![
            PermissionClaim::path(Action::Read, "/workspace/**"),
            PermissionClaim::path(Action::Write, "/workspace/out/*.xlsx"),
        ],
        exp: None,
        nbf: None,
        uses: Some(9),
        aud: None,
    };
    let issue = Issue { session: "s1", jti: "root", now: NOW, jkt: Some(&jkt) };
    let root = mint(&request, &issue, &issuer).expect("a good request").into_string();
    let narrowing = Narrowing {
        permissions: vec![PermissionClaim::path(Action::Read, "/workspace/reports/*")],
        uses: Some(2),
        ..Narrowing::default()
    };
    let child = attenuate(
        &root,
        &narrowing,
        &Holder { jti: "child", now: NOW, jkt: Some(&jkt) },
        &HolderKey::new(holder),
    );
    let minted = vec![root, child.expect("it narrows").into_string()];
    if let Some(folder) = std::env::var_os("CHAPERONE_FUZZ_SEEDS") {
        for (n, token) in minted.iter().enumerate() {
            let path = std::path::Path::new(&folder).join(format!("minted-{n}"));
            std::fs::write(path, format!("\0{token}")).expect("the folder is there");
        }
    }
    Office { verifier: key.verifying_key(), key, jkt, minted }
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => token(&String::from_utf8_lossy(rest)),
        1 => claims(rest),
        _ => patterns(&String::from_utf8_lossy(rest)),
    }
});

fn context(office: &Office) -> Context<'_> {
    Context {
        issuer: "chaperone:home",
        issuer_key: &office.verifier,
        now: NOW,
        session: "s1",
        possession: Possession::Proven(&office.jkt),
        is_revoked: &|_| false,
    }
}

fn token(text: &str) {
    let office = &*OFFICE;
    let shown = inspect(text);
    if let Ok(verified) = verify(text, &context(office)) {
        assert!(office.minted.iter().any(|m| m == text), "a token that nobody minted verifies");
        let shown = shown.expect("what verifies can be shown");
        assert_eq!(shown.len(), verified.ids().count());
    }
}

fn claims(claims: &[u8]) {
    let office = &*OFFICE;
    let input = signing_input(claims, None);
    let token = compact(&input, &office.key.sign(input.as_bytes()).to_bytes());
    // A header of its own choice is refused whatever the signature says.
    let strange = format!("{}.{}", BASE64.encode(claims), BASE64.encode(claims));
    let strange = format!("{strange}.{}", BASE64.encode(office.key.sign(strange.as_bytes()).to_bytes()));
    assert!(verify(&strange, &context(office)).is_err());
    let Ok(verified) = verify(&token, &context(office)) else { return };
    let held = verified.claims();
    assert_eq!(held.aud, "session:s1");
    assert!(held.nbf <= NOW && NOW < held.exp);
    assert!(verified.recheck(held.exp, &|_| false).is_err(), "it never expires");
    assert!(verified.recheck(NOW, &|_| true).is_err(), "it cannot be revoked");
    for path in
        ["/workspace/../etc/shadow", "/workspace/./a", "/workspace//a", "workspace/a", "/workspace/a/"]
    {
        assert!(verified.permits(Action::Read, &Target::Path(path)).is_err(), "{path} is in no normal form");
    }
}

fn patterns(text: &str) {
    let mut lines = text.splitn(3, '\n');
    let (Some(wide), Some(narrow), Some(path)) = (lines.next(), lines.next(), lines.next()) else { return };
    if let Ok(literal) = PathPattern::parse(&escape_path(path)) {
        assert!(literal.matches(path), "an escaped path matches itself");
    }
    let (Ok(wide), Ok(narrow)) = (PathPattern::parse(wide), PathPattern::parse(narrow)) else { return };
    assert!(wide.covers(&wide), "a pattern covers itself");
    if wide.covers(&narrow) && narrow.matches(path) {
        assert!(wide.matches(path), "covered, and yet not matched");
    }
}
