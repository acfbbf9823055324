//! One conversation of the cell's with one host.

use std::time::Duration;

use chaperone_capability::Action;
use chaperone_pipeline::{AccessRequest, Authorized};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::upstream::Connector;
use crate::body::BufferedBodyStream;
use crate::destination::Destination;
use crate::dial::Pinned;
use crate::session_gateway::SessionGateway;
use crate::tls::Upstream;

/// How long a connection to a server is kept for the next request.
const KEPT: Duration = Duration::from_secs(30);

/// One conversation of the cell's with one host.
pub(crate) struct Channel {
    pub gateway: SessionGateway,
    pub target: Destination,
    pub tls: bool,
    client: Client<Connector, BufferedBodyStream>,
    pub(super) upstream: Option<Upstream>,
}

impl Channel {
    /// `h2`: the server may speak HTTP/2.
    pub fn new(
        gateway: &SessionGateway,
        (target, pinned): (&Destination, Pinned),
        tls: bool,
        h2: bool,
    ) -> Self {
        let upstream = if tls { gateway.exit().upstream() } else { None };
        let host = target.host.clone();
        let connector = Connector { pinned, host, upstream: upstream.clone(), tls, h2 };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .set_host(false)
            .build(connector);
        Self { gateway: gateway.clone(), target: target.clone(), tls, client, upstream }
    }

    /// Send a request, which has to be one that was decided on.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn send(
        &self,
        granted: &Authorized,
        request: Request<BufferedBodyStream>,
    ) -> Result<Response<Incoming>, Error> {
        debug_assert_eq!(granted.request().action, Action::Request);
        self.client.request(request).await
    }
}

/// A request that went out, and what came back.
pub(crate) struct Sent {
    pub request: AccessRequest,
    pub answer: Response<Incoming>,
}
