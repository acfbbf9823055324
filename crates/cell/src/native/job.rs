//! The agent as a job of the user's shell. When it stops itself, or is stopped from its terminal, cell-init tells the launcher, which
//! stops too and so gives the user's terminal back; when the launcher goes on, so does the agent.

use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::stops::{GO_ON, STOPPED};

#[derive(Debug, Default)]
pub(super) struct Job {
    launcher: Option<OwnedFd>,
    /// The launcher was told, and has not gone on.
    stopped: bool,
    /// Every process stands still by the broker's order, which is no stop of the agent's own, and nobody's to end but the broker's.
    held: bool,
}

impl Job {
    pub(super) fn new(launcher: Option<OwnedFd>) -> Self {
        Self { launcher, ..Self::default() }
    }

    pub(super) fn launcher(&self) -> Option<&OwnedFd> {
        self.launcher.as_ref()
    }

    /// A child's state has changed: tell the launcher of a stop of the agent.
    pub(super) fn look(&mut self, agent: Option<i32>) {
        let (Some(agent), Some(launcher)) = (agent.and_then(Pid::from_raw), &self.launcher) else { return };
        let stops = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let has_stopped = matches!(waitid(WaitId::Pid(agent), stops), Ok(Some(_)));
        if has_stopped && !self.held && !self.stopped {
            let told = rustix::net::send(launcher, STOPPED, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            self.stopped = told.is_ok();
        }
    }

    /// The launcher says that the user's terminal is the agent's again, or has hung up.
    pub(super) fn resume(&mut self, agent: Option<i32>) {
        let Some(launcher) = &self.launcher else { return };
        let mut bytes = [0; GO_ON.len()];
        match rustix::net::recv(launcher, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((n, _)) if n > 0 => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
            // Its end is noticed where it reports to; here it must not be looked at again and again.
            _ => {
                self.launcher = None;
                return;
            }
        }
        self.stopped = false;
        if !self.held {
            signal(agent, Signal::CONT);
        }
    }

    /// The broker is about to stop everything.
    pub(super) fn hold(&mut self) {
        self.held = true;
    }

    /// The broker has let everything go on: what the user had stopped before stays so.
    pub(super) fn let_go(&mut self, agent: Option<i32>) {
        self.held = false;
        if self.stopped {
            signal(agent, Signal::STOP);
        }
    }
}

fn signal(agent: Option<i32>, signal: Signal) {
    if let Some(agent) = agent.and_then(Pid::from_raw) {
        // The group may have ended this moment; then SIGCHLD follows.
        kill_process_group(agent, signal).ok();
    }
}
