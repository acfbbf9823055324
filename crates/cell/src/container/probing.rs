//! Whether containers can be made on this machine, tried for real.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::launch::launch;
use super::runtime::Runtime;
use crate::backend::{Layer, LayerState};
use crate::native;
use crate::plan::{Network, SetupError};

/// The command of this program that tries, and prints how it went.
const TRY: &str = "__cell-probe";

/// The runtime that made a container last, and when its file was changed.
static WORKS: Mutex<Option<(PathBuf, SystemTime)>> = Mutex::new(None);

pub(super) fn probe(self_exe: &Path) -> Vec<Layer> {
    let (state, detail, fix) = match make(self_exe) {
        Ok(runtime) => {
            (LayerState::Ok, format!("{} makes a container of a cell's root", runtime.display()), None)
        }
        Err(e) => (LayerState::Missing, e.what, e.fix),
    };
    vec![Layer { layer: "container", state, required: true, detail, fix }]
}

/// Try whether this runtime makes a container here, in a process of its own: whoever asks may have many threads. A runtime that did is
/// not tried again while its file stays as it is; one that did not may have been mended.
///
/// # Errors
/// Why it does not.
pub(super) fn tried(runtime: &Runtime) -> Result<(), SetupError> {
    let failed = |e: io::Error| SetupError::new(format!("try to make a container: {e}"));
    let changed = runtime.path.metadata().and_then(|meta| meta.modified()).map_err(failed)?;
    let this = Some((runtime.path.clone(), changed));
    let works = || WORKS.lock().unwrap_or_else(PoisonError::into_inner);
    if *works() == this {
        return Ok(());
    }
    let mut command = Command::new("/proc/self/exe");
    let tried = command.arg(TRY).stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(failed)?;
    let said: Result<(), SetupError> = serde_json::from_slice::<Result<(), Said>>(&tried.stdout)
        .map_err(|e| failed(e.into()))?
        .map_err(|(what, fix)| SetupError { what, fix });
    said.map(|()| *works() = this)
}

type Said = (String, Option<String>);

/// The main of the process that tries: what is to be printed. The caller must have one thread only.
///
/// # Errors
/// When it cannot be said.
pub fn said(self_exe: &Path) -> serde_json::Result<String> {
    let made: Result<(), Said> = make(self_exe).map(drop).map_err(|e| (e.what, e.fix));
    serde_json::to_string(&made)
}

/// Make a container and end it; the runtime that made it.
fn make(self_exe: &Path) -> Result<PathBuf, SetupError> {
    let (cell, _ends) = launch(&native::probe_plan(self_exe, false, Network::None))?;
    let runtime = cell.enforced.runtime.clone().unwrap_or_default();
    cell.kill();
    drop(cell.wait());
    Ok(runtime)
}
