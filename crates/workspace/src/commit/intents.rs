//! The intents of one commit: recorded as each change is judged, and on disk together before the first of them has an effect. Of what
//! was judged nothing else is held, however many changes there are.

use std::sync::Arc;

use chaperone_capability::Action;
use chaperone_pipeline::granting::IntentSync;
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::{Authorized, Pipeline, Session};
use chaperone_protocol::Failure;
use chaperone_staging::{Report, State, Wanted};
use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct Intents {
    granted: Vec<Intent>,
    /// Of the last one; those of before are on disk with it.
    last: Arc<Mutex<Option<IntentSync>>>,
}

struct Intent {
    path: String,
    number: u64,
    resource: String,
}

impl Intents {
    pub fn add(&mut self, path: &str, mut authorized: Authorized) {
        *self.last.lock() = Some(authorized.syncing());
        let resource = authorized.request().subject().to_owned();
        self.granted.push(Intent { path: path.to_owned(), number: authorized.intent, resource });
    }

    /// Puts them on disk; false where that cannot be.
    pub fn on_disk(&self) -> Wanted {
        let last = Arc::clone(&self.last);
        Arc::new(move || last.lock().take().is_none_or(|intent| intent.wait().is_ok()))
    }

    /// Records how each ended; without a report, that none was made.
    pub fn ended(
        &self,
        (pipeline, session): (&Pipeline, &Arc<Session>),
        report: Option<&Report>,
    ) -> Result<(), Failure> {
        let entries = report.map(Report::by_path).unwrap_or_default();
        for intent in &self.granted {
            let entry = entries.get(intent.path.as_str());
            let ok = entry.is_some_and(|entry| entry.state == State::Committed);
            let outcome = Outcome {
                intent: intent.number,
                action: Action::Commit,
                resource: &intent.resource,
                ok,
                bytes: entry.map_or(0, |entry| entry.size),
                detail: None,
            };
            pipeline.outcome(session, &outcome)?;
        }
        Ok(())
    }
}
