//! One conversation of the cell's with one host.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chaperone_capability::Action;
use chaperone_pipeline::{AccessRequest, Authorized};
use http::header::{HeaderValue, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::upstream::Connector;
use crate::body::{BufferedBody, BufferedBodyStream};
use crate::destination::Destination;
use crate::dial::Pinned;
use crate::session_gateway::SessionGateway;
use crate::tls::Upstream;

/// How long a connection to a server is kept for the next request.
const KEPT: Duration = Duration::from_secs(30);
/// Lines of the head of an answer: some set a hundred cookies. Its bytes are bounded anyway.
const MAX_ANSWER_HEADERS: usize = 1000;

/// One conversation of the cell's with one host.
pub(crate) struct Channel {
    pub gateway: SessionGateway,
    pub target: Destination,
    pub tls: bool,
    client: Client<Connector, BufferedBodyStream>,
    /// What a proxy that the requests are sent to knows the user by.
    known_by: Option<HeaderValue>,
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
        let proxy = pinned.http_proxy().filter(|_| !tls && !h2);
        let known_by = proxy.and_then(|proxy| proxy.authorization().cloned());
        let speaks_http_1 = Arc::default();
        let connector = Connector { pinned, host, upstream: upstream.clone(), tls, h2, speaks_http_1 };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .set_host(false)
            .http1_max_headers(MAX_ANSWER_HEADERS)
            .build(connector);
        Self { gateway: gateway.clone(), target: target.clone(), tls, client, known_by, upstream }
    }

    /// Send a request, which has to be the one that was decided on.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn send(
        &self,
        granted: &Authorized,
        mut head: Parts,
        body: BufferedBody,
    ) -> Result<Response<Incoming>, SendError> {
        if !is_decided_on(granted.request(), &self.target.addresses, &head, &body) {
            return Err(SendError::NotDecidedOn);
        }
        if let Some(known_by) = &self.known_by {
            head.headers.insert(PROXY_AUTHORIZATION, known_by.clone());
        }
        Ok(self.client.request(Request::from_parts(head, body.into_body())).await?)
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("it is not the request that was decided on")]
    NotDecidedOn,
    #[error(transparent)]
    Upstream(#[from] Error),
}

/// Whether it was decided to send this very content to this host and port, at these addresses.
fn is_decided_on(decided: &AccessRequest, addresses: &[IpAddr], head: &Parts, body: &BufferedBody) -> bool {
    let port = head.uri.port_u16().or(match head.uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    let host = head.uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    decided.action == Action::Request
        && decided.as_network().is_some_and(|to| {
            host == Some(to.host.as_str())
                && port == Some(to.port)
                && to.addresses == addresses
                && to.content == Some((body.sha256, body.len))
        })
}

/// A request that went out, and what came back.
pub(crate) struct Sent {
    pub request: AccessRequest,
    pub answer: Response<Incoming>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chaperone_pipeline::access::NetworkResource;

    use super::*;

    fn head(url: &str) -> Parts {
        Request::post(url).body(()).unwrap().into_parts().0
    }

    #[test]
    fn nothing_is_sent_but_what_was_decided_on() {
        let body = || BufferedBody::of(b"content".to_vec());
        let at: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        let decided = |edit: fn(&mut NetworkResource)| {
            let (content, host) = (Some((body().sha256, body().len)), "api.example".to_owned());
            let addresses = at.clone();
            let mut to =
                NetworkResource { host, port: 443, addresses, content, ..NetworkResource::default() };
            edit(&mut to);
            AccessRequest::network(Action::Request, to)
        };
        let sent = |decided: &AccessRequest, url| is_decided_on(decided, &at, &head(url), &body());
        let (same, url) = (decided(|_| ()), "https://api.example/v1");
        assert!(sent(&same, url) && sent(&same, "https://api.example:443/v1"));
        for elsewhere in
            ["https://other.example/v1", "https://api.example:8443/v1", "http://api.example/v1", "/v1"]
        {
            assert!(!sent(&same, elsewhere), "{elsewhere}");
        }
        for edit in [
            |to: &mut NetworkResource| to.content = Some(([0; 32], 7)),
            |to: &mut NetworkResource| to.content = None,
            |to: &mut NetworkResource| to.addresses.clear(),
            |to: &mut NetworkResource| to.port = 80,
        ] {
            assert!(!sent(&decided(edit), url));
        }
        let connects = AccessRequest { action: Action::Connect, ..decided(|_| ()) };
        assert!(!sent(&connects, url));
        let by_address = decided(|to| to.host = "2001:db8::1".to_owned());
        assert!(sent(&by_address, "https://[2001:db8::1]/v1"));
    }
}
