//! What one session may hold of the broker at once. Memory and descriptors are counted where they are taken and given
//! back when what was taken is dropped: a session that hoards meets its own limits, and no other session does.
#![forbid(unsafe_code)]

mod descriptors;
mod held;
mod quota;
mod rate;
mod reserve;

pub use descriptors::Descriptors;
pub use held::HeldFile;
pub use quota::{Exceeded, Held, Quota, Used};
pub use rate::Rate;
pub use reserve::DiskReserve;

/// Memory that the broker holds for one session in its file system, in bytes: snapshots, names, handles, listings, blobs.
/// Snapshots beyond it go to the disk; of the rest no more is taken.
pub const MEMORY: u64 = 256 << 20;
