//! What the user says with a commit covers what was shown, and the reasons that were named.

use chaperone_audit::Phase;
use chaperone_capability::Action;
use chaperone_pipeline::access::{AccessRequest, Entry, FileObject};
use chaperone_pipeline::pipeline::{Unseen, UsersWord};
use chaperone_protocol::session::State;

use crate::support::*;

#[test]
fn what_is_not_as_it_was_shown_is_refused_recorded_and_raised_before_policy_is_asked() {
    for (unseen, alerts) in [(Unseen::Differs, 1), (Unseen::NeverShown, 0)] {
        let world = World::new(|_| allow(&[]));
        let word = UsersWord { named: true, unseen: Some(unseen), ..UsersWord::default() };
        let refused = world.pipeline.commit(&world.session, change(Action::Commit, "/workspace/a"), &word);
        assert_eq!(refused.unwrap_err().failure.code, "changed_since_shown");
        assert!(world.log.of(Phase::Intent).is_empty());
        assert_eq!(world.log.of(Phase::Alert).len(), alerts);
        assert_eq!(world.policy.calls(), 0);
    }
}

#[test]
fn a_confirmed_reason_covers_what_is_asked_for_it_alone() {
    let asked = |reasons: &'static [&'static str]| {
        let world = World::new(move |_| chaperone_policy::Decision {
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
            ..ask(&[])
        });
        let confirmed = ["many_deletes".to_owned()];
        let word = UsersWord { confirmed: &confirmed, ..UsersWord::default() };
        world.pipeline.commit(&world.session, change(Action::Commit, "/workspace/a"), &word).is_ok()
    };
    assert!(asked(&["many_deletes"]));
    assert!(!asked(&["many_deletes", "runs_later"]));
    assert!(!asked(&["runs_later"]));
    assert!(!asked(&[]));
}

#[test]
fn a_confirmed_reason_covers_no_denial_and_no_step_up() {
    for rule in [deny(&[]), step_up()] {
        let reasons = rule.reasons.clone();
        let world = World::new(move |_| rule.clone());
        let word = UsersWord { named: true, within: true, confirmed: &reasons, unseen: None };
        world.pipeline.commit(&world.session, change(Action::Commit, "/workspace/a"), &word).unwrap_err();
    }
}

#[test]
fn a_directory_of_dependencies_is_one_answer_for_what_is_no_more_than_that() {
    let asked = |reasons: &'static [&'static str], within: bool, confirmed: &[&str]| {
        let world = World::new(move |_| chaperone_policy::Decision {
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
            ..ask(&[])
        });
        let confirmed: Vec<String> = confirmed.iter().map(|r| (*r).to_owned()).collect();
        let word = UsersWord { within, confirmed: &confirmed, ..UsersWord::default() };
        world.pipeline.commit(&world.session, change(Action::Commit, "/workspace/a"), &word).is_ok()
    };
    let of_directory = &["dependency_directory", "executable", "runs_later"];
    assert!(asked(of_directory, true, &[]) && asked(of_directory, false, &["dependency_directory"]));
    assert!(!asked(of_directory, false, &[]) && !asked(of_directory, false, &["runs_later"]));
    assert!(!asked(&["runs_later"], true, &["dependency_directory"]));
}

#[test]
fn what_the_user_commits_too_early_is_no_refusal_of_the_agents() {
    let world = World::new(|_| deny(&[]));
    let commit = || {
        let path = "/workspace/a".to_owned();
        AccessRequest::file(Entry::Commit, Action::Commit, path, FileObject::ABSENT)
    };
    for _ in 0..30 {
        world.pipeline.commit(&world.session, commit(), &UsersWord::default()).unwrap_err();
    }
    let denied = || world.session.counters.denied.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((denied(), *world.session.state.read()), (0, State::Running));
    assert_eq!(world.session.why()[0].count, 30);
    world.refused(change(Action::Delete, "/workspace/a"));
    assert_eq!(denied(), 1);
}
