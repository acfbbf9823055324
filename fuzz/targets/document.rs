//! Any bytes as a document of any kind (PDF, legacy Office, RTF, 7z, pictures, programs with an archive) end with findings or an
//! error, within limits that a fuzzer can afford; none of the readers panics.
#![no_main]

use std::sync::LazyLock;

use chaperone_inspect::{Detectors, Limits, inspect_bytes};
use libfuzzer_sys::fuzz_target;

/// None, so that all the time goes to the readers.
static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| Detectors::from_toml(&[]).expect("no detectors"));

fuzz_target!(|data: &[u8]| {
    let limits = Limits { members: 200, unpacked: 8 << 20, held: 2 << 20, ..Limits::default() };
    let report = inspect_bytes(&DETECTORS, data, "document", &limits);
    assert!(report.items.iter().all(|i| i.error.as_deref() != Some("cannot be inspected: the parser failed")));
    // A picture's or a page's own text is at most what was unpacked of it.
    assert!(report.bytes <= data.len() as u64 + limits.unpacked + (16 << 20), "{} bytes", report.bytes);
});
