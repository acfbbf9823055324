//! What waits in one conversation: requests that were read and not answered, and answers that the peer has not taken. Both are bounded
//! by number and by bytes, so that whoever sends much and takes nothing waits for itself; what is large is of the session's share.

use std::collections::HashMap;
use std::sync::Arc;

use chaperone_quota::{Exceeded, Held, Quota};
use parking_lot::Mutex;
use rmcp::model::{JsonObject, RequestId};
use serde_json::Value;
use tokio::sync::Notify;

/// Requests that are read and not answered, or of which the answer was not taken. Protects memory; beyond it nothing more is read. More
/// than may run at once, so that whoever waits for the user is still heard.
pub(crate) const MAX_REQUESTS: usize = 64;
/// Answers to what has no id that were not taken. Protects memory; beyond it nothing more is read.
pub(crate) const MAX_WITHOUT_ID: usize = 256;
/// Bytes of answers that were not taken, beside one more. Protects memory; beyond it nothing more is read and no call begins.
const MAX_BYTES: u64 = 1 << 20;
/// What is smaller is not counted within the session's share, in bytes: there are few in a conversation.
const SMALL: u64 = 4 << 10;
/// What a value takes beside its text, in bytes.
const NODE: u64 = 64;
/// An answer is there as a value, as a text in it, and as it is written.
const COPIES: u64 = 3;

pub(crate) struct Waiting {
    quota: Arc<Quota>,
    state: Mutex<State>,
    /// Whenever something less waits.
    less: Notify,
}

struct State {
    /// The answers of those that have one, by the request's id.
    requests: HashMap<RequestId, Option<AnswerSize>>,
    bytes: u64,
    without_id: usize,
    /// Buffers keep the room of the longest answer.
    buffers: Held,
    buffered: u64,
}

/// What an answer takes for as long as it waits.
struct AnswerSize {
    bytes: u64,
    _held: Held,
}

/// An answer on its way to the peer.
pub(crate) struct OnItsWay {
    waiting: Arc<Waiting>,
    id: Option<RequestId>,
}

impl Waiting {
    pub fn new(quota: &Arc<Quota>) -> Arc<Self> {
        let state = State {
            requests: HashMap::new(),
            bytes: 0,
            without_id: 0,
            buffers: Held::nothing(quota),
            buffered: 0,
        };
        Arc::new(Self { quota: Arc::clone(quota), state: Mutex::new(state), less: Notify::new() })
    }

    /// Until another message may be read.
    pub async fn until_readable(&self) {
        self.until(|state| {
            state.requests.len() < MAX_REQUESTS
                && state.without_id < MAX_WITHOUT_ID
                && state.bytes < MAX_BYTES
        })
        .await;
    }

    /// Until another call may begin, whose answer will wait behind the others.
    pub async fn until_answerable(&self) {
        self.until(|state| state.bytes < MAX_BYTES).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let less = self.less.notified();
            let mut less = std::pin::pin!(less);
            // Before the look, so that what becomes less after it is heard.
            less.as_mut().enable();
            if is_so(&self.state.lock()) {
                return;
            }
            less.await;
        }
    }

    /// Whether there is a request without an answer, or an answer that was not taken.
    pub fn is_for_something(&self) -> bool {
        !self.state.lock().requests.is_empty()
    }

    /// A request was read. `false`: one with this id waits already.
    pub fn asked(&self, id: RequestId) -> bool {
        let mut state = self.state.lock();
        let is_new = !state.requests.contains_key(&id);
        if is_new {
            state.requests.insert(id, None);
        }
        is_new
    }

    /// It has an answer, which waits until it is taken.
    ///
    /// # Errors
    /// When the session holds as much as it may.
    pub fn answered(&self, id: &RequestId, answer: &Value) -> Result<(), Exceeded> {
        let length = weight(answer);
        let bytes = length * COPIES;
        let mut state = self.state.lock();
        let counted = if length < SMALL { 0 } else { bytes };
        let held = self.quota.take(counted, 0)?;
        if counted > 0 && length > state.buffered {
            let more = length - state.buffered;
            state.buffers.grow(more, 0)?;
            state.buffered = length;
        }
        // One that was withdrawn is sent to nobody.
        if let Some(size) = state.requests.get_mut(id).filter(|size| size.is_none()) {
            *size = Some(AnswerSize { bytes, _held: held });
            state.bytes += bytes;
        }
        Ok(())
    }

    /// An answer begins to be sent.
    pub fn sends(self: &Arc<Self>, id: Option<RequestId>) -> OnItsWay {
        if id.is_none() {
            self.state.lock().without_id += 1;
        }
        OnItsWay { waiting: Arc::clone(self), id }
    }

    /// Nobody waits for this answer any more.
    pub fn withdrawn(&self, id: &RequestId) {
        let mut state = self.state.lock();
        let size = state.requests.remove(id).flatten();
        state.bytes = state.bytes.saturating_sub(size.map_or(0, |size| size.bytes));
        drop(state);
        self.less.notify_waiters();
    }

    /// Room for what a call was given, until it is dropped.
    ///
    /// # Errors
    /// When the session holds as much as it may.
    pub fn room_for(&self, arguments: &JsonObject) -> Result<Held, Exceeded> {
        let bytes = weight_of_fields(arguments);
        self.quota.take(if bytes < SMALL { 0 } else { bytes }, 0)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        match &self.id {
            Some(id) => self.waiting.withdrawn(id),
            None => {
                let mut state = self.waiting.state.lock();
                state.without_id = state.without_id.saturating_sub(1);
                drop(state);
                self.waiting.less.notify_waiters();
            }
        }
    }
}

