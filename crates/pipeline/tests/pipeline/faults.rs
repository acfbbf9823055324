//! Whatever fails, panics or takes too long at any step is a refusal with a reason code, and never a grant.

use std::time::Duration;

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::session::Refused;
use chaperone_pipeline::{AccessRequest, Admission, Refusal, Resource};
use chaperone_policy::{Effect, Obligation};
use chaperone_protocol::session::State;
use chaperone_protocol::{AskMode, Failure};

use crate::support::*;

const ALL: [Fault; 3] = [Fault::Fails, Fault::Panics, Fault::TimesOut];

fn code(fault: Fault, of_failure: &'static str) -> &'static str {
    if fault == Fault::Panics { "internal_error" } else { of_failure }
}

#[track_caller]
fn recorded(world: &World, refusal: &Refusal) {
    assert!(!refusal.failure.code.is_empty() && !refusal.rule.is_empty());
    let outcomes = world.log.of(Phase::Outcome);
    let reasons: Vec<_> = outcomes.iter().map(|w| w.entry.reasons[0].clone()).collect();
    assert_eq!(reasons, [refusal.failure.code.as_str()]);
    assert_eq!(outcomes[0].entry.effect, "deny");
}

#[test]
fn an_ordinary_request_is_granted_recorded_and_told() {
    let world = World::new(inspected_then(allow(&[])));
    let granted = world.granted(world.read("/workspace/a", b"content"));
    assert_eq!(released(&granted), b"content");
    assert_eq!(world.log.of(Phase::Intent).len(), 1);
    assert_eq!(world.release.seen.lock().len(), 1);
    assert_eq!(world.happened().len(), 1);
}

#[test]
fn a_fault_at_a_step_of_a_beginning_is_a_refusal() {
    for (port, of_failure) in [
        ("policy.decide", "policy_error"),
        ("inspect", "cannot_inspect"),
        ("redact", "cannot_redact"),
        ("vault.fingerprint", "vault_dead"),
    ] {
        for fault in ALL {
            let world = World::new(inspected_then(allow(&[Obligation::Redact])));
            world.faults.set(port, fault);
            let refusal = world.refused(world.read("/workspace/a", b"content"));
            assert_eq!(refusal.failure.code, code(fault, of_failure), "{port} {fault:?}");
            assert!(world.log.of(Phase::Intent).is_empty() && world.release.seen.lock().is_empty());
            recorded(&world, &refusal);
        }
    }
}

#[test]
fn a_fault_in_the_second_decision_is_a_refusal() {
    for fault in ALL {
        let world = World::new(inspected_then(allow(&[])));
        world.faults.set_after("policy.decide", fault, 1);
        let refusal = world.refused(world.read("/workspace/a", b"content"));
        assert_eq!(refusal.failure.code, code(fault, "policy_error"));
        recorded(&world, &refusal);
    }
}

#[test]
fn a_fault_of_whoever_is_told_of_released_content_is_a_refusal() {
    let world = World::new(inspected_then(allow(&[])));
    world.faults.set("release", Fault::Panics);
    let refusal = world.refused(world.read("/workspace/a", b"content"));
    assert_eq!(refusal.failure.code, "internal_error");
    recorded(&world, &refusal);
}

#[test]
fn what_the_capability_does_not_give_is_refused_before_policy_allows_it() {
    let world = World::new(|_| allow(&[]));
    let refusal = world.refused(change(Action::Delete, "/elsewhere/a"));
    assert_eq!(refusal.failure.code, "not_permitted");
    assert_eq!(refusal.rule, "capability.not_permitted");
    recorded(&world, &refusal);
    *world.session.capability.write() = None;
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "no_capability");
}

#[test]
fn both_names_of_a_rename_and_its_origin_need_the_capability() {
    let edits: [fn(&mut chaperone_pipeline::access::FileResource); 2] =
        [|f| f.to = Some("/elsewhere/b".to_owned()), |f| f.origin = Some("/elsewhere/c".to_owned())];
    for edit in edits {
        let world = World::new(|_| allow(&[]));
        let mut request = change(Action::Rename, "/workspace/a");
        if let Resource::File(file) = &mut request.resource {
            edit(file);
        }
        assert_eq!(world.refused(request).failure.code, "not_permitted");
    }
}

#[test]
fn a_capability_that_expired_or_was_revoked_gives_nothing() {
    let world = World::new(|_| allow(&[]));
    world.clock.forward(13 * 3_600);
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "expired");
    let world = World::new(|_| allow(&[]));
    let id = world.session.capability_id().unwrap();
    world.pipeline.ledgers.revocations.revoke(&id, now(&world).unsigned_abs()).unwrap();
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "revoked");
}

