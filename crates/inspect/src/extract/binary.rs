//! Bytes that are no text: only what can be read in them is scanned. Noise holds short words of every kind; what is meant
//! to be read is longer.

use std::io::Read;

use super::pulled::Pulled;
use crate::encodings::readable;

/// Bytes read at a time.
const BLOCK: usize = 128 * 1024;
/// A readable stretch at the end of a block waits for the next one up to this length.
const LONGEST_OPEN: usize = 64 * 1024;

/// The readable stretches of a stream, one after the other.
pub(super) fn strings(inner: &mut dyn Read) -> impl Read {
    let mut open = Vec::new();
    Pulled::new(move |ready| {
        while ready.is_empty() {
            let mut block = std::mem::take(&mut open);
            let n = (&mut *inner).take(BLOCK as u64).read_to_end(&mut block)?;
            if n > 0 {
                let last = block.iter().rev().take(LONGEST_OPEN).take_while(|b| readable::reads(**b)).count();
                if last < LONGEST_OPEN {
                    open = block.split_off(block.len() - last);
                }
            }
            *ready = readable::strings(&block);
            if n == 0 {
                break;
            }
        }
        Ok(())
    })
}

/// The same stream; `look` is shown what is read of it.
pub(super) fn looked(inner: &mut dyn Read, look: &mut dyn FnMut(&[u8])) -> impl Read {
    Pulled::new(move |ready| {
        (&mut *inner).take(BLOCK as u64).read_to_end(ready)?;
        look(ready);
        Ok(())
    })
}
