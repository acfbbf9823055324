#![forbid(unsafe_code)]

mod detect;
mod scan;
mod validate;

pub use detect::{DetectorId, DetectorInfo, Detectors, ExampleFailure, LoadError};
pub use scan::{Match, ScanOptions, Scanner, scan, scan_labelled};
