//! The microVM backend: a native cell whose program is a virtual machine, with the agent in it. The guest's kernel is a wall between
//! the agent and this machine's; whoever gets through it and through the VMM is in a native cell still, and finds there what the agent
//! was shown anyway.
//!
//! What [`chaperone_sys`] and the native backend start in the cell is the [`monitor`]. It builds the guest's first file system, runs the
//! VMM, shows the guest the cell's root read-only, and relays the rest: frames of mediated mounts to the broker, streams, signals, the
//! channel. In the guest, [`guest`] mounts all that, and serves as cell-init does everywhere.

mod clock;
mod console;
mod elf;
mod frames;
mod guest;
mod image;
mod join;
mod kernel;
mod launch;
mod machine;
mod monitor;
mod step;
mod wire;

use std::path::Path;

use crate::backend::{Backend, BrokerEnds, Launched, Layer};
use crate::native;
use crate::plan::{Plan, SetupError};

pub use guest::main as guest_init;
pub use monitor::{Show, main as monitor};

/// A virtual machine of the agent's own, by QEMU.
#[derive(Debug, Clone, Copy)]
pub struct MicroVm;

impl Backend for MicroVm {
    fn name(&self) -> &'static str {
        "microvm"
    }

    fn help(&self) -> &'static str {
        "A virtual machine with a kernel of its own (QEMU), inside a native cell; slow without KVM"
    }

    fn available(&self) -> Result<(), SetupError> {
        native::Native.available()?;
        machine::find()?;
        kernel::find().map(drop)
    }

    fn is_for_asking(&self) -> bool {
        true
    }

    fn publishes(&self) -> bool {
        false
    }

    fn probe(&self, _self_exe: &Path) -> Vec<Layer> {
        vec![launch::layer()]
    }

    fn launch(&self, plan: &Plan) -> Result<(Launched, BrokerEnds), SetupError> {
        launch::launch(plan)
    }

    fn can_capture(&self) -> Result<(), SetupError> {
        native::Native.can_capture()
    }
}
