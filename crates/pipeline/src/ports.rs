//! What the pipeline needs of parts that stand above it.

use crate::pipeline::Released;

/// Is told which content becomes readable to the agent, so that it is recognised when it leaves.
pub trait OnRelease: Send + Sync + std::fmt::Debug {
    fn released(&self, path: &str, content: &Released);
}

/// The cell of a session.
pub trait CellHandle: Send + Sync + std::fmt::Debug {
    /// Stop every process of the cell until the user resumes it. A cell that is gone is stopped already.
    fn suspend(&self);
}
