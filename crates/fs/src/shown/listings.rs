//! Names of directories, kept while the guest reads them piece by piece.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

/// Directories that are read at one time without being listed again for each piece.
const MAX_LISTINGS: usize = 16;
/// Memory of all that are kept, in bytes, and of any one.
const MAX_BYTES: usize = 64 << 20;
/// `DT_DIR`.
const FOLDER: u32 = 4;

/// The names of a directory in the order in which they are told.
#[derive(Default)]
pub(super) struct Listing {
    /// Each with its kind as in a `dirent`.
    names: Vec<(CString, u32)>,
    bytes: usize,
}

/// The listings that were used last, the newest at the end.
#[derive(Default)]
pub(super) struct Listings(Vec<(u64, Arc<Listing>)>);

impl Listings {
    /// The listing of a node's directory; `open` opens it when its names are not known.
    ///
    /// # Errors
    /// Those of opening and reading; `EOVERFLOW` for a directory that is too large to be kept.
    pub fn of(
        &mut self,
        node: u64,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Arc<Listing>, Errno> {
        let known = self.0.iter().position(|(of, _)| *of == node).map(|at| self.0.remove(at).1);
        let listing = match known {
            Some(listing) => listing,
            None => Arc::new(Listing::read(open()?)?),
        };
        self.0.push((node, Arc::clone(&listing)));
        while self.0.len() > MAX_LISTINGS
            || self.0.iter().map(|(_, kept)| kept.bytes).sum::<usize>() > MAX_BYTES
        {
            self.0.remove(0);
        }
        Ok(listing)
    }

    /// The listing of a node is not needed any more.
    pub fn drop_of(&mut self, node: u64) {
        self.0.retain(|(of, _)| *of != node);
    }
}

impl Listing {
    /// The name at an offset, with its kind: `.` and `..` stand before the others.
    pub fn at(&self, offset: u64) -> Option<(&CStr, u32)> {
        match offset {
            0 => Some((c".", FOLDER)),
            1 => Some((c"..", FOLDER)),
            other => {
                let (name, kind) = self.names.get(usize::try_from(other - 2).ok()?)?;
                Some((name, *kind))
            }
        }
    }

    fn read(folder: OwnedFd) -> Result<Self, Errno> {
        let mut listing = Self::default();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let text = entry.file_name();
            if matches!(text.to_bytes(), b"." | b"..") {
                continue;
            }
            listing.bytes += size_of::<(CString, u32)>() + text.count_bytes() + 1;
            if listing.bytes > MAX_BYTES {
                return Err(Errno::OVERFLOW);
            }
            let kind = match entry.file_type() {
                FileType::Unknown => 0,
                known => known.as_raw_mode() >> 12,
            };
            listing.names.push((text.to_owned(), kind));
        }
        Ok(listing)
    }
}
