//! Any bytes in any blocks give the same findings. The first two bytes say how much of the rest comes before it, repeated
//! (so that a value lies anywhere in a stream of many blocks), the third how the stream is cut.
#![no_main]

use std::sync::LazyLock;

use chaperone_inspect::{Detectors, ScanOptions, Scanner, scan};
use libfuzzer_sys::fuzz_target;

static DETECTORS: LazyLock<Detectors> =
    LazyLock::new(|| Detectors::builtin().expect("the shipped detectors"));

fuzz_target!(|data: &[u8]| {
    let [low, high, cut, rest @ ..] = data else { return };
    // One in eight is a long stream; the others are quick.
    let before =
        if cut % 8 == 0 { usize::from(u16::from_le_bytes([*low, *high])) * 3 } else { usize::from(*low) };
    let mut stream = Vec::with_capacity(before + 2 * rest.len());
    if !rest.is_empty() {
        stream.extend(rest.iter().cycle().take(before));
    }
    stream.extend(rest);
    let whole = scan(&DETECTORS, &stream);
    for found in &whole {
        assert!(found.start < found.end && found.end <= stream.len() as u64, "{found:?}");
    }
    assert!(whole.windows(2).all(|w| w[0].start <= w[1].start), "not in the order of their starts");

    let mut scanner = Scanner::new(&DETECTORS, ScanOptions::default());
    let mut pieces = Vec::new();
    let mut noise = u64::from(*cut) | 1;
    let largest = if cut % 2 == 0 { 97 } else { 70_000 };
    let mut at = stream.as_slice();
    while !at.is_empty() {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (block, after) = at.split_at(((noise >> 33) as usize % largest).min(at.len()));
        scanner.feed(block, &mut pieces);
        at = after;
    }
    scanner.finish(&mut pieces);
    assert_eq!(whole, pieces, "where blocks end changed what was found");
    assert!(
        scanner.work() < 400 * (stream.len() as u64 + 1_000),
        "{} steps for {} bytes",
        scanner.work(),
        stream.len()
    );
});
