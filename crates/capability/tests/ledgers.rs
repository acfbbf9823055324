//! Revocations and use counts survive restarts, torn writes and damage, each in the safe direction.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod support;
use std::io::Write as _;

use chaperone_capability::*;
use support::*;

#[test]
fn a_revocation_is_immediate_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    let revocations = Revocations::create(&path).unwrap();
    assert!(!revocations.is_revoked("root"));
    revocations.revoke("root", NOW).unwrap();
    assert!(revocations.is_revoked("root"));
    drop(revocations);
    let revocations = Revocations::open(&path, NOW).unwrap();
    assert!(revocations.is_revoked("root"));

    let office = office();
    let root = office.root(vec![read("/w/*")], None);
    let child = office.narrow(root.as_str(), "child", only(vec![read("/w/a")])).unwrap();
    let is_revoked = |jti: &str| revocations.is_revoked(jti);
    let context = Context { is_revoked: &is_revoked, ..office.context() };
    assert_eq!(verify(child.as_str(), &context).unwrap_err().code(), "revoked");
}

#[test]
fn a_missing_file_is_not_an_empty_one_and_an_existing_one_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    assert!(Revocations::open(&path, NOW).is_err());
    Revocations::create(&path).unwrap().revoke("a", NOW).unwrap();
    assert!(Revocations::create(&path).is_err());
    assert!(Revocations::open(&path, NOW).unwrap().is_revoked("a"));
}

#[test]
fn a_torn_last_line_is_dropped_and_any_other_damage_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    let revocations = Revocations::create(&path).unwrap();
    revocations.revoke("a", NOW).unwrap();
    revocations.revoke("b", NOW).unwrap();
    drop(revocations);
    let whole = std::fs::read(&path).unwrap();
    for cut in 1..20 {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let torn = Revocations::open(&path, NOW).unwrap();
        assert!(torn.is_revoked("a") && !torn.is_revoked("b"));
        torn.revoke("c", NOW).unwrap();
        drop(torn);
        assert!(Revocations::open(&path, NOW).unwrap().is_revoked("c"), "written after the cut at {cut}");
    }
    for at in 0..whole.len() - 1 {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(Revocations::open(&path, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn one_process_holds_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    let _held = Revocations::create(&path).unwrap();
    assert!(matches!(Revocations::open(&path, NOW), Err(LedgerError::InUse { .. })));
}

#[test]
fn uses_are_counted_across_restarts_and_shared_with_the_parent() {
    let office = office();
    let root = office.root(vec![read("/w/*")], Some(3));
    let child =
        office.narrow(root.as_str(), "c", Narrowing { uses: Some(2), ..only(vec![read("/w/*")]) }).unwrap();
    let twin = office.narrow(root.as_str(), "d", only(vec![read("/w/*")])).unwrap();
    let (root, child, twin) = (
        office.verify(root.as_str()).unwrap(),
        office.verify(child.as_str()).unwrap(),
        office.verify(twin.as_str()).unwrap(),
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("uses");
    let uses = Uses::create(&path).unwrap();
    assert_eq!(uses.left(&child), Ok(Some(2)));
    uses.take(&child, NOW).unwrap();
    drop(uses);
    let uses = Uses::open(&path, NOW).unwrap();
    uses.take(&child, NOW).unwrap();
    assert_eq!(uses.take(&child, NOW), Err(Rejection::UsedUp { jti: "c".into() }));
    assert_eq!(uses.left(&root), Ok(Some(1)));
    uses.take(&twin, NOW).unwrap();
    assert_eq!(uses.take(&root, NOW).unwrap_err().code(), "used_up");
    assert_eq!(uses.take(&twin, NOW).unwrap_err().code(), "used_up");
}

#[test]
fn a_link_cannot_spend_the_uses_of_a_token_whose_id_it_borrows() {
    let office = office();
    let victim = {
        let request = Request {
            sub: "v".into(),
            permissions: vec![read("/w/*")],
            exp: None,
            nbf: None,
            uses: Some(1),
            aud: None,
        };
        let issue = Issue { session: "s1", jti: "victim", now: NOW, jkt: Some(&office.jkt) };
        office.verify(mint(&request, &issue, &office.issuer).unwrap().as_str()).unwrap()
    };
    let root = office.root(vec![read("/w/*")], None);
    let thief = office.narrow(root.as_str(), "victim", Narrowing { uses: Some(1), ..only(vec![]) }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let uses = Uses::create(&dir.path().join("uses")).unwrap();
    uses.take(&office.verify(thief.as_str()).unwrap(), NOW).unwrap();
    assert_eq!(uses.take(&victim, NOW), Ok(()));
}

#[test]
fn entries_long_past_are_let_go_and_the_file_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("revoked");
    Revocations::create(&path).unwrap().revoke("recent", NOW + RETENTION).unwrap();
    let recent = std::fs::read_to_string(&path).unwrap();
    let old = Revocations::create(&dir.path().join("old")).unwrap();
    old.revoke("x", NOW).unwrap();
    let old_line =
        std::fs::read_to_string(dir.path().join("old")).unwrap().lines().nth(1).unwrap().to_owned();
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(format!("{old_line}\n").repeat(1025).as_bytes()).unwrap();
    drop(file);
    let revocations = Revocations::open(&path, NOW + RETENTION + 1).unwrap();
    assert!(revocations.is_revoked("recent") && !revocations.is_revoked("x"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), recent);
    revocations.revoke("after", NOW + RETENTION + 1).unwrap();
    drop(revocations);
    assert!(Revocations::open(&path, NOW + RETENTION + 1).unwrap().is_revoked("after"));
}
