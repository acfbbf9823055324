//! What a content is read as depends on its name, and a new name does not change what it was.

use std::io;
use std::sync::Arc;

use chaperone_inspect::outgoing::Outgoing;
use chaperone_inspect::{Certainty, Detectors};
use chaperone_pipeline::inspection::Inspection;
use chaperone_pipeline::{AccessRequest, Admission, Resource};
use chaperone_policy::Obligation;
use chaperone_worker::WorkerPool;

use crate::support::*;

/// Certain in a table, by its column; in plain text what it is likely to be.
const TABLE: &[u8] = b"id,mac\n1,00-1A-2B-3C-4D-5E\n2,00-1A-2B-3C-4D-5F\n3,00-1A-2B-3C-4D-6A\n";

/// A world with the real inspection, where the user is asked about what is certain.
fn world() -> World {
    let mut world = World::new(|input| {
        let is_certain = |f: &serde_json::Value| f["certainty"] == "certain";
        match input["findings"].as_array() {
            _ if input["inspected"] != true => allow(&[Obligation::Inspect]),
            Some(found) if found.iter().any(is_certain) => ask(&[]),
            _ => allow(&[]),
        }
    });
    let outgoing = Arc::new(Outgoing::new(Detectors::builtin().unwrap()));
    let no_worker = WorkerPool::new(|| Err(io::Error::other("nothing here needs a parser")));
    world.pipeline.inspection = Arc::new(Inspection::new(
        outgoing,
        no_worker,
        world.vault.clone(),
        Arc::clone(&world.pipeline.verdicts),
    ));
    world
}

fn renamed(mut request: AccessRequest, origin: &str) -> AccessRequest {
    if let Resource::File(file) = &mut request.resource {
        file.origin = Some(origin.to_owned());
    }
    request
}

fn is_asked(world: &World, request: AccessRequest) -> bool {
    match world.begin(request) {
        Admission::Granted(_) => false,
        Admission::Pending(_) => true,
        Admission::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

#[test]
fn what_is_known_of_a_content_under_one_name_is_not_taken_for_another() {
    let world = world();
    assert!(!is_asked(&world, world.read("/workspace/people.rs", TABLE)), "as code it is not certain");
    assert!(is_asked(&world, world.read("/workspace/people.csv", TABLE)));
    // The same object by two names, as a hard link has them.
    let as_code = world.read("/workspace/people.rs", TABLE);
    let (Resource::File(one), mut other) = (&as_code.resource, world.read("/workspace/people.csv", TABLE))
    else {
        panic!("a file")
    };
    if let Resource::File(file) = &mut other.resource {
        (file.object, file.file) = (one.object, one.file.clone());
    }
    assert!(is_asked(&world, other));
}

#[test]
fn a_renamed_file_is_read_as_what_it_was_too() {
    for origin in ["/workspace/people.csv", "/workspace/deep/people.CSV"] {
        let world = world();
        assert!(is_asked(&world, renamed(world.read("/workspace/people.rs", TABLE), origin)));
    }
    // The old name alone does not do, either.
    let world = world();
    assert!(is_asked(&world, renamed(world.read("/workspace/people.csv", TABLE), "/workspace/people.rs")));
    assert!(!is_asked(&world, renamed(world.read("/workspace/b.rs", TABLE), "/workspace/a.rs")));
}

#[test]
fn who_is_asked_about_a_renamed_file_sees_the_surer_findings_once() {
    let world = world();
    let pending = world.pending(renamed(world.read("/workspace/people.rs", TABLE), "/workspace/people.csv"));
    let shown = world.pipeline.approvals.pending()[0].findings.clone();
    assert_eq!(shown.iter().filter(|f| f.detector == "mac_address").map(|f| f.count).sum::<u64>(), 3);
    drop(pending);
    assert!(Certainty::Certain > Certainty::Likely, "the surer is the greater");
}
