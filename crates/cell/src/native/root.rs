//! The cell's root: a fresh tmpfs with read-only parts of the system, a synthetic `/etc`, an empty home, and the
//! mounts of the session. Sources are opened first; nothing is resolved twice.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use chaperone_sys::{ReadOnly, set_mount_attributes};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use serde::Deserialize;

use super::covers::{cover, hide, stand_ins};
use super::mounting::{
    BASE, EMPTY, Made, also, attach, clone_tree, failed, inside, io_failed, mask, open_dir, overlay, place,
    tmpfs, view,
};
use super::shares;
use super::trust::Trust;
use crate::network::NAME_SERVER;
use crate::plan::{
    AGENT_GID, AGENT_UID, CHANNEL, DecoyKind, HOME, Kind, Network, PROGRAM, Plan, SetupError, WORKSPACE,
};

/// Bytes of the cell's in-memory directories together are bounded by these, each.
const TMP_SIZE: &str = "mode=0755,size=50%";

/// The agent's directories in memory.
pub(super) const IN_MEMORY: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", HOME];

/// Longer settings are not looked into, and not shown, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;

const PACK: &str = "packs/cell/root.toml";

/// What of the host a cell shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    system: Vec<PathBuf>,
    /// What leads to `/tmp`, where the host has it.
    passing: Vec<PathBuf>,
    merged: Vec<PathBuf>,
    etc: Vec<PathBuf>,
    devices: Vec<PathBuf>,
    /// What of `/proc` is empty.
    hidden: Vec<PathBuf>,
    /// What of the system is never shown.
    covered: Vec<PathBuf>,
    /// What of it is shown while it holds nothing that one logs in with, and what that is called.
    settings: Vec<PathBuf>,
    logins: Vec<String>,
    /// What stands for a file that is not shown, by the ending of its name; otherwise nothing does.
    stands: BTreeMap<String, String>,
}

/// What a root yields besides itself.
#[derive(Debug)]
pub struct Built {
    /// One descriptor for each mount that is served, in the plan's order.
    pub fuse: Vec<OwnedFd>,
    /// The other ends of those that are no mounts.
    pub frames: Vec<OwnedFd>,
    pub channel: UnixListener,
    /// Sockets that nobody has a reason to connect to, by their place in the plan's decoys.
    pub traps: Vec<(usize, UnixListener)>,
}

/// Sources opened before anything is mounted over them, and before the uid changes.
pub struct Sources {
    shown: Shown,
    trees: Vec<(PathBuf, OwnedFd)>,
    links: Vec<(PathBuf, PathBuf)>,
    devices: Vec<(PathBuf, OwnedFd)>,
    fuse: Vec<OwnedFd>,
    frames: Vec<OwnedFd>,
    overlays: Vec<(PathBuf, [OwnedFd; 3])>,
    /// Directories of the user's that are shown read-only.
    views: Vec<(PathBuf, OwnedFd)>,
    /// A directory of the user's where there is one, and a layer of the session's: each cache before those in it.
    caches: Vec<(PathBuf, Option<OwnedFd>, [OwnedFd; 2])>,
    trust: Option<Trust>,
}

impl Shown {
    fn read() -> Result<Self, SetupError> {
        chaperone_packs::read(PACK).map_err(|e| SetupError::new(e.to_string()))
    }

    /// The settings below this root that hold something to log in with, or cannot be read through.
    fn with_logins(&self, root: &Path) -> Vec<PathBuf> {
        let holds_one = |path: &&PathBuf| {
            let at = root.join(path.strip_prefix("/").unwrap_or(path));
            match fs::metadata(&at) {
                Err(e) => e.kind() != io::ErrorKind::NotFound,
                Ok(meta) if meta.len() > MAX_SETTINGS => true,
                Ok(_) => match fs::read(&at) {
                    Ok(text) => self.is_login(&text),
                    Err(_) => true,
                },
            }
        };
        self.settings.iter().filter(holds_one).cloned().collect()
    }

