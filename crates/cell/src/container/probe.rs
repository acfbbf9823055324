//! What of containers works on this machine, tried for real.

use std::path::Path;

use super::launch;
use crate::backend::{Layer, LayerState};
use crate::native;
use crate::plan::Network;

pub(super) fn probe(self_exe: &Path) -> Vec<Layer> {
    let (state, detail, fix) = match launch(&native::probe_plan(self_exe, false, Network::None)) {
        Ok((cell, _ends)) => {
            let runtime = cell.enforced.runtime.clone().unwrap_or_default();
            cell.kill();
            drop(cell.wait());
            (LayerState::Ok, format!("{} makes a container of a cell's root", runtime.display()), None)
        }
        Err(e) => (LayerState::Missing, e.what, e.fix),
    };
    vec![Layer { layer: "container", state, required: true, detail, fix }]
}
