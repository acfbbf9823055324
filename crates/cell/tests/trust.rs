//! Whether programs in a cell trust the session's authority, and only when there is one: each asks a server on the
//! cell's loopback, through the example `bare`. `CELL_SHOW` names a directory with a `bin` of programs that the
//! system lacks.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// Writes its port into a fifo; answers a repository, and `reached` to everything else.
const SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/":
            open("/tmp/served", "w").close()
        body = {"/index/config.json": '{"dl": "https://localhost", "api": "https://localhost:%d"}' % self.server.server_port,
                "/api/v1/crates": '{"crates": [{"name": "reached", "max_version": "1.0.0"}], "meta": {"total": 1}}',
                "/repo/info/refs": "0123456789012345678901234567890123456789\trefs/heads/reached\n",
                "/repo/HEAD": "ref: refs/heads/reached\n"}.get(path, "reached\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if path.startswith("/simple") else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tmp/leaf.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
open("/tmp/port", "w").write(f"{server.server_port}\n")
server.serve_forever()
"#;

/// The example beside the test's own binary; cargo builds it together with the tests.
fn bare() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples/bare")
}

/// Whether a cell can be made here and has these programs. Where CI could provide a cell, a skip of it is a failure.
fn can(name: &str, programs: &[&str]) -> bool {
    let tried = Command::new(bare()).arg("true").output();
    let why = match &tried {
        Ok(done) if done.status.code() != Some(125) => None,
        Ok(done) => Some(String::from_utf8_lossy(&done.stderr).into_owned()),
        Err(e) => Some(e.to_string()),
    };
    if let Some(why) = why {
        println!("SKIPPED {name}: {}", why.trim());
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{name}: no cell can be made: {why}");
        return false;
    }
    let shown = std::env::var_os("CELL_SHOW").map(|directory| Path::new(&directory).join("bin"));
    let places: Vec<PathBuf> =
        ["/usr/bin", "/usr/local/bin"].map(PathBuf::from).into_iter().chain(shown).collect();
    let there = |program: &&&str| places.iter().any(|p| p.join(program).exists());
    let missing = ["python3"].iter().chain(programs).find(|p| !there(p));
    if let Some(missing) = missing {
        println!("SKIPPED {name}: {missing} is not among the system's programs");
    }
    missing.is_none()
}

/// An authority and a server's certificate of its own, with the key.
struct Session {
    authority: tempfile::NamedTempFile,
    leaf: String,
}

fn session() -> Session {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Chaperone session authority");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), issuer.der()).unwrap();
    Session { authority, leaf: leaf.pem() + &key.serialize_pem() }
}

/// Run a client, which finds the server's port in `$port`, in a cell with the authority or without.
fn asked(session: &Session, trusted: bool, client: &str) -> Output {
    let Session { authority, leaf } = session;
    let script = format!(
        "cd /tmp && mkfifo port && cat > leaf.pem <<'END'\n{leaf}END\npython3 - <<'END' &\n{SERVER}END\n\
         read -r port < port && export port && {{\n{client}\n}}"
    );
    let mut command = Command::new(bare());
    command.args(["sh", "-c", &script]).stdin(Stdio::null());
    if trusted {
        command.env("CELL_AUTHORITY", authority.path());
    }
    if client.contains(env!("CARGO")) {
        command.env("CELL_SHOW", Path::new(env!("CARGO")).ancestors().nth(2).unwrap());
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s)).concat()
}

/// The client reaches the server with the authority, and is stopped by the certificate without it. Clients that look
/// where the system keeps its roots do so without any variable.
fn trusts(name: &str, programs: &[&str], client: &str, by_place: bool) {
    if !can(name, programs) {
        return;
    }
    let session = session();
    let bare_client = format!("unset $(env | grep -i 'cert\\|ca_\\|cainfo\\|ssl' | cut -d= -f1)\n{client}");
    let mut clients = vec![client];
    clients.extend(by_place.then_some(bare_client.as_str()));
    for client in clients {
        let with = asked(&session, true, client);
        assert_eq!(with.status.code(), Some(0), "{client}: {}", said(&with));
        assert!(String::from_utf8_lossy(&with.stdout).contains("reached"), "{client}: {}", said(&with));
    }
    let without = asked(&session, false, client);
    assert_ne!(without.status.code(), Some(0), "{client}: {}", said(&without));
    let why = said(&without).to_lowercase();
    assert!(!String::from_utf8_lossy(&without.stdout).contains("reached"), "{client}: {why}");
    let reasons = ["certificat", "issuer", "err_cert_authority_invalid"];
    assert!(reasons.iter().any(|r| why.contains(r)), "{client}: {why}");
}

