//! The network of a cell, seen by the agent and by whoever holds the broker's ends, through the example `bare`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use common::{bare, can_launch, err, out, program};

/// What every program begins with.
const HEAD: &str = "import socket, threading, time
def tcp(family, to):
    s = socket.socket(family)
    s.settimeout(5)
    s.connect(to)
    s.sendall(b'there')
    return s.recv(9)
def udp(family, to):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.sendto(b'there', to)
    return s.recv(9)
def attempt(what, *to):
    begun = time.monotonic()
    try: said = what(*to)
    except OSError as e: said = e.errno
    print(said if time.monotonic() - begun < 1 else 'late', flush=True)
";

/// A Python program in a cell whose network is captured.
fn captured(name: &str, code: &str) -> Option<Output> {
    cell(name, &[("CELL_NETWORK", "captured")], code)
}

/// A Python program in a cell that `bare` makes as its environment says. Where CI could make it, a skip is a failure.
fn cell(name: &str, environment: &[(&str, &str)], code: &str) -> Option<Output> {
    if !can_launch(name) || !program("python3") {
        return None;
    }
    let done = Command::new(bare())
        .envs(environment.iter().copied())
        .args(["/usr/bin/python3", "-c", &format!("{HEAD}{code}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if done.status.code() != Some(125) {
        return Some(done);
    }
    println!("SKIPPED {name}: {}", err(&done));
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name}: {}", err(&done));
    None
}

#[test]
fn every_connection_and_query_lands_at_the_broker_with_where_it_was_for() {
    let name = "every_connection_and_query_lands_at_the_broker_with_where_it_was_for";
    let code = "for family, name in [(socket.AF_INET, '203.0.113.7'), (socket.AF_INET6, '2001:db8::7')]:\n    \
                print(tcp(family, (name, 443)), udp(family, (name, 53)), tcp(family, (name, 53)))";
    let Some(done) = captured(name, code) else { return };
    assert_eq!(out(&done), ["b'there' b'there' b'there'"; 2].join("\n"), "{}", err(&done));
    for told in ["203.0.113.7:443", "203.0.113.7:53", "[2001:db8::7]:443", "[2001:db8::7]:53"] {
        assert!(err(&done).contains(&format!("{{\"stream\":\"{told}\"}}")), "{told}: {}", err(&done));
    }
    assert_eq!(err(&done).matches("\"query\":5").count(), 2, "{}", err(&done));
}

#[test]
fn what_is_neither_tcp_nor_dns_is_refused_at_once_and_told() {
    let name = "what_is_neither_tcp_nor_dns_is_refused_at_once_and_told";
    let code = "for family, name in [(socket.AF_INET, '203.0.113.7'), (socket.AF_INET6, '2001:db8::7')]:\n    \
                try:\n        print(udp(family, (name, 443)))\n    except OSError as e:\n        print(e.errno in (1, 13))\n\
                import time; time.sleep(0.3)";
    let Some(done) = captured(name, code) else { return };
    assert_eq!(out(&done), "True\nTrue", "{}", err(&done));
    for told in ["17 203.0.113.7:443", "17 [2001:db8::7]:443"] {
        assert!(err(&done).contains(told), "{told}: {}", err(&done));
    }
}

#[test]
fn servers_in_a_captured_cell_are_its_own() {
    let code = "import threading\nfor family, host in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'), (socket.AF_INET, '127.9.9.9'), (socket.AF_INET, '192.0.0.2')]:\n    \
                s = socket.create_server((host, 0), family=family)\n    \
                def echo():\n        c, _ = s.accept(); c.sendall(c.recv(9))\n    \
                threading.Thread(target=echo).start()\n    print(tcp(family, (host, s.getsockname()[1])))";
    let Some(done) = captured("servers_in_a_captured_cell_are_its_own", code) else { return };
    assert_eq!(out(&done), "b'there'\n".repeat(4).trim(), "{}", err(&done));
    assert!(!err(&done).contains("stream"), "{}", err(&done));
}

#[test]
fn ports_of_loopback_that_are_the_persons_lead_to_the_broker() {
    let code = "servers = [socket.create_server(('127.0.0.1', p)) for p in (5432, 5433)]
def echo(s):
    while True:
        c, _ = s.accept(); c.recv(9); c.sendall(b'own')
for s in servers: threading.Thread(target=echo, args=[s], daemon=True).start()
for family, host in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET, '127.9.9.9'), (socket.AF_INET6, '::1'):
    print(tcp(family, (host, 5432)))
print(tcp(socket.AF_INET, ('127.0.0.1', 5433)))
for port in 64080, 64053:
    s = socket.create_connection(('127.0.0.1', port)); s.settimeout(5)
    try: s.sendall(b'there'); print(s.recv(9))
    except ConnectionError: print(b'')
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 5432))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.sendto(b'udp', ('127.0.0.1', 5432)); print(s.recv(9))";
    let environment = [("CELL_NETWORK", "captured"), ("CELL_LOOPBACK", "5432 64080 64053")];
    let name = "ports_of_loopback_that_are_the_persons_lead_to_the_broker";
    let Some(done) = cell(name, &environment, code) else { return };
    let theirs = "b'there'\n".repeat(3);
    assert_eq!(out(&done), format!("{theirs}b'own'\nb''\nb''\nb'udp'"), "{}", err(&done));
    for told in ["127.0.0.1:5432", "127.9.9.9:5432", "[::1]:5432"] {
        assert!(err(&done).contains(&format!("{{\"stream\":\"{told}\"}}")), "{told}: {}", err(&done));
    }
    assert_eq!(err(&done).matches("\"stream\"").count(), 3, "{}", err(&done));
}

