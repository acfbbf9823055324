//! An answer holds only for what was shown, and only as long as that holds still or asks for less.

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::approvals::Answer;
use chaperone_pipeline::{AccessRequest, Refusal, Resource};
use chaperone_policy::{Decision, Effect, Obligation, Severity};
use chaperone_protocol::Scope;
use chaperone_protocol::session::State;

use crate::support::*;

/// The user is shown `shown`, policy becomes `later`, and the user says yes.
fn shown_then(shown: Decision, later: Decision) -> (World, Result<Vec<u8>, Refusal>) {
    let world = World::new(inspected_then(shown));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    world.policy.become_("r2", inspected_then(later));
    let answered = world.answer(pending, yes()).map(|granted| released(&granted));
    (world, answered)
}

#[track_caller]
fn is_refused(shown: Decision, later: Decision, code: &str) {
    let (world, answered) = shown_then(shown, later);
    assert_eq!(answered.unwrap_err().failure.code, code);
    nothing_left(&world);
}

/// No intent was recorded, and nobody was told of released content.
#[track_caller]
fn nothing_left(world: &World) {
    assert!(world.log.of(Phase::Intent).is_empty());
    assert!(world.release.seen.lock().is_empty());
    assert_eq!(world.log.of(Phase::Outcome).len(), 1, "the refusal is recorded");
}

#[track_caller]
fn passes(shown: Decision, later: Decision) {
    assert_eq!(shown_then(shown, later).1.unwrap(), b"content");
}

#[test]
fn a_yes_releases_what_was_inspected() {
    passes(ask(&[]), ask(&[]));
}

#[test]
fn an_answer_to_an_ask_that_became_a_step_up_is_refused() {
    is_refused(ask(&[]), step_up(), "policy_changed");
}

#[test]
fn an_answer_to_an_ask_that_became_a_denial_is_refused() {
    is_refused(ask(&[]), deny(&[]), "forbidden");
}

#[test]
fn an_answer_does_not_cover_a_redaction_that_was_not_shown() {
    is_refused(ask(&[]), ask(&[Obligation::Redact]), "policy_changed");
}

#[test]
fn an_answer_does_not_cover_a_budget_that_was_not_shown() {
    is_refused(ask(&[]), allow(&[Obligation::Budget { bytes: 1_000 }]), "policy_changed");
}

#[test]
fn an_answer_does_not_cover_a_smaller_budget_than_was_shown() {
    let budget = |bytes| ask(&[Obligation::Budget { bytes }]);
    is_refused(budget(1_000), budget(999), "policy_changed");
}

#[test]
fn an_answer_passes_when_policy_asks_for_less_by_now() {
    passes(ask(&[Obligation::Budget { bytes: 1_000 }]), ask(&[]));
    passes(ask(&[]), allow(&[]));
    passes(ask(&[]), ask(&[Obligation::Notify, Obligation::Alert { severity: Severity::Low }]));
}

#[test]
fn an_answer_to_a_step_up_passes_an_ask() {
    let world = World::new(inspected_then(step_up()));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    world.policy.become_("r2", inspected_then(ask(&[])));
    let with_pin = Answer::Approve { scope: Scope::Once, redact: false, pin_proof: Some([1; 16]) };
    assert_eq!(released(&world.answer(pending, with_pin).unwrap()), b"content");
}

#[test]
fn an_answer_under_another_capability_is_refused() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.renew_capability();
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "capability_changed");
    nothing_left(&world);
}

#[test]
fn an_answer_under_a_revoked_capability_is_refused() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let id = world.session.capability_id().unwrap();
    world.pipeline.ledgers.revocations.revoke(&id, now(&world).unsigned_abs()).unwrap();
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "revoked");
    nothing_left(&world);
}

#[test]
fn an_answer_after_the_capability_has_expired_is_refused() {
    let world = World::with(|_| ask(&[]), Default::default(), std::time::Duration::from_secs(86_400));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.clock.forward(13 * 3_600);
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "expired");
    nothing_left(&world);
}

#[test]
fn an_answer_after_its_request_has_expired_is_refused() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.clock.forward(61);
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "answer_expired");
    nothing_left(&world);
}

#[test]
fn an_answer_in_the_last_second_is_in_time() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.clock.forward(60);
    world.answer(pending, yes()).unwrap();
}

#[test]
fn an_answer_about_a_file_that_changed_meanwhile_is_refused() {
    let world = World::new(inspected_then(ask(&[])));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    world.overwrite("/workspace/a.csv", b"another content");
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "object_changed");
    nothing_left(&world);
}

#[test]
fn an_answer_in_a_session_that_was_suspended_or_ended_meanwhile_is_refused() {
    for (state, code) in [(State::Suspended, "session_suspended"), (State::Ended, "session_ended")] {
        let world = World::new(|_| ask(&[]));
        let pending = world.pending(change(Action::Delete, "/workspace/a"));
        *world.session.state.write() = state;
        assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, code);
        nothing_left(&world);
    }
}

#[test]
fn a_no_is_a_refusal_with_the_users_words_and_the_rule_that_asked() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let refusal = world.answer(pending, Answer::Deny { why: Some("not\u{202e} now".into()) }).unwrap_err();
    assert_eq!(refusal.failure.code, "user_denied");
    assert_eq!(refusal.rule, "test.personal_data");
    assert!(refusal.failure.message.contains("now") && !refusal.failure.message.contains('\u{202e}'));
    nothing_left(&world);
}

