//! What was inspected is not inspected again by a later broker, unless that one's detectors are others.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chaperone_inspect::Detectors;
use chaperone_inspect::outgoing::Outgoing;
use chaperone_pipeline::inspection::Inspection;
use chaperone_pipeline::verdicts::Verdicts;
use chaperone_policy::Obligation;
use chaperone_worker::WorkerPool;

use crate::support::{World, allow};

const PERSONAL: &[u8] = b"name,ssn,card\nAda Lovelace,536-22-8145,4111 1111 1111 1111\nBob Byte,612-33-1234,5500 0000 0000 0004\n";

/// A broker with these detectors that keeps its verdicts in this directory: how much it finds in a file.
fn found(dir: &Path, detectors: Detectors, revision: &str, content: &[u8]) -> usize {
    let mut world = World::new(|input| match input["inspected"] == true {
        true => allow(&[]),
        false => allow(&[Obligation::Inspect]),
    });
    let clock = Arc::clone(&world.pipeline.clock);
    let verdicts = Arc::new(Verdicts::new(Some(dir), (&[7; 32], revision.as_bytes()), clock));
    let no_worker = WorkerPool::new(|| Err(io::Error::other("nothing here needs a parser")));
    let outgoing = Arc::new(Outgoing::new(detectors));
    world.pipeline.inspection = Arc::new(Inspection::new(outgoing, no_worker, world.vault.clone(), verdicts));
    world.granted(world.read("/workspace/a.csv", content)).findings
}

#[test]
fn what_was_inspected_is_not_inspected_again_by_the_same_detectors() {
    let dir = tempfile::tempdir().unwrap();
    let none = || Detectors::from_toml(&[]).unwrap();
    let all = || Detectors::builtin().unwrap();
    assert_eq!(found(dir.path(), none(), "one", PERSONAL), 0);
    // Who looks finds something; it was not looked.
    assert_eq!(found(dir.path(), all(), "one", PERSONAL), 0);
    // Other detectors look, and what they find is found each time.
    for _ in 0..2 {
        assert!(found(dir.path(), all(), "two", PERSONAL) > 0);
    }
    // Another content is looked at.
    let other = [PERSONAL, b"\n"].concat();
    assert!(found(dir.path(), all(), "one", &other) > 0);
}