    fn is_login(&self, text: &[u8]) -> bool {
        let text = String::from_utf8_lossy(text).to_lowercase();
        let has_user = |address: &str| {
            let host = address.split(|c: char| c == '/' || c.is_whitespace() || "\"'<>".contains(c)).next();
            host.and_then(|host| host.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
        };
        self.logins.iter().any(|word| text.contains(word.as_str())) || text.split("://").skip(1).any(has_user)
    }
}

impl Sources {
    /// Open everything that the plan names.
    ///
    /// # Errors
    /// What is missing, with the command that fixes it.
    pub fn open(plan: &Plan) -> Result<Self, SetupError> {
        let mut sources = Self {
            shown: Shown::read()?,
            trees: vec![],
            links: vec![],
            devices: vec![],
            fuse: vec![],
            frames: vec![],
            overlays: vec![],
            views: vec![],
            caches: vec![],
            trust: None,
        };
        // What happens to mounts in here must never travel out.
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(failed("make mounts private"))?;
        for path in sources.shown.system.iter().filter(|p| p.is_dir()) {
            sources.trees.push((path.clone(), clone_tree(path)?));
        }
        for path in &sources.shown.merged {
            match fs::read_link(path) {
                Ok(target) => sources.links.push((path.clone(), target)),
                Err(_) if path.is_dir() => sources.trees.push((path.clone(), clone_tree(path)?)),
                Err(_) => {}
            }
        }
        for path in sources.shown.passing.iter().filter(|path| path.is_dir()) {
            sources.links.push((path.clone(), PathBuf::from("/tmp")));
        }
        for name in &sources.shown.etc {
            let path = Path::new("/etc").join(name);
            match fs::read_link(&path) {
                Ok(target) => sources.links.push((path, target)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => sources.trees.push((path.clone(), clone_tree(&path)?)),
            }
        }
        for path in &plan.read_only {
            match fs::read_link(path) {
                Ok(target) => sources.links.push((path.clone(), target)),
                Err(_) => sources.trees.push((path.clone(), clone_tree(path)?)),
            }
        }
        sources.trees.push((PathBuf::from(PROGRAM), clone_tree(&plan.self_exe)?));
        for name in &sources.shown.devices {
            let device = clone_tree(&Path::new("/dev").join(name))?;
            sources.devices.push((name.clone(), device));
        }
        for mount in &plan.mounts {
            match &mount.kind {
                Kind::Fuse => sources.fuse.push(open_fuse()?),
                Kind::Frames => {
                    let (served, other) = crate::stops::pair().map_err(io_failed("make a socket pair"))?;
                    sources.fuse.push(served);
                    sources.frames.push(other);
                }
                Kind::ReadOnly { source } => sources.views.push((mount.at.clone(), open_dir(source)?)),
                Kind::Overlay { lower, upper, work, .. } => {
                    sources
                        .overlays
                        .push((mount.at.clone(), [open_dir(lower)?, open_dir(upper)?, open_dir(work)?]));
                }
            }
        }
        for cache in &plan.caches {
            let lower = cache.lower.as_deref().map(open_dir).transpose()?;
            sources.caches.push((cache.at.clone(), lower, [open_dir(&cache.upper)?, open_dir(&cache.work)?]));
        }
        sources.trust = plan.authority.as_deref().map(|der| Trust::read(der, &plan.read_only)).transpose()?;
        Ok(sources)
    }
}

/// Who walls off what is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walls {
    /// This process, which makes it `/`.
    Own,
    /// A container's runtime, from [`BASE`], with a `/proc` and terminals of its own.
    Container,
}

/// What of `/proc` is empty in a cell.
pub(crate) fn hidden() -> Result<Vec<PathBuf>, SetupError> {
    Ok(Shown::read()?.hidden)
}

/// Build the root. Where the walls are this process's own, make it `/` and let go of the old one.
///
/// # Errors
/// The step that failed.
pub fn build(plan: &Plan, sources: Sources, walls: Walls) -> Result<Built, SetupError> {
    tmpfs(Path::new(BASE), TMP_SIZE)?;
    let base = open_dir(Path::new(BASE))?;
    let made = Made::default();
    skeleton(&made, &plan.network)?;
    // Before the trees: an agent may be installed below one of these.
    // None holds more than the cell may; together they are counted with its memory.
    let size = plan.limits.memory.map_or_else(|| "50%".to_owned(), |bytes| bytes.to_string());
    for directory in IN_MEMORY {
        let mode = if *directory == HOME { "0700" } else { "1777" };
        tmpfs(&inside(Path::new(directory)), &format!("mode={mode},size={size}"))?;
    }
    for directory in &plan.scratch {
        made.directory(&inside(directory))?;
        tmpfs(&inside(directory), &format!("mode=0700,size={size}"))?;
    }
    for (at, tree) in &sources.trees {
        attach(&made, tree, at, true)?;
    }
    let shown = &sources.shown;
    stand_ins(&shown.stands)?;
    cover(&plan.covered, &shown.stands)?;
    cover(&shown.covered, &shown.stands)?;
    cover(&shown.with_logins(Path::new("/")), &shown.stands)?;
    for (at, target) in &sources.links {
        let inside = inside(at);
        made.parent(&inside)?;
        symlink(target, &inside).map_err(io_failed(&format!("link {}", at.display())))?;
    }
    // A runtime makes those of the specification itself, which are the same.
    let devices = if walls == Walls::Own { sources.devices.as_slice() } else { &[] };
    for (name, device) in devices {
        let at = Path::new("/dev").join(name);
        File::create(inside(&at)).map_err(io_failed("make /dev"))?;
        set_mount_attributes(device.as_fd(), ReadOnly::No, true, false)
            .map_err(io_failed("restrict a device"))?;
        place(device, &at)?;
    }
    if let Some(trust) = &sources.trust {
        trust.present(&made)?;
    }
    if walls == Walls::Own {
        proc_and_pts()?;
        hide(&shown.hidden)?;
    }
    for (at, [lower, upper, work]) in &sources.overlays {
        overlay(&made, at, lower, upper, work)?;
    }
    for (at, source) in &sources.views {
        view(&made, at, source)?;
    }
    for mount in &plan.mounts {
        if let Kind::Overlay { masked, .. } = &mount.kind {
            mask(&mount.at, masked)?;
        }
    }
    // An overlay also where there is nothing below: what a bind mount is of can be read in the cell.
    let empty = open_dir(&inside(Path::new(EMPTY)))?;
    for (at, lower, [upper, work]) in &sources.caches {
        overlay(&made, at, lower.as_ref().unwrap_or(&empty), upper, work)?;
    }
    let mut fuse = sources.fuse.into_iter();
    let mut served = Vec::new();
    for mount in plan.mounts.iter().filter(|m| m.kind.is_served()) {
        let Some(descriptor) = fuse.next() else { return Err(SetupError::new("a mount has no descriptor")) };
        match mount.kind {
            Kind::Frames => made.directory(&inside(&mount.at))?,
            _ => mount_fuse(&made, &mount.at, &descriptor)?,
        }
        served.push(descriptor);
    }
    if let Some(own) = &plan.own_place {
        also(&made, Path::new(WORKSPACE), own)?;
    }
    for (at, text) in &plan.home_files {
        let at = Path::new(HOME).join(at);
        // What the profile mounts there is the user's.
        if plan.mounts.iter().any(|mount| at.starts_with(&mount.at)) {
            continue;
        }
        let at = inside(&at);
        at.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&at, text))
            .and_then(|()| fs::set_permissions(&at, fs::Permissions::from_mode(0o644)))
            .map_err(io_failed("write into the agent's home"))?;
    }
    let traps = decoys(&made, plan)?;
    let channel = UnixListener::bind(inside(Path::new(CHANNEL))).map_err(io_failed("bind the channel"))?;
    let frames = sources.frames;
    if walls == Walls::Container {
        return Ok(Built { fuse: served, frames, channel, traps });
    }
    pivot(&base)?;
    let root = open_dir(Path::new("/"))?;
    set_mount_attributes(root.as_fd(), ReadOnly::Yes, false, false).map_err(io_failed("make / read-only"))?;
    Ok(Built { fuse: served, frames, channel, traps })
}

