//! What was granted for a connection is held to while it is open: a capability that is revoked, an elevation that is over and a
//! policy that denies it by now cut it.

use std::io;
use std::time::Duration;

use chaperone_pipeline::{AccessRequest, Refusal};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::session_gateway::SessionGateway;

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A connection may go on for as long as this is not over.
#[derive(Debug)]
pub(crate) struct Lease {
    over: CancellationToken,
    session: CancellationToken,
    _end: DropGuard,
}

impl Lease {
    /// Cancelled when the session ends, too.
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// What is carried, until it ends or may not go on.
    ///
    /// # Errors
    /// What it ends with; why it was cut.
    pub async fn hold<T>(&self, carried: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let over = || io::Error::other(self.why(Some("session_ended")).unwrap_or_default());
        self.over.run_until_cancelled(carried).await.unwrap_or_else(|| Err(over()))
    }

    /// Why a stream was cut, which says that the session ended when it was told to end.
    pub fn why(&self, cut: Option<&'static str>) -> Option<&'static str> {
        match cut {
            Some("session_ended") if !self.session.is_cancelled() => Some("withdrawn"),
            cut => cut,
        }
    }
}

impl SessionGateway {
    /// Hold a connection to what was granted for it.
    pub(crate) fn lease(&self, request: &AccessRequest) -> Lease {
        let session = self.exit().stop.clone();
        let over = session.child_token();
        let lease = Lease { over: over.clone(), session, _end: over.clone().drop_guard() };
        let (gateway, request) = (self.clone(), request.clone());
        tokio::spawn(async move {
            let mut known = None;
            while over.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
                let Err(refusal) = gateway.may_go_on(&request, &mut known).await else { continue };
                over.cancel();
                let refuse = move || gateway.pipeline().refuse(&gateway.session, &request, refusal);
                tokio::task::spawn_blocking(refuse).await.ok();
                return;
            }
        });
        lease
    }

    async fn may_go_on(&self, request: &AccessRequest, known: &mut Option<String>) -> Result<(), Refusal> {
        let (gateway, request, mut was) = (self.clone(), request.clone(), known.take());
        let look = move || {
            let holds = gateway.pipeline().may_go_on(&gateway.session, &request, &mut was);
            holds.map(|()| was)
        };
        *known = tokio::task::spawn_blocking(look).await.unwrap_or_else(|_| Err(Refusal::internal()))?;
        Ok(())
    }
}
