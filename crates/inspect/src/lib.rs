#![forbid(unsafe_code)]

pub mod outgoing;
pub mod remote;
pub mod workbook;

mod detect;
mod detect_index;
mod detect_pack;
mod extract;
mod extract_snapshot;
mod finding;
mod redact;
mod report;
mod report_command;
mod scan;
mod scan_number;
mod scan_secret;
mod scan_seed;
mod scan_text;
mod scan_walk;
mod validate;
mod validate_national;
#[expect(clippy::disallowed_types, reason = "a process of its own: it belongs beside this crate")]
mod worker;
#[expect(clippy::disallowed_types, reason = "a process of its own: it belongs beside this crate")]
#[expect(clippy::disallowed_methods, reason = "a process of its own: it belongs beside this crate")]
mod worker_pool;
#[expect(clippy::disallowed_types, reason = "a process of its own: it belongs beside this crate")]
mod worker_wire;

pub use detect::{DetectorId, DetectorInfo, Detectors, ExampleFailure, LoadError};
pub use extract::{ExtractError, Limits, RedactionReport, inspect_bytes, inspect_file, inspect_plain};
pub use extract_snapshot::{Snapshot, snapshot};
pub use finding::Finding;
pub use redact::redact_file;
pub use report::{Item, Report, shown};
pub use report_command::{Inspector, inspect_paths};
pub use scan::{Match, ScanOptions, Scanner, scan, scan_labelled};
pub use worker::serve;
pub use worker_pool::{InspectError, Worker, WorkerPool};
