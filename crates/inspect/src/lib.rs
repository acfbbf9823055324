//! Content inspection: values in, findings out. What is looked for (`detect`), how it is found in bytes (`scan`), in bytes
//! that are written otherwise (`encodings`), and in documents (`extract`), what leaves (`outgoing`), what a workbook may hold (`workbook`).
//!
//! Nothing here knows a process, a socket or a clock: `chaperone-worker` runs it in a process of its own.
#![forbid(unsafe_code)]

pub mod document;
mod effects;
pub mod outgoing;
pub mod workbook;

mod coding;
mod detect;
mod doctype;
mod encodings;
mod endings;
mod extract;
mod finding;
mod place;
mod placeholder;
mod plain;
mod redact;
mod report;
mod rtf;
mod scan;
mod shown;
#[cfg(test)]
mod test_archive;
mod validate;

pub use detect::{DetectorId, DetectorInfo, Detectors, ExampleFailure, LoadError};
pub use effects::{Effects, effects, may_have_effects};
pub use endings::endings;
pub use extract::{
    ExtractError, Limits, RedactionReport, Restoration, XZ_MEMORY, inspect_bytes, inspect_file,
    inspect_plain, needs_a_parser, restore_file, text_of,
};
pub use finding::{Certainty, Finding};
pub use place::{FieldKind, FileSpot, Place, Spot, Step, Unit};
pub use placeholder::{PlaceholderKey, Signs};
pub use redact::redact_file;
pub use report::{Candidate, Item, Report};
pub use scan::{Effect, Filter, Filters, Match, ScanOptions, Scanner, scan, scan_labelled};
