//! What crosses the border of a cell by the network, through the real binary: published ports, the user's own servers, and
//! the proxy of a kernel without nf_tables.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../mcp/support.rs"]
#[allow(dead_code, reason = "only the machine is needed here")]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use chaperone_sys::seccomp::{Instruction, install};
use serde_json::Value;
use support::{Machine, PATIENCE};

/// A session whose agent is a program in Python.
struct Session {
    process: Child,
    lines: Receiver<String>,
}

impl Session {
    fn start(machine: &Machine, options: &[&str], program: &str) -> Self {
        Self::of(prepared(machine, options, program))
    }

    fn of(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| sender.send(l)));
        Self { process, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the agent says something")
    }

    /// Everything up to the agent's end.
    fn rest(mut self) -> (Vec<String>, String) {
        let lines = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect();
        let mut errors = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (lines, errors)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn prepared(machine: &Machine, options: &[&str], program: &str) -> Command {
    let mut command = machine.command(&["run", "--ask", "deny", "--workspace"]);
    command.arg(machine.docs()).args(options).args(["--", "/usr/bin/python3", "-c", program]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ports that nobody is given who asks for any: what was let go of stays free for whoever names it, beside other tests.
fn held_ports<const N: usize>() -> [TcpListener; N] {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    let mut next = std::process::id().wrapping_mul(97) % COUNT;
    [(); N].map(|()| {
        loop {
            next = (next + 1) % COUNT;
            let port = u16::try_from(FIRST + next).unwrap();
            if let Ok(held) = TcpListener::bind(("127.0.0.1", port)) {
                break held;
            }
        }
    })
}

fn free_ports<const N: usize>() -> [u16; N] {
    held_ports().map(|l| l.local_addr().unwrap().port())
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// A server of the user's that says its own name to whoever comes.
fn host_server(port: u16, name: &'static str) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                head.extend(byte);
            }
            let head = String::from_utf8_lossy(&head);
            let body = format!("{name}: {}", head.lines().next().unwrap_or_default());
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
            .ok();
        }
    });
}

/// Records of one action, oldest first.
fn records(machine: &Machine, action: &str) -> Vec<Value> {
    let said = machine.run(&["audit", "query", "--action", action, "--json"]).stdout;
    let lines = String::from_utf8(said).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const SERVER: &str = "
import http.server, sys, threading
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *rest): pass
servers = [http.server.ThreadingHTTPServer(('127.0.0.1', int(p)), Quiet) for p in PORTS]
for server in servers: threading.Thread(target=server.serve_forever, daemon=True).start()
print('serving', flush=True)
threading.Event().wait(120)
";

#[test]
fn a_published_port_is_reached_and_no_other_is() {
    let machine = Machine::new();
    if !machine.has_cells("a_published_port_is_reached_and_no_other_is") {
        return;
    }
    machine.put("page.txt", "from the cell");
    let [published, unpublished, silent] = free_ports();
    let program = format!("PORTS = [{published}, {unpublished}]{SERVER}");
    let options = ["--publish", &published.to_string(), "--publish", &silent.to_string()];
    let session = Session::start(&machine, &options, &program);
    assert_eq!(session.line(), "serving");
    let said = get(published, "/page.txt").unwrap();
    assert!(said.contains("200 OK") && said.ends_with("from the cell"), "{said}");
    assert_eq!(get(unpublished, "/").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    // Nothing listens there in the cell.
    assert!(get(silent, "/").is_err());
    // Never wider than loopback.
    let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = |ip: &str| format!("{ip}:{published:04X} ");
    assert!(listening.contains(&local("0100007F")) && !listening.contains(&local("00000000")));

    let outcomes = machine.until("two outcomes", |m| {
        let found: Vec<Value> =
            records(m, "publish").into_iter().filter(|r| r["phase"] == "outcome").collect();
        (found.len() == 2).then_some(found)
    });
    for (outcome, port, effect) in [(&outcomes[0], published, "allow"), (&outcomes[1], silent, "failed")] {
        assert_eq!(
            (&outcome["resource"], &outcome["effect"]),
            (&format!("localhost:{port}").into(), &effect.into())
        );
    }
    let recorded = machine.ask(&["audit", "show", &outcomes[0]["seq"].to_string()]);
    assert_eq!(recorded["payload"]["bytes"], said.len(), "{recorded}");
    let intents = records(&machine, "publish").into_iter().filter(|r| r["phase"] == "intent").count();
    assert_eq!(intents, 2);

    let mut held = TcpStream::connect(("127.0.0.1", published)).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    held.write_all(b"GET /page.txt HTTP/1.0\r\n").unwrap();
    assert!(machine.run(&["stop", "--all"]).status.success());
    assert!(!matches!(held.read(&mut [0; 9]), Ok(1..)), "an open connection ends with the session");
    machine.until("the port to be closed", |_| get(published, "/").err());
    machine.until("the port to be free", |_| TcpListener::bind(("127.0.0.1", published)).ok());
}

#[test]
fn a_port_that_is_taken_refuses_the_session() {
    let machine = Machine::new();
    if !machine.has_cells("a_port_that_is_taken_refuses_the_session") {
        return;
    }
    let [taken] = held_ports();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = prepared(&machine, &["--publish", &port], "print('ran')");
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), done.stdout.len()), (Some(125), 0), "{said}");
    assert!(said.contains(&format!("port {port} of this machine is in use")), "{said}");
    assert_eq!(machine.ask(&["sessions", "--all", "--json"])["sessions"], serde_json::json!([]));
    drop(taken);
    // A session that is over has let go of it.
    for _ in 0..2 {
        let done = prepared(&machine, &["--publish", &port], "print('ran')").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

const CLIENT: &str = "
import http.server, socket, sys, threading, urllib.request
class Own(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'own')
    def log_message(self, *rest): pass
def serve(port):
    try: server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Own)
    except OSError as e: return print('no server', e)
    threading.Thread(target=server.serve_forever, daemon=True).start()