#[test]
fn a_session_that_does_not_run_may_do_nothing() {
    for (state, code) in [
        (State::Starting, "session_ended"),
        (State::Suspended, "session_suspended"),
        (State::Ended, "session_ended"),
    ] {
        let world = World::new(|_| allow(&[]));
        *world.session.state.write() = state;
        let refusal = world.refused(change(Action::Delete, "/workspace/a"));
        assert_eq!(refusal.failure.code, code);
        assert_eq!(world.policy.calls(), 0);
        recorded(&world, &refusal);
    }
}

#[test]
fn an_ask_that_nobody_answers_in_time_is_a_refusal() {
    let world = World::with(|_| ask(&[]), AskMode::Wait, Duration::from_millis(1));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let refusal = world.pipeline.resume(&world.session, pending, &|| false).unwrap_err();
    assert_eq!(refusal.failure.code, "ask_timeout");
    recorded(&world, &refusal);
    assert!(world.pipeline.approvals.pending().is_empty());
}

#[test]
fn a_request_that_is_cancelled_withdraws_its_ask() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let refusal = world.pipeline.resume(&world.session, pending, &|| true).unwrap_err();
    assert_eq!(refusal.failure.code, "cancelled");
    recorded(&world, &refusal);
    assert!(world.pipeline.approvals.pending().is_empty());
}

#[test]
fn a_transport_that_panics_when_it_is_polled_is_a_refusal() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    let polled = || std::panic::resume_unwind(Box::new("polled"));
    let refusal = world.pipeline.resume(&world.session, pending, &polled).unwrap_err();
    assert_eq!(refusal.failure.code, "internal_error");
    assert!(world.pipeline.approvals.pending().is_empty());
}

#[test]
fn a_session_that_answers_every_ask_itself_asks_nobody() {
    let world = World::with(|_| ask(&[]), AskMode::Deny, Duration::from_secs(60));
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "ask_denied");
    let may_redact = || inspected_then(ask(&[Obligation::Redact]));
    let world = World::with(may_redact(), AskMode::Redact, Duration::from_secs(60));
    assert_eq!(released(&world.granted(world.read("/workspace/a", b"content"))), REDACTED);
    let world = World::with(inspected_then(ask(&[])), AskMode::Redact, Duration::from_secs(60));
    assert_eq!(world.refused(world.read("/workspace/a", b"content")).failure.code, "cannot_redact");
    let world = World::with(inspected_then(step_up()), AskMode::Redact, Duration::from_secs(60));
    assert_eq!(world.refused(world.read("/workspace/a", b"content")).failure.code, "cannot_redact");
}

fn commit(world: &World) -> AccessRequest {
    let mut request = world.read("/workspace/a", b"content");
    request.action = Action::Commit;
    if let Resource::File(file) = &mut request.resource {
        file.verbatim = true;
    }
    request
}

#[test]
fn a_commit_is_on_disk_before_it_is_performed() {
    let world = World::new(|_| allow(&[]));
    let mut granted = world.pipeline.commit(&world.session, commit(&world), &unnamed()).unwrap();
    let is_on_disk = || world.log.all()[usize::try_from(granted.intent).unwrap()].on_disk;
    assert!(!is_on_disk());
    granted.syncing().wait().unwrap();
    assert!(world.log.all()[usize::try_from(granted.intent).unwrap()].on_disk);
}

#[test]
fn a_commit_that_policy_asks_about_needs_its_path_named() {
    let world = World::new(|_| ask(&[]));
    let refusal = world.pipeline.commit(&world.session, commit(&world), &unnamed()).unwrap_err();
    assert_eq!(refusal.failure.code, "confirmation_required");
    let granted = world.pipeline.commit(&world.session, commit(&world), &named_by_the_user()).unwrap();
    let intent = world.log.all()[usize::try_from(granted.intent).unwrap()].clone();
    assert_eq!(intent.entry.approval.as_deref(), Some("user:commit"));
}

#[test]
fn a_commit_that_is_denied_or_needs_more_is_refused_also_when_named() {
    for (rule, code) in [
        (deny(&[]), "forbidden"),
        (step_up(), "needs_second_factor"),
        (allow(&[Obligation::Redact]), "cannot_redact"),
    ] {
        let world = World::new(move |_| rule.clone());
        let refusal =
            world.pipeline.commit(&world.session, commit(&world), &named_by_the_user()).unwrap_err();
        assert_eq!(refusal.failure.code, code);
        recorded(&world, &refusal);
    }
}

