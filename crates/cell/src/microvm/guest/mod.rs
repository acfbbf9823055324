//! The guest: PID 1 of a virtual machine. It loads the kernel's modules, mounts what monitor and broker serve, and starts cell-init, which
//! serves here as everywhere; this process is launcher and broker to it.
//!
//! Whoever takes the guest's kernel over can forge all of this, and gains what the agent has: the root that it is shown, the mounts that
//! the broker mediates, the network that ends at the broker.

mod cell;
mod mounts;
mod network;
mod ports;
mod streams;

use std::fs::{self, File};
use std::io;

use rustix::system::finit_module;

use super::image;
use super::wire::{self, FromGuest, GuestPlan};
use crate::plan::SetupError;

/// `MODULE_INIT_COMPRESSED_FILE` of finit_module(2).
const COMPRESSED: i32 = 4;

/// The main of a guest's first process. The caller must have one thread only. It returns the reason why there is no agent, when there is
/// nobody to be told; a kernel whose first process ends ends with it.
///
/// # Errors
/// When this process is no guest's first, or gets no way to the monitor.
pub fn main() -> SetupError {
    if rustix::process::getpid().as_raw_nonzero().get() != 1 {
        return SetupError::new("this is a part of chaperone, and started by it alone");
    }
    let begun = prepare();
    match begun {
        Ok((plan, control)) => {
            let Err(error) = cell::run(plan, &control) else { chaperone_sys::exit_now(0) };
            let said = wire::say(&mut &control, &FromGuest::Failed(error.to_string()));
            // The monitor ends this machine.
            if said.is_ok() {
                loop {
                    std::thread::park();
                }
            }
            SetupError::new(error.to_string())
        }
        Err(error) => SetupError::new(error.to_string()),
    }
}

/// The kernel's own file systems, the modules, the plan, and the way to the monitor.
fn prepare() -> io::Result<(GuestPlan, File)> {
    mounts::of_the_kernel()?;
    load_modules()?;
    let plan = serde_json::from_slice(&fs::read(image::PLAN)?)?;
    let control = ports::open(wire::CONTROL)?;
    Ok((plan, control))
}

fn load_modules() -> io::Result<()> {
    let mut modules: Vec<_> = fs::read_dir(image::MODULES)?.collect::<io::Result<_>>()?;
    modules.sort_by_key(fs::DirEntry::file_name);
    for module in modules {
        let is_plain = module.path().extension().is_some_and(|end| end == "ko");
        finit_module(File::open(module.path())?, c"", if is_plain { 0 } else { COMPRESSED })
            .map_err(|e| io::Error::other(format!("load {}: {e}", module.path().display())))?;
        fs::remove_file(module.path())?;
    }
    Ok(())
}
