//! The same work on many things, by all processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Things that one thread takes at a time; fewer than twice as many are not worth another thread.
const TAKEN: usize = 64;
/// Threads. Protects the machine; each looks at one thing.
const MOST: usize = 16;

/// What `work` makes of each, in their order. What panics in it panics here.
pub(crate) fn map<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let helpers = (all.len() / TAKEN).min(processors).saturating_sub(1);
    let next = AtomicUsize::new(0);
    let take = || {
        let mut made = Vec::new();
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            let Some(things) = all.chunks(TAKEN).nth(part) else { return made };
            made.push((part, things.iter().map(&work).collect::<Vec<R>>()));
        }
    };
    let mut parts = thread::scope(|scope| {
        // One that cannot be started leaves its share to the others.
        let start = |_| thread::Builder::new().name("look".into()).spawn_scoped(scope, take).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(start).collect();
        let mut parts = take();
        for helper in helpers {
            match helper.join() {
                Ok(more) => parts.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|(part, _)| *part);
    parts.into_iter().flat_map(|(_, made)| made).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_is_worked_on_once_and_in_its_place() {
        for many in [0, 1, TAKEN, 10 * TAKEN + 1] {
            let all: Vec<usize> = (0..many).collect();
            let times = AtomicUsize::new(0);
            let made = map(&all, |n| {
                times.fetch_add(1, Ordering::Relaxed);
                n + 1
            });
            assert_eq!(made, (1..=many).collect::<Vec<_>>());
            assert_eq!(times.into_inner(), many);
        }
    }
}
