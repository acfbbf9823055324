//! The narrow RPC for agents: an MCP server over the cell's channel, a thin adapter over the pipeline.
//!
//! Both revisions in use are served (2025-11-25 with `initialize`, 2026-07-28 without); the SDK speaks them. A tool's
//! refusal is a result with `isError`, a reason code and the way out, so that the model reads it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
    ErrorCode, ErrorData, Implementation, JsonObject, ListToolsResult, PaginatedRequestParams,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use serde_json::{Value, json};

use chaperone_protocol::Failure;
use chaperone_quota::{Exceeded, Rate};

use crate::looking::Look;
use crate::session_tools::SessionTools;
use crate::waiting::Waiting;
use crate::{calls, lines, tools};

/// Calls of one conversation in flight. Protects threads; beyond it a call is refused with `too_many_calls`.
const MAX_IN_FLIGHT: u32 = 32;
/// Calls of one conversation at once after a pause, and calls a second that go on for ever. Protects the log and the disk from a
/// flood: every call that is decided leaves records.
const BURST: u64 = 20_000;
const SUSTAINED: u64 = 2_000;

/// Methods that are served. One of them with parameters of another form comes from the SDK as a request that it does not know.
const SERVED: [&str; 5] = ["initialize", "ping", "server/discover", "tools/list", "tools/call"];
/// Characters of a method's name that an error shows.
const SHOWN_METHOD: usize = 60;

/// A conversation with an agent: the first byte tells `why` (a line `why`) from MCP (JSON). Blocks until the peer closes
/// or the session ends.
pub fn serve(tools: &Arc<SessionTools>, mut stream: UnixStream) {
    let mut first = [0u8; 1];
    match rustix::net::recv(&stream, &mut first[..], rustix::net::RecvFlags::PEEK) {
        Ok((1, _)) => {}
        _ => return,
    }
    if first == *b"w" {
        // `chaperone why` in the cell: one line asks, one line answers.
        stream.write_all(format!("{}\n", json!(tools.session.why())).as_bytes()).ok();
        return;
    }
    let pid = rustix::net::sockopt::socket_peercred(&stream)
        .ok()
        .and_then(|c| u32::try_from(c.pid.as_raw_pid()).ok());
    // A conversation that cannot be set up is closed; the client sees that. A peer that misbehaves merely ends it.
    converse(tools, stream, pid).ok();
}

fn converse(tools: &Arc<SessionTools>, stream: UnixStream, pid: Option<u32>) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    let waiting = Waiting::new(&tools.session.quota);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    if let Some(look) = Look::at(&stream, &waiting)? {
        runtime.on_thread_park(move || look.before_sleep());
    }
    let runtime = runtime.enable_all().build()?;
    let agent = Agent {
        session: Arc::clone(tools),
        tools: tools::all().into(),
        in_flight: Arc::new(AtomicU32::new(0)),
        began: Instant::now(),
        rate: Arc::new(Mutex::new(Rate::new(BURST, SUSTAINED))),
        waiting: Arc::clone(&waiting),
        pid,
    };
    let quota = Arc::clone(&tools.session.quota);
    runtime.block_on(async move {
        let (read, write) = tokio::net::UnixStream::from_std(stream)?.into_split();
        match agent.serve(lines::Lines::new(read, write, &quota, waiting)).await {
            // Either way the peer is gone; what it asked for was recorded as it happened.
            Ok(conversation) => drop(conversation.waiting().await),
            Err(error) => drop(error),
        }
        Ok(())
    })
}

#[derive(Clone)]
struct Agent {
    session: Arc<SessionTools>,
    tools: Arc<[Tool]>,
    in_flight: Arc<AtomicU32>,
    began: Instant,
    rate: Arc<Mutex<Rate>>,
    waiting: Arc<Waiting>,
    pid: Option<u32>,
}

impl ServerHandler for Agent {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        info.server_info = Implementation::new("chaperone", env!("CARGO_PKG_VERSION"));
        info.instructions = Some(
            "Files below /workspace are mediated: reads may ask the user, writes are staged until the user commits. \
             A refusal names its reason and what to do instead; do not retry it unchanged."
                .into(),
        );
        info
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(not_served(&request.method))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = tools::canonical(&request.name).to_owned();
        if !self.tools.iter().any(|t| t.name == name) {
            let shown = chaperone_protocol::for_display(&request.name, 60);
            return Err(ErrorData::invalid_params(format!("there is no tool {shown:?}"), None));
        }
        if let Err(wait) = self.rate.lock().take(self.began.elapsed()) {
            let fast = Failure::new("too_fast", "more calls than a conversation may make")
                .advise(format!("wait {} ms", wait.as_millis() + 1));
            return Ok(refused(&fast).into());
        }
        self.waiting.until_answerable().await;
        if context.ct.is_cancelled() {
            return Ok(refused(&Failure::new("cancelled", "the request was withdrawn")).into());
        }
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= MAX_IN_FLIGHT {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            let busy = Failure::new("too_many_calls", format!("{MAX_IN_FLIGHT} calls run already"))
                .advise("wait for their answers");
            return Ok(refused(&busy).into());
        }
        let result = self.call(&name, request.arguments, &context).await;
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        Ok(match result {
            Ok(value) => CallToolResult::structured(value),
            Err(failure) => refused(&failure),
        }
        .into())
    }
}

impl Agent {
    /// A call, whose arguments and answer are of the session's share.
    async fn call(
        &self,
        name: &str,
        arguments: Option<JsonObject>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Value, Failure> {
        let room = arguments.as_ref().map(|given| self.waiting.room_for(given)).transpose();
        let room = room.map_err(|e| too_much(&e))?;
        let call = calls::Call { tools: &self.session, pid: self.pid };
        let answer = call.run(name, arguments, context.ct.clone()).await?;
        drop(room);
        self.waiting.answered(&context.id, &answer).map_err(|e| too_much(&e))?;
        Ok(answer)
    }
}

fn not_served(method: &str) -> ErrorData {
    let shown = chaperone_protocol::for_display(method, SHOWN_METHOD);
    if SERVED.contains(&method) {
        return ErrorData::invalid_params(format!("the parameters of {shown} have another form"), None);
    }
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method {shown:?}"), None)
}

fn too_much(exceeded: &Exceeded) -> Failure {
    Failure::new("too_much_held", exceeded.to_string())
        .advise("take the answers that wait, and close what is not in use")
}

/// A refusal as the model reads it: what, why, and the paved road.
fn refused(failure: &Failure) -> CallToolResult {
    let mut text = format!("{}: {}", failure.code, failure.message);
    if let Some(advice) = &failure.advice {
        text.push_str("\nInstead: ");
        text.push_str(advice);
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    let told: Value = json!({ "error": failure.code, "message": failure.message, "advice": failure.advice });
    result.meta = serde_json::from_value(json!({ "chaperone/refusal": told })).ok();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_served_is_named_and_cannot_dress_up() {
        let error = not_served("resources/nothing");
        assert_eq!(error.code, ErrorCode::METHOD_NOT_FOUND);
        assert_eq!(error.message, "there is no method \"resources/nothing\"");
        let hostile = not_served(&format!("x\n\u{1b}[2J\u{202e}{}", "y".repeat(10_000)));
        assert!(hostile.message.chars().count() < 2 * SHOWN_METHOD, "{}", hostile.message);
        assert!(!hostile.message.contains(['\n', '\u{1b}', '\u{202e}']), "{}", hostile.message);
        assert_eq!(not_served("tools/call").code, ErrorCode::INVALID_PARAMS);
    }
}
