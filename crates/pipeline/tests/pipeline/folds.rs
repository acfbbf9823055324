//! What repeats itself is counted; what differs is not.

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::Authorized;
use chaperone_pipeline::records::Outcome;

use crate::support::*;

fn ended(world: &World, granted: &Authorized, ok: bool) {
    let request = granted.request();
    let outcome = Outcome {
        intent: granted.intent,
        action: request.action,
        resource: request.subject(),
        ok,
        bytes: 10,
        detail: None,
    };
    world.pipeline.outcome(&world.session, &outcome).unwrap();
}

fn counted(world: &World) -> Vec<Written> {
    world.pipeline.records.repeated(&world.session).unwrap();
    let mut events = world.log.of(Phase::Event);
    events.retain(|r| r.entry.reasons.iter().any(|reason| reason == "repeated"));
    events
}

#[test]
fn the_first_is_recorded_at_once_and_the_rest_as_a_count_with_how_they_ended() {
    let world = World::new(|_| allow(&[]));
    for n in 0..1_000 {
        let granted = world.granted(change(Action::Delete, "/workspace/a"));
        ended(&world, &granted, n % 10 != 9);
    }
    assert_eq!((world.log.of(Phase::Intent).len(), world.log.of(Phase::Outcome).len()), (1, 1));
    let counted = counted(&world);
    assert_eq!(counted.len(), 1);
    let reasons = &counted[0].entry.reasons;
    assert!(
        reasons.contains(&"count 999".to_owned()) && reasons.contains(&"failed 100".to_owned()),
        "{reasons:?}"
    );
    assert_eq!(counted[0].entry.resource, "/workspace/a");
    let of = |what: &str| counted[0].payload["repeated"][what].clone();
    assert_eq!(
        (of("begun"), of("ended"), of("failed"), of("bytes")),
        (999.into(), 899.into(), 100.into(), 9_990.into())
    );
}

#[test]
fn other_names_actions_and_refusals_have_records_of_their_own() {
    let world = World::new(|input| if input["action"] == "rename" { deny(&[]) } else { allow(&[]) });
    for n in 0..50 {
        world.granted(change(Action::Delete, &format!("/workspace/{n}")));
        world.granted(change(Action::Write, &format!("/workspace/{n}")));
    }
    assert_eq!(world.log.of(Phase::Intent).len(), 100);
    for n in 0..10 {
        world.refused(change(Action::Rename, &format!("/workspace/{n}")));
    }
    assert_eq!(world.log.of(Phase::Outcome).len(), 10);
    assert!(counted(&world).is_empty());
}

#[test]
fn what_the_log_does_not_take_is_counted_still_and_nothing_more_passes() {
    let world = World::new(|_| allow(&[]));
    for _ in 0..3 {
        world.granted(change(Action::Delete, "/workspace/a"));
    }
    world.faults.set("log.append", Fault::Fails);
    assert!(world.pipeline.records.repeated(&world.session).is_err());
    assert_eq!(world.refused(change(Action::Delete, "/workspace/a")).failure.code, "audit_unavailable");
    world.faults.clear();
    let counted = counted(&world);
    assert!(counted[0].entry.reasons.contains(&"count 2".to_owned()));
}

#[test]
fn after_the_end_late_outcomes_are_recorded_at_once() {
    let world = World::new(|_| allow(&[]));
    world.granted(change(Action::Delete, "/workspace/a"));
    let late = world.granted(change(Action::Delete, "/workspace/a"));
    world.session.folds.close();
    assert_eq!(counted(&world).len(), 1);
    ended(&world, &late, true);
    world.session.forget();
    let all = world.log.of(Phase::Event);
    assert_eq!(all.iter().filter(|r| r.entry.reasons.iter().any(|reason| reason == "repeated")).count(), 2);
}