/// About what a value takes in memory, in bytes.
fn weight(value: &Value) -> u64 {
    let (mut sum, mut todo) = (0, vec![value]);
    while let Some(value) = todo.pop() {
        sum += NODE;
        match value {
            Value::String(text) => sum += text.len() as u64,
            Value::Array(items) => todo.extend(items),
            Value::Object(fields) => {
                sum += weight_of_names(fields);
                todo.extend(fields.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    sum
}

fn weight_of_fields(fields: &JsonObject) -> u64 {
    NODE + weight_of_names(fields) + fields.values().map(weight).sum::<u64>()
}

fn weight_of_names(fields: &JsonObject) -> u64 {
    fields.keys().map(|name| NODE + name.len() as u64).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::{Context, Waker};

    use chaperone_quota::Descriptors;
    use serde_json::json;

    use super::*;

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn share(bytes: u64) -> Arc<Quota> {
        Quota::new(bytes, &Arc::new(Descriptors::of(1_000)))
    }

    #[test]
    fn no_more_is_read_than_is_answered_and_taken() {
        let waiting = Waiting::new(&share(1 << 30));
        for n in 0..MAX_REQUESTS as i64 {
            assert!(is_ready(waiting.until_readable()), "{n}");
            assert!(waiting.asked(RequestId::Number(n)));
        }
        assert!(!is_ready(waiting.until_readable()), "64 wait");
        assert!(is_ready(waiting.until_answerable()), "they may be worked on");
        waiting.answered(&RequestId::Number(7), &json!("done")).unwrap();
        let sent = waiting.sends(Some(RequestId::Number(7)));
        assert!(!is_ready(waiting.until_readable()), "the answer was not taken");
        drop(sent);
        assert!(is_ready(waiting.until_readable()));
        waiting.asked(RequestId::Number(100));
        waiting.withdrawn(&RequestId::Number(3));
        assert!(is_ready(waiting.until_readable()), "what was withdrawn waits no more");
        let errors: Vec<_> = (0..MAX_WITHOUT_ID).map(|_| waiting.sends(None)).collect();
        assert!(!is_ready(waiting.until_readable()));
        drop(errors);
        assert!(is_ready(waiting.until_readable()));
    }

    #[test]
    fn bytes_of_answers_that_nobody_takes_are_bounded() {
        let quota = share(64 << 20);
        let waiting = Waiting::new(&quota);
        let answer = json!({ "content": "x".repeat(1 << 20) });
        let mut begun = 0;
        for n in 0..1_000 {
            assert!(waiting.asked(RequestId::Number(n)));
            if !is_ready(waiting.until_answerable()) {
                break;
            }
            waiting.answered(&RequestId::Number(n), &answer).unwrap();
            begun += 1;
        }
        assert_eq!(begun, 1, "the second waits until the first was taken");
        assert!(quota.used().memory > 3 << 20, "what waits is of the session's share");
        drop(waiting.sends(Some(RequestId::Number(0))));
        assert!(is_ready(waiting.until_answerable()));
        assert!(quota.used().memory < 2 << 20, "the buffers keep their room");
        drop(waiting);
        assert_eq!(quota.used().memory, 0);
    }

    #[test]
    fn what_is_large_is_of_the_sessions_share_and_what_is_small_is_always_answered() {
        let quota = share(10 << 10);
        let waiting = Waiting::new(&quota);
        let (small, large) = (json!("a word"), json!("x".repeat(8 << 10)));
        assert!(waiting.asked(RequestId::Number(1)) && waiting.asked(RequestId::Number(2)));
        assert!(!waiting.asked(RequestId::Number(2)), "one id, one request");
        assert_eq!(waiting.answered(&RequestId::Number(1), &large), Err(Exceeded::Memory));
        assert_eq!(waiting.answered(&RequestId::Number(1), &small), Ok(()));
        let fields = |value: &Value| JsonObject::from_iter([("path".to_owned(), value.clone())]);
        let arguments = waiting.room_for(&fields(&large)).unwrap();
        assert!(waiting.room_for(&fields(&large)).is_err());
        assert!(waiting.room_for(&fields(&small)).is_ok());
        drop(arguments);
        assert_eq!(quota.used().memory, 0);
    }
}
