//! The policy in force: replaced whole, and only by a set that loaded and ran.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::engine::Engine;
use crate::source::{Problem, Source};

#[derive(Debug)]
pub struct Store {
    current: RwLock<Arc<Engine>>,
}

impl Store {
    /// A set that does not load denies everything, and says what is wrong.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> (Self, Vec<Problem>) {
        let (engine, problems) = match Engine::load(sources.clone()) {
            Ok(engine) => (engine, Vec::new()),
            Err(problems) => (Engine::closed(&sources), problems),
        };
        (Self { current: RwLock::new(Arc::new(engine)) }, problems)
    }

    #[must_use]
    pub fn current(&self) -> Arc<Engine> {
        Arc::clone(&self.current.read())
    }

    /// Replace the set by one that loaded.
    pub fn replace(&self, engine: Engine) {
        *self.current.write() = Arc::new(engine);
    }
}