def get(url):
    try: print(urllib.request.urlopen(url, timeout=20).read().decode())
    except urllib.error.HTTPError as e: print(e.code, e.headers.get('x-chaperone-reason'))
    except OSError as e: print('refused', file=sys.stdout)
";

#[test]
fn an_allowed_server_on_the_persons_loopback_is_reached_and_no_other_is() {
    let machine = Machine::new();
    if !machine.has_cells("an_allowed_server_on_the_persons_loopback_is_reached_and_no_other_is") {
        return;
    }
    let [allowed, other, own] = free_ports();
    host_server(allowed, "allowed");
    host_server(other, "other");
    let program = format!(
        "{CLIENT}
serve({own}); serve({allowed})
for host in '127.0.0.1', 'localhost': get(f'http://{{host}}:{allowed}/page')
get('http://127.0.0.1:{other}/'); get('http://127.0.0.1:{own}/')"
    );
    // The other port is nobody's in the cell, and the agent's servers are its own.
    let rest = ["refused", "own"];
    for rule in ["localhost", "127.0.0.1"] {
        let option = format!("{rule}:{allowed}");
        let (lines, errors) = Session::start(&machine, &["--allow-host", &option], &program).rest();
        let reached = "allowed: GET /page HTTP/1.1";
        assert_eq!(lines, [reached, reached, rest[0], rest[1]], "{rule}: {errors}");
    }
    assert!(records(&machine, "request").iter().any(|r| r["phase"] == "outcome" && r["effect"] == "allow"));
    let (lines, errors) = Session::start(&machine, &[], &program).rest();
    assert_eq!(lines, ["own", "own", rest[0], rest[1]], "{errors}");

    let both = ["--allow-host", &format!("localhost:{allowed}"), "--publish", &allowed.to_string()];
    let done = prepared(&machine, &both, "").output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(125) && said.contains("cannot be a server of yours"), "{said}");
}

#[test]
fn a_server_of_the_persons_on_ipv6_is_reached() {
    let machine = Machine::new();
    if !machine.has_cells("a_server_of_the_persons_on_ipv6_is_reached") {
        return;
    }
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(b"SSH-2.0-first\r\n").ok();
        }
    });
    let program = format!("import socket\nprint(socket.create_connection(('::1', {port})).recv(99))");
    let (lines, errors) =
        Session::start(&machine, &["--allow-host", &format!("[::1]:{port}")], &program).rest();
    assert_eq!(lines, ["b'SSH-2.0-first\\r\\n'"], "{errors}");
}

/// Start a program as on a kernel that lacks nf_tables: what `crates/cell/examples/bare.rs` does to itself.
fn without_nf_tables(command: Command) -> Session {
    let number = |n: i64| u32::try_from(n).unwrap();
    let op = |code, jf, k| Instruction { code, jt: 0, jf, k };
    let filter = [
        op(0x20, 0, 0),
        op(0x15, 3, number(libc::SYS_socket)),
        op(0x20, 0, 16 + 8 * 2),
        op(0x15, 1, number(libc::NETLINK_NETFILTER.into())),
        op(0x06, 0, 0x0005_0000 | number(libc::EPROTONOSUPPORT.into())),
        op(0x06, 0, 0x7fff_0000),
    ];
    // The filter is the thread's, and what it starts.
    let started = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        install(&filter, false).unwrap();
        Session::of(command)
    });
    started.join().unwrap()
}

