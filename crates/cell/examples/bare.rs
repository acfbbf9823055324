//! A cell without a broker, for tests and measuring: `bare COMMAND…`. Prints refused calls, decoy touches and what comes
//! over a captured network on standard error, one JSON object a line.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use chaperone_cell::control::{self, InitMessage, InitOrder};
use chaperone_cell::{
    BrokerEnds, CapturedEnds, FamilyEnds, HOME, Limits, Network, NetworkEnds, Plan, Terminal,
    backend_by_name, container_init, default_decoys, original_destination, proxy_environment,
    refused_packets, serve_refusals, trust,
};
use chaperone_sys::seccomp::{Instruction, install};

fn main() {
    let command: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if command.first().is_some_and(|word| word == "__cell-init") {
        let descriptors = command.get(1).and_then(|count| count.to_str()?.parse().ok()).unwrap();
        panic!("{}", container_init(descriptors));
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let network = match std::env::var("CELL_NETWORK").as_deref() {
        Ok("captured") => {
            let ports = std::env::var("CELL_LOOPBACK").unwrap_or_default();
            Network::Captured { loopback: ports.split_whitespace().map(|p| p.parse().unwrap()).collect() }
        }
        Ok("proxied") => Network::Proxied,
        _ => Network::None,
    };
    let authority = std::env::var_os("CELL_AUTHORITY").map(|file| std::fs::read(file).unwrap());
    let mut environment: Vec<(std::ffi::OsString, std::ffi::OsString)> =
        [("HOME", HOME), ("LANG", "C.UTF-8")].map(|(k, v)| (k.into(), v.into())).to_vec();
    // A directory with programs in its `bin`, beside the system's.
    let shown = std::env::var_os("CELL_SHOW").map(std::path::PathBuf::from);
    let mut path = std::ffi::OsString::from("/usr/local/bin:/usr/bin:/bin");
    if let Some(directory) = &shown {
        path.push(":");
        path.push(directory.join("bin"));
    }
    environment.push(("PATH".into(), path));
    if authority.is_some() {
        environment.extend(trust::environment());
    }
    if network == Network::Proxied {
        environment.extend(proxy_environment().map(|(k, v)| (k.into(), v.into())));
    }
    let plan = Plan {
        session: format!("bare-{}", std::process::id()),
        program: command.first().cloned().unwrap_or_default(),
        command,
        environment,
        workdir: HOME.into(),
        umask: std::env::var("CELL_UMASK").map_or(0o022, |text| u32::from_str_radix(&text, 8).unwrap()),
        own_place: None,
        home_files: Vec::new(),
        mounts: vec![],
        read_only: shown.into_iter().collect(),
        covered: std::env::var_os("CELL_COVERED").into_iter().map(std::path::PathBuf::from).collect(),
        scratch: vec![],
        caches: vec![],
        decoys: default_decoys().unwrap(),
        limits: Limits {
            memory: number("CELL_MEMORY"),
            processes: number("CELL_PROCESSES"),
            cpu_percent: None,
            seconds: number("CELL_SECONDS"),
        },
        authority,
        network,
        terminal: Terminal::Inherit,
        debug: std::env::var_os("CELL_DEBUG").is_some(),
        tells: false,
        self_exe: std::env::current_exe().unwrap(),
    };
    if let Ok(missing) = std::env::var("CELL_WITHOUT") {
        be_without(&missing);
    }
    let backend = std::env::var("CELL_BACKEND").unwrap_or("native".to_owned());
    let backend = backend_by_name(&backend).unwrap();
    if std::env::var_os("CELL_PROBE").is_some() {
        println!("{}", serde_json::to_string(&backend.probe(&plan.self_exe)).unwrap());
        println!("{:?}", backend.can_capture().map_err(|e| e.to_string()));
        return;
    }
    let (cell, BrokerEnds { control, network, .. }) = match backend.launch(&plan) {
        Ok(launched) => launched,
        Err(e) => {
            eprintln!("{e} {:?}", e.fix);
            std::process::exit(125);
        }
    };
    if let Some(network) = network {
        answer(network);
    }
    control::order(&control, &InitOrder::Go).unwrap();
    if std::env::var_os("CELL_HANG_UP").is_some() {
        rustix::net::shutdown(&control, rustix::net::Shutdown::Both).unwrap();
    }
    let control = Arc::new(control);
    if std::env::var_os("CELL_DIALS").is_some() {
        let control = Arc::clone(&control);
        std::thread::spawn(move || dial(&control));
    }
    let listening = std::thread::spawn(move || listen(&control));
    let exit = cell.wait().unwrap();
    listening.join().unwrap();
    eprintln!("{}", serde_json::to_string(&exit).unwrap());
    std::process::exit(exit.code);
}

/// Refuse what a kernel refuses that lacks something, here and in the cell.
fn be_without(missing: &str) {
    // The call, an argument's place, its value, and the answer.
    let (call, place, value, errno) = match missing {
        "ipv6" => (libc::SYS_socket, 0, libc::AF_INET6, libc::EAFNOSUPPORT),
        // Only an IPv6 socket address is 28 bytes long.
        "nf_tables" => (libc::SYS_socket, 2, libc::NETLINK_NETFILTER, libc::EPROTONOSUPPORT),
        "ipv6 addresses" => (libc::SYS_bind, 2, 28, libc::EADDRNOTAVAIL),
        other => panic!("{other}"),
    };
    let number = |n: i64| u32::try_from(n).unwrap();
    let op = |code, jf, k| Instruction { code, jt: 0, jf, k };
    let filter = [
        op(0x20, 0, 0),
        op(0x15, 3, number(call)),
        op(0x20, 0, 16 + 8 * place),
        op(0x15, 1, number(value.into())),
        op(0x06, 0, 0x0005_0000 | number(errno.into())),
        op(0x06, 0, 0x7fff_0000),
    ];
    rustix::thread::set_no_new_privs(true).unwrap();
    install(&filter, false).unwrap();
}

/// The broker's part of the network: connections and queries are printed and echoed, refused packets printed.
fn answer(ends: NetworkEnds) {
    eprintln!("{{\"network\":{}}}", serde_json::to_string(&ends.kind()).unwrap());
    let CapturedEnds { v4, v6, refused } = match ends {
        NetworkEnds::Captured(ends) => ends,
        NetworkEnds::Proxied(listener) => return echo_proxied(listener.into()),
    };
    for FamilyEnds { streams, names, name_streams } in std::iter::once(v4).chain(v6) {
        echo_streams(streams.into());
        echo_streams(name_streams.into());
        let socket = UdpSocket::from(names);
        std::thread::spawn(move || {
            let mut bytes = [0u8; 512];
            while let Ok((got, from)) = socket.recv_from(&mut bytes) {
                eprintln!("{{\"query\":{got}}}");
                socket.send_to(&bytes[..got], from).unwrap();
            }
        });
    }
    std::thread::spawn(move || {
        use rustix::event::{PollFd, PollFlags, poll};
        while poll(&mut [PollFd::new(&refused, PollFlags::IN)], None).is_ok()
            && let Ok(packets) = refused_packets(&refused)
        {
            for packet in packets {
                eprintln!("{{\"packet\":\"{} {}\"}}", packet.protocol, packet.to);
            }
        }
    });
}

fn echo_proxied(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0u8; 512];
            let got = stream.read(&mut bytes).unwrap();
            eprintln!("{{\"proxied\":{:?}}}", String::from_utf8_lossy(&bytes[..got]));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nby the proxy").unwrap();
        }
    });
}

