//! An answer that stands covers exactly what was shown, and nothing that only looks like it.

use chaperone_capability::Action;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::{AccessRequest, Admission, Resource};
use chaperone_policy::Obligation;
use chaperone_protocol::Scope;
use serde_json::json;

use crate::support::*;

/// The user is asked about `first` and says yes for the session.
fn stands(world: &World, first: AccessRequest) {
    let pending = world.pending(first);
    world.answer(pending, yes_for(Scope::Session)).unwrap();
}

/// A world where everything is asked about, and the user said yes to `first` for the session.
fn standing(first: AccessRequest) -> World {
    let world = World::new(|_| ask(&[]));
    stands(&world, first);
    world
}

#[track_caller]
fn is_asked(world: &World, request: AccessRequest) {
    assert!(matches!(world.begin(request), Admission::Pending(_)));
}

fn with_file(
    mut request: AccessRequest,
    edit: impl FnOnce(&mut chaperone_pipeline::access::FileResource),
) -> AccessRequest {
    if let Resource::File(file) = &mut request.resource {
        edit(file);
    }
    request
}

#[test]
fn a_standing_answer_passes_the_same_action_without_a_question() {
    let world = standing(change(Action::Delete, "/workspace/a"));
    let granted = world.granted(change(Action::Delete, "/workspace/a"));
    assert!(world.log.all()[usize::try_from(granted.intent).unwrap()].entry.approval.is_some());
}

#[test]
fn an_answer_for_once_does_not_stand() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, yes()).unwrap();
    is_asked(&world, change(Action::Delete, "/workspace/a"));
}

#[test]
fn a_no_does_not_stand() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, no()).unwrap_err();
    is_asked(&world, change(Action::Delete, "/workspace/a"));
}

#[test]
fn a_standing_answer_is_about_one_path_action_and_target() {
    let moved = |to: &str| with_file(change(Action::Rename, "/workspace/a"), |f| f.to = Some(to.to_owned()));
    let world = standing(moved("/workspace/b"));
    world.granted(moved("/workspace/b"));
    is_asked(&world, moved("/workspace/c"));
    is_asked(&world, change(Action::Rename, "/workspace/a"));
    is_asked(&world, change(Action::Delete, "/workspace/a"));
    is_asked(&world, with_file(moved("/workspace/b"), |f| f.path = "/workspace/z".to_owned()));
    is_asked(&world, with_file(moved("/workspace/b"), |f| f.origin = Some("/workspace/o".to_owned())));
}

#[test]
fn a_standing_answer_is_about_one_kind_of_change() {
    let committed = |executable: bool| {
        with_file(change(Action::Rename, "/workspace/a"), |f| {
            f.change = Some(json!({ "op": "modify", "becomes_executable": executable }));
        })
    };
    let world = standing(committed(false));
    world.granted(committed(false));
    is_asked(&world, committed(true));
}

#[test]
fn a_standing_answer_is_about_one_content_wherever_its_times_stand() {
    let world = World::new(inspected_then(ask(&[])));
    stands(&world, world.read("/workspace/a.csv", b"content"));
    let touched = with_file(world.read("/workspace/a.csv", b"content"), |f| f.object.mtime_ns += 1);
    assert_eq!(released(&world.granted(touched)), b"content");
    is_asked(&world, world.read("/workspace/a.csv", b"CONTENT"));
    is_asked(&world, world.read("/workspace/b.csv", b"content"));
}

#[test]
fn a_standing_answer_to_redact_releases_redacted_copies() {
    let world = World::new(inspected_then(ask(&[Obligation::Redact])));
    let pending = world.pending(world.read("/workspace/a.csv", b"content"));
    let answer = chaperone_pipeline::approvals::Answer::Approve {
        scope: Scope::Session,
        redact: true,
        pin_proof: None,
    };
    world.answer(pending, answer).unwrap();
    assert_eq!(released(&world.granted(world.read("/workspace/a.csv", b"content"))), REDACTED);
}

#[test]
fn a_standing_answer_to_a_request_grows_tenfold_and_no_further() {
    let world = standing(send(post(1, 100)));
    world.granted(send(post(2, 1_000)));
    is_asked(&world, send(post(2, 1)));
    is_asked(&standing(send(post(1, 100))), send(post(2, 1_001)));
}

#[test]
fn a_standing_answer_covers_what_leaves_in_all_and_not_each_time_anew() {
    let world = standing(send(post(1, 100)));
    (0..10).for_each(|_| drop(world.granted(send(post(2, 100)))));
    is_asked(&world, send(post(2, 100)));

    // Two values were shown: eighteen others may follow, however few come at a time, and those that left may leave again.
    let with = |values: std::ops::Range<u64>| {
        let count = values.end - values.start;
        let found = chaperone_inspect::Finding { values: values.collect(), ..finding("card", "high", count) };
        send(NetworkResource { findings: vec![found], ..post(1, 1) })
    };
    let world = World::new(|_| ask(&[]));
    let first = with(0..2);
    let large = |mut request: AccessRequest| {
        if let Resource::Network(network) = &mut request.resource {
            network.content = Some(([1; 32], 1_000));
        }
        request
    };
    stands(&world, large(first));
    (1..10).for_each(|n| drop(world.granted(with(2 * n..2 * n + 2))));
    world.granted(with(0..2));
    is_asked(&world, with(20..22));
    let pending = world.pending(with(20..22));
    world.answer(pending, yes_for(Scope::Session)).unwrap();
    world.granted(with(22..24));
}