#[test]
fn curl() {
    trusts("curl", &["curl"], "curl -sS https://localhost:$port/", true);
}

#[test]
fn wget() {
    trusts("wget", &["wget"], "wget -nv -O- https://localhost:$port/", true);
}

#[test]
fn git() {
    trusts("git", &["git"], "git ls-remote https://localhost:$port/repo", true);
}

#[test]
fn openssl() {
    let client = "openssl s_client -connect localhost:$port -verify_return_error -verify_hostname localhost </dev/null && echo reached";
    trusts("openssl", &["openssl"], client, true);
}

#[test]
fn openssl_by_the_hashed_directory_alone() {
    let client = "openssl s_client -connect localhost:$port -no-CAfile -no-CAstore -CApath /etc/ssl/certs -verify_return_error </dev/null && echo reached";
    if Path::new("/etc/ssl/certs").is_dir() {
        trusts("openssl_by_the_hashed_directory_alone", &["openssl"], client, true);
    } else {
        println!("SKIPPED openssl_by_the_hashed_directory_alone: /etc/ssl/certs is missing");
    }
}

#[test]
fn gnutls() {
    let client = "gnutls-cli -p $port localhost </dev/null && echo reached";
    trusts("gnutls", &["gnutls-cli"], client, true);
}

#[test]
fn python() {
    let client = "python3 -c \"import urllib.request as r; print(r.urlopen('https://localhost:$port/').read().decode())\"";
    trusts("python", &[], client, true);
}

#[test]
fn python_with_requests() {
    let name = "python_with_requests";
    let module = |module: &str| {
        let tried = Command::new(bare()).args(["python3", "-c", &format!("import {module}")]).output();
        tried.is_ok_and(|done| done.status.success())
    };
    // pip carries requests and certifi with it.
    let Some(module) = ["requests", "pip._vendor.requests"].into_iter().find(|m| module(m)) else {
        println!("SKIPPED {name}: neither requests nor pip is among the system's packages");
        return;
    };
    let client =
        format!("python3 -c \"import {module} as r; print(r.get('https://localhost:$port/').text)\"");
    trusts(name, &[], &client, false);
}

#[test]
fn pip() {
    let client = "pip download --no-cache-dir --retries 0 --index-url https://localhost:$port/simple nothing >out 2>&1\n\
                  cat out; grep -q 'No matching distribution' out && ! grep -qi ssl out && echo reached";
    trusts("pip", &["pip"], client, false);
}

#[test]
fn node() {
    let client = "node -e \"fetch('https://localhost:$port/').then(r => r.text()).then(console.log, e => { console.error(e.cause); process.exit(1) })\"";
    trusts("node", &["node"], client, false);
}

#[test]
fn go() {
    let source = "package main\nimport (\"fmt\"; \"io\"; \"net/http\"; \"os\")\nfunc main() {\n\tr, err := http.Get(os.Args[1])\n\t\
                  if err != nil { fmt.Println(err); os.Exit(1) }\n\tb, _ := io.ReadAll(r.Body)\n\tfmt.Print(string(b))\n}\n";
    let client = format!("cat > client.go <<'END'\n{source}END\ngo run client.go https://localhost:$port/");
    trusts("go", &["go"], &client, true);
}

#[test]
fn chromium() {
    // A page that cannot be shown is no failure for Chromium: what it shows tells. The second time it finds the
    // databases that it made the first time.
    let client = "for time in 1 2; do timeout 60 chromium --headless --no-sandbox --disable-gpu --dump-dom https://localhost:$port/ >out 2>err\n\
                  grep -q '>reached' out && echo reached $time || { grep -o 'ERR_CERT[A-Z_]*' out err; ls -la ~/.pki/nssdb; exit 1; }; done";
    trusts("chromium", &["chromium"], client, true);
}

#[test]
fn firefox() {
    // What it thinks of a certificate stands in a window that nobody sees: whether the server was asked tells.
    let client = "firefox --headless --no-remote --screenshot shot.png https://localhost:$port/ >out 2>&1 &\n\
                  n=0; until test -e served || test $n = 200; do sleep 0.1; n=$((n + 1)); done\n\
                  test -e served && echo reached || { cat out; echo certificate; false; }";
    trusts("firefox", &["firefox"], client, true);
}

