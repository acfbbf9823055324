//! What is found of a document.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Bytes of a document that are read; of a larger one only so much, and it counts as not seen whole.
pub const MOST: usize = 16 << 20;

/// What a document reaches for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Addresses elsewhere that are fetched without anybody following a link.
    pub loads: BTreeSet<String>,
    /// What runs: scripts, handlers, macros, fields that start programs; each by what it is and a digest.
    pub active: BTreeSet<String>,
    /// A part was not looked at.
    pub unseen: bool,
}

impl Reach {
    /// The hosts that something is loaded from.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<String> {
        let host = |address: &String| {
            let parsed = url::Url::parse(address).ok();
            parsed.and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_else(|| address.clone())
        };
        self.loads.iter().map(host).collect()
    }
}
