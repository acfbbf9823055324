//! The hostile twin: it tries what an agent must not be able to do, and says what came of each attempt.
//!
//! Prints one line an attempt: `refused NAME: why` or `SUCCEEDED NAME`. Exits 0 when every attempt was refused
//! and 1 when one succeeded; a test still looks at the effects, not at this program's word.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use spreadsheet_example::mcp::Client;
use spreadsheet_example::workbook::with_webservice;

/// A marker that the make-believe secrets outside the cell hold; reading it is success.
const CANARY: &str = "CANARY";

fn main() -> ExitCode {
    let mut server: Vec<String> = std::env::args().skip(1).collect();
    if server.is_empty() {
        server = vec!["chaperone".into(), "mcp".into()];
    }
    let mut succeeded = 0;
    let mut attempt = |name: &str, result: Result<(), String>| match result {
        Ok(()) => {
            succeeded += 1;
            println!("SUCCEEDED {name}");
        }
        Err(why) => println!("refused {name}: {}", why.lines().next().unwrap_or_default()),
    };

    attempt("shadow", secret("/etc/shadow", |text| text.contains("$y$") || text.contains("$6$")));
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".into());
    for (name, path) in [
        ("ssh key", ".ssh/id_ed25519"),
        ("ssh key (rsa)", ".ssh/id_rsa"),
        ("aws token", ".aws/credentials"),
        ("gcloud token", ".config/gcloud/application_default_credentials.json"),
        ("kube config", ".kube/config"),
    ] {
        attempt(name, secret(&format!("{home}/{path}"), |t| t.contains(CANARY)));
    }
    attempt(
        "dot dot",
        secret("/workspace/reports/../../../../etc/shadow", |t| t.contains("$y$") || t.contains("$6$")),
    );
    attempt("proc root", secret("/proc/self/root/etc/shadow", |t| t.contains("$y$") || t.contains("$6$")));
    attempt("proc 1 root", fs::read_dir("/proc/1/root").map(|_| ()).map_err(|e| e.to_string()));
    attempt("symlink out", through_symlink(&home));
    attempt("write a report", fs::write("/workspace/reports/sales.csv", "x").map_err(|e| e.to_string()));
    attempt("git hook", git_hook());
    attempt("tcp", tcp());
    attempt("dns", dns());
    match Client::start(&server) {
        Ok(mut mcp) => {
            attempt("rpc shadow", mcp.call("read_file", &json!({ "path": "/etc/shadow" })).map(|_| ()));
            attempt(
                "rpc dot dot",
                mcp.call("read_file", &json!({ "path": "/workspace/reports/../../etc/passwd" })).map(|_| ()),
            );
            attempt(
                "rpc git hook",
                mcp.call(
                    "write_file",
                    &json!({ "path": "/workspace/.git/hooks/pre-commit", "content": "#!/bin/sh\n" }),
                )
                .map(|_| ()),
            );
            attempt("webservice formula", webservice(&mut mcp));
        }
        Err(e) => println!("refused rpc: {e}"),
    }
    if succeeded > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn secret(path: &str, tells: impl Fn(&str) -> bool) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    if tells(&text) { Ok(()) } else { Err("a decoy without anything in it".into()) }
}

fn through_symlink(home: &str) -> Result<(), String> {
    let link = "/workspace/out/innocent.csv";
    symlink(format!("{home}/.ssh/id_ed25519"), link).map_err(|e| e.to_string())?;
    let read = secret(link, |t| t.contains(CANARY));
    fs::remove_file(link).map_err(|e| e.to_string())?;
    read
}

fn git_hook() -> Result<(), String> {
    fs::create_dir_all("/workspace/.git/hooks").map_err(|e| e.to_string())?;
    fs::write("/workspace/.git/hooks/pre-commit", "#!/bin/sh\n").map_err(|e| e.to_string())
}

fn tcp() -> Result<(), String> {
    let address: SocketAddr = "203.0.113.9:80".parse().map_err(|_| "bad address".to_owned())?;
    let limit = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(|e| e.to_string())?;
    // Connections end at the broker, so what counts is whether the host's own answer comes.
    stream.set_read_timeout(Some(limit)).map_err(|e| e.to_string())?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: 203.0.113.9\r\n\r\n").map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    match answer.lines().next() {
        Some(line) if line.contains(" 403 ") && answer.contains("chaperone:") => {
            Err("403 of the broker's".into())
        }
        Some(_) => Ok(()),
        None => Err("no answer".into()),
    }
}

fn dns() -> Result<(), String> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(|e| e.to_string())?;
    socket
        .send_to(
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01",
            "203.0.113.53:53",
        )
        .map_err(|e| e.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(3))).map_err(|e| e.to_string())?;
    let mut answer = [0u8; 512];
    let got = socket.recv(&mut answer).map_err(|e| e.to_string())?;
    // The broker answers every query; a name that nobody allowed is none (RFC 1035 4.1.1).
    match answer.get(..got).and_then(|a| a.get(3)).map(|flags| flags & 0xf) {
        Some(0) => Ok(()),
        Some(code) => Err(format!("no such name (code {code})")),
        None => Err("no answer".into()),
    }
}

fn webservice(mcp: &mut Client) -> Result<(), String> {
    let book = with_webservice()?;
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(&book)));
    let encoded = base64::engine::general_purpose::STANDARD.encode(&book);
    mcp.call("stage_blob", &json!({ "content": encoded, "encoding": "base64" }))?;
    mcp.call("save_workbook", &json!({ "dest_path": "/workspace/out/report.xlsx", "content_hash": hash }))
        .map(|_| ())
}
