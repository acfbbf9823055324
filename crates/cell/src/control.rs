//! The conversation of the broker with cell-init, over the control socket of [`crate::BrokerEnds`]: what cell-init
//! reports, and what it is ordered. Both sides use these types; on the wire they are JSON, one message a packet.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};

use crate::packet;

/// How long a message waits for room in the socket, which holds hundreds: whoever has not read for so long hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// Messages in a row that may be no message. Beyond this the peer is not what it should be.
const MOST_SKIPPED: usize = 16;

/// What cell-init reports to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitMessage {
    /// Its public `cnf` key, in hex.
    Hello { key: String },
    /// The answer to [`InitOrder::Challenge`], in hex.
    Signature(String),
    /// A decoy was touched, so many times since the last report.
    Decoy {
        path: String,
        technique: String,
        count: u64,
        /// The program that runs and looks there by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A system call was refused by a kernel that is not this machine's, for the so manieth time.
    Refused { call: String, count: u64 },
    /// The agent is about to run; the seccomp listener travels with this one.
    Started,
    /// The answer to [`InitOrder::Dial`] and [`InitOrder::Listen`]: the connected socket, or those that listen, travel with it, unless
    /// there is an error.
    Dialed {
        id: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// No process of the agent is left.
    Over { cause: String, code: i32 },
}

/// What the broker orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitOrder {
    /// Prove the key of [`InitMessage::Hello`] on this nonce, in hex.
    Challenge(String),
    /// Start the agent.
    Go,
    /// Stop every process of the cell.
    Suspend,
    /// Let them continue.
    Resume,
    /// Connect to a server of the agent's; answered by [`InitMessage::Dialed`] of the same number.
    Dial { port: u16, id: u64 },
    /// Listen at a port of the cell's loopback, for the broker: behind it is then a server of the user's. Answered as a dial is.
    Listen { port: u16, id: u64 },
    /// Make an edit of the user's once more in the cell, through the mount; nothing answers.
    Repeat(Repeated),
    /// End the agent.
    Stop,
}

/// An edit of the user's in a directory that the cell sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// Where the cell has the directory.
    pub at: String,
    /// A name to look at in it first: by that the broker knows whose requests these are.
    pub token: String,
    /// Relative to the directory.
    pub path: String,
    pub edit: Edit,
}

/// What was done to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    Written,
    /// The same, and whoever wrote is done.
    Finished,
    Attributes,
    MadeFile,
    MadeDirectory,
    MadeLink,
    RemovedFile,
    RemovedDirectory,
}

/// Give cell-init an order. It does not wait for its execution, and never longer than a second for a cell-init that
/// hangs.
///
/// # Errors
/// `TimedOut` when cell-init takes no orders any more; the system's error when it is gone.
pub fn order(control: &OwnedFd, order: &InitOrder) -> io::Result<()> {
    packet::send(control, order, &[], PATIENCE)
}

/// The same, which waits for nothing, as the caller may serve others meanwhile.
///
/// # Errors
/// As [`order`].
pub fn order_now(control: &OwnedFd, order: &InitOrder) -> io::Result<()> {
    packet::send(control, order, &[], Duration::ZERO)
}

/// Order cell-init to repeat an edit, if it has room for the order: nobody waits for it.
///
/// # Errors
/// As [`order`].
pub fn repeat(control: &OwnedFd, edit: Repeated) -> io::Result<()> {
    packet::send(control, &InitOrder::Repeat(edit), &[], Duration::ZERO)
}

/// The next report of cell-init and the descriptors that came with it. `None` when there is none: cell-init has hung up,
/// or, with a limit, was silent for so long. Whoever waits without one may take `None` for the end of the cell.
///
/// cell-init is ours, yet what it sends is parsed like anything from a cell: what is no report is passed over, with its
/// descriptors closed, and the limit goes on. After sixteen of those in a row this fails; whoever hears it should end the
/// cell, for nothing that runs there is watched any more.
///
/// # Errors
/// `InvalidData` after too many packets that are no report; the system's error.
pub fn receive(
    control: &OwnedFd,
    limit: Option<Duration>,
) -> io::Result<Option<(InitMessage, Vec<OwnedFd>)>> {
    let until = limit.map(|limit| Instant::now() + limit);
    for _ in 0..MOST_SKIPPED {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if !packet::wait(control, PollFlags::IN, left)? {
            return Ok(None);
        }
        let Some(packet) = packet::receive(control, RecvFlags::empty())? else { return Ok(None) };
        if let Ok(message) = serde_json::from_slice(&packet.bytes) {
            return Ok(Some((message, packet.fds)));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "cell-init reports what nobody understands"))
}

/// Report to the broker, with descriptors.
///
/// # Errors
/// `TimedOut` when the broker reads nothing; the system's error when it is gone.
pub(crate) fn report(
    control: &OwnedFd,
    message: &InitMessage,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    packet::send(control, message, descriptors, PATIENCE)
}

