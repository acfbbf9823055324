//! What a token gives, until when, to whom, and how it narrows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;
use chaperone_capability::*;
use support::*;

#[test]
fn the_example_of_the_mission_is_minted_verified_and_permits_what_it_says() {
    let office = office();
    let request = Request::parse(
        br#"{"sub":"agent-1234","permissions":[{"action":"read","path":"/workspace/reports/*"}],"exp":1716200000}"#,
    )
    .unwrap();
    let token = office.mint(&request).unwrap();
    let verified = office.verify(token.as_str()).unwrap();
    assert_eq!(verified.claims().sub, "agent-1234");
    assert_eq!(verified.claims().exp, 1_716_200_000);
    assert!(verified.permits(Action::Read, &Target::Path("/workspace/reports/q1.csv")).is_ok());
    for (action, path) in [
        (Action::Read, "/workspace/reports"),
        (Action::Read, "/workspace/reports/2024/q1.csv"),
        (Action::Read, "/etc/shadow"),
        (Action::Write, "/workspace/reports/q1.csv"),
    ] {
        let refused = verified.permits(action, &Target::Path(path)).unwrap_err();
        assert_eq!(refused.code(), "not_permitted", "{path}");
    }
    let past = Context { now: 1_716_200_000, ..office.context() };
    assert_eq!(verify(token.as_str(), &past).unwrap_err().code(), "expired");
}

#[test]
fn a_path_that_is_not_normalised_is_matched_by_nothing() {
    let office = office();
    let verified = office.verify(office.root(vec![read("/workspace/**")], None).as_str()).unwrap();
    for path in [
        "/workspace/../etc/shadow",
        "workspace/a",
        "/workspace//a",
        "/workspace/./a",
        "/workspace/a/",
        "",
        "/workspace/a\0",
    ] {
        assert_eq!(
            verified.permits(Action::Read, &Target::Path(path)),
            Err(Rejection::NotNormalised),
            "{path:?}"
        );
    }
}

#[test]
fn the_path_of_a_request_may_end_in_a_slash() {
    let office = office();
    let token = office.root(vec![PermissionClaim::request("a.example", Some(443))], None);
    let verified = office.verify(token.as_str()).unwrap();
    for (path, expected) in
        [("/", true), ("/simple/package/", true), ("/a", true), ("//", false), ("/a/../", false), ("", false)]
    {
        let target = Target::Request { host: "a.example", port: 443, method: "GET", path };
        assert_eq!(verified.permits(Action::Request, &target).is_ok(), expected, "{path:?}");
    }
}

#[test]
fn a_token_holds_for_its_time_session_issuer_and_holder_alone() {
    let office = office();
    let token = office.root(vec![read("/a")], None);
    let code = |context: &Context<'_>| verify(token.as_str(), context).map_err(|error| error.code()).err();
    let good = office.context();
    assert_eq!(code(&good), None);
    assert_eq!(code(&Context { now: NOW + 3600, ..office.context() }), Some("expired"));
    assert_eq!(code(&Context { now: NOW - 1, ..office.context() }), Some("not_yet_valid"));
    assert_eq!(code(&Context { session: "s2", ..office.context() }), Some("wrong_audience"));
    assert_eq!(code(&Context { issuer: "chaperone:other", ..office.context() }), Some("wrong_issuer"));
    assert_eq!(code(&Context { possession: Possession::Proven("x"), ..office.context() }), Some("no_proof"));
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    assert_eq!(code(&Context { issuer_key: &other, ..office.context() }), Some("bad_signature"));
    assert_eq!(code(&Context { is_revoked: &|jti| jti == "root", ..office.context() }), Some("revoked"));
}

#[test]
fn a_token_without_a_key_serves_no_channel() {
    let office = office();
    let request =
        Request { sub: "a".into(), permissions: vec![], exp: None, nbf: None, uses: None, aud: None };
    let token =
        mint(&request, &Issue { session: "s1", jti: "j", now: NOW, jkt: None }, &office.issuer).unwrap();
    assert_eq!(office.verify(token.as_str()).unwrap_err(), Rejection::NoProof);
    assert!(verify(token.as_str(), &Context { possession: Possession::NotUsed, ..office.context() }).is_ok());
}

