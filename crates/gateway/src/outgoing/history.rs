//! Messages of one conversation that are looked at together with the next.
//!
//! A look costs what it reads. So that messages of a byte do not each cost a look at all that came before, most looks read
//! the end of it, and one reads all whenever so much is new that each byte is read a bounded number of times.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of earlier messages that are looked at together with a new one…
const TOGETHER: usize = 64 << 10;
/// …and those that each look reads.
const CLOSE: usize = 4 << 10;
/// After so many new bytes all is read.
const NEW: usize = 4 << 10;
/// Messages that are kept, however short. Protects memory.
const MOST: usize = 16 << 10;

/// Messages, the newest last.
#[derive(Debug)]
pub(crate) struct Messages {
    all: Vec<Arc<[u8]>>,
    /// How many of them are new.
    newest: usize,
}

impl Messages {
    /// Those before the newest, and the newest.
    pub fn split(&self) -> (Vec<&[u8]>, Vec<&[u8]>) {
        let mut before: Vec<&[u8]> = self.all.iter().map(|m| &**m).collect();
        let newest = before.split_off(before.len() - self.newest);
        (before, newest)
    }
}

/// What was said before.
#[derive(Debug, Default)]
pub(crate) struct History {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Bytes since all was read.
    new: usize,
}

impl History {
    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Take the newest messages; what is to be looked at, if they say anything.
    pub fn push(&mut self, newest: Vec<Vec<u8>>) -> Option<Messages> {
        let mut length = 0;
        let mut number = 0;
        for message in newest.into_iter().filter(|m| !m.is_empty()) {
            length += message.len();
            number += 1;
            self.bytes += message.len();
            self.messages.push_back(message.into());
        }
        if number == 0 {
            return None;
        }
        self.new += length;
        while self.messages.len() > number && (self.bytes > TOGETHER + length || self.messages.len() > MOST) {
            self.bytes -= self.messages.pop_front().map_or(0, |m| m.len());
        }
        let most = if self.new >= NEW { usize::MAX } else { CLOSE + length };
        if self.new >= NEW {
            self.new = 0;
        }
        let mut sum = 0;
        let taken = self.messages.iter().rev().take_while(|m| {
            sum += m.len();
            sum <= most
        });
        let taken = taken.count().max(number);
        let all: Vec<Arc<[u8]>> = self.messages.iter().skip(self.messages.len() - taken).cloned().collect();
        Some(Messages { newest: number, all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_byte_does_not_cost_a_look_at_all_before_it() {
        let mut history = History::default();
        let (mut sent, mut read) = (0, 0);
        for _ in 0..2_000 {
            sent += 1;
            read += history.push(vec![b"x".to_vec()]).unwrap().all.len();
        }
        assert!(read <= sent * (CLOSE + TOGETHER / NEW + 2), "{read} bytes read for {sent}");
        let mut history = History::default();
        let batch: Vec<Vec<u8>> = vec![b"x".to_vec(); 2000];
        let read: usize = (0..20).map(|_| history.push(batch.clone()).unwrap().all.len()).sum();
        assert!(read <= 20 * 2000 * 20, "{read} bytes read for 40,000 that came together");
    }

    #[test]
    fn what_is_new_is_looked_at_and_what_was_just_before_it_too() {
        let mut history = History::default();
        assert!(history.push(vec![Vec::new()]).is_none(), "it says nothing");
        let text = |said: Option<Messages>| said.unwrap().all.concat();
        assert_eq!(text(history.push(vec![b"one ".to_vec()])), b"one ");
        let said = history.push(vec![b"two ".to_vec(), b"three".to_vec()]).unwrap();
        assert_eq!(said.split(), (vec![&b"one "[..]], vec![&b"two "[..], b"three"]));
        let long = vec![b'x'; 100_000];
        assert_eq!(text(history.push(vec![long.clone()])).len(), 100_000 + 13);
        assert!(text(history.push(vec![b"end".to_vec()])).ends_with(b"end"));
        assert!(history.bytes <= TOGETHER + long.len());
    }

    #[test]
    fn a_value_in_pieces_far_apart_is_seen_whole_in_time() {
        let mut history = History::default();
        history.push(vec![b"begins".to_vec()]);
        let said = (0..600).filter_map(|_| history.push(vec![b"12345678".to_vec()]));
        let seen = said.filter(|m| m.all.concat().starts_with(b"begins"));
        assert!(seen.count() > 500, "both within the bytes that each look reads, and beyond");
    }
}
