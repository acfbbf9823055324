//! Plain text of any length.

use std::io::{self, Read, Write};

use super::batch::{Coding, Hit, Sink, characters, inside_marker, marker};
use super::{ExtractError, regular, settings, views};
use crate::place::FileSpot;
use crate::report::NO_COLUMN;
use crate::{Match, ScanOptions, Scanner};

/// Bytes read at first, as many a file has not more, and then at a time.
const FIRST: usize = 8 * 1024;
const BLOCK: usize = 128 * 1024;
/// Bytes kept behind the reading position; more than the scanner ever holds back.
const KEPT: usize = 512 * 1024;

/// Numbers of so many digits are compared with those around them, this many bytes on either side.
const LEAST_DIGITS: usize = 9;
const AROUND: usize = 256;
/// Bytes that are read at once for what is written otherwise…
const WINDOW: usize = 256 * 1024;
/// …each time with the end of what came before, so that a value across the border is in one of them whole.
const OVERLAP: usize = 1024;

/// Scans a stream; memory does not grow with its length.
pub(crate) fn walk(reader: &mut dyn Read, sink: &mut Sink<'_>) -> Result<(), ExtractError> {
    if sink.is_settings {
        return walk_whole(reader, settings::MOST, ExtractError::Limit("an environment file's length"), sink);
    }
    if let Some(most) = sink.plan.otherwise {
        let why = "it is too large for values that are written otherwise";
        return walk_whole(reader, most, ExtractError::NotRedactable(why.into()), sink);
    }
    let mut text = Text::new(sink);
    let mut scanner = Scanner::new(text.sink.detectors, ScanOptions::default());
    let mut block = vec![0; FIRST];
    let mut matches = Vec::new();
    loop {
        let n = match reader.read(&mut block) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(part) = block.get(..n).filter(|p| !p.is_empty()) else { break };
        text.sink.detectors.tell(part);
        text.held.extend_from_slice(part);
        scanner.feed(part, &mut matches);
        text.settle(&mut matches)?;
        text.read_otherwise(WINDOW);
        text.release(KEPT)?;
        // A small file never pays for the large block.
        if block.len() < BLOCK && text.base + text.held.len() as u64 >= FIRST as u64 {
            block.resize(BLOCK, 0);
        }
    }
    scanner.finish(&mut matches);
    text.settle(&mut matches)?;
    text.read_otherwise(1);
    text.release(0)
}

/// The same in memory, so that what is written otherwise is replaced in its order.
fn walk_whole(
    reader: &mut dyn Read,
    most: usize,
    too_large: ExtractError,
    sink: &mut Sink<'_>,
) -> Result<(), ExtractError> {
    let mut text = Text::new(sink);
    reader.take(most as u64 + 1).read_to_end(&mut text.held)?;
    if text.held.len() > most {
        return Err(too_large);
    }
    let detectors = text.sink.detectors;
    detectors.tell(&text.held);
    let mut matches = views::matches(detectors, &text.held);
    let add = |matches: &mut Vec<Match>, more: Vec<Match>| {
        let more: Vec<Match> = views::beyond(matches, more).collect();
        matches.extend(more);
        matches.sort_by_key(|m| (m.start, m.end));
    };
    add(&mut matches, regular::find(detectors, &text.held));
    if text.sink.is_settings {
        add(&mut matches, settings::opaque(detectors, &text.held));
    }
    text.settle(&mut matches)?;
    text.read_otherwise(1);
    text.release(0)
}

struct Text<'s, 'a> {
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    base: u64,
    lines: u64,
    /// Newlines are counted up to here.
    counted: u64,
    written: u64,
    /// Numbers around what was found are counted up to here.
    around: u64,
    /// What is written otherwise was read up to here.
    read: u64,
    /// Where values were found as they are written, and otherwise, of what is held.
    plain: Vec<Match>,
    otherwise: Vec<Match>,
    sink: &'s mut Sink<'a>,
}

impl<'s, 'a> Text<'s, 'a> {
    fn new(sink: &'s mut Sink<'a>) -> Self {
        Text {
            held: Vec::new(),
            base: 0,
            lines: 1,
            counted: 0,
            written: 0,
            around: 0,
            read: 0,
            plain: Vec::new(),
            otherwise: Vec::new(),
            sink,
        }
    }

    /// Reads what came since, once it is `least` bytes, for what is written otherwise.
    fn read_otherwise(&mut self, least: usize) {
        let end = self.base + self.held.len() as u64;
        if end - self.read < least as u64 || !self.sink.reads_otherwise() {
            return;
        }
        let from = (self.read - self.base) as usize;
        let new = self.held.get(from..).unwrap_or_default();
        // A run of base64 goes on behind a line break, but less often than in the middle of a line.
        let cut =
            if least > 1 { memchr::memrchr(b'\n', new).map_or(new.len(), |n| n + 1) } else { new.len() };
        let new = new.get(..cut).unwrap_or_default();
        self.sink.encoded(new);
        for m in regular::find(self.sink.detectors, new) {
            self.sink.tally.confirm(m.detector);
            let m = Match { start: m.start + self.read, end: m.end + self.read, ..m };
            self.otherwise.push(m);
        }
        let start = from.saturating_sub(OVERLAP);
        let window = self.held.get(start..from + cut).unwrap_or_default();
        let first = self.base + start as u64;
        for m in views::read_otherwise(self.sink.detectors, window) {
            let m = Match { start: m.start + first, end: m.end + first, ..m };
            if m.end > self.read {
                self.otherwise.push(m);
            }
        }
        self.otherwise.sort_by_key(|m| m.end);
        self.read += cut as u64;
    }

