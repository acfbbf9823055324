//! Bytes read from a place, one value after the other.

/// Why bytes are not of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// They end too early.
    Cut,
    Otherwise,
}

pub(super) type Parsed<T> = Result<T, Wrong>;

/// Whether bytes are text, as far as they go.
pub(super) fn is_text(head: &[u8]) -> bool {
    let is_control = |b: u8| b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r' | 0x08 | 0x0c | 0x1b);
    // All of it, many bytes at a time: most files are text.
    crate::encodings::is_utf8(head) && !head.iter().fold(false, |any, b| any | is_control(*b))
}

/// Reads bytes from a place.
pub(super) struct Cursor<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) at: usize,
}

impl<'b> Cursor<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Cursor<'b> {
        Cursor { bytes, at: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Parsed<&'b [u8]> {
        let end = self.at.checked_add(length).ok_or(Wrong::Otherwise)?;
        let taken = self.bytes.get(self.at..end).ok_or(Wrong::Cut)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(Wrong::Cut)
    }

    pub(super) fn byte(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// An unsigned number of so many bytes, the highest first.
    pub(super) fn big(&mut self, length: usize) -> Parsed<u64> {
        Ok(self.take(length)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// The same, the lowest first.
    pub(super) fn little(&mut self, length: usize) -> Parsed<u64> {
        Ok(self.take(length)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// What stands before `end`, which is left out.
    pub(super) fn until(&mut self, end: u8) -> Parsed<&'b [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(end, rest).ok_or(Wrong::Cut)?;
        self.at += length + 1;
        rest.get(..length).ok_or(Wrong::Cut)
    }
}

pub(super) fn size(n: u64) -> Parsed<usize> {
    usize::try_from(n).map_err(|_| Wrong::Otherwise)
}

/// A number of one to eight bytes with its sign.
pub(super) fn signed(n: u64, bytes: usize) -> i128 {
    let unused = 64 - 8 * bytes.clamp(1, 8) as u32;
    i128::from((n << unused) as i64 >> unused)
}
