//! Bodies of any length in bounded memory: windows that overlap.

use std::io::Write;

use flate2::write::{MultiGzDecoder, ZlibDecoder};

use super::Outgoing;
use super::look::Look;
use super::seen::{Known, Part, Seen};
use crate::Spot;
use crate::encodings::is_zlib;

/// Up to this length a body is looked at as a whole, in bytes.
pub const WHOLE: usize = 16 << 20;
/// A longer one in windows of this length…
const WINDOW: usize = 4 << 20;
/// …of which each begins with the end of the one before, so that a value across a border is in one of them whole. Longer values
/// (a compressed document in base64) are found in pieces or not at all.
const OVERLAP: usize = 64 << 10;
/// Decompressed bytes for each compressed one; beyond 16 MiB a bomb.
const RATIO: u64 = 200;
const RATIO_FROM: u64 = 16 << 20;
/// Compressed bytes given to the decompressor at a time: what they unpack to is at most a thousand times as much.
const BITE: usize = 4 << 10;

/// A look at one part that arrives in chunks. Holds at most [`WHOLE`] bytes, one chunk and what a look takes.
pub struct StreamLook<'a> {
    look: Look<'a>,
    spot: Spot,
    content_type: Option<&'a str>,
    held: Vec<u8>,
    /// Bytes of `held` that the last window held too.
    overlap: usize,
    coding: Coding,
    /// Whether the body is too long to be looked at as a whole.
    windows: bool,
    taken: u64,
    unpacked: u64,
}

enum Coding {
    Plain,
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    /// The rest cannot be unpacked; what came before was looked at.
    Ended,
}

impl std::fmt::Debug for StreamLook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamLook")
            .field("spot", &self.spot)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl<'a> StreamLook<'a> {
    #[must_use]
    pub fn new(
        outgoing: &'a Outgoing,
        spot: Spot,
        content_type: Option<&'a str>,
        known: Known<'a>,
    ) -> StreamLook<'a> {
        StreamLook {
            look: Look::new(&outgoing.leaving, known),
            spot,
            content_type,
            held: Vec::new(),
            overlap: 0,
            coding: Coding::Plain,
            windows: false,
            taken: 0,
            unpacked: 0,
        }
    }

    /// Takes the next chunk, of any length.
    pub fn feed(&mut self, chunk: &[u8]) {
        for part in chunk.chunks(WINDOW) {
            self.taken += part.len() as u64;
            if self.windows {
                self.window_bytes(part);
                continue;
            }
            self.held.extend_from_slice(part);
            if self.held.len() > WHOLE {
                self.windows = true;
                let held = std::mem::take(&mut self.held);
                self.begin(&held);
                held.chunks(WINDOW).for_each(|c| self.window_bytes(c));
            }
        }
    }

    /// What was seen so far; a broker may stop the stream before its end.
    #[must_use]
    pub fn so_far(&self) -> &Seen {
        self.look.seen_so_far()
    }

    /// Ends the stream.
    #[must_use]
    pub fn finish(mut self) -> Seen {
        let rest = match std::mem::replace(&mut self.coding, Coding::Ended) {
            Coding::Gzip(mut d) => d.try_finish().map(|()| std::mem::take(d.get_mut())),
            Coding::Zlib(mut d) => d.try_finish().map(|()| std::mem::take(d.get_mut())),
            Coding::Plain | Coding::Ended => Ok(Vec::new()),
        };
        match rest {
            Ok(rest) => self.held.extend_from_slice(&rest),
            Err(_) => self.look.unread(&self.spot.clone().into(), "damaged compressed stream"),
        }
        if self.held.len() > self.overlap || !self.windows {
            self.window(false);
        }
        self.look.finish()
    }

    /// What a body is that is too long for memory.
    fn begin(&mut self, head: &[u8]) {
        self.coding = if head.starts_with(b"\x1f\x8b\x08") {
            Coding::Gzip(MultiGzDecoder::new(Vec::new()))
        } else if head.starts_with(b"PK\x03\x04") {
            self.look.unread(&self.spot.clone().into(), "an archive of more than 16 MiB");
            Coding::Plain
        } else if crate::extract::decompressed(head).is_some() {
            self.look.unread(&self.spot.clone().into(), "a compressed stream of more than 16 MiB");
            Coding::Plain
        } else if is_zlib(head) {
            Coding::Zlib(ZlibDecoder::new(Vec::new()))
        } else {
            Coding::Plain
        };
    }

    fn window_bytes(&mut self, bytes: &[u8]) {
        let mut coding = std::mem::replace(&mut self.coding, Coding::Ended);
        if matches!(coding, Coding::Plain) {
            self.coding = coding;
            self.plain(bytes);
            return;
        }
        for bite in bytes.chunks(BITE) {
            let (written, out) = match &mut coding {
                Coding::Gzip(d) => (d.write_all(bite), std::mem::take(d.get_mut())),
                Coding::Zlib(d) => (d.write_all(bite), std::mem::take(d.get_mut())),
                Coding::Plain | Coding::Ended => return,
            };
            self.unpacked += out.len() as u64;
            self.plain(&out);
            let bomb = self.unpacked > RATIO_FROM && self.unpacked / RATIO > self.taken;
            if written.is_err() || bomb {
                let why =
                    if bomb { "over the limit of decompressed bytes" } else { "damaged compressed stream" };
                self.look.unread(&self.spot.clone().into(), why);
                return;
            }
        }
        self.coding = coding;
    }

    fn plain(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(WINDOW) {
            self.held.extend_from_slice(part);
            if self.held.len() >= WINDOW {
                self.window(true);
            }
        }
    }

    fn window(&mut self, more: bool) {
        self.look.expect_more(more);
        let part = Part { spot: self.spot.clone(), bytes: &self.held, content_type: self.content_type };
        self.look.part(&part);
        if self.windows {
            self.look.next_window();
            let drop = self.held.len().saturating_sub(OVERLAP);
            self.held.drain(..drop);
            self.overlap = self.held.len();
        }
    }
}