    /// Counts what was found where it is written otherwise, up to `upto`, beyond what stands there as it is.
    fn count_otherwise(&mut self, upto: u64) {
        let ready = self.otherwise.partition_point(|m| m.end <= upto);
        let found: Vec<Match> = self.otherwise.drain(..ready).collect();
        self.plain.sort_by_key(|m| m.start);
        for m in views::beyond(&self.plain, found) {
            let range = (m.start - self.base) as usize..(m.end - self.base) as usize;
            let value = self.held.get(range).unwrap_or_default();
            let line = self.lines;
            self.sink.otherwise = true;
            let place = |_| FileSpot::AfterLine(line).into();
            let of = (NO_COLUMN, m.detector);
            self.sink.tally.add(self.sink.detectors, of, m.worth(), value, None, place);
        }
        self.plain.retain(|m| m.end > upto);
    }

    fn settle(&mut self, matches: &mut Vec<Match>) -> Result<(), ExtractError> {
        for m in matches.drain(..) {
            let (Some(start), Some(end)) = (m.start.checked_sub(self.base), m.end.checked_sub(self.base))
            else {
                return Err(ExtractError::Limit("the length of one value"));
            };
            let hit = Hit {
                cell: 0,
                start: start as usize,
                end: end as usize,
                detector: m.detector,
                worth: m.worth(),
            };
            if inside_marker(self.sink.detectors, &self.held, hit.start, hit.end) {
                continue;
            }
            let spared = m.filters.spares();
            if self.sink.reads_otherwise() && !spared {
                self.plain.push(m);
            }
            if m.start > self.counted {
                let from = (self.counted - self.base) as usize;
                self.lines += memchr::memchr_iter(b'\n', self.held.get(from..hit.start).unwrap_or_default())
                    .count() as u64;
                self.counted = m.start;
            }
            let line = self.lines;
            let value = self.held.get(hit.start..hit.end).unwrap_or_default();
            let before = self.held.get(..hit.start).unwrap_or_default();
            let place = |exact: bool| {
                let column = exact.then(|| {
                    let start = memchr::memrchr(b'\n', before).map_or(0, |n| n + 1);
                    let line_so_far = before.get(start..).unwrap_or_default();
                    characters(line_so_far, line_so_far.len())
                });
                FileSpot::Line { line, column }.into()
            };
            let of = (NO_COLUMN, hit.detector);
            self.sink.tally.add(self.sink.detectors, of, hit.worth, value, None, place);
            if spared {
                continue;
            }
            // A float has a point and a sign.
            if value.len() >= LEAST_DIGITS
                && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+'))
            {
                let from =
                    hit.start.saturating_sub(AROUND).max((self.around.max(self.base) - self.base) as usize);
                let to = hit.end + AROUND;
                let window = self.held.get(from..to).or(self.held.get(from..)).unwrap_or_default();
                let runs = window.split(|b| !b.is_ascii_digit()).filter(|r| r.len() >= LEAST_DIGITS).count();
                self.around = self.around.max(self.base + (from + window.len()) as u64);
                self.sink.tally.add_runs((NO_COLUMN, hit.detector), runs as u64);
            }
            if let Some(out) = self.sink.out.as_mut() {
                if m.start >= self.written {
                    let from = (self.written - self.base) as usize;
                    out.write_all(self.held.get(from..hit.start).unwrap_or_default())?;
                    let how = (self.sink.detectors, self.sink.names);
                    out.write_all(&marker(how, hit.detector, Coding::Plain, (value, value)))?;
                    self.sink.replaced += 1;
                } else if m.end > self.written
                    && let Some(names) = self.sink.names
                {
                    let from = (self.written - self.base) as usize;
                    names.goes_on(self.held.get(from..hit.end).unwrap_or_default());
                }
                self.written = self.written.max(m.end);
            }
        }
        Ok(())
    }

    /// Lets go of all but the last `keep` bytes.
    fn release(&mut self, keep: usize) -> Result<(), ExtractError> {
        // Cut seldom: moving the tail costs.
        if keep > 0 && self.held.len() < 2 * keep {
            return Ok(());
        }
        let drop = self.held.len() - keep.min(self.held.len());
        let upto = self.base + drop as u64;
        self.count_otherwise(upto);
        if self.counted < upto {
            let from = (self.counted - self.base) as usize;
            self.lines +=
                memchr::memchr_iter(b'\n', self.held.get(from..drop).unwrap_or_default()).count() as u64;
            self.counted = upto;
        }
        if let Some(out) = self.sink.out.as_mut()
            && self.written < upto
        {
            let from = (self.written - self.base) as usize;
            out.write_all(self.held.get(from..drop).unwrap_or_default())?;
            self.written = upto;
        }
        self.held.drain(..drop);
        self.base = upto;
        Ok(())
    }
}
