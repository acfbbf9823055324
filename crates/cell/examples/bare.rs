//! A cell without a broker, for tests and measuring: `bare COMMAND…`. Prints refused calls and decoy touches on
//! standard error, one JSON object a line.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use chaperone_cell::{BrokerEnds, HOME, Limits, Plan, Terminal, default_decoys, launch, serve_refusals};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};

fn main() {
    let command: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let plan = Plan {
        session: format!("bare-{}", std::process::id()),
        command,
        environment: [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", HOME), ("LANG", "C.UTF-8")]
            .map(|(k, v)| (k.into(), v.into()))
            .to_vec(),
        workdir: HOME.into(),
        mounts: vec![],
        read_only: vec![],
        caches: vec![],
        decoys: default_decoys().unwrap(),
        limits: Limits {
            memory: number("CELL_MEMORY"),
            processes: number("CELL_PROCESSES"),
            cpu_percent: None,
            seconds: number("CELL_SECONDS"),
        },
        terminal: Terminal::Inherit,
        debug: std::env::var_os("CELL_DEBUG").is_some(),
        self_exe: std::env::current_exe().unwrap(),
    };
    let (cell, BrokerEnds { control, .. }) = match launch(&plan) {
        Ok(launched) => launched,
        Err(e) => {
            eprintln!("{e} {:?}", e.fix);
            std::process::exit(125);
        }
    };
    rustix::net::send(&control, br#""go""#, SendFlags::NOSIGNAL).unwrap();
    if std::env::var_os("CELL_HANG_UP").is_some() {
        rustix::net::shutdown(&control, rustix::net::Shutdown::Both).unwrap();
    }
    let listening = std::thread::spawn(move || listen(&control));
    let exit = cell.wait().unwrap();
    listening.join().unwrap();
    eprintln!("{}", serde_json::to_string(&exit).unwrap());
    std::process::exit(exit.code);
}

/// Until cell-init hangs up.
fn listen(control: &OwnedFd) {
    let mut refusals = Vec::new();
    loop {
        let mut bytes = vec![0u8; 65536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::net::recvmsg(
            control,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let Ok(got) = got else { break };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for listener in fds {
                    refusals.push(std::thread::spawn(move || {
                        serve_refusals(&listener, |r| eprintln!("{{\"refused\":\"{}\"}}", r.call));
                    }));
                }
            }
        }
        if got.bytes == 0 {
            break;
        }
        eprintln!("{}", String::from_utf8_lossy(&bytes[..got.bytes]));
    }
    for thread in refusals {
        thread.join().unwrap();
    }
}
