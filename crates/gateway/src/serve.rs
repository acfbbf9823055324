//! The tasks that serve a session's network exit.

use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chaperone_cell::NetworkEnds;
use chaperone_protocol::Failure;
use tokio::runtime::Runtime;

use crate::connection::{self, proxy};
use crate::publish::serve as serve_published;
use crate::session_gateway::SessionGateway;
use crate::{alerts, names};

/// Threads for what blocks: decisions, looks, the log, and the resolver, which leaves more than half to the others.
const THREADS: usize = 1_024;
/// Of each thread. Documents within documents and policies are walked on it; what is not used takes no memory.
const STACK: usize = 8 << 20;
/// How often the kernel's log of refused packets is read, at most.
const PACKET_LOOK: Duration = Duration::from_millis(100);

/// Serve a cell's way out until its session ends.
///
/// # Errors
/// When the sockets cannot be used.
pub fn serve(gateway: &SessionGateway, ends: NetworkEnds) -> Result<(), Failure> {
    let failed =
        |e: std::io::Error| Failure::new("no_exit", format!("the network exit cannot be served: {e}"));
    let runtime = runtime().map_err(failed)?;
    let _inside = runtime.enter();
    let ends = match ends {
        NetworkEnds::Captured(ends) => ends,
        NetworkEnds::Proxied(proxy) => {
            let proxy = listener(proxy).map_err(failed)?;
            gateway.listen(connection::accept(gateway.clone(), proxy, proxy::serve_client));
            return Ok(());
        }
    };
    for family in std::iter::once(ends.v4).chain(ends.v6) {
        gateway.listen(connection::accept(
            gateway.clone(),
            listener(family.streams).map_err(failed)?,
            connection::captured,
        ));
        gateway.listen(names::accept(gateway.clone(), listener(family.name_streams).map_err(failed)?));
        let socket = std::net::UdpSocket::from(family.names);
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed)?;
        gateway.listen(names::serve(gateway.clone(), Arc::new(socket)));
    }
    // A datagram socket of another family; only its readiness and its descriptor are used.
    let refused = UnixDatagram::from(ends.refused);
    refused.set_nonblocking(true).map_err(failed)?;
    let refused = tokio::net::UnixDatagram::from_std(refused).map_err(failed)?;
    gateway.spawn(refused_packets(gateway.clone(), refused));
    Ok(())
}

/// A listening socket of the cell's, to accept from in the runtime that is entered.
pub(crate) fn listener(fd: OwnedFd) -> std::io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Let visitors in at the ports that the session publishes, until it ends.
///
/// # Errors
/// When the sockets cannot be used.
pub fn publish(gateway: &SessionGateway) -> Result<(), Failure> {
    if gateway.exit.published().is_empty() {
        return Ok(());
    }
    let failed =
        |e: std::io::Error| Failure::new("no_exit", format!("the published ports cannot be served: {e}"));
    let _inside = runtime().map_err(failed)?.enter();
    serve_published(gateway).map_err(failed)
}

/// One for all sessions, made when the first needs it.
pub(crate) fn runtime() -> std::io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8))
        .max_blocking_threads(THREADS)
        .thread_stack_size(STACK)
        .thread_name("net")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Report packets that the cell's rules refused: UDP, ICMP and whatever else is not TCP or DNS.
async fn refused_packets(gateway: SessionGateway, socket: tokio::net::UnixDatagram) {
    while socket.readable().await.is_ok() {
        loop {
            let read = || match chaperone_cell::refused_packets(socket.as_fd())? {
                none if none.is_empty() => Err(std::io::ErrorKind::WouldBlock.into()),
                packets => Ok(packets),
            };
            let packets = match socket.try_io(tokio::io::Interest::READABLE, read) {
                Ok(packets) => packets,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            };
            for packet in packets {
                let gateway = gateway.clone();
                let report = move || alerts::packet(&gateway, packet);
                if tokio::task::spawn_blocking(report).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(PACKET_LOOK).await;
    }
}
