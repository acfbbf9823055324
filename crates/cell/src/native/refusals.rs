//! Refused system calls that the user wants to know of: answered with an errno, and reported.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

use chaperone_sys::seccomp;

use super::seccomp::{Answers, answers};

/// A refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As this process sees it.
    pub pid: u32,
    pub call: &'static str,
    pub args: [u64; 6],
}

/// The filter of the cell was compiled from the same pack; without it everything would be answered with EPERM.
static ANSWERS: LazyLock<Answers> = LazyLock::new(|| answers().unwrap_or_default());

/// Answer every refused call until no process of the cell is left. `on` is called after the answer.
pub fn serve_refusals(listener: &OwnedFd, mut on: impl FnMut(Refusal)) {
    while let Ok(Some(refused)) = seccomp::receive(listener.as_fd()) {
        if refused.nr < 0 {
            if !somebody_left(listener) {
                return;
            }
            continue;
        }
        let call = super::calls::name(refused.nr).unwrap_or("unknown");
        if seccomp::refuse(listener.as_fd(), refused.id, ANSWERS.errno(call)).is_err() {
            return;
        }
        on(Refusal { pid: refused.pid, call, args: refused.args });
    }
}

/// The listener hangs up when the last process under the filter is gone.
fn somebody_left(listener: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut wait = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut wait, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => !wait.iter().any(|w| w.revents().contains(PollFlags::HUP)),
        Err(_) => false,
    }
}
