//! The last that a guest's kernel, or the VMM, wrote: for whoever has to know why there is no agent.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept.
const KEPT: usize = 4096;
/// Characters of a line that are shown.
const SHOWN: usize = 300;

/// What was written last, as it is read by a thread of its own.
#[derive(Clone, Default)]
pub(super) struct Console(Arc<Mutex<VecDeque<u8>>>);

impl Console {
    /// Read from here on, until the end.
    pub(super) fn read(&self, mut from: impl Read + Send + 'static) {
        let kept = Self(Arc::clone(&self.0));
        std::thread::spawn(move || {
            let mut bytes = [0u8; 1024];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                kept.add(bytes.get(..count).unwrap_or_default());
            }
        });
    }

    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let beyond = kept.len().saturating_sub(KEPT);
        kept.drain(..beyond);
    }

    /// The last line that says something, plainly.
    pub(super) fn last_line(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = kept.as_slices();
        let text = String::from_utf8_lossy(&[first, second].concat()).into_owned();
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(SHOWN).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_plain_and_little_is_kept() {
        let console = Console::default();
        assert_eq!(console.last_line(), None);
        console.add(&[b'x'; 100_000]);
        console.add("\n[    0.39] \u{1b}[31mPanic\r\n\n".as_bytes());
        assert_eq!(console.last_line().as_deref(), Some("[    0.39] [31mPanic"));
        assert!(console.0.lock().unwrap().len() <= KEPT);
    }
}