#[test]
fn a_token_lives_an_hour_unless_asked_and_twelve_at_most() {
    let office = office();
    let mut request =
        Request { sub: "a".into(), permissions: vec![], exp: None, nbf: None, uses: None, aud: None };
    let token = office.mint(&request).unwrap();
    assert_eq!(inspect(token.as_str()).unwrap()[0].exp, NOW + 3600);
    request.exp = Some(NOW + 12 * 3600);
    assert!(office.mint(&request).is_ok());
    request.exp = Some(NOW + 12 * 3600 + 1);
    assert_eq!(office.mint(&request).unwrap_err().code(), "malformed");
    request.exp = Some(NOW);
    assert_eq!(office.mint(&request).unwrap_err().code(), "expired");
    request.exp = None;
    request.aud = Some("session:other".into());
    assert_eq!(office.mint(&request).unwrap_err().code(), "wrong_audience");
}

#[test]
fn a_holder_narrows_its_token_without_the_issuer() {
    let office = office();
    let root =
        office.root(vec![read("/w/**"), PermissionClaim::connect("*.example.com", Some(443))], Some(5));
    let narrowing = Narrowing {
        sub: Some("sub-agent".into()),
        permissions: vec![read("/w/a/*"), PermissionClaim::connect("api.example.com", Some(443))],
        exp: Some(NOW + 60),
        uses: Some(2),
    };
    let child_key = SigningKey::from_bytes(&[3; 32]);
    let child_jkt = thumbprint(child_key.verifying_key().as_bytes());
    let holder = Holder { jti: "child", now: NOW, jkt: Some(&child_jkt) };
    let child = attenuate(root.as_str(), &narrowing, &holder, &office.holder).unwrap();
    let context = Context { possession: Possession::Proven(&child_jkt), ..office.context() };
    let verified = verify(child.as_str(), &context).unwrap();
    assert_eq!(verified.ids().collect::<Vec<_>>(), ["root", "child"]);
    assert!(verified.permits(Action::Read, &Target::Path("/w/a/x")).is_ok());
    assert!(verified.permits(Action::Read, &Target::Path("/w/b")).is_err());
    assert_eq!(
        office.verify(child.as_str()).unwrap_err().code(),
        "no_proof",
        "the parent's holder is not the child's"
    );

    let grandchild = attenuate(
        child.as_str(),
        &only(vec![read("/w/a/x")]),
        &Holder { jti: "grandchild", now: NOW, jkt: None },
        &HolderKey::new(child_key),
    )
    .unwrap();
    assert!(
        verify(grandchild.as_str(), &context).unwrap().permits(Action::Read, &Target::Path("/w/a/x")).is_ok()
    );
    for revoked in ["root", "child", "grandchild"] {
        let context = Context {
            is_revoked: &|jti| jti == revoked,
            possession: Possession::Proven(&child_jkt),
            ..office.context()
        };
        assert_eq!(verify(grandchild.as_str(), &context).unwrap_err().code(), "revoked", "{revoked}");
    }
}

#[test]
fn the_issuer_narrows_a_token_too() {
    let office = office();
    let root = office.root(vec![read("/w/**")], None);
    let child = attenuate(
        root.as_str(),
        &only(vec![read("/w/a")]),
        &Holder { jti: "c", now: NOW, jkt: None },
        &office.issuer,
    )
    .unwrap();
    assert!(office.verify(child.as_str()).unwrap().permits(Action::Read, &Target::Path("/w/b")).is_err());
}