const ASKING: &str = "
import os, socket, ssl
os.environ['no_proxy'] = ''
def ask(*parts):
    s = socket.create_connection(('127.0.0.1', 3128)); s.settimeout(20)
    for part in parts[:-1]:
        s.sendall(part); s.recv(999)
    s.sendall(parts[-1])
    said = b''
    try:
        while got := s.recv(999): said += got
    except ConnectionError: said += b' reset'
    head, _, body = said.decode('latin1').rpartition('\\r\\n\\r\\n')
    if not head: head, body = body, ''
    print(head.split(' ')[1] if head.startswith('HTTP') else head.encode('latin1').hex(), body.partition('(')[2].partition(')')[0] or body)
def page(host, path, more=''): return f'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n{more}\\r\\n'.encode()
def connect(to): return f'CONNECT {to} HTTP/1.1\\r\\nHost: {to}\\r\\n\\r\\n'.encode()
def socks(name, port): return b'\\x05\\x01\\x00\\x03' + bytes([len(name)]) + name + port.to_bytes(2, 'big')
";

#[test]
fn without_nf_tables_a_proxy_leads_where_a_capture_would() {
    let machine = Machine::new();
    if !machine.has_cells("without_nf_tables_a_proxy_leads_where_a_capture_would") {
        return;
    }
    let [allowed, other] = free_ports();
    host_server(allowed, "allowed");
    host_server(other, "other");
    let program = format!(
        r"{CLIENT}{ASKING}
A, B = 'localhost:{allowed}', 'localhost:{other}'
for url in f'http://{{A}}/a', f'http://127.0.0.1:{allowed}/b', f'http://{{B}}/': get(url)
close = 'Connection: close\r\n'
ask(connect(A), page(A, '/c', close))
ask(connect(A) + page(A, '/d', close))
ask(connect(B))
ask(connect(A), page('other.example', '/', close))
ask(b'\x05\x01\x00', socks(b'localhost', {allowed}), page(A, '/e', close))
ask(b'\x05\x01\x00', socks(b'evil.example', 80))
ask(b'\x05\x01\x00', socks(b'localhost\0.example', {allowed}))
ask(b'\x05\x01\x02')
ask(connect('secret-in-a-name.evil.example:443'))
ask(page(A, f'http://{{A}}/f') + page(B, f'http://{{B}}/g'))
ask(page('other.example', f'http://{{A}}/'))
ask(page(A, '/'))
ask(page(A, f'https://{{A}}/'))
s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(connect(A)); s.recv(999)
try: ssl.create_default_context().wrap_socket(s, server_hostname='other.example')
except ssl.SSLError as e: print(e.reason)"
    );
    let option = format!("localhost:{allowed}");
    let (lines, errors) = without_nf_tables(prepared(&machine, &["--allow-host", &option], &program)).rest();
    assert!(errors.contains("honour http_proxy"), "{errors}");
    let expected = [
        "allowed: GET /a HTTP/1.1",
        "allowed: GET /b HTTP/1.1",
        "403 host_not_allowed",
        "200 allowed: GET /c HTTP/1.1",
        "200 allowed: GET /d HTTP/1.1",
        "403 host_not_allowed",
        "421 fronting",
        "200 allowed: GET /e HTTP/1.1",
        "05020001000000000000 ",
        "05010001000000000000 ",
        "05ff ",
        "403 host_not_allowed",
        "200 allowed: GET /f HTTP/1.1",
        "400 bad_request",
        "400 bad_proxy_request",
        "400 bad_proxy_request",
        "TLSV1_ALERT_ACCESS_DENIED",
    ];
    let begins = |(line, expected): (&String, &&str)| line.starts_with(expected);
    assert!(lines.len() == expected.len() && lines.iter().zip(&expected).all(begins), "{lines:#?}\n{errors}");
    // A name that is not allowed is asked for nowhere.
    let resolved = records(&machine, "resolve");
    assert!(resolved.len() == 2 && resolved.iter().all(|r| r["effect"] == "deny"), "{resolved:#?}");
    let requests = records(&machine, "request");
    let carried = requests.iter().filter(|r| r["phase"] == "outcome" && r["effect"] == "allow");
    assert_eq!(carried.count(), 6, "{requests:#?}");
}
