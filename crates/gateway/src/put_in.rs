//! Servers of the user's that come into a cell which runs already: behind their own ports on its loopback, for as long as they were
//! granted.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use chaperone_cell::control::InitOrder;

use crate::connection;
use crate::publish::ordered;
use crate::serve::{listener, runtime};
use crate::session_gateway::SessionGateway;

/// Put a server of the user's behind its port in the cell. One that is there already stays for as long as the later of both.
///
/// # Errors
/// Why programs of the cell do not reach it: one of them listens there itself, or the cell is gone.
pub async fn put_in(gateway: &SessionGateway, port: u16, life: Duration) -> Result<(), String> {
    let until = Instant::now() + life;
    if gateway.exit().loopback_of_rules().contains(&port) || is_prolonged(gateway, port, until) {
        return Ok(());
    }
    let sockets = ordered(gateway, |id| InitOrder::Listen { port, id }).await?;
    gateway.exit().put_in.lock().insert(port, until);
    serve(gateway, port, sockets).map_err(|e| format!("port {port} of the cell cannot be served: {e}"))
}

fn serve(gateway: &SessionGateway, port: u16, sockets: Vec<OwnedFd>) -> std::io::Result<()> {
    let _inside = runtime()?.enter();
    for socket in sockets {
        let listener = listener(socket)?;
        let served = gateway.clone();
        gateway.listen(async move {
            let accepting = connection::accept(served.clone(), listener, connection::put_in);
            tokio::select! {
                () = accepting => {}
                () = over(&served, port) => {}
            }
        });
    }
    Ok(())
}

fn is_prolonged(gateway: &SessionGateway, port: u16, until: Instant) -> bool {
    let mut known = gateway.exit().put_in.lock();
    let before = known.get_mut(&port).filter(|before| **before > Instant::now());
    before.map(|before| *before = until.max(*before)).is_some()
}

/// Until the last grant of it has ended; then the port is the agent's again.
async fn over(gateway: &SessionGateway, port: u16) {
    loop {
        let until = gateway.exit().put_in.lock().get(&port).copied();
        match until.filter(|until| *until > Instant::now()) {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => return,
        }
    }
}
