//! The published ports of a session: its listeners, and connections into the cell that are being made.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chaperone_cell::control::InitOrder;
use chaperone_protocol::Failure;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

/// Visits of one session at once. Protects descriptors; beyond it a new one waits to be accepted.
const MAX_VISITS: usize = 256;
/// Connections into the cell that are made at once; cell-init makes no more than 64.
const MAX_DIALS: usize = 32;
/// How long the end of a session waits for its listeners to be closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The published ports of a session.
#[derive(Debug)]
pub(crate) struct PublishedPorts {
    pub ports: Vec<u16>,
    /// Bound when the session is opened, so that nobody else takes a port that was promised; accepted from when it runs.
    listeners: Mutex<Vec<TcpListener>>,
    /// Is cut off when the last of the listeners that were taken is closed.
    accepting: Mutex<Option<mpsc::Receiver<()>>>,
    dials: Mutex<Dials>,
    pub room: Semaphore,
    pub visits: Arc<Semaphore>,
}

/// What cell-init made, or why it could not.
pub type Sockets = Result<Vec<OwnedFd>, String>;

/// Connections into the cell that are being made, by the number that cell-init answers with.
#[derive(Debug, Default)]
struct Dials {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Sockets>>,
}

/// Orders a connection to a port of the cell, or sockets that listen there; cell-init answers with the same number, see
/// `Exit::dialed`.
#[derive(Clone)]
pub struct Dial(pub Arc<dyn Fn(InitOrder) -> std::io::Result<()> + Send + Sync>);

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

/// Held by a task that accepts until after its listener is closed.
#[derive(Debug)]
pub(crate) struct Accepting {
    _held: mpsc::Sender<()>,
}

impl PublishedPorts {
    /// Bind each port on loopback, and on nothing wider.
    ///
    /// # Errors
    /// `port_in_use`, `bad_port`.
    pub fn bind(ports: &[u16]) -> Result<Self, Failure> {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        ports.dedup();
        let bind = |port: &u16| {
            if *port == 0 {
                return Err(Failure::new("bad_port", "--publish 0: a port is a number from 1 to 65535"));
            }
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).map_err(|e| match e.kind() {
                std::io::ErrorKind::AddrInUse => {
                    Failure::new("port_in_use", format!("port {port} of this machine is in use"))
                        .advise("stop the program that listens there, or let the agent serve at another port")
                }
                _ => Failure::new("bad_port", format!("port {port} cannot be published: {e}")),
            })
        };
        let listeners = ports.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self {
            ports,
            listeners: Mutex::new(listeners),
            accepting: Mutex::default(),
            dials: Mutex::default(),
            room: Semaphore::new(MAX_DIALS),
            visits: Arc::new(Semaphore::new(MAX_VISITS)),
        })
    }

    /// The listeners, to accept from, each with what is to be dropped after it; a second call gets none.
    pub fn take_listeners(&self) -> Vec<(TcpListener, Accepting)> {
        let listeners = std::mem::take(&mut *self.listeners.lock());
        if listeners.is_empty() {
            return Vec::new();
        }
        let (accepting, all_closed) = mpsc::channel();
        *self.accepting.lock() = Some(all_closed);
        listeners.into_iter().map(|listener| (listener, Accepting { _held: accepting.clone() })).collect()
    }

    /// The number of a new connection into the cell, and where its answer will come.
    pub fn expect(&self) -> (u64, oneshot::Receiver<Sockets>) {
        let (sender, answer) = oneshot::channel();
        let mut dials = self.dials.lock();
        dials.last += 1;
        let id = dials.last;
        dials.waiting.insert(id, sender);
        (id, answer)
    }

    /// Nobody waits for this connection any more.
    pub fn forget(&self, id: u64) {
        self.dials.lock().waiting.remove(&id);
    }

    /// Nobody is let in any more. Waits, two seconds at most, for tasks that accept to have closed their listeners, so
    /// that whoever is told that the session is over can have its ports.
    pub fn close(&self) {
        self.listeners.lock().clear();
        self.dials.lock().waiting.clear();
        if let Some(all_closed) = self.accepting.lock().take() {
            all_closed.recv_timeout(CLOSE_LIMIT).ok();
        }
    }

    /// cell-init's answer. An answer that nobody waits for any more is dropped, and its connection with it.
    pub fn dialed(&self, id: u64, outcome: Sockets) {
        if let Some(waiting) = self.dials.lock().waiting.remove(&id) {
            waiting.send(outcome).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_bound_once_and_on_loopback_alone() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let published_ports = PublishedPorts::bind(&[free, free]).unwrap();
        assert_eq!(published_ports.ports, [free]);
        assert!(
            published_ports
                .listeners
                .lock()
                .iter()
                .all(|l| l.local_addr().unwrap().ip() == Ipv4Addr::LOCALHOST)
        );
        assert_eq!(PublishedPorts::bind(&[free]).unwrap_err().code, "port_in_use");
        assert_eq!(PublishedPorts::bind(&[0]).unwrap_err().code, "bad_port");
        published_ports.close();
        assert!(PublishedPorts::bind(&[free]).is_ok());
    }

    #[test]
    fn what_is_closed_is_free_for_the_next_one_although_a_task_held_it() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let published_ports = PublishedPorts::bind(&[free]).unwrap();
        let taken = published_ports.take_listeners();
        assert_eq!(taken.len(), 1);
        let (asked, told) = mpsc::channel::<()>();
        let task = std::thread::spawn(move || {
            assert!(told.recv().is_err());
            // As a task that is told to stop, and is not at once.
            std::thread::sleep(Duration::from_millis(50));
            drop(taken);
        });
        drop(asked);
        published_ports.close();
        assert!(PublishedPorts::bind(&[free]).is_ok());
        task.join().unwrap();
    }

    #[test]
    fn an_answer_reaches_the_one_who_waits_for_it_and_nobody_else() {
        let published_ports = PublishedPorts::bind(&[]).unwrap();
        let (id, mut answer) = published_ports.expect();
        published_ports.dialed(id + 1, Err("another".into()));
        assert!(answer.try_recv().is_err());
        published_ports.dialed(id, Err("mine".into()));
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), "mine");
        published_ports.dialed(id, Err("again".into()));
        let (forgotten, mut answer) = published_ports.expect();
        published_ports.forget(forgotten);
        published_ports.dialed(forgotten, Err("late".into()));
        assert!(answer.try_recv().is_err());
    }
}
