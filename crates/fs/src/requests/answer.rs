//! What answers are made of: errors, paths behind node numbers, trust.

use chaperone_names::name_as_text;
use rustix::io::Errno;

use crate::gate::Refused;
use crate::protocol::{Reply, Short};
use crate::shared::Shared;
use crate::tree::join;

/// How long the kernel may believe a name and its attributes without asking: what the user changes from outside
/// is seen after that.
pub(super) const TRUST_SECONDS: u64 = 1;

/// Why a request failed.
pub(super) struct Failed(pub i32);

impl Failed {
    pub fn is(&self, errno: Errno) -> bool {
        self.0 == errno.raw_os_error()
    }
}

impl From<Errno> for Failed {
    fn from(e: Errno) -> Self {
        Self(e.raw_os_error())
    }
}

impl From<Short> for Failed {
    fn from(_: Short) -> Self {
        Self(Errno::INVAL.raw_os_error())
    }
}

impl From<Refused> for Failed {
    fn from(r: Refused) -> Self {
        Self(r.0)
    }
}

impl From<std::io::Error> for Failed {
    fn from(e: std::io::Error) -> Self {
        crate::tree::errno(e).into()
    }
}

/// Bytes of a path below the mount, as the kernel and the stage take it.
const MAX_PATH: usize = 4095;

pub(super) type Answer = Result<Reply, Failed>;

pub(super) fn path_of(shared: &Shared, node: u64) -> Result<String, Failed> {
    shared.nodes.read().path(node).map(str::to_owned).ok_or_else(|| Errno::STALE.into())
}

pub(super) fn child(shared: &Shared, parent: u64, name: &[u8]) -> Result<String, Failed> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG.into());
    }
    let name = name_as_text(name);
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Errno::INVAL.into());
    }
    let path = join(&path_of(shared, parent)?, &name);
    if path.len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG.into());
    }
    Ok(path)
}