fn echo_streams(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let to = match original_destination(&stream) {
                Ok(to) => to,
                Err(e) => {
                    eprintln!("{{\"no_destination\":\"{e}\"}}");
                    continue;
                }
            };
            eprintln!("{{\"stream\":\"{to}\"}}");
            let mut bytes = [0u8; 64];
            let got = stream.read(&mut bytes).unwrap();
            if std::env::var_os("CELL_LATE").is_some() {
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
                std::thread::sleep(Duration::from_secs(1));
            }
            stream.write_all(&bytes[..got]).unwrap();
        }
    });
}

/// Ports of the cell to connect to, one a line of standard input; the line's number is the dial's.
fn dial(control: &OwnedFd) {
    for (id, port) in std::io::stdin().lines().enumerate() {
        let (port, id) = (port.unwrap().parse().unwrap(), id.try_into().unwrap());
        control::order_now(control, &control::InitOrder::Dial { port, id }).unwrap();
    }
}

/// What a server in the cell answers.
fn fetch(server: OwnedFd) {
    let mut server = TcpStream::from(server);
    server.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
    let mut said = String::new();
    server.read_to_string(&mut said).unwrap();
    eprintln!("{{\"served\":{said:?}}}");
}

/// Until cell-init hangs up.
fn listen(control: &OwnedFd) {
    let mut threads = Vec::new();
    while let Ok(Some((message, fds))) = control::receive(control, None) {
        let dialed = matches!(message, InitMessage::Dialed { .. });
        for descriptor in fds {
            threads.push(std::thread::spawn(move || {
                if dialed {
                    fetch(descriptor);
                } else {
                    serve_refusals(&descriptor, |r| eprintln!("{{\"refused\":\"{}\"}}", r.call));
                }
            }));
        }
        eprintln!("{}", serde_json::to_string(&message).unwrap());
    }
    for thread in threads {
        thread.join().unwrap();
    }
}
