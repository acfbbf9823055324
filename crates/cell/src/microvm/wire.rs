//! What monitor and guest say to each other: the guest's part of the plan, the ports of its serial device, and lines of JSON on the first
//! of them. What comes from the guest is parsed as anything from an agent.

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::Exit;

/// Numbers of ports. Those of mounts follow.
pub(super) const CONTROL: u32 = 1;
pub(super) const ROOT: u32 = 2;
pub(super) const INPUT: u32 = 3;
pub(super) const OUTPUT: u32 = 4;
pub(super) const ERRORS: u32 = 5;
pub(super) const TERMINAL: u32 = 6;
pub(super) const FIRST_MOUNT: u32 = 7;
/// As many as the device has.
pub(super) const MOST_PORTS: u32 = 31;

/// Bytes of a line. One that is longer ends the conversation.
const LONGEST: u64 = 64 << 10;

/// What launcher and monitor share: nothing in it is secret, as it stands in the monitor's arguments. Paths are texts of any bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shared {
    pub session: String,
    pub kernel: OsString,
    pub modules: Vec<OsString>,
    pub machine: OsString,
    /// MiB of the guest's memory.
    pub memory: u64,
    /// What the broker serves, in the order of its descriptors and ports.
    pub mounts: Vec<OsString>,
    pub own_place: Option<OsString>,
    /// Directories of the user's that are shown read-only, in which the user may change something.
    pub changing: Vec<OsString>,
    /// Places that the agent may write at beside what is shown there; what it writes ends with the guest.
    pub layers: Vec<OsString>,
    pub workdir: OsString,
    pub umask: u32,
    pub processes: Option<u64>,
    pub debug: bool,
    /// Ports of the guest's loopback behind which there is the cell's.
    pub loopback: Vec<u16>,
}

/// What the guest gets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GuestPlan {
    pub shared: Shared,
    pub program: OsString,
    pub command: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    /// Which of the three streams are the cell's terminal, and its rows and columns.
    pub on_terminal: [bool; 3],
    pub size: (u16, u16),
    /// The cell's loopback port behind which the channel is.
    pub channel: u16,
}

/// From the monitor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToGuest {
    Signal(i32),
    /// Seconds and nanoseconds since 1970: what the guest's clock was set by knows whole seconds.
    Time(u64, u32),
    Size {
        rows: u16,
        columns: u16,
    },
    /// After [`FromGuest::Stopped`].
    GoOn,
    /// Nobody reads what the agent writes to this stream any more.
    Closed(u32),
}

/// From the guest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromGuest {
    /// It has opened its ports: what is closed from now on is seen as closed.
    Listens,
    /// The agent has stopped, as a job of the user's shell does.
    Stopped,
    /// A refused system call, by its name.
    Refused(String),
    /// It is over; so many bytes were written to the ports of outputs and of the terminal.
    Ended { exit: Exit, output: u64, errors: u64, terminal: u64 },
    /// There will be no agent.
    Failed(String),
}

/// Say something.
///
/// # Errors
/// The system's error when the other side is gone.
pub(super) fn say(port: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    port.write_all(&line)?;
    port.flush()
}

/// The next thing that is said; `None` when the other side is gone.
///
/// # Errors
/// What is no message; the system's error.
pub(super) fn hear<T: DeserializeOwned>(port: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    port.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long or cut")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let exit = Exit { cause: "exit".into(), code: 3, reason: String::new() };
        let messages = [
            FromGuest::Listens,
            FromGuest::Stopped,
            FromGuest::Refused("mount".into()),
            FromGuest::Ended { exit, output: 1, errors: 2, terminal: 3 },
            FromGuest::Failed("no\nmount".into()),
        ];
        let mut wire = Vec::new();
        messages.iter().for_each(|message| say(&mut wire, message).unwrap());
        let mut wire = wire.as_slice();
        for message in messages {
            assert_eq!(hear::<FromGuest>(&mut wire).unwrap(), Some(message));
        }
        assert_eq!(hear::<FromGuest>(&mut wire).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_takes_no_memory() {
        let endless = io::repeat(b'[').take(1 << 40);
        assert!(hear::<FromGuest>(&mut io::BufReader::new(endless)).is_err());
        for junk in ["{}\n", "\"halt\"\n", "{\"ended\":{}}\n", "\n", "\"stopped\""] {
            assert!(hear::<FromGuest>(&mut junk.as_bytes()).is_err(), "{junk:?}");
        }
    }
}
