//! The VMM: QEMU's `microvm`, with one serial device of many ports and, where the cell has a network, one card. It is started by the
//! [`super::monitor`] in the cell, as the agent's user, with the agent's system calls.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use super::image::PROGRAM;
use super::wire::MOST_PORTS;
use crate::plan::SetupError;

/// Where programs are that every cell shows.
const PLACES: &[&str] = &["/usr/bin", "/usr/local/bin"];
const NAME: &str = "qemu-system-x86_64";
/// What the guest's init is called as.
const INIT: &str = "__microvm-init";
/// MiB of translated code.
const TRANSLATED: u64 = 128;

/// The guest, and the VMM as the guest sees it: behind it is the cell's loopback.
pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 70);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 66);
/// Bits of their network.
pub(super) const NETWORK_BITS: u8 = 26;

pub(super) struct Machine<'a> {
    pub program: &'a Path,
    pub kernel: &'a Path,
    /// The first file system.
    pub image: File,
    /// MiB.
    pub memory: u64,
    /// By their numbers.
    pub ports: Vec<(u32, OwnedFd)>,
    pub console: OwnedFd,
    /// Of the processor's cycle counter.
    pub khz: Option<u64>,
}

/// The VMM's program.
///
/// # Errors
/// When there is none, with the command that installs it.
pub(super) fn find() -> Result<PathBuf, SetupError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(SetupError::new("virtual machines are for x86-64 in this version"));
    }
    let found = PLACES.iter().map(|place| Path::new(place).join(NAME)).find(|at| at.is_file());
    found.ok_or_else(|| {
        SetupError::new(format!("{NAME} is not installed")).fix("sudo apt-get install qemu-system-x86")
    })
}

impl Machine<'_> {
    /// Start it. Its messages are on the child's standard error.
    ///
    /// # Errors
    /// The system's error.
    pub(super) fn start(self) -> io::Result<Child> {
        let given = self.ports.iter().map(|(_, end)| end).chain([&self.console]);
        for descriptor in given {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        fcntl_setfd(&self.image, FdFlags::empty())?;
        let mut command = Command::new(self.program);
        command.args(self.arguments()).env_clear().current_dir("/");
        // Signals for the agent's group are none for the VMM.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn()
    }

    fn arguments(&self) -> Vec<OsString> {
        // `panic=-1`: a guest that is over is not waited for. The processor's own random numbers are the host's.
        let counter = self.khz.map_or_else(String::new, |khz| format!(" tsc_early_khz={khz}"));
        let line = format!(
            "console=ttyS0 quiet panic=-1 reboot=t no_timer_check lpj=4000000{counter} tsc=nowatchdog random.trust_cpu=on rdinit={PROGRAM} -- {INIT}"
        );
        let mut arguments: Vec<OsString> = [
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-machine",
            "microvm,acpi=on,rtc=on",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        ]
        .map(OsString::from)
        .into();
        let mut add = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        add("-accel", format!("tcg,tb-size={TRANSLATED}").into());
        add("-m", self.memory.to_string().into());
        add("-kernel", self.kernel.into());
        add("-initrd", format!("/proc/self/fd/{}", self.image.as_raw_fd()).into());
        add("-append", line.into());
        add("-chardev", format!("socket,id=console,fd={}", self.console.as_raw_fd()).into());
        add("-serial", "chardev:console".into());
        add("-device", format!("virtio-serial-device,max_ports={}", MOST_PORTS + 1).into());
        for (number, end) in &self.ports {
            add("-chardev", format!("socket,id=port{number},fd={}", end.as_raw_fd()).into());
            add("-device", format!("virtserialport,chardev=port{number},nr={number}").into());
        }
        // Its channel needs the card also where the cell has no network: then nothing but the cell's loopback is behind it.
        let network = Ipv4Addr::from_bits(GATEWAY.to_bits() & (u32::MAX << (32 - u32::from(NETWORK_BITS))));
        add("-netdev", format!("user,id=net,ipv6=off,net={network}/{NETWORK_BITS},host={GATEWAY}").into());
        add("-device", "virtio-net-device,netdev=net".into());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_plan_is_in_the_arguments() {
        let (a, b) = crate::stops::pair().unwrap();
        let machine = Machine {
            program: Path::new("/usr/bin/qemu-system-x86_64"),
            kernel: Path::new("/boot/vmlinuz-6.1.0-1-cloud-amd64"),
            image: tempfile::tempfile().unwrap(),
            memory: 512,
            ports: vec![(1, a)],
            console: b,
            khz: Some(2_000_000),
        };
        let arguments = machine.arguments();
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        assert!(has("512") && has("virtserialport,chardev=port1,nr=1"), "{arguments:?}");
        assert!(has("user,id=net,ipv6=off,net=192.0.0.64/26,host=192.0.0.66"), "{arguments:?}");
    }
}
