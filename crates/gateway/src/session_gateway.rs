//! One session's way through the pipeline: what each task of the gateway holds.

use std::sync::Arc;
use std::time::Duration;

use chaperone_audit::Durability;
use chaperone_capability::Action;
use chaperone_pipeline::granting::IntentSync;
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::session::Session;
use chaperone_pipeline::{AccessRequest, Admission, Authorized, Pipeline, Refusal};
use chaperone_protocol::Failure;
use chaperone_protocol::event::Happened;
use serde_json::json;

use crate::exit::Exit;

/// How long a task may go on after its session's end.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// Whose way out a task serves.
#[derive(Debug, Clone)]
pub struct SessionGateway {
    pub pipeline: Arc<Pipeline>,
    pub session: Arc<Session>,
    pub exit: Arc<Exit>,
}

impl SessionGateway {
    pub(crate) fn exit(&self) -> &Exit {
        &self.exit
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Run a task that ends with the session at once: whatever listens.
    pub(crate) fn listen(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.exit().stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Run a task that ends with the session, or a moment later, so that its end is recorded.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.exit().stop.clone();
        tokio::spawn(async move {
            tokio::pin!(task);
            tokio::select! {
                () = &mut task => {}
                () = stop.cancelled() => {
                    // What has not ended by then hangs, and is dropped.
                    tokio::time::timeout(LAST_MOMENT, task).await.ok();
                }
            }
        });
    }

    /// Take a request through the pipeline; the user may be asked, and only this request waits.
    pub(crate) async fn decide(&self, request: AccessRequest) -> Result<Authorized, Refusal> {
        let gateway = self.clone();
        let decided =
            tokio::task::spawn_blocking(move || match gateway.pipeline().begin(&gateway.session, request) {
                Admission::Granted(granted) => Ok(granted),
                Admission::Refused(refusal) => Err(refusal),
                Admission::Pending(pending) => {
                    let gone = || gateway.exit().stop.is_cancelled();
                    gateway.pipeline().resume(&gateway.session, *pending, &gone)
                }
            });
        decided.await.unwrap_or_else(|_| Err(Refusal::internal()))
    }

    /// Refuse what the exit itself will not carry, whatever policy says.
    pub(crate) async fn refuse(&self, request: AccessRequest, failure: Failure) -> Refusal {
        let gateway = self.clone();
        let refused = tokio::task::spawn_blocking(move || {
            gateway.pipeline().refuse(&gateway.session, &request, failure.into())
        });
        refused.await.unwrap_or_else(|_| Refusal::internal())
    }

    /// Where a limit kept files of an open directory from being remembered: their passages may leave unseen, which is
    /// recorded and told once.
    pub(crate) fn tell_what_is_not_remembered(&self) {
        for (at, left_out) in self.exit.secrets.left_out() {
            let payload = json!({ "files": left_out.files, "more": left_out.more });
            let recorded =
                self.pipeline.records.event(&self.session, "remember", &at, &payload, Durability::Logged);
            // A log that takes no more ends the session by other ways; this one only tells.
            recorded.ok();
            self.pipeline.records.tell(&self.session, || Happened::Notice {
                action: "remember".into(),
                resource: at.clone(),
                reasons: vec!["not_all_remembered".into()],
            });
        }
    }

    /// Wait for the intent to be on disk.
    pub(crate) async fn on_disk(&self, intent: IntentSync) -> Result<(), Failure> {
        let waited = tokio::task::spawn_blocking(move || intent.wait());
        waited.await.unwrap_or_else(|_| Err(Refusal::internal().failure))
    }

    pub(crate) async fn done(
        &self,
        intent: u64,
        action: Action,
        resource: String,
        ok: bool,
        bytes: u64,
        detail: serde_json::Value,
    ) {
        let gateway = self.clone();
        let record = move || {
            let outcome = Outcome { intent, action, resource: &resource, ok, bytes, detail: Some(detail) };
            gateway.pipeline().outcome(&gateway.session, &outcome)
        };
        // What ended has ended; a log that cannot be written denies whatever comes next.
        tokio::task::spawn_blocking(record).await.ok();
    }
}