/// Report to the broker only if it has read what came before.
///
/// # Errors
/// `TimedOut` when it has not.
pub(crate) fn report_now(control: &OwnedFd, message: &InitMessage) -> io::Result<()> {
    packet::send(control, message, &[], Duration::ZERO)
}

/// The order that waits, if one does; what is no order is an error, as is a broker that is gone.
///
/// # Errors
/// `UnexpectedEof` when the broker has hung up, `InvalidData` for what is no order; the system's error.
pub(crate) fn take_order(control: &OwnedFd) -> io::Result<Option<InitOrder>> {
    match packet::receive(control, RecvFlags::DONTWAIT) {
        Ok(Some(packet)) => Ok(Some(serde_json::from_slice(&packet.bytes)?)),
        Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn send_raw(to: &OwnedFd, text: &[u8]) {
        rustix::net::send(to, text, SendFlags::NOSIGNAL).unwrap();
    }

    #[test]
    fn the_wire_is_what_it_was() {
        let messages = [
            (r#"{"hello":{"key":"00"}}"#, InitMessage::Hello { key: "00".into() }),
            (r#"{"signature":"ff"}"#, InitMessage::Signature("ff".into())),
            (
                r#"{"decoy":{"path":"/etc/shadow","technique":"T1003.008","count":2}}"#,
                InitMessage::Decoy {
                    path: "/etc/shadow".into(),
                    technique: "T1003.008".into(),
                    count: 2,
                    by: None,
                },
            ),
            (r#""started""#, InitMessage::Started),
            (r#"{"dialed":{"id":3}}"#, InitMessage::Dialed { id: 3, error: None }),
            (r#"{"dialed":{"id":3,"error":"no"}}"#, InitMessage::Dialed { id: 3, error: Some("no".into()) }),
            (
                r#"{"refused":{"call":"mount","count":1}}"#,
                InitMessage::Refused { call: "mount".into(), count: 1 },
            ),
            (r#"{"over":{"cause":"exit","code":0}}"#, InitMessage::Over { cause: "exit".into(), code: 0 }),
        ];
        for (text, message) in messages {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            assert_eq!(serde_json::from_str::<InitMessage>(text).unwrap(), message);
        }
        let orders = [
            (r#"{"challenge":"00"}"#, InitOrder::Challenge("00".into())),
            (r#""go""#, InitOrder::Go),
            (r#""suspend""#, InitOrder::Suspend),
            (r#""resume""#, InitOrder::Resume),
            (r#"{"dial":{"port":80,"id":1}}"#, InitOrder::Dial { port: 80, id: 1 }),
            (r#"{"listen":{"port":80,"id":1}}"#, InitOrder::Listen { port: 80, id: 1 }),
            (r#""stop""#, InitOrder::Stop),
        ];
        for (text, order) in orders {
            assert_eq!(serde_json::to_string(&order).unwrap(), text);
            assert_eq!(serde_json::from_str::<InitOrder>(text).unwrap(), order);
        }
    }

    #[test]
    fn what_is_no_report_is_passed_over_but_not_for_ever() {
        let (ours, init) = pair();
        for junk in [&b"{"[..], b"\"reboot\"", &[0xff; 70_000][..]] {
            send_raw(&init, junk);
        }
        report(&init, &InitMessage::Started, &[]).unwrap();
        assert_eq!(receive(&ours, None).unwrap().unwrap().0, InitMessage::Started);
        for _ in 0..MOST_SKIPPED {
            send_raw(&init, b"{");
        }
        assert_eq!(receive(&ours, None).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn silence_and_a_hang_up_are_no_report() {
        let (ours, init) = pair();
        assert!(receive(&ours, Some(Duration::from_millis(10))).unwrap().is_none());
        drop(init);
        assert!(receive(&ours, None).unwrap().is_none());
        assert!(order(&ours, &InitOrder::Go).is_err());
    }

    #[test]
    fn an_order_is_taken_when_it_is_there_and_never_guessed() {
        let (broker, ours) = pair();
        assert_eq!(take_order(&ours).unwrap(), None);
        order_now(&broker, &InitOrder::Dial { port: 8080, id: 7 }).unwrap();
        assert_eq!(take_order(&ours).unwrap(), Some(InitOrder::Dial { port: 8080, id: 7 }));
        send_raw(&broker, b"\"go on\"");
        assert_eq!(take_order(&ours).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(broker);
        assert_eq!(take_order(&ours).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_report_that_cannot_wait_does_not() {
        let (_broker, ours) = pair();
        let decoy = InitMessage::Decoy { path: "/x".into(), technique: "T1".into(), count: 1, by: None };
        let begun = Instant::now();
        while report_now(&ours, &decoy).is_ok() {}
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }
}
