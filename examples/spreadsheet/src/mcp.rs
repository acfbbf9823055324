//! A minimal MCP client over stdio: it starts any MCP server and calls its tools.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A conversation with one MCP server.
pub struct Client {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
}

/// What a tool answered: its structured result, or the error it told.
pub type Answer = Result<Value, String>;

impl Client {
    /// Start `command` and shake hands.
    ///
    /// # Errors
    /// When the server cannot be started or does not speak MCP.
    pub fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("no MCP server given")?;
        let mut server = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let input = server.stdin.take();
        let output = server.stdout.take().ok_or("the server has no output")?;
        let mut client = Self { server, input, output: BufReader::new(output), next: 0 };
        client.request(
            "initialize",
            &json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                     "clientInfo": { "name": "spreadsheet-agent", "version": env!("CARGO_PKG_VERSION") } }),
        )?;
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(client)
    }

    /// Call a tool.
    ///
    /// # Errors
    /// The tool's own error text, or that of the conversation.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Answer {
        let result = self.request("tools/call", &json!({ "name": tool, "arguments": arguments }))?;
        let text = || {
            result["content"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|c| c["text"].as_str())
                .collect::<Vec<_>>()
                .join("\n")
        };
        if result["isError"].as_bool() == Some(true) {
            return Err(text());
        }
        match result.get("structuredContent") {
            Some(structured) => Ok(structured.clone()),
            None => Ok(json!({ "text": text() })),
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> Answer {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).map_err(|e| e.to_string())? == 0 {
                return Err("the MCP server hung up".into());
            }
            let message: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
            if message["id"].as_u64() == Some(id) {
                if let Some(error) = message.get("error") {
                    return Err(error["message"].as_str().unwrap_or("unknown error").to_owned());
                }
                return Ok(message["result"].clone());
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the conversation is over")?;
        writeln!(input, "{message}").and_then(|()| input.flush()).map_err(|e| e.to_string())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.input.take();
        if let Err(e) = self.server.wait() {
            eprintln!("agent: the MCP server: {e}");
        }
    }
}
