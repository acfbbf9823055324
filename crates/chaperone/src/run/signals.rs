//! What ends programs from outside, SIGTERM and the SIGHUP of a terminal that is closed, ends the session and not this command alone:
//! the agent gets it, and the user is told what of the session is left.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use chaperone_cell::Launched;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long an agent may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// Whoever signals for the third time does not want to wait for anything.
const ENOUGH: u32 = 3;

/// Holds the signals back, for [`Self::pass_on`] to take them.
pub struct Signals {
    descriptor: OwnedFd,
    heard: Arc<AtomicI32>,
}

impl Signals {
    /// Before any thread is made, which would be ended by them still. What the caller ignores, as `nohup` does, stays ignored.
    pub fn hold() -> io::Result<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status")?);
        let ours = [Signal::TERM, Signal::HUP].map(Signal::as_raw);
        let taken: Vec<i32> = ours.into_iter().filter(|signal| ignored & bit(*signal) == 0).collect();
        Ok(Self { descriptor: chaperone_sys::signal_descriptor(&taken)?, heard: Arc::default() })
    }

    /// Pass on to the agent what comes from here on. One that does not end then is ended.
    pub fn pass_on(&self, cell: &Launched) -> io::Result<()> {
        let pid = Pid::from_raw(cell.init_pid).ok_or(io::ErrorKind::InvalidInput)?;
        let init = pidfd_open(pid, PidfdFlags::empty())?;
        let (descriptor, heard) = (self.descriptor.try_clone()?, Arc::clone(&self.heard));
        let pass = move || pass(&descriptor, &init, &heard);
        std::thread::Builder::new().name("signals".into()).spawn(pass).map(drop)
    }

    /// The signal that came.
    pub fn heard(&self) -> Option<&'static str> {
        match self.heard.load(Ordering::Acquire) {
            0 => None,
            signal if signal == Signal::HUP.as_raw() => Some("SIGHUP"),
            _ => Some("SIGTERM"),
        }
    }
}

fn pass(descriptor: &OwnedFd, init: &OwnedFd, heard: &AtomicI32) {
    let mut until: Option<Instant> = None;
    let mut count = 0;
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], left.as_ref()) {
            Ok(0) => {
                // What is gone by now needs no signal.
                pidfd_send_signal(init, Signal::KILL).ok();
                until = None;
                continue;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let Ok(Some(signal)) = chaperone_sys::take_signal(descriptor.as_fd()) else { continue };
        heard.store(signal, Ordering::Release);
        count += 1;
        if count >= ENOUGH {
            std::process::exit(128 + signal);
        }
        let hangup = signal == Signal::HUP.as_raw();
        let sent = match count {
            1 if hangup => Signal::HUP,
            1 => Signal::TERM,
            _ => Signal::KILL,
        };
        pidfd_send_signal(init, sent).ok();
        until = Some(Instant::now() + GRACE);
    }
}

fn bit(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|at| 1u64.checked_shl(at)).unwrap_or(0)
}

/// What a process ignores, as `/proc/PID/status` has it.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_of_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_ne!(ignored(status) & bit(Signal::HUP.as_raw()), 0);
        assert_eq!(ignored(status) & bit(Signal::TERM.as_raw()), 0);
        assert_eq!(ignored(""), 0);
    }
}
