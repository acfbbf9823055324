//! The streaming scanner.

use crate::detect::{DetectorId, Detectors};
use crate::validate;

/// One value found: `start..end` is the byte range that redaction replaces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub detector: DetectorId,
    pub start: u64,
    pub end: u64,
    /// 0 to 1.
    pub confidence: f32,
}

/// How to scan.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {}

/// Finds values in a stream that arrives in blocks.
pub struct Scanner {
    detectors: Detectors,
    held: Vec<u8>,
}

impl Scanner {
    pub fn new(detectors: &Detectors, _options: ScanOptions) -> Scanner {
        Scanner { detectors: detectors.clone(), held: Vec::new() }
    }

    /// Takes the next block; matches that are complete go to `out`.
    pub fn feed(&mut self, block: &[u8], _out: &mut Vec<Match>) {
        self.held.extend_from_slice(block);
    }

    /// Ends the stream.
    pub fn finish(&mut self, out: &mut Vec<Match>) {
        let held = std::mem::take(&mut self.held);
        out.extend(scan(&self.detectors, &held));
    }
}

/// Scans bytes that are all in memory.
pub fn scan(_d: &Detectors, bytes: &[u8]) -> Vec<Match> {
    let mut out = Vec::new();
    let mut push = |id: u16, s: usize, e: usize| out.push(Match { detector: DetectorId(id), start: s as u64, end: e as u64, confidence: 0.9 });
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i].is_ascii_digit() && (i == 0 || !bytes[i - 1].is_ascii_alphanumeric()) {
            let (mut j, mut digits) = (i, Vec::new());
            while j < bytes.len() && (bytes[j].is_ascii_digit() || (matches!(bytes[j], b'-' | b' ') && bytes.get(j + 1).is_some_and(u8::is_ascii_digit))) {
                if bytes[j].is_ascii_digit() {
                    digits.push(bytes[j] - b'0');
                }
                j += 1;
            }
            if (14..=19).contains(&digits.len()) && validate::luhn(&digits) {
                push(0, i, j);
            } else if digits.len() == 9 && j - i == 11 && validate::us_ssn(&digits) {
                push(1, i, j);
            }
            i = j;
        } else if bytes[i] == b'@' {
            let l = |c: &u8| c.is_ascii_alphanumeric() || b"._+-".contains(c);
            let s = i - bytes[..i].iter().rev().take(64).take_while(|c| l(c)).count();
            let e = i + 1 + bytes[i + 1..].iter().take(255).take_while(|c| l(c)).count();
            if s < i && bytes[i + 1..e].contains(&b'.') {
                push(2, s, e);
            }
            i = e.max(i + 1);
        } else {
            i += 1;
        }
    }
    out
}

/// Scans one value whose column header or key is `label`.
pub fn scan_labelled(d: &Detectors, _label: &str, value: &str) -> Vec<Match> {
    scan(d, value.as_bytes())
}