#[test]
fn a_no_still_raises_the_alert_that_policy_demands() {
    let world = World::new(|_| ask(&[Obligation::Alert { severity: Severity::Critical }]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, no()).unwrap_err();
    assert_eq!(world.log.of(Phase::Alert).len(), 1);
}

#[test]
fn a_redacting_yes_releases_the_redacted_copy_alone() {
    let world = World::new(inspected_then(ask(&[Obligation::Redact])));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    let granted = world.answer(pending, redact()).unwrap();
    assert!(granted.redacted);
    assert_eq!(released(&granted), REDACTED);
}

#[test]
fn a_redacting_yes_to_what_cannot_be_redacted_releases_nothing() {
    let world = World::new(inspected_then(ask(&[Obligation::Redact])));
    let mut request = world.read("/workspace/a.csv", b"content");
    if let Resource::File(file) = &mut request.resource {
        file.verbatim = true;
    }
    let pending = world.pending(request);
    assert_eq!(world.answer(pending, redact()).unwrap_err().failure.code, "cannot_redact");
    nothing_left(&world);
}

#[test]
fn a_step_up_without_a_pin_is_refused_by_the_vault() {
    let world = World::new(|_| step_up());
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "pin_required");
    nothing_left(&world);
}

#[test]
fn a_step_up_without_a_second_factor_is_refused_before_anybody_is_asked() {
    let world = World::new(|_| step_up());
    *world.vault.has_second_factor.lock() = false;
    let refusal = world.refused(change(Action::Delete, "/workspace/a"));
    assert_eq!(refusal.failure.code, "no_second_factor");
    assert!(refusal.failure.advice.unwrap().contains("chaperone vault pin"));
}

#[test]
fn what_the_vault_signs_is_the_digest_that_was_shown() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let shown = world.pipeline.approvals.pending()[0].clone();
    world.answer(pending, yes_for(Scope::For(5))).unwrap();
    let signed = world.vault.signed.lock()[0].clone();
    assert_eq!(format!("sha256:{}", signed.action_digest), shown.digest);
    assert_eq!((signed.id, signed.scope.as_str()), (shown.id, "until"));
    assert_eq!(signed.expires, shown.expires.unsigned_abs());
}

#[test]
fn an_answer_is_on_disk_before_the_intent_that_rests_on_it() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let granted = world.answer(pending, yes()).unwrap();
    let all = world.log.all();
    let answered = all.iter().position(|w| w.entry.action == "approve").unwrap();
    assert!(all[answered].on_disk);
    assert_eq!(all[usize::try_from(granted.intent).unwrap()].entry.approval, all[answered].entry.approval);
    assert!((answered as u64) < granted.intent);
}

#[test]
fn the_user_can_answer_from_another_thread_while_the_request_waits() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let id = world.pipeline.approvals.pending()[0].id.clone();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.pipeline.resume(&world.session, pending, &|| false));
        world.pipeline.approvals.answer(&id, yes()).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_rename_that_a_new_name_would_launder_is_asked_as_its_old_name_would_be() {
    let from_secret = || {
        let mut request: AccessRequest = change(Action::Rename, "/workspace/plain");
        if let Resource::File(file) = &mut request.resource {
            file.origin = Some("/workspace/secret".into());
        }
        request
    };
    let secret = |input: &serde_json::Value| input["path"] == "/workspace/secret";
    let world = World::new(move |input| if secret(input) { deny(&[]) } else { allow(&[]) });
    assert_eq!(world.refused(from_secret()).failure.code, "forbidden");
    // What the old name demands of an effect that both have holds, too.
    let world = World::new(move |input| {
        if secret(input) { decision(Effect::Allow, "secret", &[Obligation::Redact]) } else { allow(&[]) }
    });
    assert_eq!(world.refused(from_secret()).failure.code, "cannot_redact");
}

#[test]
fn an_ask_and_a_refusal_about_a_renamed_file_say_what_it_was_called() {
    let world = World::new(inspected_then(ask(&[])));
    let moved = |origin: Option<&str>| {
        let mut request = world.read("/workspace/notes.txt", b"content");
        if let Resource::File(file) = &mut request.resource {
            file.origin = origin.map(str::to_owned);
        }
        request
    };
    let pending = world.pending(moved(Some("/workspace/employees.csv")));
    let asked = world.pipeline.approvals.pending();
    assert_eq!(asked[0].was.as_deref(), Some("/workspace/employees.csv"));
    world.answer(pending, no()).unwrap_err();
    assert_eq!(world.session.why()[0].was.as_deref(), Some("/workspace/employees.csv"));
    // What is read under the new name is known by the old one, where it leaves again and before the next ask.
    let pending = world.pending(moved(Some("/workspace/employees.csv")));
    world.answer(pending, yes()).unwrap();
    assert_eq!(world.release.seen.lock()[0].0, "/workspace/employees.csv");
    assert_eq!(world.session.recent.lock().back().unwrap(), "read /workspace/employees.csv");
    for origin in [None, Some("/workspace/notes.txt")] {
        let _waits = world.pending(moved(origin));
        assert_eq!(world.pipeline.approvals.pending()[0].was, None);
    }
}

#[test]
fn an_answer_covers_a_larger_budget_than_was_shown() {
    let budget = |bytes| ask(&[Obligation::Budget { bytes }]);
    passes(budget(1_000), budget(1_001));
}

#[test]
fn a_content_that_policy_wants_inspected_by_now_is_not_released_on_an_older_answer() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    world.policy.become_("r2", inspected_then(deny(&[])));
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "policy_changed");
    nothing_left(&world);
}
