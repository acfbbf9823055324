//! Calls that go both ways at once (gRPC): the server answers before the client is done, so that waiting for the whole body would
//! wait for ever. What has come when the client pauses is decided on as a request, like any other. What comes later is inspected
//! whole, like any other, unless the server answers before its end in the same protocol: then piece by piece, together with what
//! came before, as the messages of a WebSocket are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaperone_egress::request::RequestFacts;
use chaperone_pipeline::AccessRequest;
use chaperone_protocol::Failure;
use http::Version;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::channel::Channel;
use super::messages::{Batch, allowed, ended};
use super::refusal::HttpRefusal;
use super::taking::{fault, left, or_refused, within_looks};
use crate::body::{BufferedBody, Rest};
use crate::held::Reserved;
use crate::outgoing::history::History;

/// How long a client pauses that waits for the server.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a piece is in memory at once.
const COPIES: u64 = 4;

/// Whether the body of a request may be sent while it comes.
pub(super) fn may_stream(head: &Parts) -> bool {
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    });
    // What is in a coding as a whole is looked at as a whole.
    let is_coded = head.headers.contains_key(CONTENT_ENCODING);
    is_grpc && head.version == Version::HTTP_2 && !head.headers.contains_key(CONTENT_LENGTH) && !is_coded
}

/// Whether a server has answered a call as one that goes both ways does.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// What has come of a body when its client pauses, to be told of an answer, if it goes on.
pub(super) async fn begin(
    channel: &Arc<Channel>,
    facts: &RequestFacts,
    mut body: Incoming,
) -> Result<(BufferedBody, Option<oneshot::Sender<()>>), HttpRefusal> {
    within_looks(channel).await?;
    let exit = channel.gateway.exit();
    let left = || left(exit, &facts.host);
    let reserved = Reserved::nothing(&exit.held);
    let taken =
        BufferedBody::take_until(&mut body, PAUSE, reserved, left, &channel.gateway.session.dir).await;
    let (taken, is_whole) = match taken {
        Ok((taken, is_whole)) => (Ok(taken), is_whole),
        Err(e) => (Err(e), true),
    };
    let mut held = or_refused(channel, taken, || left().0).await?;
    if is_whole {
        return Ok((held, None));
    }
    let first = held.read().map_err(|_| fault())?;
    let (to, pieces) = mpsc::channel(1);
    let (begin, decided) = oneshot::channel();
    let (answer, answered) = oneshot::channel();
    held.goes_on(Rest { pieces, begin: Some(begin) });
    channel.gateway.spawn(carry(Arc::clone(channel), body, first, decided, answered, to));
    Ok((held, Some(answer)))
}

/// The rest of a body, on its way.
struct Call {
    channel: Arc<Channel>,
    request: AccessRequest,
    history: History,
    /// What has come and was not looked at.
    waiting: Vec<u8>,
    held: Reserved,
    to: mpsc::Sender<io::Result<Bytes>>,
    up: u64,
}

/// Carry the rest of a body, once what it began with was decided on.
async fn carry(
    channel: Arc<Channel>,
    mut body: Incoming,
    first: Vec<u8>,
    decided: oneshot::Receiver<AccessRequest>,
    answered: oneshot::Receiver<()>,
    to: mpsc::Sender<io::Result<Bytes>>,
) {
    // It was refused.
    let Ok(request) = decided.await else { return };
    let held = Reserved::nothing(&channel.gateway.exit().held);
    let mut history = History::default();
    // It was looked at; what follows is looked at with it.
    history.push(vec![first]);
    let mut call = Call { channel, request, history, waiting: Vec::new(), held, to, up: 0 };
    let lease = call.channel.gateway.lease(&call.request);
    let cut = lease.hold(call.carry(&mut body, answered)).await.err().map(|e| e.to_string());
    let Call { channel, request, to, up, .. } = call;
    if let Some(cut) = &cut {
        // The server sees a call that broke off, if it is there to see it.
        to.send(Err(io::Error::other(cut.clone()))).await.ok();
    }
    drop(to);
    let payload = json!({ "up": up, "cut": cut });
    let gateway = channel.gateway.clone();
    let record = move || {
        let records = &gateway.pipeline().records;
        let logged = chaperone_audit::Durability::Logged;
        // What ended has ended; a log that cannot be written denies whatever comes next.
        records.event(&gateway.session, "request", request.subject(), &payload, logged).ok();
    };
    tokio::task::spawn_blocking(record).await.ok();
}

impl Call {
    /// Until the server has answered as one that goes both ways, what comes waits, and is looked at whole when it ends before.
    async fn carry(&mut self, body: &mut Incoming, mut answered: oneshot::Receiver<()>) -> io::Result<()> {
        let (mut waits, mut goes_both_ways) = (true, false);
        loop {
            let frame = tokio::select! {
                biased;
                answer = &mut answered, if waits => {
                    (waits, goes_both_ways) = (false, answer.is_ok());
                    None
                }
                frame = body.frame() => Some(frame),
            };
            match frame {
                None => {}
                Some(None) => return self.send().await,
                Some(Some(frame)) => self.take(frame.map_err(io::Error::other)?).await?,
            }
            if goes_both_ways {
                self.send().await?;
            }
        }
    }

    async fn take(&mut self, frame: Frame<Bytes>) -> io::Result<()> {
        let failure = match frame.into_data() {
            Ok(data) if self.held.answer(COPIES * data.len() as u64).is_ok() => {
                self.waiting.extend_from_slice(&data);
                return Ok(());
            }
            Ok(_) => Failure::new("held_too_much", "more of what is streamed waits than may be held")
                .advise("send shorter messages, over fewer connections"),
            Err(_) => {
                Failure::new("bad_body", "the body of the request has trailers, which are not forwarded")
            }
        };
        let code = failure.code.clone();
        self.channel.gateway.refuse(self.request.clone(), failure).await;
        Err(io::Error::other(code))
    }

    /// Send what waits, if it may go.
    async fn send(&mut self) -> io::Result<()> {
        let data = std::mem::take(&mut self.waiting);
        let held = std::mem::replace(&mut self.held, Reserved::nothing(&self.channel.gateway.exit().held));
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len();
        let batch = Batch { messages: vec![data.clone()], codes: Vec::new(), bytes: length };
        let (spending, intent) = allowed(&self.channel, &self.request, &mut self.history, batch).await?;
        spending.sent();
        let sent = self.to.send(Ok(Bytes::from(data))).await;
        if let Some(intent) = intent {
            ended(&self.channel, &self.request, intent, sent.is_ok(), length).await;
        }
        drop(held);
        self.up += length as u64;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_calls_that_may_go_both_ways_are_sent_while_they_come() {
        let head = |version, headers: &[(&str, &str)]| {
            let mut request = Request::post("http://a.example/p.S/C").version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(may_stream(&head(Version::HTTP_2, &[("content-type", kind)])), "{kind}");
            assert!(!may_stream(&head(Version::HTTP_11, &[("content-type", kind)])));
            assert!(!may_stream(&head(Version::HTTP_2, &[("content-type", kind), ("content-length", "3")])));
        }
        let coded = [("content-type", "application/grpc"), ("content-encoding", "br")];
        assert!(!may_stream(&head(Version::HTTP_2, &coded)));
        for kind in ["application/json", "application/grpc-web", "text/plain"] {
            assert!(!may_stream(&head(Version::HTTP_2, &[("content-type", kind)])), "{kind}");
        }
        assert!(!may_stream(&head(Version::HTTP_2, &[])));
    }
}
