//! What cannot be looked into is a question with a reason, and an answer covers what it says.

use std::time::Duration;

use chaperone_capability::Action;
use chaperone_pipeline::{AccessRequest, Admission};
use chaperone_policy::{Decision, Effect, Obligation};
use chaperone_protocol::{AskMode, Scope};
use serde_json::Value;

use crate::support::*;

const WHY: &str = "it is an encrypted PDF document";

/// As the policy that ships decides.
fn rule(input: &Value) -> Decision {
    let some = |name: &str| input[name].as_array().is_some_and(|list| !list.is_empty());
    match () {
        () if input["inspected"] != true => allow(&[Obligation::Inspect]),
        () if some("findings") && some("unread") => {
            let mut both = decision(Effect::Ask, "cannot_look_inside", &[]);
            both.reasons.push("personal_data".to_owned());
            both
        }
        () if some("unread") => decision(Effect::Ask, "cannot_look_inside", &[]),
        () => allow(&[]),
    }
}

fn world(ask: AskMode) -> World {
    let world = World::with(rule, ask, Duration::from_secs(60));
    world.inspect.unread.lock().push(WHY.to_owned());
    world
}

#[test]
fn it_is_asked_about_with_the_reason_and_a_yes_gives_the_bytes() {
    let world = world(AskMode::Wait);
    let pending = world.pending(world.read("/workspace/a.pdf", b"content"));
    let asks = world.pipeline.approvals.pending();
    assert_eq!((asks[0].unread.as_slice(), asks[0].covers_kind), (&[WHY.to_owned()][..], true));
    assert!(!asks[0].redactable);
    assert_eq!(released(&world.answer(pending, yes()).unwrap()), b"content");
}

#[test]
fn a_no_and_nobody_to_ask_are_denials_that_say_why() {
    let refused = |world: &World, refusal: chaperone_pipeline::Refusal| {
        assert!(refusal.failure.message.contains(WHY), "{}", refusal.failure.message);
        assert!(refusal.reasons.contains(&"cannot_look_inside".to_owned()));
        assert!(world.release.seen.lock().is_empty());
    };
    let asked = world(AskMode::Wait);
    let pending = asked.pending(asked.read("/workspace/a.pdf", b"content"));
    assert_eq!(asked.answer(pending, no()).unwrap_err().failure.code, "user_denied");
    assert!(asked.release.seen.lock().is_empty());
    for mode in [AskMode::Deny, AskMode::Redact] {
        let alone = world(mode);
        refused(&alone, alone.refused(alone.read("/workspace/a.pdf", b"content")));
        let advice = alone.session.why()[0].advice.clone().unwrap_or_default();
        assert!(advice.contains("`chaperone inspect FILE` names the part"), "{advice}");
    }
}

#[test]
fn an_answer_for_the_session_covers_reading_this_kind_and_nothing_else() {
    let world = world(AskMode::Wait);
    let pending = world.pending(world.read("/workspace/a.pdf", b"content"));
    world.answer(pending, yes_for(Scope::Session)).unwrap();
    assert_eq!(released(&world.granted(world.read("/workspace/b.pdf", b"other"))), b"other");
    let is_asked = |request: AccessRequest| assert!(matches!(world.begin(request), Admission::Pending(_)));
    // Something was found in the part that could be read.
    world.inspect.findings.lock().push(finding("us_ssn", "high", 1));
    is_asked(world.read("/workspace/c.pdf", b"third"));
    world.inspect.findings.lock().clear();
    // Another reason, and one more.
    *world.inspect.unread.lock() = vec!["it is encrypted in a zip archive".to_owned()];
    is_asked(world.read("/workspace/d.zip", b"fourth"));
    *world.inspect.unread.lock() = vec![WHY.to_owned(), "it is encrypted in a zip archive".to_owned()];
    is_asked(world.read("/workspace/e.zip", b"fifth"));
}

#[test]
fn an_answer_about_reading_commits_nothing() {
    let world = world(AskMode::Wait);
    let pending = world.pending(world.read("/workspace/a.pdf", b"content"));
    world.answer(pending, yes_for(Scope::Session)).unwrap();
    let commit = AccessRequest { action: Action::Commit, ..world.read("/workspace/b.pdf", b"other") };
    let refusal = world.pipeline.commit(&world.session, commit, &unnamed()).unwrap_err();
    assert_eq!(refusal.failure.code, "confirmation_required");
    assert!(refusal.failure.message.contains(WHY), "{}", refusal.failure.message);
}