#[test]
fn cargo() {
    let name = "cargo";
    let directory = Path::new(env!("CARGO")).ancestors().nth(2).unwrap();
    let there = directory.join("lib/rustlib").is_dir() && std::fs::read_dir(directory).is_ok();
    if !there {
        println!("SKIPPED {name}: this user cannot read {}", directory.display());
        return;
    }
    let client = format!(
        "export CARGO_REGISTRIES_OWN_INDEX=sparse+https://localhost:$port/index/ CARGO_NET_RETRY=0\n\
         {}/bin/cargo search --registry own reached",
        directory.display()
    );
    trusts(name, &[], &client, true);
}

/// Prints what it got and how many roots it knows.
const JAVA: &str = r#"
import java.net.*; import java.security.*; import javax.net.ssl.*;
public class Client {
    public static void main(String[] arguments) throws Exception {
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init((KeyStore) null);
        System.out.println("roots " + ((X509TrustManager) factory.getTrustManagers()[0]).getAcceptedIssuers().length);
        System.out.print(new String(new URL(arguments[0]).openStream().readAllBytes()));
    }
}
"#;

#[test]
fn java() {
    let name = "java";
    let installed = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let mut javas: Vec<PathBuf> =
        installed.filter_map(|e| e.path().join("bin/javac").canonicalize().ok()).collect();
    javas.sort();
    javas.dedup();
    if javas.is_empty() {
        println!("SKIPPED {name}: no JDK is among the system's programs");
    }
    for javac in javas {
        let java = javac.with_file_name("java");
        let client = format!(
            "cat > Client.java <<'END'\n{JAVA}END\n{} Client.java https://localhost:$port/",
            java.display()
        );
        trusts(name, &[], &client, true);
        if can(name, &[]) {
            let session = session();
            let [with, without] = [true, false].map(|trusted| {
                let text = said(&asked(&session, trusted, &client));
                let count = text.lines().find_map(|line| line.strip_prefix("roots ")?.parse::<u32>().ok());
                count.expect("a number of roots")
            });
            assert_eq!(with, without + 1, "{}", java.display());
        }
    }
}

#[test]
fn the_hosts_own_roots_are_there_still_and_the_host_is_as_it_was() {
    let name = "the_hosts_own_roots_are_there_still_and_the_host_is_as_it_was";
    let host = "/etc/ssl/certs/ca-certificates.crt";
    if !can(name, &["openssl"]) {
        return;
    }
    let Ok(before) = std::fs::read_to_string(host) else {
        println!("SKIPPED {name}: {host} is missing");
        return;
    };
    let listing = |directory: &str| {
        let mut names: Vec<_> =
            std::fs::read_dir(directory).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        names
    };
    let directory = listing("/etc/ssl/certs");
    let shown = asked(&session(), true, &format!("cat {host}"));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.starts_with(&before) && shown.len() > before.len());
    let shown = asked(&session(), true, "ls -a /etc/ssl/certs | wc -l");
    assert_eq!(said(&shown).lines().next().unwrap().trim(), (directory.len() + 3).to_string());
    assert_eq!(std::fs::read_to_string(host).unwrap(), before);
    assert_eq!(listing("/etc/ssl/certs"), directory);
}

#[test]
fn what_is_shown_cannot_be_changed_from_inside() {
    let name = "what_is_shown_cannot_be_changed_from_inside";
    if !can(name, &[]) {
        return;
    }
    let script = "for f in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/new /etc/ssl/certs/java/cacerts /run/chaperone/trust/bundle.pem \
                  /run/chaperone/trust/new; do echo x 2>/dev/null >> $f && echo $f; chmod u+w $f 2>/dev/null && echo $f; done; echo over";
    assert_eq!(String::from_utf8_lossy(&asked(&session(), true, script).stdout).trim(), "over");
}

#[test]
fn an_authority_that_is_no_certificate_is_refused() {
    let name = "an_authority_that_is_no_certificate_is_refused";
    if !can(name, &[]) {
        return;
    }
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(broken.path(), "no certificate").unwrap();
    let done = Command::new(bare()).arg("true").env("CELL_AUTHORITY", broken.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(125), "{}", said(&done));
    assert!(said(&done).contains("authority"), "{}", said(&done));
}
