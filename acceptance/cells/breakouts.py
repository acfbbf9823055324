"""What breaks out of cells that are given too much, and what cells could leave behind: for every kind of them."""
import glob

# What breaks out of cells that are given too much: each opens the way and goes no further. Prints the ways that are open.
BREAKOUTS = r"""
import ctypes, glob, os, stat
libc, open_ways = ctypes.CDLL(None, use_errno=True), []
def way(name, attempt):
    try:
        if attempt() is not False: open_ways.append(name)
    except OSError: pass
def writable(path):
    os.close(os.open(path, os.O_WRONLY))
def mounted(kind, options=None):
    os.makedirs("/tmp/at", exist_ok=True)
    done = libc.mount(b"x", b"/tmp/at", kind.encode(), 0, options)
    if done == 0: libc.umount2(b"/tmp/at", 2)
    return done == 0
def cgroup():
    if not mounted("cgroup2"): return False
def device():
    os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))
    os.close(os.open("/tmp/disk", os.O_RDONLY))
def leaked():
    own = [int(n) for n in os.listdir("/proc/self/fd")]
    places = [os.readlink(f"/proc/self/fd/{n}") for n in own if n > 2 and os.path.exists(f"/proc/self/fd/{n}")]
    return any(p.startswith("/") and not p.startswith("/proc/") for p in places)
way("core_pattern", lambda: writable("/proc/sys/kernel/core_pattern"))
way("sysrq", lambda: writable("/proc/sysrq-trigger"))
way("uevent_helper", lambda: writable("/sys/kernel/uevent_helper"))
way("release_agent", cgroup)
way("device", device)
way("leaked descriptor", leaked)
way("first process's root", lambda: os.listdir("/proc/1/root/etc"))
way("first process's memory", lambda: os.close(os.open("/proc/1/mem", os.O_RDWR)))
way("runtime's program", lambda: writable(os.readlink("/proc/1/exe")))
way("first process's descriptors", lambda: len(os.listdir("/proc/1/fd")) > 0)
way("kernel memory", lambda: os.read(os.open("/proc/kcore", os.O_RDONLY), 1))
def others():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if b"a-process-of-the-host" in open(path, "rb").read().split(b"\0"): return True
        except OSError: pass
    return False
way("host's processes", others)
way("keys", lambda: libc.syscall(250, 0, -3, 1) >= 0)
print("open:", sorted(open_ways))
"""


def leftovers(sessions):
    """What cells of these sessions could leave on the host: processes of theirs, which have the session in their environment or are its
    holders; groups, and files of runtimes. Mounts are in namespaces that end with their processes."""
    left = []
    for at in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(at, "rb") as f:
                variables = f.read().split(b"\0")
            if any(f"CHAPERONE_SESSION={session}".encode() in variables for session in sessions):
                left.append(at)
        except OSError:
            continue
    groups = [g for s in sessions for g in glob.glob(f"/sys/fs/cgroup/*/chaperone-{s}") + glob.glob(f"/sys/fs/cgroup/chaperone-{s}")]
    return left + groups + glob.glob("/run/crun/*") + glob.glob("/run/runc/*")