/// Directories and synthetic files.
fn skeleton(made: &Made, network: &Network) -> Result<(), SetupError> {
    for directory in [
        "/dev/pts",
        "/dev/shm",
        "/etc",
        HOME,
        "/proc",
        "/run/chaperone/bin",
        EMPTY,
        "/tmp",
        "/var/tmp",
        "/var/lib",
        WORKSPACE,
    ] {
        made.directory(&inside(Path::new(directory)))?;
    }
    let ids = format!("{AGENT_UID}:{AGENT_GID}");
    let files = [
        (
            "/etc/passwd",
            format!(
                "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nagent:x:{ids}:agent:{HOME}:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        ("/etc/group", format!("root:x:0:\nagent:x:{AGENT_GID}:\ntty:x:5:\nnogroup:x:65534:\n")),
        ("/etc/hosts", "127.0.0.1 localhost cell\n::1 localhost\n".to_owned()),
        ("/etc/hostname", "cell\n".to_owned()),
        ("/etc/resolv.conf", resolver(network)),
        ("/etc/machine-id", "00000000000000000000000000000001\n".to_owned()),
        ("/etc/shells", "/bin/sh\n/bin/bash\n".to_owned()),
        ("/etc/nsswitch.conf", name_services(&fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default())),
    ];
    for (path, text) in files {
        fs::write(inside(Path::new(path)), text).map_err(io_failed(path))?;
    }
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/var/run", "../run"),
        ("/etc/mtab", "/proc/self/mounts"),
    ];
    for (at, target) in links {
        symlink(target, inside(Path::new(at))).map_err(io_failed(at))?;
    }
    Ok(())
}

/// The host's, but that nobody is asked for passwords: whoever looks up a user with Perl or `psql` would read `/etc/shadow`, which
/// says nothing on the host either, and is a decoy here. There is no module of that name; without any, glibc crashes.
fn name_services(host: &str) -> String {
    let is_of_passwords =
        |line: &&str| ["shadow:", "gshadow:"].iter().any(|of| line.trim_start().starts_with(of));
    let others = host.lines().filter(|line| !is_of_passwords(line));
    others.chain(["shadow: none", "gshadow: none"]).flat_map(|line| [line, "\n"]).collect()
}

fn resolver(network: &Network) -> String {
    match network {
        Network::None => "# No network in this cell.\n".to_owned(),
        Network::Captured { .. } => format!("nameserver {NAME_SERVER}\n"),
        Network::Proxied => "# The proxy resolves names; http_proxy names it.\n".to_owned(),
    }
}

fn proc_and_pts() -> Result<(), SetupError> {
    let careful = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", inside(Path::new("/proc")), "proc", careful, None).map_err(|e| {
        SetupError::new(format!("mount /proc in the cell: {e}"))
            .fix("run outside of a container, or give the container an unmasked /proc (--security-opt systempaths=unconfined)")
    })?;
    let terminals =
        CString::new(shares::TERMINALS).map_err(|_| SetupError::new("a NUL in the mount options"))?;
    mount(
        "devpts",
        inside(Path::new("/dev/pts")),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        Some(terminals.as_c_str()),
    )
    .map_err(failed("mount /dev/pts"))
}

