//! The guest's file systems: the cell's root read-only, layers in memory over what the agent may write, and what the broker mediates.

use std::ffi::CString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::ports;
use crate::microvm::frames;
use crate::microvm::step::step;
use crate::microvm::wire::{FIRST_MOUNT, ROOT, Shared};
use crate::native::TERMINALS;
use crate::plan::{AGENT_GID, AGENT_UID, CHANNEL, WORKSPACE};

/// Where the agent's root is put together.
pub(super) const NEW_ROOT: &str = "/root";
/// Where its layers are.
const LAYERS: &str = "/layers";
/// Most bytes of a read and a write, as the broker agrees to on a socket.
const MOST: u32 = 128 << 10;
/// How often the kernel is told of what it was busy with.
const NOTICE_TRIES: u32 = 5;

const CAREFUL: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// What is mounted of the broker's, to be written back before the guest ends.
pub(super) struct Mounts(Vec<PathBuf>);

/// What the kernel itself shows, and terminals for this process.
pub(super) fn of_the_kernel() -> io::Result<()> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        step(&format!("mount {at}"), mount(kind, at, kind, MountFlags::empty(), None))?;
    }
    fs::create_dir_all("/dev/pts")?;
    step(
        "mount /dev/pts",
        mount("devpts", "/dev/pts", "devpts", MountFlags::empty(), Some(c"newinstance,ptmxmode=0666")),
    )
}

impl Mounts {
    /// Everything but the `/proc` of the agent's processes, and the socket behind which the channel is.
    pub(super) fn make(shared: &Shared) -> io::Result<(Self, UnixListener)> {
        serve(
            ROOT,
            "chaperone-root",
            Path::new(NEW_ROOT),
            MountFlags::RDONLY,
            "user_id=0,group_id=0,allow_other",
        )?;
        devices()?;
        step("make a directory for layers", fs::create_dir_all(LAYERS))?;
        in_memory(Path::new(LAYERS), "mode=0700,size=40%")?;
        for (i, at) in shared.layers.iter().enumerate() {
            layer(i, &inside(at))?;
        }
        let mut mounts = Vec::new();
        for (number, at) in (FIRST_MOUNT..).zip(&shared.mounts) {
            step("make a place for a mount", fs::create_dir_all(inside(at)))?;
            let (at, ids) = (inside(at), format!("user_id={AGENT_UID},group_id={AGENT_GID},allow_other"));
            serve(number, "chaperone", &at, MountFlags::empty(), &ids)?;
            mounts.push(at);
        }
        if let Some(own) = &shared.own_place {
            // Below a directory in memory it is not there yet.
            step("make the workspace's own place", fs::create_dir_all(inside(own)))?;
            step("mount the workspace at its own place", mount_bind(inside(WORKSPACE), inside(own)))?;
        }
        let channel = step("bind the channel", UnixListener::bind("/channel"))?;
        fs::set_permissions("/channel", Permissions::from_mode(0o666))?;
        step("mount the channel", mount_bind("/channel", inside(CHANNEL)))?;
        Ok((Self(mounts), channel))
    }

    /// Write back what the kernel has of the agent's writes.
    pub(super) fn write_back(&self) {
        for at in &self.0 {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A mount that cannot be opened any more has nothing to be written to.
            if let Ok(open) = rustix::fs::open(at, flags, Mode::empty()) {
                rustix::fs::syncfs(&open).ok();
            }
        }
    }
}

/// A place in the agent's root.
pub(super) fn inside(at: impl AsRef<Path>) -> PathBuf {
    Path::new(NEW_ROOT).join(at.as_ref().strip_prefix("/").unwrap_or(at.as_ref()))
}

/// Mount what is served at a port.
fn serve(number: u32, name: &str, at: &Path, flags: MountFlags, options: &str) -> io::Result<()> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let port = ports::open(number)?;
    let options = CString::new(format!(
        "fd={},rootmode=40000,{options},max_read={MOST},default_permissions",
        device.as_raw_fd()
    ))?;
    step(
        &format!("mount {}", at.display()),
        mount(name, at, format!("fuse.{name}"), CAREFUL | flags, Some(options.as_c_str())),
    )?;
    let (device, port) = (Arc::new(device), Arc::new(port));
    let (answered, notified, requests) = (Arc::clone(&device), Arc::clone(&device), Arc::clone(&port));
    let (notices, noticed) = std::sync::mpsc::channel::<Vec<u8>>();
    std::thread::Builder::new().spawn(move || {
        drop(frames::from_packets(device, |frame| (&*requests).write_all(frame)));
    })?;
    std::thread::Builder::new().spawn(move || {
        let answers = BufReader::with_capacity(64 << 10, &*port);
        drop(frames::from_stream(answers, |frame| {
            if frames::is_notice(frame) {
                // The kernel may wait for answers before it is done with it.
                return notices.send(frame.to_vec()).map_err(io::Error::other);
            }
            // The kernel does not know a request any more that was interrupted.
            (&*answered).write(frame).map(drop).or(Ok(()))
        }));
    })?;
    std::thread::Builder::new().spawn(move || {
        for notice in noticed {
            let write = || (&*notified).write(&notice);
            let is_busy = |done: &io::Result<usize>| {
                done.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy)
            };
            // What it is of may be unknown by now.
            drop((0..NOTICE_TRIES).map(|_| write()).find(|done| !is_busy(done)));
        }
    })?;
    Ok(())
}

fn in_memory(at: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    step(&format!("mount {}", at.display()), mount("tmpfs", at, "tmpfs", CAREFUL, Some(options.as_c_str())))
}

/// Of a directory that is shown, one that the agent may write in.
fn layer(number: usize, at: &Path) -> io::Result<()> {
    let shown = step(&format!("look at {}", at.display()), fs::metadata(at))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let lower: OwnedFd = step(&format!("open {}", at.display()), rustix::fs::open(at, flags, Mode::empty()))?;
    let of = Path::new(LAYERS).join(number.to_string());
    let (upper, work) = (of.join("upper"), of.join("work"));
    for directory in [&upper, &work] {
        fs::create_dir_all(directory)?;
    }
    fs::set_permissions(&upper, Permissions::from_mode(shown.mode() & 0o7777))?;
    chown(&upper, Some(AGENT_UID), Some(AGENT_GID))?;
    // By its descriptor: the path may hold what separates options.
    let options = CString::new(format!(
        "lowerdir=/proc/self/fd/{},upperdir={},workdir={}",
        lower.as_raw_fd(),
        upper.display(),
        work.display()
    ))?;
    step(
        &format!("mount {}", at.display()),
        mount("overlay", at, "overlay", CAREFUL, Some(options.as_c_str())),
    )
}

/// `/dev`, as every cell has it.
fn devices() -> io::Result<()> {
    let at = inside("/dev");
    let options = Some(c"mode=0755,size=64k");
    step("mount /dev", mount("tmpfs", &at, "tmpfs", MountFlags::NOSUID, options))?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let device = at.join(name);
        step(
            "make /dev",
            mknodat(
                CWD,
                &device,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                makedev(major, minor),
            ),
        )?;
        fs::set_permissions(&device, Permissions::from_mode(0o666))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        step("link in /dev", symlink(target, at.join(name)))?;
    }
    for directory in ["pts", "shm"] {
        step("make a directory in /dev", fs::create_dir(at.join(directory)))?;
    }
    in_memory(&at.join("shm"), "mode=1777,size=20%")?;
    let options = CString::new(TERMINALS)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    step("mount /dev/pts", mount("devpts", at.join("pts"), "devpts", flags, Some(options.as_c_str())))
}
