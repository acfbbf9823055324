//! Ports of the cell on the person's loopback: each connection is decided, recorded, and carried to the port of the same
//! number in the cell.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

use crate::{gateway::Way, relay, streams};
use chaperone_capability::Action;
use chaperone_pipeline::access::NetworkResource;
use chaperone_pipeline::{AccessRequest, Authorized};
use chaperone_protocol::Failure;

/// Visits of one session at once. Protects descriptors; beyond it a new one waits to be accepted.
const MAX_VISITS: usize = 256;
/// Connections into the cell that are made at once; cell-init makes no more than 64.
const MAX_DIALS: usize = 32;
/// How long cell-init may take for one; its own limit is two seconds for each address.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// The published ports of a session.
#[derive(Debug)]
pub(crate) struct Doors {
    pub ports: Vec<u16>,
    /// Bound when the session is opened, so that nobody else takes a port that was promised; accepted from when it runs.
    listeners: Mutex<Vec<TcpListener>>,
    dials: Mutex<Dials>,
    room: Semaphore,
    visits: Arc<Semaphore>,
}

/// Connections into the cell that are being made, by the number that cell-init answers with.
#[derive(Debug, Default)]
struct Dials {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>>,
}

impl Doors {
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
            dials: Mutex::default(),
            room: Semaphore::new(MAX_DIALS),
            visits: Arc::new(Semaphore::new(MAX_VISITS)),
        })
    }

    /// Nobody is let in any more; tasks that accept hold the listeners, and end with the session.
    pub fn close(&self) {
        self.listeners.lock().clear();
        self.dials.lock().waiting.clear();
    }

    /// cell-init's answer. An answer that nobody waits for any more is dropped, and its connection with it.
    pub fn dialed(&self, id: u64, outcome: Result<OwnedFd, String>) {
        if let Some(waiting) = self.dials.lock().waiting.remove(&id) {
            waiting.send(outcome).ok();
        }
    }
}

/// Accept from now on.
pub(crate) fn serve(way: &Way) -> std::io::Result<()> {
    let listeners = std::mem::take(&mut *way.exit().doors.listeners.lock());
    for listener in listeners {
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        way.listen(accept(way.clone(), listener, port));
    }
    Ok(())
}

async fn accept(way: Way, listener: tokio::net::TcpListener, port: u16) {
    loop {
        let Ok(place) = Arc::clone(&way.exit().doors.visits).acquire_owned().await else { return };
        let Ok((visitor, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let task = way.clone();
        way.spawn(async move {
            visit(&task, visitor, port).await;
            drop(place);
        });
    }
}

async fn visit(way: &Way, visitor: TcpStream, port: u16) {
    visitor.set_nodelay(true).ok();
    let resource = format!("localhost:{port}");
    // What the cell answers goes to whoever asks on this machine, and on from there.
    let asked = NetworkResource {
        shown: resource.clone(),
        host: "localhost".to_owned(),
        port,
        leaves: true,
        ..NetworkResource::default()
    };
    let decided = way.decide(AccessRequest::network(Action::Publish, asked)).await;
    let Ok(mut granted) = decided else { return streams::reset(visitor) };
    let (intent, syncing) = (granted.intent, granted.syncing());
    let (server, on_disk) = tokio::join!(dial(way, &granted), way.on_disk(syncing));
    if on_disk.is_err() {
        return streams::reset(visitor);
    }
    let server = match server {
        Ok(server) => server,
        Err(why) => {
            way.done(intent, Action::Publish, resource, false, 0, json!({ "error": why })).await;
            return streams::reset(visitor);
        }
    };
    let (mut visitor, mut server) = (visitor, server);
    // Nothing of this leaves the machine, so no budget is spent.
    let carried = relay::carry(&mut visitor, &mut server, Vec::new(), &way.exit().stop, |_| Ok(())).await;
    if carried.cut.is_some() {
        streams::reset(visitor);
    }
    // As for a connection out of the cell: the bytes are those that the cell sent.
    let detail = json!({ "down": carried.up, "cut": carried.cut });
    way.done(intent, Action::Publish, resource, carried.cut.is_none(), carried.down, detail).await;
}

/// A connection to a port of the cell, made by cell-init.
async fn dial(way: &Way, granted: &Authorized) -> Result<TcpStream, String> {
    let port = granted.network().map_or(0, |n| n.port);
    let doors = &way.exit().doors;
    let gone = || "the cell is gone".to_owned();
    let _room = doors.room.acquire().await.map_err(|_| gone())?;
    let (sender, answer) = oneshot::channel();
    let id = {
        let mut dials = doors.dials.lock();
        dials.last += 1;
        let id = dials.last;
        dials.waiting.insert(id, sender);
        id
    };
    let Some(dial) = way.exit().dial.get().cloned() else { return Err(gone()) };
    let ordered = tokio::task::spawn_blocking(move || dial.0(port, id));
    let answer = match ordered.await {
        Ok(Ok(())) => tokio::time::timeout(DIAL_LIMIT, answer).await,
        Ok(Err(e)) => {
            doors.dials.lock().waiting.remove(&id);
            return Err(format!("the cell does not listen: {e}"));
        }
        Err(_) => return Err(crate::gateway::fault().failure.message),
    };
    let socket = match answer {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_)) => return Err(gone()),
        Err(_) => {
            doors.dials.lock().waiting.remove(&id);
            return Err("the cell does not answer".to_owned());
        }
    };
    let connect = || {
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        TcpStream::from_std(stream)
    };
    connect().map_err(|e| format!("the connection into the cell cannot be used: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_bound_once_and_on_loopback_alone() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let doors = Doors::bind(&[free, free]).unwrap();
        assert_eq!(doors.ports, [free]);
        assert!(doors.listeners.lock().iter().all(|l| l.local_addr().unwrap().ip() == Ipv4Addr::LOCALHOST));
        assert_eq!(Doors::bind(&[free]).unwrap_err().code, "port_in_use");
        assert_eq!(Doors::bind(&[0]).unwrap_err().code, "bad_port");
        doors.close();
        assert!(Doors::bind(&[free]).is_ok());
    }

    #[test]
    fn an_answer_reaches_the_one_who_waits_for_it_and_nobody_else() {
        let doors = Doors::bind(&[]).unwrap();
        let (sender, mut answer) = oneshot::channel();
        doors.dials.lock().waiting.insert(7, sender);
        doors.dialed(8, Err("another".into()));
        assert!(answer.try_recv().is_err());
        doors.dialed(7, Err("mine".into()));
        assert_eq!(answer.try_recv().unwrap().unwrap_err(), "mine");
        doors.dialed(7, Err("again".into()));
    }
}