#[test]
fn the_ports_of_the_capture_are_no_destination() {
    let code = "for port in 64080, 64053:
    for family, own in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'):
        s = socket.create_connection((own, port)); s.settimeout(5)
        try:
            s.sendall(b'there'); print(s.recv(9))
        except ConnectionError:
            print(b'')
    for family, own in (socket.AF_INET, '127.0.0.2'), (socket.AF_INET, '192.0.0.2'), (socket.AF_INET6, 'fd63:6861:7065::2'):
        attempt(tcp, family, (own, port))
    attempt(tcp, socket.AF_INET, ('203.0.113.7', port))
for family, any in (socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::'):
    for port in 64080, 64053:
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        attempt(s.bind, (any, port))";
    let Some(done) = captured("the_ports_of_the_capture_are_no_destination", code) else { return };
    let refused = format!("{}\n", libc::ECONNREFUSED);
    let port = format!("b''\nb''\n{}b'there'\n", refused.repeat(3));
    let taken = format!("{}\n", libc::EADDRINUSE).repeat(4);
    assert_eq!(out(&done), format!("{port}{port}{taken}").trim(), "{}", err(&done));
    let told: Vec<String> =
        err(&done).lines().filter(|l| l.contains("destination")).map(str::to_owned).collect();
    assert_eq!(told, ["{\"no_destination\":\"a connection to the way out itself\"}"; 4]);
    for port in [64_080, 64_053] {
        assert!(err(&done).contains(&format!("{{\"stream\":\"203.0.113.7:{port}\"}}")), "{}", err(&done));
    }
    assert_eq!(err(&done).matches("\"stream\"").count(), 2, "{}", err(&done));
}

#[test]
fn an_agent_cannot_change_where_its_network_leads() {
    let code = "import struct\n\
                s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)\n\
                route = struct.pack('=IHHII', 28, 25, 5, 1, 0) + bytes([2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0])\n\
                s.send(route)\nprint(struct.unpack('=i', s.recv(99)[16:20])[0])\n\
                try:\n    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n    print('netfilter')\nexcept OSError as e:\n    print(e.errno)\n\
                print(tcp(socket.AF_INET, ('203.0.113.7', 80)))";
    let Some(done) = captured("an_agent_cannot_change_where_its_network_leads", code) else { return };
    assert_eq!(out(&done), "-1\n97\nb'there'", "{}", err(&done));
}

#[test]
fn a_kernel_without_ipv6_still_captures_ipv4() {
    let code = "print(tcp(socket.AF_INET, ('203.0.113.7', 443)), udp(socket.AF_INET, ('203.0.113.7', 53)), tcp(socket.AF_INET, ('203.0.113.7', 53)))
attempt(udp, socket.AF_INET, ('203.0.113.7', 443))
attempt(tcp, socket.AF_INET6, ('2001:db8::7', 443))
attempt(udp, socket.AF_INET6, ('2001:db8::7', 53))
time.sleep(0.3)";
    let name = "a_kernel_without_ipv6_still_captures_ipv4";
    for (missing, v6) in [("ipv6", libc::EAFNOSUPPORT), ("ipv6 addresses", libc::ENETUNREACH)] {
        let environment = [("CELL_NETWORK", "captured"), ("CELL_WITHOUT", missing)];
        let Some(done) = cell(name, &environment, code) else { return };
        let said = out(&done);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "b'there' b'there' b'there'", "{missing}: {}", err(&done));
        assert!(["1", "13"].contains(&lines[1]), "{missing}: {said}");
        assert_eq!(lines[2..], [&*v6.to_string(); 2], "{missing}");
        for told in
            ["{\"network\":\"captured_v4\"}", "{\"stream\":\"203.0.113.7:443\"}", "17 203.0.113.7:443"]
        {
            assert!(err(&done).contains(told), "{missing}: {told}: {}", err(&done));
        }
    }
}

