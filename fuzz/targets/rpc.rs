//! What a peer may send: frames of the control socket, and lines of an MCP conversation with their tools' arguments.
//! The first byte chooses; the rest is the stream.
#![no_main]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use chaperone_mcp::tools;
use chaperone_protocol::{Reply, Request, frame};
use libfuzzer_sys::fuzz_target;
use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, JsonObject};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Fits into a socket's buffer, so that one thread can write it and read it again.
const MAX_STREAM: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let Some((kind, stream)) = data.split_first() else { return };
    if stream.len() > MAX_STREAM {
        return;
    }
    match kind % 3 {
        0 => frames::<Request>(stream),
        1 => frames::<Reply>(stream),
        _ => conversation(stream),
    }
});

/// Whatever is accepted reads the same when it is sent again.
fn frames<T: Serialize + DeserializeOwned>(stream: &[u8]) {
    let (mut a, b) = UnixStream::pair().expect("a pair of sockets");
    a.write_all(stream).expect("it fits");
    a.shutdown(Shutdown::Write).expect("half of it is closed");
    while let Ok(Some((message, fds))) = frame::receive::<T>(&b) {
        assert!(fds.is_empty(), "nobody sent a descriptor");
        let (c, d) = UnixStream::pair().expect("a pair of sockets");
        let once = serde_json::to_value(&message).expect("a message is JSON");
        if once.to_string().len() < MAX_STREAM {
            frame::send(&c, &message, &[]).expect("what was received can be sent");
            let (again, _) = frame::receive::<T>(&d).expect("it can be read again").expect("it is there");
            assert_eq!(once, serde_json::to_value(&again).expect("a message is JSON"));
        }
    }
}

/// The SDK's own reading of lines, with a server that does with a call what ours does before it looks at a session.
fn conversation(stream: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let input = stream.to_vec();
    runtime.block_on(async move {
        if let Ok(conversation) = Parser.serve((std::io::Cursor::new(input), tokio::io::sink())).await {
            drop(conversation.waiting().await);
        }
    });
}

#[derive(Clone)]
struct Parser;

impl rmcp::ServerHandler for Parser {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        arguments(tools::canonical(&request.name), request.arguments);
        Ok(CallToolResult::structured(serde_json::Value::Null).into())
    }
}

fn arguments(tool: &str, given: Option<JsonObject>) {
    match tool {
        "list_directory" | "stat" | "delete" | "create_directory" => {
            tools::parse::<tools::OnPath>(given).map(|a| path(&a.path)).ok();
        }
        "read_file" => {
            tools::parse::<tools::ReadFile>(given).map(|a| path(&a.path)).ok();
        }
        "write_file" | "append_file" => {
            tools::parse::<tools::WriteFile>(given).map(|a| path(&a.path)).ok();
        }
        "rename" => {
            tools::parse::<tools::Rename>(given).map(|a| (path(&a.from), path(&a.to))).ok();
        }
        "get_csv" => {
            tools::parse::<tools::GetCsv>(given).map(|a| path(&a.path)).ok();
        }
        "stage_blob" => {
            tools::parse::<tools::StageBlob>(given).ok();
        }
        "save_workbook" => {
            tools::parse::<tools::SaveWorkbook>(given).map(|a| path(&a.dest_path)).ok();
        }
        "request_elevation" => {
            tools::parse::<tools::RequestElevation>(given).ok();
        }
        "attenuate_capability" => {
            tools::parse::<tools::Attenuate>(given).ok();
        }
        _ => {
            tools::parse::<tools::NoArguments>(given).ok();
        }
    }
}

/// An accepted path has one form and stays below the workspace.
fn path(text: &str) {
    let Ok(accepted) = tools::path(text) else { return };
    assert!(accepted == "/workspace" || accepted.starts_with("/workspace/"), "{accepted:?}");
    assert!(!accepted.contains('\0') && !accepted.contains("//"), "{accepted:?}");
    assert!(accepted.split('/').all(|name| name != "." && name != ".."), "{accepted:?}");
    assert_eq!(tools::path(&accepted).ok().as_deref(), Some(accepted.as_str()), "it is its own normal form");
}
