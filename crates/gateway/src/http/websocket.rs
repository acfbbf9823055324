//! A WebSocket: what the cell says is read message by message and inspected before it goes on; what the server says passes.

use std::io;
use std::sync::Arc;

use chaperone_egress::websocket::{self as frames, Frame, From as Side, Opcode};
use chaperone_egress::{Message, MessageReader};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::channel::Channel;
use super::messages::{Batch, allowed, ended};
use crate::held::Reserved;
use crate::outgoing::history::History;
use chaperone_pipeline::AccessRequest;
use chaperone_protocol::Failure;

/// Longest message that is carried; it is inspected whole.
const MOST: usize = 1 << 20;
const BUFFER: usize = 16 << 10;
/// How often a message is in memory at once.
const COPIES: u64 = 4;

type Stream = TokioIo<Upgraded>;

/// Carry a WebSocket from its handshake to its end.
pub(crate) async fn carry(channel: Arc<Channel>, request: AccessRequest, cell: OnUpgrade, server: OnUpgrade) {
    let gateway = channel.gateway.clone();
    let resource = request.subject().to_owned();
    let (mut up, mut down) = (0, 0);
    let ended = async {
        let (cell, server) = tokio::try_join!(cell, server).map_err(io::Error::other)?;
        let (mut cell_reads, mut cell_writes) = tokio::io::split(TokioIo::new(cell));
        let (mut server_reads, mut server_writes) = tokio::io::split(TokioIo::new(server));
        let there = client_to_server(&channel, &request, &mut cell_reads, &mut server_writes, &mut up);
        let back = server_to_client(&mut server_reads, &mut cell_writes, &mut down);
        tokio::try_join!(there, back).map(|_| ())
    };
    let ended = gateway.lease(&request).hold(ended).await;
    let payload = json!({ "up": up, "down": down, "cut": ended.err().map(|e| e.to_string()) });
    let record = move || {
        let records = &gateway.pipeline().records;
        // What ended has ended; a log that cannot be written denies whatever comes next.
        records
            .event(&gateway.session, "request", &resource, &payload, chaperone_audit::Durability::Logged)
            .ok();
    };
    tokio::task::spawn_blocking(record).await.ok();
}

/// The next bytes; none at the end. Frames tell what is whole, so TLS that ends without its own farewell has just ended.
async fn read(from: &mut ReadHalf<Stream>, into: &mut [u8]) -> io::Result<usize> {
    match from.read(into).await {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    }
}

/// What the server says.
async fn server_to_client(
    from: &mut ReadHalf<Stream>,
    to: &mut WriteHalf<Stream>,
    count: &mut u64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let got = read(from, &mut buffer).await?;
        if got == 0 {
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..got).unwrap_or_default()).await?;
        *count += got as u64;
    }
}

/// What the cell says.
async fn client_to_server(
    channel: &Arc<Channel>,
    request: &AccessRequest,
    from: &mut ReadHalf<Stream>,
    to: &mut WriteHalf<Stream>,
    count: &mut u64,
) -> io::Result<()> {
    let mut reader = MessageReader::new(Side::Client, MOST);
    let mut history = History::default();
    let mut buffer = vec![0; BUFFER];
    let share = &channel.gateway.exit().held;
    let mut held = Reserved::nothing(share);
    loop {
        let got = read(from, &mut buffer).await?;
        if got == 0 {
            return to.shutdown().await;
        }
        // A message is there as it came, as it is looked at, and as it goes on.
        if held.answer(COPIES * got as u64).is_err() {
            let failure = Failure::new("held_too_much", "more messages of WebSockets wait than may be held")
                .advise("send shorter messages, over fewer connections");
            channel.gateway.refuse(request.clone(), failure).await;
            return Err(io::Error::other("held_too_much"));
        }
        let messages = match reader.push(buffer.get(..got).unwrap_or_default()) {
            Ok(messages) => messages,
            Err(e) => {
                let failure = Failure::new("bad_message", format!("the WebSocket is closed: {e}"));
                channel.gateway.refuse(request.clone(), failure).await;
                return Err(io::Error::other(e));
            }
        };
        // What came together is looked at together, and goes together.
        let messages: Vec<(Opcode, Vec<u8>)> = messages.into_iter().map(parts).collect();
        if messages.is_empty() {
            continue;
        }
        let mut frames_out = Vec::new();
        for (opcode, payload) in &messages {
            let frame = Frame { fin: true, opcode: *opcode, payload: payload.clone() };
            let mut mask = [0u8; 4];
            getrandom::fill(&mut mask).map_err(|e| io::Error::other(e.to_string()))?;
            frames_out.extend(frames::encode(&frame, Some(mask)));
        }
        let batch = said(&messages, frames_out.len());
        *count += batch.messages.iter().map(|m| m.len() as u64).sum::<u64>();
        let (spending, intent) = allowed(channel, request, &mut history, batch).await?;
        spending.sent();
        let written = to.write_all(&frames_out).await;
        if let Some(intent) = intent {
            ended(channel, request, intent, written.is_ok(), frames_out.len()).await;
        }
        written?;
        // What is not whole, and what the next one is looked at with.
        let mut rest = Reserved::nothing(share);
        let kept = COPIES * reader.buffered() as u64 + history.bytes() as u64;
        rest.answer(kept).map_err(|e| io::Error::other(e.to_string()))?;
        held = rest;
    }
}

/// What frames of any kind say, those that close and keep alive too, without what stands before each of one kind.
fn said(frames: &[(Opcode, Vec<u8>)], bytes: usize) -> Batch {
    let mut batch = Batch { messages: Vec::new(), codes: Vec::new(), bytes };
    for (opcode, payload) in frames {
        match (opcode, payload.split_first_chunk::<2>()) {
            (Opcode::Close, Some((code, reason))) => {
                batch.codes.extend(u16::from_be_bytes(*code).to_string().bytes());
                batch.messages.push(reason.to_vec());
            }
            _ => batch.messages.push(payload.clone()),
        }
    }
    batch
}

fn parts(message: Message) -> (Opcode, Vec<u8>) {
    match message {
        Message::Text(text) => (Opcode::Text, text.into_bytes()),
        Message::Binary(bytes) => (Opcode::Binary, bytes),
        Message::Ping(bytes) => (Opcode::Ping, bytes),
        Message::Pong(bytes) => (Opcode::Pong, bytes),
        Message::Close(None) => (Opcode::Close, Vec::new()),
        Message::Close(Some((code, reason))) => {
            (Opcode::Close, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_frame_says_is_said_without_its_code() {
        let frames = [
            Message::Text("a".to_owned()),
            Message::Ping(b"b".to_vec()),
            Message::Pong(b"c".to_vec()),
            Message::Close(Some((1000, "d".to_owned()))),
            Message::Close(None),
        ];
        let frames: Vec<_> = frames.into_iter().map(parts).collect();
        let batch = said(&frames, 9);
        assert_eq!(batch.messages.concat(), b"abcd");
        assert_eq!((batch.codes, batch.bytes), (b"1000".to_vec(), 9));
    }
}
