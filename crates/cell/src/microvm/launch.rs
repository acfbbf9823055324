//! The outer half of starting a microVM: a native cell, with the monitor where the agent would be.

use std::ffi::OsString;
use std::path::PathBuf;

use super::wire::{FIRST_MOUNT, MOST_PORTS, Shared};
use super::{kernel, machine};
use crate::backend::{Backend, BrokerEnds, Launched, Layer, LayerState};
use crate::native::Native;
use crate::network::PROXY;
use crate::plan::{HOME, Kind, Limits, Mount, Network, PROGRAM, Plan, SetupError};

/// The monitor's command.
const MONITOR: &str = "__microvm";
/// MiB that the VMM takes beside the guest's memory: translated code, the first file system, devices.
const OVERHEAD: u64 = 320;
/// MiB of a guest's memory: the least that it starts with, and the most of one whose cell has no limit.
const LEAST: u64 = 192;
const MOST: u64 = 4096;
/// Processes and threads of monitor and VMM.
const OWN_PROCESSES: u64 = 160;

/// Start the cell. The caller must have one thread only.
pub(super) fn launch(plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
    let vmm = machine::find()?;
    let kernel = kernel::find()?;
    let shared = shared(plan, &vmm, &kernel)?;
    let (mut launched, ends) = Native.launch(&outer(plan, &shared, kernel.image)?)?;
    launched.enforced.runtime = Some(vmm);
    Ok((launched, ends))
}

/// For `doctor`.
pub(super) fn layer() -> Layer {
    let found = machine::find().and_then(|vmm| Ok((vmm, kernel::find()?)));
    let (state, detail, fix) = match found {
        Ok((vmm, kernel)) => {
            let detail = format!("{} runs {}, emulated: slow", vmm.display(), kernel.image.display());
            (LayerState::Partial, detail, None)
        }
        Err(e) => (LayerState::Missing, e.what, e.fix),
    };
    Layer { layer: "microvm", state, required: true, detail, fix }
}

fn shared(plan: &Plan, vmm: &std::path::Path, kernel: &kernel::Kernel) -> Result<Shared, SetupError> {
    if plan.mounts.iter().any(|mount| matches!(mount.kind, Kind::Overlay { .. })) {
        return Err(SetupError::new(
            "a mount that is staged by the kernel cannot be in a virtual machine yet",
        )
        .fix("let the profile mediate it (mode = \"mediated\"), or use --backend native"));
    }
    let mounts: Vec<OsString> =
        plan.mounts.iter().filter(|m| m.kind.is_served()).map(|m| m.at.clone().into()).collect();
    if mounts.len() > (MOST_PORTS - FIRST_MOUNT) as usize {
        return Err(SetupError::new(format!(
            "a virtual machine has at most {} mounts",
            MOST_PORTS - FIRST_MOUNT
        )));
    }
    let caches = plan.caches.iter().map(|cache| &cache.at);
    // In the cell's own directories something of the user's may be shown.
    let own = ["/tmp", "/var/tmp", HOME].map(PathBuf::from);
    let layers = own.iter().chain(&plan.scratch).chain(caches).map(OsString::from).collect();
    let loopback = match &plan.network {
        Network::None => Vec::new(),
        Network::Captured { loopback } => loopback.clone(),
        Network::Proxied => vec![PROXY],
    };
    Ok(Shared {
        session: plan.session.clone(),
        kernel: kernel.image.clone().into(),
        modules: kernel.modules.iter().map(OsString::from).collect(),
        machine: vmm.into(),
        memory: memory(&plan.limits)?,
        mounts,
        changing: plan
            .mounts
            .iter()
            .filter(|mount| matches!(mount.kind, Kind::ReadOnly { .. }))
            .map(|mount| mount.at.clone().into())
            .collect(),
        own_place: plan.own_place.clone().map(Into::into),
        layers,
        workdir: plan.workdir.clone().into(),
        umask: plan.umask,
        processes: plan.limits.processes,
        debug: plan.debug,
        loopback,
    })
}

/// The cell around the guest.
fn outer(plan: &Plan, shared: &Shared, kernel: PathBuf) -> Result<Plan, SetupError> {
    let mut outer = plan.clone();
    let text =
        serde_json::to_string(shared).map_err(|e| SetupError::new(format!("write the guest's plan: {e}")))?;
    // It is called as the agent's program is, by whose name decoys go.
    let called = plan.command.first().cloned().unwrap_or_default();
    outer.program = PROGRAM.into();
    outer.command = vec![called, MONITOR.into(), text.into(), plan.program.clone()];
    outer.command.extend(plan.command.iter().cloned());
    outer.workdir = PathBuf::from("/");
    for mount in &mut outer.mounts {
        if matches!(mount.kind, Kind::Fuse) {
            *mount = Mount { at: mount.at.clone(), kind: Kind::Frames };
        }
    }
    outer.read_only.push(kernel);
    outer.limits.processes = plan.limits.processes.map(|count| count.max(OWN_PROCESSES));
    // Of the guest's own matter: the monitor needs none of it.
    outer.debug = false;
    outer.tells = true;
    Ok(outer)
}

/// MiB of the guest's memory.
fn memory(limits: &Limits) -> Result<u64, SetupError> {
    let all = || {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|kib| kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        (total.unwrap_or(0) >> 11).clamp(LEAST, MOST)
    };
    match limits.memory.map(|bytes| bytes >> 20) {
        None => Ok(all()),
        Some(most) if most >= OVERHEAD + LEAST => Ok((most - OVERHEAD).min(MOST)),
        Some(most) => Err(SetupError::new(format!(
            "the limit of {most} MiB is too little for a virtual machine, which needs {} MiB",
            OVERHEAD + LEAST
        ))
        .fix("raise limits.memory in the profile, or use --backend native")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_fits_into_the_cells_limit() {
        let limits = |memory| Limits { memory, ..Limits::default() };
        assert_eq!(memory(&limits(Some(1 << 30))).unwrap(), 1024 - OVERHEAD);
        let free = memory(&limits(None)).unwrap();
        assert!((LEAST..=MOST).contains(&free));
        let error = memory(&limits(Some(100 << 20))).unwrap_err();
        assert!(error.what.contains("100 MiB") && error.fix.is_some(), "{error}");
    }
}
