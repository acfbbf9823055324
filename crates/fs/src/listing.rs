//! What an open directory holds.

use std::sync::Arc;
use std::time::Instant;

use chaperone_quota::{Exceeded, Held, Quota};

use crate::object::{Attributes, ListingVersion};

/// The entries of an open directory, as they were when it was opened.
pub(crate) struct Listing {
    pub names: Vec<(String, Attributes)>,
    /// The directory that was listed, where that can be told from another one.
    pub version: Option<ListingVersion>,
    pub made: Instant,
    _held: Held,
}

impl Listing {
    /// # Errors
    /// When the session holds as much as it may.
    pub fn new(
        names: Vec<(String, Attributes)>,
        version: Option<ListingVersion>,
        quota: &Arc<Quota>,
    ) -> Result<Self, Exceeded> {
        let each = |(name, _): &(String, Attributes)| size_of::<(String, Attributes)>() + name.capacity();
        let memory = names.iter().map(each).sum::<usize>() as u64;
        Ok(Self { names, version, made: Instant::now(), _held: quota.take(memory, 0)? })
    }
}