#[test]
fn the_answer_to_a_stream_that_the_agent_has_ended_arrives_late() {
    let name = "the_answer_to_a_stream_that_the_agent_has_ended_arrives_late";
    let code = "for setting in 'close_wait', 'fin_wait', 'last_ack':
    path = '/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_' + setting
    try: print(open(path).read().strip())
    except FileNotFoundError: print(86400)
    attempt(open, path, 'w')
print(open('/proc/sys/net/ipv4/tcp_fastopen').read().strip())
for family, address in (socket.AF_INET, '203.0.113.7'), (socket.AF_INET6, '2001:db8::7'):
    s = socket.socket(family)
    s.settimeout(10)
    s.connect((address, 443))
    s.sendall(b'there')
    s.shutdown(socket.SHUT_WR)
    print(s.recv(9), s.recv(9))";
    let environment = [("CELL_NETWORK", "captured"), ("CELL_LATE", "1")];
    let Some(done) = cell(name, &environment, code) else { return };
    let kept = "86400\n13\n".repeat(3);
    // A container's runtime makes all of it read-only.
    let said = out(&done).replace("\n30\n", "\n13\n");
    assert_eq!(said, format!("{kept}0\nb'there' b''\nb'there' b''"), "{}", err(&done));
}

#[test]
fn a_server_in_the_cell_is_reached_from_outside() {
    let name = "a_server_in_the_cell_is_reached_from_outside";
    if !can_launch(name) || !program("python3") {
        return;
    }
    let code = "import http.server, os, sys
os.mkdir('/tmp/served'); os.chdir('/tmp/served')
open('page', 'w').write('this is the page')
class V6(http.server.ThreadingHTTPServer): address_family = socket.AF_INET6
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *told): pass
servers = [http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet), V6(('::1', 0), Quiet)]
for server in servers: threading.Thread(target=server.serve_forever, daemon=True).start()
full = socket.create_server(('127.0.0.1', 0), backlog=0)
fills = socket.create_connection(full.getsockname())
unused = socket.socket(); unused.bind(('127.0.0.1', 0))
print(*[s.server_port for s in servers], full.getsockname()[1], unused.getsockname()[1], flush=True)
time.sleep(60)";
    for network in ["none", "captured", "proxied"] {
        let mut bare = Command::new(bare())
            .args(["/usr/bin/python3", "-c", &format!("{HEAD}{code}")])
            .envs([("CELL_NETWORK", network), ("CELL_DIALS", "1")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ports = String::new();
        BufReader::new(bare.stdout.take().unwrap()).read_line(&mut ports).unwrap();
        let mut dials = bare.stdin.take().unwrap();
        let [v4, v6, full, unused] = *ports.split_whitespace().collect::<Vec<_>>() else { panic!("{ports}") };
        writeln!(dials, "{full}\n{v4}\n{v6}\n{unused}\n64080\n64053\n3128\n0").unwrap();
        let mut told: Vec<String> = Vec::new();
        let mut lines = BufReader::new(bare.stderr.take().unwrap()).lines();
        while told.len() < 10 {
            let line = lines.next().expect("10 lines").unwrap();
            if line.starts_with("{\"dialed\"") || line.starts_with("{\"served\"") {
                told.push(line);
            }
        }
        bare.kill().unwrap();
        bare.wait().unwrap();
        let served = told.iter().filter(|l| l.contains("200 OK") && l.contains("this is the page"));
        assert_eq!(served.count(), 2, "{told:#?}");
        let why = |port: u16| match (network, port) {
            ("captured", 64_080 | 64_053) | ("proxied", 3128) => format!("port {port} is the cell's way out"),
            _ => format!("nothing listens at port {port} of the cell"),
        };
        for (id, port) in [(3, unused.parse().unwrap()), (4, 64_080), (5, 64_053), (6, 3128), (7, 0)] {
            let error = why(port);
            let line = format!("{{\"dialed\":{{\"id\":{id},\"error\":\"{error}\"}}}}");
            assert!(told.contains(&line), "{line}: {told:#?}");
        }
        // The slow one held up none of the others.
        let late =
            format!("{{\"dialed\":{{\"id\":0,\"error\":\"port {full} of the cell does not answer\"}}}}");
        assert_eq!(told.last(), Some(&late), "{told:#?}");
    }
}

#[test]
fn without_rules_a_proxy_is_the_only_way_out() {
    let code = "import os, urllib.request
print(tcp(socket.AF_INET, ('127.0.0.1', 3128))[:4])
for address in '93.184.216.34', '192.0.0.1':
    attempt(tcp, socket.AF_INET, (address, 80))
    attempt(udp, socket.AF_INET, (address, 53))
    attempt(udp, socket.AF_INET, (address, 443))
attempt(tcp, socket.AF_INET6, ('2001:db8::7', 80))
attempt(udp, socket.AF_INET6, ('2001:db8::7', 53))
print(urllib.request.urlopen('http://example.com/').read())
for scheme in 'https', 'HTTP', 'HTTPS':
    print(os.environ[scheme + '_proxy' if scheme.islower() else scheme + '_PROXY'])
print(os.environ['all_proxy'], os.environ['no_proxy'])
attempt(socket.socket().bind, ('0.0.0.0', 3128))";
    let environment = [("CELL_NETWORK", "proxied"), ("CELL_WITHOUT", "nf_tables")];
    let Some(done) = cell("without_rules_a_proxy_is_the_only_way_out", &environment, code) else { return };
    let said = out(&done);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "b'HTTP'", "{said}{}", err(&done));
    assert_eq!(lines[1..9], [&*libc::ENETUNREACH.to_string(); 8], "{said}");
    let (http, rest) = ("http://127.0.0.1:3128", "http://127.0.0.1:3128 127.0.0.1,localhost,::1");
    let taken = libc::EADDRINUSE.to_string();
    assert_eq!(lines[9..], ["b'by the proxy'", http, http, http, rest, &*taken], "{said}{}", err(&done));
    assert!(err(&done).contains("{\"network\":\"proxied\"}"), "{}", err(&done));
    assert!(err(&done).contains("{\"proxied\":\"there\"}"), "{}", err(&done));
    assert!(err(&done).contains("{\"proxied\":\"GET http://example.com/ "), "{}", err(&done));
}

