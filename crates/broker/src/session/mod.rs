//! A session from its opening to its end, and what is left of it afterwards.

pub mod attach;
pub mod end;
pub mod live;
pub mod look;
pub mod open;
pub mod restore;