#[test]
fn a_standing_answer_to_a_request_is_about_one_destination() {
    let changed: [fn(&mut NetworkResource); 4] = [
        |n| n.host = "other.example".to_owned(),
        |n| n.port = 8443,
        |n| n.method = Some("DELETE".to_owned()),
        |n| n.url_path = Some("/v2".to_owned()),
    ];
    let world = standing(send(post(1, 100)));
    for change in changed {
        let mut other = post(1, 100);
        change(&mut other);
        is_asked(&world, send(other));
    }
}

#[test]
fn a_standing_answer_counts_what_the_address_and_the_headers_say() {
    let with_head = |head_bytes| {
        let mut request = post(1, 0);
        let facts = request.facts.request();
        request.facts.request = Some(chaperone_pipeline::network_facts::RequestFacts { head_bytes, ..facts });
        send(request)
    };
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(with_head(100));
    let asks = world.pipeline.approvals.pending();
    assert_eq!(asks[0].leaves.as_ref().map(|leaves| (leaves.body, leaves.head)), Some((0, 100)));
    world.answer(pending, yes_for(Scope::Session)).unwrap();
    (0..9).for_each(|_| drop(world.granted(with_head(100))));
    is_asked(&world, with_head(101));
    world.granted(with_head(100));
    is_asked(&world, with_head(1));
}

#[test]
fn a_standing_answer_to_passages_is_about_the_files_that_they_are_from() {
    let from = |files: &[&str]| {
        let sources = files.iter().map(|s| (*s).to_owned()).collect();
        send(NetworkResource { sources, ..post(1, 100) })
    };
    let world = standing(from(&["/workspace/a", "/workspace/b"]));
    world.granted(from(&["/workspace/b", "/workspace/a"]));
    is_asked(&world, from(&["/workspace/a", "/workspace/b", "/workspace/c"]));
}

#[test]
fn a_standing_answer_to_findings_is_about_as_many_values() {
    let with = |detector: &str, count| {
        send(NetworkResource { findings: vec![finding(detector, "low", count)], ..post(1, 100) })
    };
    let world = standing(with("email", 2));
    world.granted(with("email", 9));
    is_asked(&world, with("email", 20));
    is_asked(&world, with("iban", 2));
}

#[test]
fn a_message_to_people_stands_for_this_message_alone() {
    let world = World::new(|_| decision(chaperone_policy::Effect::Ask, "message_to_people", &[]));
    stands(&world, send(post(1, 100)));
    world.granted(send(post(1, 100)));
    is_asked(&world, send(post(2, 100)));
}

#[test]
fn a_standing_answer_to_a_tool_is_about_its_arguments() {
    let world = standing(tool("list_changes", 1));
    world.granted(tool("list_changes", 1));
    is_asked(&world, tool("list_changes", 2));
    is_asked(&world, tool("commit", 1));
}

#[test]
fn an_elevation_is_asked_anew_each_time() {
    let wish = || elevation(Action::Read, "/workspace/x");
    let world = standing(wish());
    is_asked(&world, wish());
}

#[test]
fn a_standing_answer_ends_with_its_time() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, yes_for(Scope::For(0))).unwrap();
    is_asked(&world, change(Action::Delete, "/workspace/a"));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, yes_for(Scope::For(3_600))).unwrap();
    world.granted(change(Action::Delete, "/workspace/a"));
}

#[test]
fn a_standing_answer_does_not_outlive_the_policy_or_the_capability_it_was_given_under() {
    let world = standing(change(Action::Delete, "/workspace/a"));
    world.policy.become_("r2", |_| ask(&[]));
    is_asked(&world, change(Action::Delete, "/workspace/a"));
    let world = standing(change(Action::Delete, "/workspace/a"));
    world.renew_capability();
    is_asked(&world, change(Action::Delete, "/workspace/a"));
}

#[test]
fn a_standing_answer_does_not_pass_another_reason_or_a_stronger_effect() {
    let path = |input: &serde_json::Value| input["session"]["counters"]["reads"] == 0;
    let world = World::new(move |input| {
        let mut decision = if path(input) { ask(&[]) } else { step_up() };
        decision.reasons = vec!["personal_data".to_owned()];
        decision.cacheable = false;
        decision
    });
    stands(&world, change(Action::Delete, "/workspace/a"));
    world.granted(change(Action::Delete, "/workspace/a"));
    world.session.counters.reads.store(1, std::sync::atomic::Ordering::Relaxed);
    is_asked(&world, change(Action::Delete, "/workspace/a"));
}

#[test]
fn an_answer_for_longer_than_there_is_time_is_no_fault() {
    let world = World::new(|_| ask(&[]));
    let pending = world.pending(change(Action::Delete, "/workspace/a"));
    world.answer(pending, yes_for(Scope::For(u64::MAX))).unwrap();
    world.granted(change(Action::Delete, "/workspace/a"));
}

#[test]
fn a_standing_answer_does_not_pass_what_policy_denies_to_any_answer() {
    let world = World::new(|input| {
        let again = input["session"]["counters"]["reads"] != 0;
        let mut decision = if input.get("approved").is_some() && again { deny(&[]) } else { ask(&[]) };
        decision.cacheable = false;
        decision
    });
    stands(&world, change(Action::Delete, "/workspace/a"));
    world.session.counters.reads.store(1, std::sync::atomic::Ordering::Relaxed);
    assert!(!matches!(world.begin(change(Action::Delete, "/workspace/a")), Admission::Granted(_)));
}

#[test]
fn a_standing_answer_does_not_grow_in_registered_values() {
    let with = |registered| {
        let mut resource = post(1, 100);
        resource.facts.request =
            Some(chaperone_pipeline::network_facts::RequestFacts { registered, ..Default::default() });
        send(resource)
    };
    let world = standing(with(1));
    world.granted(with(1));
    is_asked(&world, with(10));
}