#[test]
fn doctor_is_told_of_capture_and_of_the_proxy_instead() {
    let name = "doctor_is_told_of_capture_and_of_the_proxy_instead";
    let told = |missing: Option<&str>| {
        let mut command = Command::new(bare());
        command
            .env("CELL_PROBE", "1")
            .env("CELL_BACKEND", "native")
            .envs(missing.map(|m| ("CELL_WITHOUT", m)));
        let done = command.output().unwrap();
        let said = out(&done);
        let (layers, capture) = said.split_once('\n').expect("two lines");
        let layers: serde_json::Value = serde_json::from_str(layers).unwrap();
        let network = layers.as_array().unwrap().iter().find(|l| l["layer"] == "network").unwrap().clone();
        (network, capture.to_owned())
    };
    if captured(name, "").is_none() {
        return;
    }
    let (layer, capture) = told(None);
    assert_eq!((&layer["state"], &*capture), (&"ok".into(), "Ok(())"), "{layer}");
    let (layer, capture) = told(Some("nf_tables"));
    assert_eq!(layer["state"], "partial", "{layer}");
    assert!(layer["detail"].as_str().unwrap().starts_with("proxied, "), "{layer}");
    assert!(layer["fix"].as_str().unwrap().contains("modprobe"), "{layer}");
    assert!(capture.starts_with("Err(") && capture.contains("capture"), "{capture}");
}
