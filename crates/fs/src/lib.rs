//! The mediated file system: a FUSE server over the person's folder merged with what the agent staged.
//!
//! [`Tree`] is the merged view and the stage; [`serve`] answers the kernel's requests on it; whatever makes content
//! readable or changes something goes through the [`Gate`], behind which the decision pipeline stands.
#![forbid(unsafe_code)]

mod gate;
mod journal;
mod layer;
mod nodes;
mod protocol;
mod requests;
mod room;
mod server;
mod tree;

pub use gate::{
    Cancel, ChangeKind, ChangeRequest, Closed, Gate, Object, ObjectKind, OpenRequest, Opened, Opening,
    Refused,
};
pub use layer::{Seen, Take};
pub use server::{Options, Server, serve};
pub use tree::{Attributes, Opened as OpenedFile, Tree, TreeError};