fn mount_fuse(made: &Made, at: &Path, descriptor: &OwnedFd) -> Result<(), SetupError> {
    let target = inside(at);
    made.directory(&target)?;
    let options = format!(
        "fd={},rootmode=40000,user_id={AGENT_UID},group_id={AGENT_GID},max_read=1048576,default_permissions",
        descriptor.as_raw_fd()
    );
    let options = CString::new(options).map_err(|_| SetupError::new("a NUL in the mount options"))?;
    mount(
        "chaperone",
        &target,
        "fuse.chaperone",
        MountFlags::NOSUID | MountFlags::NODEV,
        Some(options.as_c_str()),
    )
    .map_err(failed(&format!("mount {}", at.display())))
}

fn decoys(made: &Made, plan: &Plan) -> Result<Vec<(usize, UnixListener)>, SetupError> {
    let mut traps = Vec::new();
    for (i, decoy) in plan.decoys.iter().enumerate() {
        let at = inside(&decoy.path);
        if fs::symlink_metadata(&at).is_ok() {
            continue;
        }
        made.parent(&at)?;
        match decoy.kind {
            DecoyKind::File => fs::write(&at, super::decoys::CONTENT).map_err(io_failed("make a decoy"))?,
            DecoyKind::Socket => {
                let trap = UnixListener::bind(&at).map_err(io_failed("make a decoy"))?;
                trap.set_nonblocking(true).map_err(io_failed("make a decoy"))?;
                traps.push((i, trap));
            }
        }
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).map_err(io_failed("make a decoy"))?;
    }
    Ok(traps)
}

