//! Obligations hold on every effect: an alert and a suspension on a denial, a budget and a redaction on what is allowed.

use std::sync::atomic::Ordering;

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::{AccessRequest, Admission, Resource};
use chaperone_policy::{Obligation, Severity};
use chaperone_protocol::Happened;
use chaperone_protocol::session::State;

use crate::support::*;

fn alert(severity: Severity) -> Obligation {
    Obligation::Alert { severity }
}

#[test]
fn a_denial_that_demands_it_suspends_the_session_once() {
    let world = World::new(|_| deny(&[Obligation::Suspend]));
    world.refused(change(Action::Delete, "/workspace/a"));
    assert_eq!(*world.session.state.read(), State::Suspended);
    assert_eq!(world.refused(change(Action::Delete, "/workspace/b")).failure.code, "session_suspended");
    assert_eq!(world.cell.suspended.load(Ordering::Relaxed), 1);
    assert!(world.happened().iter().any(|h| matches!(h, Happened::Suspended { .. })));
    let alerts = world.log.of(Phase::Alert);
    assert_eq!((alerts.len(), alerts[0].entry.action.as_str()), (1, "suspend"));
}

#[test]
fn a_refusal_by_the_capability_suspends_and_alerts_as_policy_demands() {
    let world = World::new(|_| deny(&[Obligation::Suspend, alert(Severity::Low)]));
    let refusal = world.refused(change(Action::Delete, "/elsewhere/a"));
    assert_eq!(refusal.rule, "capability.not_permitted");
    assert_eq!(*world.session.state.read(), State::Suspended);
    let raised: Vec<_> = world.log.of(Phase::Alert).iter().map(|w| w.entry.action.clone()).collect();
    assert_eq!(raised, ["delete", "suspend"]);
}

#[test]
fn an_alert_has_the_severity_that_policy_says() {
    for (severity, recorded, told) in [
        (Severity::Low, chaperone_audit::Severity::Low, "low"),
        (Severity::Medium, chaperone_audit::Severity::Medium, "medium"),
        (Severity::High, chaperone_audit::Severity::High, "high"),
        (Severity::Critical, chaperone_audit::Severity::Critical, "critical"),
    ] {
        let world = World::new(move |_| deny(&[alert(severity)]));
        world.refused(change(Action::Delete, "/workspace/a"));
        let alerts = world.log.of(Phase::Alert);
        assert_eq!((alerts.len(), alerts[0].entry.severity), (1, recorded));
        assert_eq!(alerts[0].entry.rule.as_deref(), Some("test.forbidden"));
        assert_eq!(world.log.of(Phase::Outcome)[0].entry.severity, recorded);
        let events: Vec<_> = world.happened();
        let raised = events.iter().find_map(|h| match h {
            Happened::Alert { severity, logged: true, .. } => Some(severity.as_str()),
            _ => None,
        });
        assert_eq!(raised, Some(told));
        assert_eq!(*world.session.state.read(), State::Running);
    }
}

#[test]
fn no_alert_is_raised_by_a_part_of_a_reason() {
    for reason in ["secret_alert", "suspend_all", "critical_severity", "no_fronting_here"] {
        let world = World::new(move |_| decision(chaperone_policy::Effect::Deny, reason, &[]));
        world.refused(change(Action::Delete, "/workspace/a"));
        assert!(world.log.of(Phase::Alert).is_empty(), "{reason}");
        assert_eq!(world.log.of(Phase::Outcome)[0].entry.severity, chaperone_audit::Severity::Medium);
    }
}

#[test]
fn reasons_of_the_brokers_own_raise_their_alert() {
    let world = World::new(|_| decision(chaperone_policy::Effect::Deny, "fronting", &[]));
    world.refused(change(Action::Delete, "/workspace/a"));
    let alerts = world.log.of(Phase::Alert);
    assert_eq!((alerts.len(), alerts[0].entry.severity), (1, chaperone_audit::Severity::High));
}

#[test]
fn what_policy_wants_noticed_is_told_with_its_reasons() {
    let world = World::new(|_| allow(&[Obligation::Notify]));
    world.granted(change(Action::Delete, "/workspace/a"));
    let told = world.happened().into_iter().any(|h| {
        matches!(h, Happened::Notice { action, reasons, .. } if action == "delete" && reasons == ["fine"])
    });
    assert!(told);
    let world = World::new(|_| allow(&[]));
    world.granted(change(Action::Delete, "/workspace/a"));
    assert!(!world.happened().iter().any(|h| matches!(h, Happened::Notice { .. })));
}

#[test]
fn a_budget_is_the_sum_of_what_is_read_in_the_session() {
    let world = World::new(inspected_then(allow(&[Obligation::Budget { bytes: 10 }])));
    world.granted(world.read("/workspace/a", b"1234567"));
    let refusal = world.refused(world.read("/workspace/b", b"1234"));
    assert_eq!(refusal.failure.code, "over_budget");
    world.granted(world.read("/workspace/c", b"123"));
    assert_eq!(world.refused(world.read("/workspace/d", b"1")).failure.code, "over_budget");
    assert_eq!(world.log.of(Phase::Intent).len(), 2);
    assert_eq!(world.session.counters.bytes_released.load(Ordering::Relaxed), 10);
}