#[test]
fn a_look_ahead_says_what_an_attempt_would_meet_and_records_nothing() {
    for (rule, expected) in [
        (allow(&[]), None),
        (allow(&[Obligation::Redact]), Some("cannot_redact")),
        (ask(&[]), Some("masked")),
        (step_up(), Some("masked")),
        (deny(&[]), Some("forbidden")),
    ] {
        let world = World::new(inspected_then(rule));
        let looked = world.pipeline.would_read(&world.session, &world.read("/workspace/a", b"content"));
        assert_eq!(looked.err().map(|r| r.failure.code).as_deref(), expected);
        assert!(world.log.all().is_empty());
    }
}

#[test]
fn a_fault_in_a_look_ahead_is_a_no() {
    for (port, of_failure) in [("policy.decide", "policy_error"), ("inspect", "cannot_inspect")] {
        for fault in ALL {
            let world = World::new(inspected_then(allow(&[])));
            world.faults.set(port, fault);
            let request = world.read("/workspace/a", b"content");
            let looked = world.pipeline.would_read(&world.session, &request).unwrap_err();
            assert_eq!(looked.failure.code, code(fault, of_failure));
            if port == "policy.decide" {
                assert!(world.pipeline.is_denied(&world.session, Action::Read, "/workspace/a"));
            }
        }
    }
}

#[test]
fn what_leaves_comes_with_a_ticket_that_fails_when_the_disk_does() {
    let world = World::new(|_| allow(&[]));
    let mut granted = world.granted(send(post(1, 10)));
    assert!(!world.log.all()[usize::try_from(granted.intent).unwrap()].on_disk);
    granted.syncing().wait().unwrap();
    assert!(world.log.all()[usize::try_from(granted.intent).unwrap()].on_disk);
    world.faults.set("log.wait", Fault::Fails);
    let mut granted = world.granted(send(post(1, 10)));
    assert_eq!(granted.syncing().wait().unwrap_err().code, "audit_unavailable");
}

#[test]
fn too_many_asks_are_a_refusal() {
    let world = World::new(|_| ask(&[]));
    let waiting: Vec<Admission> = (0..chaperone_pipeline::approvals::MAX_OPEN)
        .map(|i| world.begin(change(Action::Delete, &format!("/workspace/{i}"))))
        .collect();
    let refusal = world.refused(change(Action::Delete, "/workspace/more"));
    assert_eq!(refusal.failure.code, "too_many_asks");
    drop(waiting);
    world.pending(change(Action::Delete, "/workspace/more"));
}

