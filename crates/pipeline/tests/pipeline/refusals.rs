//! Refusals that repeat: counted, recorded at powers of two, and in the end a suspension.

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, NetworkResource};
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_pipeline::session::REPEAT_LIMIT;
use chaperone_policy::Obligation;
use chaperone_protocol::Happened;
use chaperone_protocol::session::State;

use crate::support::*;

#[test]
fn twenty_refusals_of_one_kind_suspend_the_session() {
    let world = World::new(|_| deny(&[]));
    for _ in 1..REPEAT_LIMIT {
        world.refused(change(Action::Delete, "/workspace/a"));
    }
    assert_eq!(*world.session.state.read(), State::Running);
    world.refused(change(Action::Delete, "/workspace/a"));
    assert_eq!(*world.session.state.read(), State::Suspended);
    assert_eq!(world.log.of(Phase::Alert)[0].entry.rule.as_deref(), Some("broker.repeated_denials"));
}

#[test]
fn refusals_of_different_kinds_do_not_suspend() {
    let world = World::new(|_| deny(&[]));
    for i in 0..3 * REPEAT_LIMIT {
        world.refused(change(Action::Delete, &format!("/workspace/{i}")));
    }
    assert_eq!(*world.session.state.read(), State::Running);
}

/// An agent makes up as many as it likes, and each is put to the user.
#[test]
fn wishes_that_are_refused_suspend_whatever_each_is_for() {
    let world = World::new(|_| deny(&[]));
    for i in 1..REPEAT_LIMIT {
        world.refused(elevation(Action::Read, &format!("/workspace/{i}/**")));
    }
    assert_eq!(*world.session.state.read(), State::Running);
    world.refused(elevation(Action::Read, "/workspace/other/**"));
    assert_eq!(*world.session.state.read(), State::Suspended);
}

#[test]
fn refusals_of_the_network_do_not_suspend_by_themselves() {
    let world = World::new(|_| deny(&[]));
    for _ in 0..3 * REPEAT_LIMIT {
        world.refused(send(post(1, 10)));
    }
    assert_eq!(*world.session.state.read(), State::Running);
}

#[test]
fn refusals_of_the_network_suspend_when_policy_says_so() {
    let world = World::new(|_| deny(&[Obligation::Suspend]));
    world.refused(send(NetworkResource { host: "nowhere.example".into(), ..post(1, 10) }));
    assert_eq!(*world.session.state.read(), State::Suspended);
}

#[test]
fn the_user_is_told_what_a_name_leads_to_that_is_not_public_and_the_agent_is_not() {
    let at = |host: &str| NetworkResource {
        host: host.to_owned(),
        addresses: vec!["10.1.2.3".parse().unwrap()],
        ..post(1, 10)
    };
    let world = World::new(|_| decision(chaperone_policy::Effect::Deny, "private_address", &[]));
    let refusal = world.refused(send(at("api.example")));
    assert!(!format!("{refusal:?}").contains("10.1.2.3"), "{refusal:?}");
    let told: Vec<_> = world
        .happened()
        .into_iter()
        .filter_map(|h| match h {
            Happened::Refused { reasons, .. } | Happened::Alert { reasons, .. } => Some(reasons),
            _ => None,
        })
        .collect();
    assert_eq!(told, vec![["private_address", "at 10.1.2.3"]; 2]);
    assert_eq!(world.log.of(Phase::Alert)[0].entry.reasons, ["private_address", "at 10.1.2.3"]);

    // An address that the agent named itself is shown as the host.
    assert_eq!(at("api.example").leads_where().unwrap(), "at 10.1.2.3");
    assert_eq!(at("10.1.2.3").leads_where(), None);
}

#[test]
fn one_refusal_again_and_again_is_recorded_at_powers_of_two() {
    let world = World::new(|_| deny(&[]));
    for _ in 0..100 {
        world.refused(send(post(1, 10)));
    }
    assert_eq!(world.log.of(Phase::Outcome).len(), 7);
    let counts: Vec<u64> = world
        .happened()
        .iter()
        .filter_map(|h| match h {
            Happened::Refused { count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [1, 2, 4, 8, 16, 32, 64]);
}

#[test]
fn why_names_each_refusal_with_its_count() {
    let world = World::new(|_| deny(&[]));
    for _ in 0..3 {
        world.refused(change(Action::Delete, "/workspace/a"));
    }
    let why = world.session.why();
    assert_eq!(why[0].count, 3);
    assert_eq!(why[0].rule, "test.forbidden");
    assert_eq!(why[0].resource, "/workspace/a");
}

#[test]
fn why_names_the_agents_refusals_before_what_commits_kept_back_however_much_that_is() {
    let world = World::new(|_| deny(&[]));
    world.refused(change(Action::Delete, "/workspace/secret"));
    let word = UsersWord::default();
    for n in 0..300 {
        let path = format!("/workspace/__pycache__/{n}.pyc");
        let commit = AccessRequest { entry: Entry::Commit, ..change(Action::Commit, &path) };
        world.pipeline.commit(&world.session, commit, &word).unwrap_err();
    }
    let why = world.session.why();
    assert_eq!(why.len(), 2, "{why:?}");
    assert_eq!(why[0].resource, "/workspace/secret");
    assert_eq!(why[1].resource, "/workspace/__pycache__/299.pyc and 299 others");
    let recorded = world.log.all().iter().filter(|r| r.entry.resource.ends_with(".pyc")).count();
    assert_eq!(recorded, 300);
}

#[test]
fn why_says_that_a_session_is_suspended_and_why_for_as_long_as_it_is() {
    let world = World::new(|_| deny(&[]));
    for _ in 0..20 {
        world.refused(change(Action::Delete, "/workspace/a"));
    }
    let (id, why) = (&world.session.id, &world.session.why()[0]);
    assert_eq!((why.action.as_str(), why.rule.as_str()), ("suspend", "broker.repeated_denials"));
    assert!(why.reasons[0].contains("twenty times"), "{why:?}");
    assert!(why.advice.as_ref().unwrap().contains(&format!("chaperone resume {id}")), "{why:?}");
    assert_eq!(world.session.suspension().as_ref(), Some(why));
    world.session.resume(|| Ok::<_, ()>(())).unwrap().unwrap();
    assert_eq!(world.session.suspension(), None);
    assert!(world.session.why().iter().all(|entry| entry.action != "suspend"));
}