#[test]
fn the_smallest_budget_holds() {
    let budgets = [Obligation::Budget { bytes: 100 }, Obligation::Budget { bytes: 3 }];
    let world = World::new(inspected_then(allow(&budgets)));
    assert_eq!(world.refused(world.read("/workspace/a", b"1234")).failure.code, "over_budget");
}

#[test]
fn what_cannot_be_recorded_takes_nothing_from_a_budget() {
    for fault in [Fault::Fails, Fault::Panics] {
        let world = World::new(inspected_then(allow(&[Obligation::Budget { bytes: 10 }])));
        world.faults.set("log.append", fault);
        world.refused(world.read("/workspace/a", b"1234567"));
        assert_eq!(world.session.counters.bytes_released.load(Ordering::Relaxed), 0);
        world.faults.clear();
        world.granted(world.read("/workspace/a", b"1234567"));
        assert_eq!(world.session.counters.bytes_released.load(Ordering::Relaxed), 7);
    }
}

#[test]
fn reads_at_once_never_exceed_a_budget() {
    let world = World::new(inspected_then(allow(&[Obligation::Budget { bytes: 35 }])));
    let granted: usize = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|thread| {
                let world = &world;
                scope.spawn(move || {
                    let reads = (0..5).filter(|i| {
                        let request = world.read(&format!("/workspace/{thread}-{i}"), b"12345");
                        matches!(world.begin(request), Admission::Granted(_))
                    });
                    reads.count()
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert_eq!(granted, 7);
    assert_eq!(world.session.counters.bytes_released.load(Ordering::Relaxed), 35);
}

#[test]
fn an_allowed_read_that_demands_a_redacted_copy_gets_one() {
    let world = World::new(inspected_then(allow(&[Obligation::Redact])));
    let granted = world.granted(world.read("/workspace/a", b"content"));
    assert!(granted.redacted);
    assert_eq!(released(&granted), REDACTED);
    assert!(world.happened().iter().any(|h| matches!(h, Happened::Redacted { .. })));
    let payload = world.log.of(Phase::Intent)[0].payload.clone();
    assert_eq!((payload["redacted"].as_bool(), payload["content"]["bytes"].as_u64()), (Some(true), Some(10)));
}

#[test]
fn an_opening_that_shows_the_original_is_refused_where_only_a_copy_may_be_read() {
    let world = World::new(inspected_then(allow(&[Obligation::Redact])));
    let mut request = world.read("/workspace/a", b"content");
    if let Resource::File(file) = &mut request.resource {
        file.verbatim = true;
    }
    let refusal = world.refused(request);
    assert_eq!(refusal.failure.code, "cannot_redact");
    assert!(world.log.of(Phase::Intent).is_empty());
}

#[test]
fn a_redaction_that_comes_without_an_inspection_holds_all_the_same() {
    let world = World::new(|_| allow(&[Obligation::Redact]));
    assert_eq!(released(&world.granted(world.read("/workspace/a", b"content"))), REDACTED);
}

#[test]
fn a_budget_that_comes_without_an_inspection_holds_all_the_same() {
    let world = World::new(|_| allow(&[Obligation::Budget { bytes: 3 }]));
    assert_eq!(world.refused(world.read("/workspace/a", b"1234")).failure.code, "over_budget");
    assert_eq!(released(&world.granted(world.read("/workspace/a", b"123"))), b"123");
}

#[test]
fn a_refusal_after_an_answer_keeps_what_the_shown_decision_demands_of_it() {
    let world = World::new(|_| ask(&[alert(Severity::High), Obligation::Suspend]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.clock.forward(61);
    assert_eq!(world.answer(pending, yes()).unwrap_err().failure.code, "answer_expired");
    let raised: Vec<_> = world.log.of(Phase::Alert).iter().map(|w| w.entry.action.clone()).collect();
    assert_eq!(raised, ["delete", "suspend"]);
}

#[test]
fn a_grant_or_a_commit_that_fails_keeps_what_policy_demands_of_it() {
    let world = World::new(|_| allow(&[alert(Severity::High)]));
    world.faults.set("vault.fingerprint", Fault::Fails);
    world.refused(send(post(1, 10)));
    assert_eq!(world.log.of(Phase::Alert).len(), 1);
    let request = AccessRequest { action: Action::Commit, ..world.read("/workspace/a", b"content") };
    world.pipeline.commit(&world.session, request, &unnamed()).unwrap_err();
    assert_eq!(world.log.of(Phase::Alert).len(), 2);
}

#[test]
fn a_refusal_by_the_broker_keeps_what_policy_demands_of_it() {
    let world = World::new(|_| allow(&[Obligation::Inspect, alert(Severity::High)]));
    world.faults.set("inspect", Fault::Fails);
    world.refused(world.read("/workspace/a", b"content"));
    assert_eq!(world.log.of(Phase::Alert).len(), 1);
}
