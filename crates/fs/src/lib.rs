//! The mediated file system: a FUSE server over the user's directory merged with what the agent staged.
//!
//! [`Tree`] is the merged view and the stage; [`serve`] answers the kernel's requests on it; whatever makes content
//! readable or changes something goes through the [`Gate`], behind which the decision pipeline stands.
#![forbid(unsafe_code)]

mod announcing;
mod aside;
mod blobs;
mod change;
mod decided;
mod forget;
mod gate;
mod generation;
mod journal;
mod layer;
mod linked;
mod links;
mod listing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model;
mod nodes;
mod object;
mod others;
mod outside;
mod protocol;
mod rename;
mod requests;
mod server;
mod shared;
mod shown;
mod staged;
mod tree;
mod unnamed;

pub use announcing::{Edit, Outside, Repeat};
pub use change::{Content, NewAttributes};
pub use decided::Decided;
pub use gate::{
    Cancel, ChangeKind, ChangeRequest, Closed, Decides, Gate, OpenRequest, Opened, Opening, Refused,
};
pub use layer::{Below, Seen, Take};
pub use object::{Attributes, FileVersion, Identity, Located, Object, ObjectId, ObjectKind};
pub use server::{Server, serve};
pub use shared::Options;
pub use shown::show;
pub use staged::StageVersion;
pub use tree::{Opened as OpenedFile, Tree, TreeError};