fn pivot(base: &OwnedFd) -> Result<(), SetupError> {
    rustix::process::fchdir(base).map_err(failed("enter the new root"))?;
    rustix::process::pivot_root(".", ".").map_err(failed("make the new root /"))?;
    unmount(".", UnmountFlags::DETACH).map_err(failed("let go of the old root"))?;
    rustix::process::chdir("/").map_err(failed("enter /"))
}

fn open_fuse() -> Result<OwnedFd, SetupError> {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|e| {
        let fix = match e {
            rustix::io::Errno::NOENT => "sudo modprobe fuse",
            _ => "sudo chmod 666 /dev/fuse",
        };
        SetupError::new(format!("/dev/fuse cannot be opened ({e}), and mediated mounts need it")).fix(fix)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    #[test]
    fn settings_of_the_machine_are_shown_while_they_hold_no_login() {
        let (shown, root) = (Shown::read().unwrap(), tempfile::tempdir().unwrap());
        let put = |at: &str, text: &str| {
            fs::create_dir_all(root.path().join(at).parent().unwrap()).unwrap();
            fs::write(root.path().join(at), text).unwrap();
        };
        put("usr/etc/npmrc", "registry=https://npm.example.org/\n");
        put("usr/local/etc/npmrc", "//npm.example.org/:_authToken=x\n");
        put(
            "etc/maven/settings.xml",
            "<settings><servers><server><Password>x</Password></server></servers></settings>",
        );
        put("usr/local/etc/pip.conf", "[global]\nindex-url = https://me:x@pypi.example.org/simple\n");
        put(
            "usr/etc/gitconfig",
            "[url \"git@example.org:\"]\n\tinsteadOf = https://example.org/\n[user]\n\tname = a\n",
        );
        assert_eq!(
            shown.with_logins(root.path()),
            ["/etc/maven/settings.xml", "/usr/local/etc/npmrc", "/usr/local/etc/pip.conf"].map(PathBuf::from)
        );
        put("usr/etc/npmrc", &"# nothing\n".repeat(200_000));
        assert!(shown.with_logins(root.path()).contains(&PathBuf::from("/usr/etc/npmrc")), "too long");
    }

    #[test]
    fn nobody_is_asked_for_passwords() {
        let host = "passwd: files systemd\nshadow:   files systemd\ngshadow: files\nhosts: files dns\n";
        assert_eq!(
            name_services(host),
            "passwd: files systemd\nhosts: files dns\nshadow: none\ngshadow: none\n"
        );
        assert_eq!(name_services(""), "shadow: none\ngshadow: none\n");
    }

    #[test]
    fn what_is_shown_of_the_host_is_named_plainly_and_holds_no_secret() {
        let shown = Shown::read().unwrap();
        for path in shown.system.iter().chain(&shown.merged) {
            let is_deep = ["/var/lib", "/var/cache"].iter().any(|at| path.starts_with(at));
            let levels = path.components().count();
            assert!(
                path.is_absolute() && if is_deep { levels >= 4 } else { levels == 2 },
                "{}",
                path.display()
            );
        }
        for name in shown.etc.iter().chain(&shown.devices) {
            let is_plain = |part| matches!(part, Component::Normal(_));
            assert!(name.components().all(is_plain), "{}", name.display());
        }
        for path in &shown.hidden {
            assert!(path.starts_with("/proc") && !path.starts_with("/proc/self"), "{}", path.display());
        }
        for path in shown.covered.iter().chain(&shown.settings) {
            let is_shown = |name: &PathBuf| path.starts_with(Path::new("/etc").join(name));
            assert!(path.starts_with("/usr") || shown.etc.iter().any(is_shown), "{}", path.display());
        }
        for secret in ["shadow", "gshadow", "ssh", "sudoers", "machine-id", "krb5.keytab", "NetworkManager"] {
            assert!(!shown.etc.contains(&PathBuf::from(secret)), "{secret}");
        }
        for device in ["mem", "kmem", "sda", "fuse", "kvm", "uinput", "input", "dri"] {
            assert!(!shown.devices.contains(&PathBuf::from(device)), "{device}");
        }
    }
}
