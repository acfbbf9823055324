//! What the user's commands and the broker say to each other: requests, replies, events, approvals, reason codes, and the
//! frames that carry them. Depends on nothing else of ours.
#![forbid(unsafe_code)]

pub mod approval;
pub mod count;
pub mod display;
pub mod event;
pub mod failure;
pub mod frame;
pub mod parts;
pub mod reason;
pub mod reply;
pub mod request;
pub mod session;

pub use approval::{Ask, AskMode, FindingSummary, Leaves, Scope};
pub use chaperone_names::{name_as_text, native, text_as_name};
pub use count::counted;
pub use display::for_display;
pub use event::{Event, Happened};
pub use failure::Failure;
pub use request::{
    Enforced, NetworkKind, OpenSession, Opened, PROTOCOL, PlanCache, PlanMount, PlanMountKind, Reply,
    Request, Shown,
};
