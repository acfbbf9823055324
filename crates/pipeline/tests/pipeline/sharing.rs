//! Asks that are one question are asked once, and attempts that are one are counted as one, whatever the names are.

use std::sync::Arc;

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::session::REPEAT_LIMIT;
use chaperone_pipeline::{AccessRequest, Resource};
use chaperone_protocol::session::State;
use chaperone_protocol::{Happened, Scope};

use crate::support::*;

/// The same object under another name.
fn named(mut request: AccessRequest, path: &str) -> AccessRequest {
    if let Resource::File(file) = &mut request.resource {
        path.clone_into(&mut file.path);
    }
    request
}

fn asked(world: &World) -> usize {
    world.happened().iter().filter(|h| matches!(h, Happened::Asked { .. })).count()
}

#[test]
fn many_openings_of_one_content_are_one_question_and_each_is_recorded() {
    let world = World::new(inspected_then(ask(&[])));
    let names = ["/workspace/a.csv", "/workspace/b.csv", "/workspace/c.csv"];
    let pending: Vec<_> = (0..30).map(|i| world.pending(world.read(names[i % 3], b"content"))).collect();
    assert_eq!(asked(&world), 1);
    let asks = world.pipeline.approvals.pending();
    assert_eq!(asks.len(), 1);
    world.pipeline.approvals.answer(&asks[0].id, yes()).unwrap();
    for one in pending {
        let granted = world.pipeline.resume(&world.session, one, &|| false).unwrap();
        assert_eq!(released(&granted), b"content");
    }
    let intents = world.log.of(Phase::Intent);
    assert_eq!(intents.len(), 30);
    assert!(intents.iter().all(|i| i.entry.approval.as_deref() == Some(&asks[0].id)));
    assert_eq!(world.vault.signed.lock().len(), 1);
}

#[test]
fn what_is_another_question_is_asked_by_itself() {
    let world = World::new(|input| {
        let is_content = input["content"] == true && input["inspected"] != true;
        if is_content { allow(&[chaperone_policy::Obligation::Inspect]) } else { ask(&[]) }
    });
    let kept = [
        world.pending(world.read("/workspace/a.csv", b"content")),
        world.pending(world.read("/workspace/a.csv", b"another")),
        world.pending(change(Action::Delete, "/workspace/a.csv")),
        world.pending(change(Action::Delete, "/workspace/b.csv")),
        world.pending(send(post(1, 10))),
        world.pending(send(post(2, 10))),
        world.pending(send(NetworkResource { host: "other.example".into(), ..post(1, 10) })),
    ];
    assert_eq!(asked(&world), kept.len());
}

#[test]
fn what_needs_a_pin_is_asked_alone() {
    let world = World::new(|_| step_up());
    let _first = world.pending(change(Action::Delete, "/workspace/a"));
    let _second = world.pending(change(Action::Delete, "/workspace/a"));
    assert_eq!(asked(&world), 2);
}

#[test]
fn one_no_to_many_at_once_suspends_nobody() {
    let world = World::new(inspected_then(ask(&[])));
    let pending: Vec<_> =
        (0..50).map(|_| world.pending(world.read("/workspace/a.csv", b"content"))).collect();
    world.pipeline.approvals.answer(&world.pipeline.approvals.pending()[0].id, no()).unwrap();
    for one in pending {
        let refusal = world.pipeline.resume(&world.session, one, &|| false).unwrap_err();
        assert_eq!(refusal.failure.code, "user_denied");
    }
    assert_eq!(*world.session.state.read(), State::Running);
}

#[test]
fn a_standing_answer_holds_for_the_name_that_was_shown() {
    let world = World::new(inspected_then(ask(&[])));
    let first = world.pending(world.read("/workspace/a.csv", b"content"));
    let second = world.pending(world.read("/workspace/b.csv", b"content"));
    world
        .pipeline
        .approvals
        .answer(&world.pipeline.approvals.pending()[0].id, yes_for(Scope::Session))
        .unwrap();
    for one in [first, second] {
        world.pipeline.resume(&world.session, one, &|| false).unwrap();
    }
    world.granted(world.read("/workspace/a.csv", b"content"));
    world.pending(world.read("/workspace/b.csv", b"content"));
}

#[test]
fn one_session_cannot_use_up_the_asks_of_another() {
    let mut world = World::new(|_| ask(&[]));
    let first = Arc::clone(&world.session);
    let _kept: Vec<_> =
        (0..8).map(|i| world.pending(change(Action::Delete, &format!("/workspace/{i}")))).collect();
    assert_eq!(world.refused(change(Action::Delete, "/workspace/more")).failure.code, "too_many_asks");
    world.another_session("s2");
    assert!(!Arc::ptr_eq(&first, &world.session));
    world.pending(change(Action::Delete, "/workspace/0"));
}

/// A file that is called otherwise before each attempt.
#[track_caller]
fn suspends(
    rule: fn(&serde_json::Value) -> chaperone_policy::Decision,
    attempt: impl Fn(&World, u32) -> AccessRequest,
) {
    let world = World::with(rule, chaperone_protocol::AskMode::Deny, std::time::Duration::from_secs(60));
    for i in 1..REPEAT_LIMIT {
        world.refused(attempt(&world, i));
    }
    assert_eq!(*world.session.state.read(), State::Running);
    world.refused(attempt(&world, 0));
    assert_eq!(*world.session.state.read(), State::Suspended);
}

#[test]
fn another_name_before_each_attempt_is_the_same_attempt() {
    let name = |i| format!("/workspace/name-{i}.csv");
    suspends(|_| deny(&[]), |w, i| named(w.read("/workspace/a.csv", b"content"), &name(i)));
    suspends(|_| ask(&[]), |w, i| named(w.read("/workspace/a.csv", b"content"), &name(i)));
    suspends(
        |_| deny(&[]),
        |w, i| {
            let AccessRequest { resource, .. } = named(w.read("/workspace/a.csv", b"content"), &name(i));
            AccessRequest { resource, ..change(Action::Delete, "/workspace/a") }
        },
    );
}

#[test]
fn a_search_through_copies_of_one_content_is_no_repetition() {
    let world = World::with(
        inspected_then(ask(&[])),
        chaperone_protocol::AskMode::Deny,
        std::time::Duration::from_secs(60),
    );
    for i in 0..3 * REPEAT_LIMIT {
        world.refused(world.read(&format!("/workspace/copy-{i}.csv"), b"content"));
    }
    assert_eq!(*world.session.state.read(), State::Running);
}
