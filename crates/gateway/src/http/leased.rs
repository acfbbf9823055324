//! An answer that comes only for as long as what was granted for its request holds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use chaperone_pipeline::AccessRequest;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};

use crate::lease::Lease;
use crate::session_gateway::SessionGateway;

/// One that is there already is not held up by it.
pub(super) fn while_it_holds(
    gateway: &SessionGateway,
    request: &AccessRequest,
    body: BoxBody<Bytes, io::Error>,
) -> BoxBody<Bytes, io::Error> {
    match body.is_end_stream() {
        true => body,
        false => Leased { body, lease: gateway.lease(request) }.boxed(),
    }
}

struct Leased {
    body: BoxBody<Bytes, io::Error>,
    lease: Lease,
}

impl Body for Leased {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // While nothing comes, nothing is carried, either.
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match self.lease.over().is_cancelled() {
            true => Poll::Ready(Some(Err(io::Error::other("withdrawn")))),
            false => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
