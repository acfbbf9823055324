//! Connections to the one server of a conversation.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use chaperone_egress::Host;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection as Connects};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dial::Pinned;
use crate::prior_knowledge::{PREFACE, answers_http_2};
use crate::tls::{Upstream, is_h2};

/// Makes connections to the one target, at the addresses that were checked.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) pinned: Pinned,
    pub(super) host: Host,
    pub(super) upstream: Option<Upstream>,
    pub(super) tls: bool,
    /// The cell speaks HTTP/2, so the server may.
    pub(super) h2: bool,
    /// Without TLS it does not.
    pub(super) speaks_http_1: Arc<AtomicBool>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { pinned, host, upstream, tls, h2, speaks_http_1 } = self.clone();
        Box::pin(async move {
            if !tls
                && !h2
                && let Some(proxy) = pinned.http_proxy()
            {
                return Ok(Wire::Proxied(TokioIo::new(proxy.connect().await?)));
            }
            let mut stream = pinned.connect().await?;
            if !tls && h2 && !speaks_http_1.load(Ordering::Relaxed) {
                // Nothing is agreed on without TLS, so the server shows by its own beginning what it speaks.
                stream.write_all(PREFACE).await?;
                if answers_http_2(&stream).await {
                    return Ok(Wire::Http2 { stream: TokioIo::new(stream), said: 0 });
                }
                speaks_http_1.store(true, Ordering::Relaxed);
                stream = pinned.connect().await?;
            }
            if !tls {
                return Ok(Wire::Plain(TokioIo::new(stream)));
            }
            let upstream = upstream.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            let stream = upstream.connect(&host, stream, !h2).await?;
            Ok(Wire::Tls(Box::new(TokioIo::new(stream))))
        })
    }
}

/// A connection to a server.
pub(super) enum Wire {
    Plain(TokioIo<TcpStream>),
    /// To a proxy, which is told with each request where it goes.
    Proxied(TokioIo<TcpStream>),
    /// In HTTP/2 without TLS. The client begins with the preface, which was said already; so much of it was passed over.
    Http2 {
        stream: TokioIo<TcpStream>,
        said: usize,
    },
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connects for Wire {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new(),
            Self::Proxied(_) => Connected::new().proxy(true),
            Self::Http2 { .. } => Connected::new().negotiated_h2(),
            Self::Tls(stream) if is_h2(stream.inner().get_ref().1.alpn_protocol()) => {
                Connected::new().negotiated_h2()
            }
            Self::Tls(_) => Connected::new(),
        }
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Proxied(stream) | Self::Http2 { stream, .. } => {
                Pin::new(stream).poll_read(cx, into)
            }
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Http2 { said, .. } if *said < PREFACE.len() => {
                let rest = PREFACE.get(*said..).unwrap_or_default();
                let same = bytes.len().min(rest.len());
                if bytes.get(..same) != rest.get(..same) {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                *said += same;
                Poll::Ready(Ok(same))
            }
            Self::Plain(stream) | Self::Proxied(stream) | Self::Http2 { stream, .. } => {
                Pin::new(stream).poll_write(cx, bytes)
            }
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Proxied(stream) | Self::Http2 { stream, .. } => {
                Pin::new(stream).poll_flush(cx)
            }
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) | Self::Proxied(stream) | Self::Http2 { stream, .. } => {
                Pin::new(stream).poll_shutdown(cx)
            }
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