#[test]
fn a_denial_that_suspends_does_so_when_it_cannot_be_recorded() {
    for fault in ALL {
        let world = World::new(|_| deny(&[Obligation::Suspend]));
        world.faults.set("log.append", fault);
        world.faults.set("cell", fault);
        assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "forbidden");
        assert_eq!(*world.session.state.read(), State::Suspended);
        assert_eq!(world.cell.suspended.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

fn because() -> Refused {
    let failure = Failure::new("session_suspended", "because");
    Refused::new("now".into(), "suspend", "s", &failure, "test.rule", vec!["because".into()])
}

#[test]
fn a_session_and_its_cell_are_suspended_and_resumed_together() {
    let world = World::new(|_| allow(&[]));
    let session = &world.session;
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let set = |to: bool| {
        // Whoever else turns it meanwhile has the time to.
        (0..50).for_each(|_| std::thread::yield_now());
        stopped.store(to, std::sync::atomic::Ordering::SeqCst);
    };
    for _ in 0..60 {
        std::thread::scope(|scope| {
            scope.spawn(|| session.suspend(because(), || set(true)));
            scope.spawn(|| {
                session.resume(|| {
                    set(false);
                    Ok::<_, ()>(())
                })
            });
            scope.spawn(|| session.suspend(because(), || set(true)));
        });
        let is_suspended = *session.state.read() == State::Suspended;
        assert_eq!(stopped.load(std::sync::atomic::Ordering::SeqCst), is_suspended);
    }
    session.suspend(because(), || set(true));
    assert_eq!(session.resume(|| Err("gone")), Some(Err("gone")));
    assert_eq!(*session.state.read(), State::Suspended);
    assert_eq!(session.resume(|| Ok::<_, ()>(())), Some(Ok(())));
    assert_eq!(session.resume(|| Ok::<_, ()>(())), None);
}

#[test]
fn a_denial_stays_a_denial_when_it_cannot_be_recorded() {
    for fault in ALL {
        let world = World::new(|_| deny(&[]));
        world.faults.set("log.append", fault);
        assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "forbidden");
    }
}

#[test]
fn a_fault_after_the_answer_is_a_refusal() {
    // The ask was recorded; what follows are the answer and the intent.
    for (port, calls, of_failure) in [
        ("vault.sign_approval", 0, "vault_dead"),
        ("log.append", 0, "audit_unavailable"),
        ("log.append", 1, "audit_unavailable"),
        ("policy.decide", 0, "policy_error"),
        ("vault.fingerprint", 0, "vault_dead"),
        ("redact", 0, "cannot_redact"),
    ] {
        for fault in ALL {
            let world = World::new(inspected_then(ask(&[Obligation::Redact])));
            let pending = world.pending(world.read("/workspace/a", b"content"));
            world.faults.set_after(port, fault, calls);
            let refusal = world.answer(pending, redact()).unwrap_err();
            assert_eq!(refusal.failure.code, code(fault, of_failure), "{port} {calls} {fault:?}");
            assert!(world.log.of(Phase::Intent).is_empty() && world.release.seen.lock().is_empty());
        }
    }
}

#[test]
fn a_fault_at_a_step_of_a_commit_is_a_refusal() {
    for (port, of_failure) in [
        ("policy.decide", "policy_error"),
        ("inspect", "cannot_inspect"),
        ("vault.fingerprint", "vault_dead"),
        ("log.append", "audit_unavailable"),
    ] {
        for fault in ALL {
            let world = World::new(|_| allow(&[]));
            world.faults.set(port, fault);
            let refusal =
                world.pipeline.commit(&world.session, commit(&world), &named_by_the_user()).unwrap_err();
            assert_eq!(refusal.failure.code, code(fault, of_failure));
            assert!(world.log.of(Phase::Intent).is_empty());
        }
    }
}

#[test]
fn a_fault_while_the_user_is_asked_is_a_refusal_and_no_ask_stays_behind() {
    for (port, rule) in [("vault.second_factor", step_up()), ("log.append", ask(&[]))] {
        for fault in ALL {
            let world = World::new({
                let rule = rule.clone();
                move |_| rule.clone()
            });
            world.faults.set(port, fault);
            let refusal = world.refused(change(Action::Delete, "/workspace/a"));
            let expected = if port == "log.append" { "audit_unavailable" } else { "vault_dead" };
            assert_eq!(refusal.failure.code, code(fault, expected));
            assert!(world.pipeline.approvals.pending().is_empty());
        }
    }
}

#[test]
fn a_suspension_is_recorded_even_where_the_cell_panics() {
    let world = World::new(|_| deny(&[Obligation::Suspend]));
    world.faults.set("cell", Fault::Panics);
    world.refused(change(Action::Delete, "/workspace/a"));
    assert_eq!(world.log.of(Phase::Alert).len(), 1);
}

#[test]
fn an_outcome_that_cannot_be_recorded_is_an_error_and_no_panic() {
    for fault in ALL {
        let world = World::new(|_| allow(&[]));
        let granted = world.granted(change(Action::Delete, "/workspace/a"));
        world.faults.set("log.append", fault);
        let outcome = Outcome {
            intent: granted.intent,
            action: Action::Delete,
            resource: "/workspace/a",
            ok: true,
            bytes: 0,
            detail: None,
        };
        let failed: Failure = world.pipeline.outcome(&world.session, &outcome).unwrap_err();
        assert_eq!(failed.code, code(fault, "audit_unavailable"));
        world.faults.clear();
        world.pipeline.outcome(&world.session, &outcome).unwrap();
        assert_eq!(world.log.of(Phase::Outcome)[0].entry.intent, Some(granted.intent));
    }
}

#[test]
fn policies_or_a_clock_that_panic_are_a_refusal() {
    for port in ["policy.current", "clock"] {
        let world = World::new(|_| allow(&[]));
        world.faults.set(port, Fault::Panics);
        assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "internal_error");
    }
}

#[test]
fn without_a_log_nothing_is_granted_and_nobody_panics() {
    for fault in ALL {
        let world = World::new(inspected_then(allow(&[])));
        world.faults.set("log.append", fault);
        for request in [
            world.read("/workspace/a", b"content"),
            change(Action::Delete, "/workspace/a"),
            send(post(1, 10)),
            tool("list_changes", 1),
        ] {
            assert_eq!(world.refused(request).failure.code, code(fault, "audit_unavailable"));
        }
        assert!(world.release.seen.lock().is_empty());
    }
}

#[test]
fn a_denial_without_a_reason_has_a_code_all_the_same() {
    for reasons in [vec![], vec![String::new()]] {
        let world = World::new(move |_| {
            let mut denied = decision(Effect::Deny, "", &[]);
            denied.reasons.clone_from(&reasons);
            denied
        });
        assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "denied");
    }
}
