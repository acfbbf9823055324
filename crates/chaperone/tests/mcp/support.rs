//! The user's machine in a directory of its own: installation, home, documents; and conversations with the real binary.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing that is waited for here takes longer on the slowest machine; beyond it the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An installation that ends, with its broker, when it is dropped.
pub struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("chaperone-mcp.").tempdir().unwrap();
        for below in ["home", "docs", "person"] {
            std::fs::create_dir(folder.path().join(below)).unwrap();
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(folder.path().join("home"), private).unwrap();
        Self { folder }
    }

    pub fn docs(&self) -> PathBuf {
        self.folder.path().join("docs")
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.docs().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn profile(&self, name: &str, text: &str) {
        // The first command makes the directories.
        self.ask(&["sessions", "--json"]);
        std::fs::write(self.folder.path().join("home/config/profiles").join(format!("{name}.toml")), text)
            .unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("CHAPERONE_HOME", self.folder.path().join("home"))
            .env("HOME", self.folder.path().join("person"));
        command
    }

    /// A shell of the user's in their documents, in which `chaperone` is found.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary().parent().unwrap().display());
        command
            .args(["-c", script])
            .current_dir(self.docs())
            .env("PATH", path)
            .env("CHAPERONE_HOME", self.folder.path().join("home"))
            .env("HOME", self.folder.path().join("person"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// A command's JSON.
    pub fn ask(&self, arguments: &[&str]) -> Value {
        let out = self.run(arguments);
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Whether cells can run here, and the Python that these tests run in them; where CI could, they must.
    pub fn has_cells(&self, test: &str) -> bool {
        let doctor = self.run(&["doctor"]);
        let missing = match std::path::Path::new("/usr/bin/python3").exists() {
            true if doctor.status.success() => return true,
            true => "no cell can run here; see chaperone doctor",
            false => "/usr/bin/python3 is missing",
        };
        assert!(std::env::var_os("CI").is_none(), "{missing}: {}", String::from_utf8_lossy(&doctor.stdout));
        println!("SKIPPED {test}: {missing}");
        false
    }

    /// An MCP conversation outside a cell.
    pub fn talk(&self, arguments: &[&str]) -> Conversation {
        let docs = self.docs();
        let mut all = vec!["mcp", "--workspace", docs.to_str().unwrap()];
        all.extend(arguments);
        Conversation::start(self.command(&all))
    }

    /// The same, of a client that a shell started so.
    pub fn talk_by(&self, script: &str) -> Conversation {
        Conversation::start(self.shell(script))
    }

    /// End the broker that runs, if one does.
    pub fn end_broker(&self) {
        let sessions = self.run(&["sessions", "--json"]);
        let told: Value = serde_json::from_slice(&sessions.stdout).unwrap_or_default();
        if let Some(pid) = told["broker"]["pid"].as_i64() {
            Command::new("kill").args(["-9", &pid.to_string()]).status().ok();
        }
    }

    /// Wait until `probe` gives something.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> T {
        let start = std::time::Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(found) = probe(self) {
                return found;
            }
        }
        panic!("{what} did not come");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end_broker();
    }
}

fn binary() -> PathBuf {
    // An archive of the tests is run from another place than it was built at.
    std::env::var_os("NEXTEST_BIN_EXE_chaperone")
        .map_or_else(|| Path::new(env!("CARGO_BIN_EXE_chaperone")).to_owned(), PathBuf::from)
}

/// One client's side.
pub struct Conversation {
    pub process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
}

impl Conversation {
    fn start(mut command: Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let input = process.stdin.take();
        let output = process.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if line.is_err() || sender.send(line.unwrap_or_default()).is_err() {
                    break;
                }
            }
        });
        Self { process, input, lines, next: 0 }
    }

    /// With the handshake of 2025-11-25.
    pub fn initialized(mut self) -> Self {
        let hello = self.request(
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } }),
        );
        assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
        self.write(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
        self
    }

    /// Send bytes as they are. The peer may have hung up; what it said tells.
    pub fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).ok();
    }

    pub fn send(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let message = json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params });
        self.write(format!("{message}\n").as_bytes());
        self.next
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.write(format!("{message}\n").as_bytes());
    }

    /// The next message, or `None` at the end of the conversation.
    pub fn next(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(e) => panic!("no answer: {e}"),
        }
    }

    /// The answer to one request; others that come before are dropped.
    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().expect("the conversation ended");
            if message["id"] == id {
                return message;
            }
        }
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    pub fn send_call(&mut self, tool: &str, arguments: Value) -> u64 {
        self.send("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// A tool's result, or the reason code of its refusal.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, String> {
        let id = self.send_call(tool, arguments);
        outcome(&self.answer(id))
    }

    /// The text of a tool's refusal, with its advice.
    pub fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.send_call(tool, arguments);
        let answer = self.answer(id);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }

    /// Close this side without waiting for the other.
    pub fn hang_up_soon(&mut self) {
        drop(self.input.take());
    }

    pub fn hang_up(mut self) {
        drop(self.input.take());
        self.process.wait().unwrap();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What an answer to `tools/call` says.
pub fn outcome(answer: &Value) -> Result<Value, String> {
    let result = &answer["result"];
    match result["isError"].as_bool() {
        Some(false) => Ok(result["structuredContent"].clone()),
        Some(true) => {
            Err(result["_meta"]["chaperone/refusal"]["error"].as_str().unwrap_or_default().to_owned())
        }
        None => Err(format!("rpc {}", answer["error"]["code"])),
    }
}
