#![forbid(unsafe_code)]

pub mod outgoing;
pub mod remote;
pub mod workbook;

mod detect;
mod extract;
mod finding;
mod redact;
mod report;
mod report_command;
mod scan;
mod validate;
mod worker;
mod worker_pool;
mod worker_wire;

pub use detect::{DetectorId, DetectorInfo, Detectors, ExampleFailure, LoadError};
pub use extract::{
    ExtractError, Limits, RedactionReport, Snapshot, inspect_bytes, inspect_file, inspect_plain, snapshot,
};
pub use finding::Finding;
pub use redact::redact_file;
pub use report::{Item, Report, shown};
pub use report_command::{Inspector, inspect_paths};
pub use scan::{Match, ScanOptions, Scanner, scan, scan_labelled};
pub use worker::serve;
pub use worker_pool::{InspectError, Worker, WorkerPool};
