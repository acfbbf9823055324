//! One conversation of the cell's with one host.

use std::time::Duration;

use chaperone_pipeline::AccessRequest;
use http::Response;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::upstream::Connector;
use crate::body::HeldBody;
use crate::destination::Target;
use crate::dial::Pinned;
use crate::session_gateway::Way;
use crate::tls::Upstream;

/// How long a connection to a server is kept for the next request.
const KEPT: Duration = Duration::from_secs(30);

/// One conversation of the cell's with one host.
pub(crate) struct Channel {
    pub way: Way,
    pub target: Target,
    pub tls: bool,
    pub(super) client: Client<Connector, HeldBody>,
    pub(super) upstream: Option<Upstream>,
}

impl Channel {
    /// `h2`: the server may speak HTTP/2.
    pub fn new(way: &Way, (target, pinned): (&Target, Pinned), tls: bool, h2: bool) -> Self {
        let upstream = if tls { way.exit().upstream() } else { None };
        let host = target.host.clone();
        let connector = Connector { pinned, host, upstream: upstream.clone(), tls, h2 };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .set_host(false)
            .build(connector);
        Self { way: way.clone(), target: target.clone(), tls, client, upstream }
    }
}

/// A request that went out, and what came back.
pub(crate) struct Sent {
    pub request: AccessRequest,
    pub answer: Response<Incoming>,
}