#[test]
fn nothing_is_widened_when_a_link_is_made() {
    let office = office();
    let root = office.root(vec![read("/w/*")], Some(3));
    for narrowing in [
        only(vec![read("/w/**")]),
        only(vec![read("/**")]),
        only(vec![PermissionClaim::path(Action::Write, "/w/a")]),
        only(vec![PermissionClaim::elevate()]),
        Narrowing { exp: Some(NOW + 3601), ..Narrowing::default() },
        Narrowing { uses: Some(4), ..Narrowing::default() },
    ] {
        assert_eq!(
            office.narrow(root.as_str(), "c", narrowing.clone()).unwrap_err().code(),
            "widened",
            "{narrowing:?}"
        );
    }
    let stranger = HolderKey::new(SigningKey::from_bytes(&[9; 32]));
    let made =
        attenuate(root.as_str(), &Narrowing::default(), &Holder { jti: "c", now: NOW, jkt: None }, &stranger);
    assert_eq!(made.unwrap_err(), MintError::NotTheHolder);
}

/// A holder that does not use our code can sign what it likes; verification is what refuses it.
#[test]
fn nothing_is_widened_by_a_holder_that_signs_its_own_links() {
    let office = office();
    let root = office.root(vec![read("/w/*")], Some(3));
    let parent = inspect(root.as_str()).unwrap().remove(0);
    let honest = Claims {
        iss: office.holder.issuer().into(),
        jti: "c".into(),
        parent: Some("root".into()),
        permissions: vec![read("/w/a")],
        ..parent
    };
    let forge = |claims: Claims, signer: &dyn Signer| {
        let link = signer.sign_claims(&serde_json::to_vec(&claims).unwrap()).unwrap();
        office.verify(&format!("{}~{link}", root.as_str())).map_err(|error| error.code()).err()
    };
    assert_eq!(forge(honest.clone(), &office.holder), None);
    let cases: Vec<(&str, Claims)> = vec![
        ("widened", Claims { permissions: vec![read("/w/**")], ..honest.clone() }),
        (
            "widened",
            Claims { permissions: vec![PermissionClaim::path(Action::Delete, "/w/a")], ..honest.clone() },
        ),
        ("widened", Claims { exp: honest.exp + 1, ..honest.clone() }),
        ("widened", Claims { nbf: honest.nbf - 1, ..honest.clone() }),
        ("widened", Claims { uses: None, ..honest.clone() }),
        ("widened", Claims { uses: Some(4), ..honest.clone() }),
        ("widened", Claims { aud: "session:s2".into(), ..honest.clone() }),
        ("widened", Claims { cnf: None, ..honest.clone() }),
        ("malformed", Claims { parent: Some("other".into()), ..honest.clone() }),
        ("malformed", Claims { parent: None, ..honest.clone() }),
        ("malformed", Claims { jti: "root".into(), ..honest.clone() }),
        ("bad_signature", Claims { iss: "chaperone:home".into(), ..honest.clone() }),
    ];
    for (code, claims) in cases {
        assert_eq!(forge(claims.clone(), &office.holder), Some(code), "{claims:?}");
    }
    let stranger = HolderKey::new(SigningKey::from_bytes(&[9; 32]));
    assert_eq!(
        forge(Claims { iss: stranger.issuer().into(), ..honest.clone() }, &stranger),
        Some("bad_signature")
    );
    // A link alone is no token, nor is a chain without its root.
    let link = office.holder.sign_claims(&serde_json::to_vec(&honest).unwrap()).unwrap();
    assert_eq!(office.verify(&link).unwrap_err().code(), "malformed");
}

#[test]
fn a_chain_has_eight_links_at_most() {
    let office = office();
    let mut token = office.root(vec![read("/w/*")], None);
    for index in 0..8 {
        token = office.narrow(token.as_str(), &format!("l{index}"), only(vec![read("/w/*")])).unwrap();
    }
    assert!(office.verify(token.as_str()).is_ok());
    assert_eq!(office.narrow(token.as_str(), "l8", Narrowing::default()).unwrap_err().code(), "too_deep");
    let ninth = token.as_str().rsplit_once('~').unwrap().1;
    let long = format!("{}~{ninth}", token.as_str());
    assert_eq!(office.verify(&long).unwrap_err().code(), "too_deep");
}
