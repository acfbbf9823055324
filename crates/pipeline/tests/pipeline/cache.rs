//! A decision is remembered for the same request alone.

use chaperone_capability::{Action, PermissionClaim};
use chaperone_pipeline::access::{Entry, FileResource};
use chaperone_pipeline::{AccessRequest, Resource, authority};
use chaperone_policy::Decision;
use serde_json::{Value, json};

use crate::support::*;

/// How many decisions policy made meanwhile.
fn decisions(world: &World, meanwhile: impl FnOnce()) -> usize {
    let before = world.policy.calls();
    meanwhile();
    world.policy.calls() - before
}

fn file(edit: impl FnOnce(&mut FileResource)) -> AccessRequest {
    let mut request = change(Action::Delete, "/workspace/a");
    if let Resource::File(file) = &mut request.resource {
        edit(file);
    }
    request
}

#[test]
fn the_same_request_is_decided_once_and_counted_each_time() {
    let world = World::new(|_| allow(&[]));
    let made = decisions(&world, || {
        for _ in 0..3 {
            world.granted(change(Action::Delete, "/workspace/a"));
        }
    });
    assert_eq!(made, 1);
    assert_eq!(world.log.of(chaperone_audit::Phase::Intent).len(), 1);
    world.pipeline.records.repeated(&world.session).unwrap();
    let counted = world.log.of(chaperone_audit::Phase::Event);
    assert!(counted.iter().any(|r| r.entry.reasons.contains(&"count 2".to_owned())));
}

#[test]
fn whatever_differs_is_decided_anew() {
    let edits: [fn(&mut FileResource); 11] = [
        |f| f.path = "/workspace/b".to_owned(),
        |f| f.to = Some("/workspace/c".to_owned()),
        |f| f.verbatim = true,
        |f| f.object.ino = 7,
        |f| f.object.size = 7,
        |f| f.object.mtime_ns = 7,
        |f| f.object.ctime_ns = 7,
        |f| f.object.dev = 7,
        |f| f.object.nlink = 7,
        |f| f.object.staged = true,
        |f| f.object.kind = chaperone_pipeline::access::ObjectKind::Dir,
    ];
    let world = World::new(|_| allow(&[]));
    world.granted(change(Action::Delete, "/workspace/a"));
    for (i, edit) in edits.into_iter().enumerate() {
        assert_eq!(decisions(&world, || drop(world.granted(file(edit)))), 1, "edit {i}");
    }
    let other_entry = AccessRequest { entry: Entry::Rpc, ..file(|_| {}) };
    assert_eq!(decisions(&world, || drop(world.granted(other_entry))), 1);
    assert_eq!(decisions(&world, || drop(world.granted(change(Action::Write, "/workspace/a")))), 1);
}

#[test]
fn facts_about_a_change_and_the_network_are_decided_each_time() {
    let world = World::new(|_| allow(&[]));
    let made = decisions(&world, || {
        for _ in 0..2 {
            world.granted(file(|f| f.change = Some(json!({}))));
            world.granted(send(post(1, 10)));
            world.granted(tool("list_changes", 1));
        }
    });
    assert_eq!(made, 6);
}

#[test]
fn what_policy_does_not_let_be_remembered_is_decided_each_time() {
    let world = World::new(|_| Decision { cacheable: false, ..allow(&[]) });
    let made = decisions(&world, || {
        world.granted(change(Action::Delete, "/workspace/a"));
        world.granted(change(Action::Delete, "/workspace/a"));
    });
    assert_eq!(made, 2);
}

#[test]
fn another_set_of_policies_decides_anew() {
    let world = World::new(|_| allow(&[]));
    world.granted(change(Action::Delete, "/workspace/a"));
    world.policy.become_("r2", |_| deny(&[]));
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "forbidden");
}

#[test]
fn another_content_of_the_same_version_is_decided_anew() {
    let world = World::new(inspected_then(allow(&[])));
    let mut first = world.read("/workspace/a", b"content");
    let mut second = world.read("/workspace/b", b"CONTENT");
    for request in [&mut first, &mut second] {
        if let Resource::File(file) = &mut request.resource {
            file.path = "/workspace/a".to_owned();
            file.object = chaperone_pipeline::access::FileObject { staged: true, ..file.object };
            file.object.ino = 1;
            (file.object.mtime_ns, file.object.ctime_ns) = (0, 0);
        }
    }
    world.granted(first.clone());
    assert_eq!(decisions(&world, || drop(world.granted(first))), 0);
    assert_eq!(decisions(&world, || drop(world.granted(second))), 1);
}

#[test]
fn an_answer_is_decided_on_anew() {
    let world = World::new(|input| if input.get("approved").is_some() { allow(&[]) } else { ask(&[]) });
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let made = decisions(&world, || drop(world.answer(pending, yes()).unwrap()));
    assert_eq!(made, 1);
    // It is no answer to the next.
    world.pending(change(Action::Delete, "/workspace/a"));
}

/// The user grants deletions of `/workspace/a` for ten minutes.
fn elevate(world: &World) -> std::sync::Arc<chaperone_pipeline::session::ActiveCapability> {
    let granted = world.granted(elevation(Action::Delete, "/workspace/a"));
    let (session, vault) = (&world.session, &*world.vault);
    authority::elevation(session, vault, &world.pipeline.issuer, &granted, world.pipeline.clock.now())
        .unwrap()
}

fn only_elevated(input: &Value) -> Decision {
    if input["action"] == "elevate" || input["elevated"] == true { allow(&[]) } else { deny(&[]) }
}

#[test]
fn an_elevation_is_decided_on_anew() {
    let world = World::new(only_elevated);
    world.refused(change(Action::Delete, "/workspace/a"));
    let held = elevate(&world);
    assert_eq!(held.verified.claims().permissions, [PermissionClaim::path(Action::Delete, "/workspace/a")]);
    world.granted(change(Action::Delete, "/workspace/a"));
    world.refused(change(Action::Delete, "/workspace/b"));
}

#[test]
fn nothing_but_an_elevation_that_was_granted_mints_one() {
    let world = World::new(|_| allow(&[]));
    let granted = world.granted(change(Action::Delete, "/workspace/a"));
    let (session, vault) = (&world.session, &*world.vault);
    let refused =
        authority::elevation(session, vault, &world.pipeline.issuer, &granted, world.pipeline.clock.now());
    assert_eq!(refused.unwrap_err().code, "not_permitted");
    assert!(session.grants.read().is_empty());
}

#[test]
fn an_elevation_ends_with_its_time() {
    let world = World::new(only_elevated);
    elevate(&world);
    world.granted(change(Action::Delete, "/workspace/a"));
    world.clock.forward(600);
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "forbidden");
}

#[test]
fn an_elevation_ends_when_it_is_revoked() {
    let world = World::new(only_elevated);
    let held = elevate(&world);
    world.granted(change(Action::Delete, "/workspace/a"));
    let id = held.verified.claims().jti.clone();
    world.pipeline.ledgers.revocations.revoke(&id, now(&world).unsigned_abs()).unwrap();
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "forbidden");
}
