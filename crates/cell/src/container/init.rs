//! cell-init in a container: executed there as root without capabilities but one, it becomes the agent's user in a user namespace of
//! its own, executes itself again there, and serves as in a native cell. A program that was executed where the user is root has its
//! part of `/proc` owned by the user, whatever it becomes; executed where there is no root, nobody's (`task_dump_owner` in
//! `fs/proc/base.c`).

use std::os::fd::OwnedFd;

use super::bundle::INIT;
use super::handed::{FIXED, Handed, Taken};
use crate::native::{Held, Traps, agent_filter, fail, serve};
use crate::plan::{AGENT_UID, PROGRAM, SetupError};

/// What cell-init is listed as.
const NAME: &str = "cell-init";

/// The main of cell-init in a container, with so many descriptors from 3 on. The caller must have one thread only, and no other
/// descriptors; it does not return but with the reason why it cannot begin.
///
/// # Errors
/// When it was not started by a runtime, as part of a cell.
pub fn main(descriptors: usize) -> SetupError {
    if rustix::process::geteuid().is_root() {
        let error = become_the_agents_user(descriptors);
        if let Ok([_, reports, ..]) = chaperone_sys::numbered_descriptors(FIXED).as_deref() {
            fail(reports, error);
        }
        return error;
    }
    let taken = chaperone_sys::numbered_descriptors(descriptors.max(FIXED));
    let (control, reports, mut rest) = match taken.map(|all| {
        let mut all = all.into_iter();
        (all.next(), all.next(), all)
    }) {
        Ok((Some(control), Some(reports), rest)) => (control, reports, rest),
        _ => return SetupError::new("this is a part of chaperone, and started by it alone"),
    };
    let taken = match take(&mut rest) {
        Ok(taken) => taken,
        Err(error) => fail(&reports, error),
    };
    let Taken { plan, watch, descriptors, traps } = taken;
    let filter = match agent_filter(plan.debug) {
        Ok(filter) => filter,
        Err(error) => fail(&reports, SetupError::new(error.to_string())),
    };
    let held = Held { filter, control, reports, watch, descriptors, frames: Vec::new(), told: None };
    let traps: Traps = traps.into_iter().zip(rest.map(Into::into)).collect();
    // A runtime may have made what it hands on wait (os.File.Fd of Go).
    if let Err(e) = traps.iter().try_for_each(|(_, trap)| trap.set_nonblocking(true)) {
        fail(&held.reports, SetupError::new(format!("watch the decoys: {e}")));
    }
    let forgotten = chaperone_sys::forget_arguments(NAME);
    let forgotten = forgotten.map_err(|e| SetupError::new(format!("forget the arguments: {e}")));
    serve(&plan, held, forgotten.map(|()| traps))
}

/// The plan, and the streams in their places.
fn take(rest: &mut impl Iterator<Item = OwnedFd>) -> Result<Taken, SetupError> {
    let mut next = || rest.next().ok_or_else(|| SetupError::new("the container got too few descriptors"));
    let taken = Handed::take(next()?)?;
    let failed = |e: rustix::io::Errno| SetupError::new(format!("take the standard streams: {e}"));
    rustix::stdio::dup2_stdin(next()?).map_err(failed)?;
    rustix::stdio::dup2_stdout(next()?).map_err(failed)?;
    rustix::stdio::dup2_stderr(next()?).map_err(failed)?;
    Ok(taken)
}

/// In a user namespace of its own, as this program once more. Returns only on failure.
fn become_the_agents_user(descriptors: usize) -> SetupError {
    let entered = chaperone_sys::enter_user_namespace(AGENT_UID, false)
        .and_then(|()| chaperone_sys::keep_setpcap_across_exec());
    let error = match entered {
        Ok(()) => {
            let command = [PROGRAM.into(), INIT.into(), descriptors.to_string().into()];
            chaperone_sys::exec(PROGRAM.as_ref(), &command, &[])
        }
        Err(error) => error,
    };
    SetupError::new(format!("become the agent's user: {error}"))
}
