//! Answers as the frames carry them, and whether anybody still waits for one.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use chaperone_protocol::reply::ChangeEntry;
use chaperone_protocol::{Failure, parts};
use chaperone_workspace::commit::Wanted;
use serde::Serialize;
use serde_json::Value;

/// A typed reply as the frame carries it.
pub fn on_the_wire<T: Serialize>(reply: Result<T, Failure>) -> Result<Value, Failure> {
    serde_json::to_value(reply?).map_err(internal)
}

pub fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new("internal_error", error.to_string())
}

/// Whether the peer is gone.
pub fn has_hung_up(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut wait = [PollFd::new(stream, PollFlags::RDHUP)];
    match poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => {
            wait.iter().any(|w| w.revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
        }
        Err(_) => true,
    }
}

/// Whether the peer still waits, for work that takes long.
pub fn while_connected(stream: &UnixStream) -> Result<Wanted, Failure> {
    let stream = stream.try_clone().map_err(internal)?;
    Ok(Arc::new(move || !has_hung_up(&stream)))
}

/// A list of changes: all but its last part is sent.
pub fn in_parts(stream: &UnixStream, list: Result<Vec<ChangeEntry>, Failure>) -> Result<Vec<Value>, Failure> {
    parts::in_parts(stream, &list?).map_err(internal)
}
