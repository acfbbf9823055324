//! The guest's one network card, behind which there is the cell's network; and the cell's loopback, for what is meant to be there.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::thread;

use crate::microvm::join::join;
use crate::microvm::machine::{GATEWAY, GUEST, NETWORK_BITS};
use crate::native::netlink::{self, Attributes, Batch, CREATE};

/// The card, as the kernel names the first one.
const CARD: &str = "eth0";

/// Address and default route.
pub(super) fn bring_up() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const NEW_ADDRESS: u16 = 20;
    const NEW_ROUTE: u16 = 24;
    const UP: u32 = 1;
    const UNIVERSE: u8 = 0;
    const TABLE_MAIN: u8 = 254;
    const STATIC: u8 = 4;
    const UNICAST: u8 = 1;
    chaperone_sys::bring_up_loopback()?;
    let index = fs::read_to_string(format!("/sys/class/net/{CARD}/ifindex"))?;
    let index: u32 = index.trim().parse().map_err(io::Error::other)?;
    let family = libc::AF_INET as u8;
    let mut batch = Batch::default();
    // `ifinfomsg`, `ifaddrmsg` and `rtmsg` of linux/rtnetlink.h and linux/if_addr.h.
    let link = [&[0u8; 4][..], &index.to_ne_bytes(), &UP.to_ne_bytes(), &UP.to_ne_bytes()].concat();
    batch.push(NEW_LINK, 0, &link, &Attributes::default());
    let address = [&[family, NETWORK_BITS, 0, UNIVERSE][..], &index.to_ne_bytes()].concat();
    let octets = GUEST.octets();
    batch.push(NEW_ADDRESS, CREATE, &address, &Attributes::default().bytes(1, &octets).bytes(2, &octets));
    let route = [family, 0, 0, 0, TABLE_MAIN, STATIC, UNIVERSE, UNICAST, 0, 0, 0, 0];
    let way = Attributes::default().bytes(4, &index.to_ne_bytes()).bytes(5, &GATEWAY.octets());
    batch.push(NEW_ROUTE, CREATE, &route, &way);
    batch.send(&netlink::route()?)
}

/// The channel is at this port of the cell's loopback.
pub(super) fn serve_channel(listener: UnixListener, port: u16) -> io::Result<()> {
    lead(move || listener.accept().map(|(client, _)| client), port)
}

/// What is at these ports of the cell's loopback is at the guest's, too.
pub(super) fn forward(ports: &[u16]) -> io::Result<()> {
    ports.iter().copied().try_for_each(|port| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        lead(move || listener.accept().map(|(client, _)| client), port)
    })
}

/// Lead whoever connects to a port of the cell's loopback, one after another; who hangs up at once is none.
fn lead<C>(accept: impl Fn() -> io::Result<C> + Send + 'static, port: u16) -> io::Result<()>
where
    C: AsFd + Send + Sync + 'static,
    for<'a> &'a C: Read + Write,
{
    let clients = std::iter::repeat_with(accept).flatten();
    thread::Builder::new().spawn(move || {
        for client in clients {
            thread::spawn(move || {
                let Ok(server) = TcpStream::connect((GATEWAY, port)) else { return };
                drop(join::<C, TcpStream>(&client, &server));
            });
        }
    })?;
    Ok(())
}
