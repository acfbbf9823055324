//! The kernel remembers every name that it was told of, and the server with it, until somebody wants the memory. When a
//! session has little left of its share, the kernel is asked to let go of those that it has known longest.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::Shared;

/// Files that the kernel is asked to forget at once.
const TOGETHER: usize = 20_000;

/// Ask the kernel, on a thread of its own: it waits for the directories of the names, which those who wait for an answer of
/// this one have.
pub(crate) fn when_little_is_left(shared: &Arc<Shared>) {
    if !shared.tree.quota.is_short() || shared.forgets.swap(true, Ordering::AcqRel) {
        return;
    }
    let own = Arc::clone(shared);
    let forget = move || {
        let names = own.nodes.read().known_longest(TOGETHER);
        for (parent, name) in names.iter().take_while(|_| !own.ended.load(Ordering::Acquire)) {
            own.invalidate_name(*parent, name);
        }
        own.forgets.store(false, Ordering::Release);
    };
    // Without a thread it is asked the next time.
    if std::thread::Builder::new().name("fs-forget".into()).spawn(forget).is_err() {
        shared.forgets.store(false, Ordering::Release);
    }
}
