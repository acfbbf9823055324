"""Ways out of the cell and to its neighbours."""
import json
import os
import subprocess

from arms import LIMIT, PYTHON, Outcome, World, program, keyring
from case import Attempt, canary, left, word

SECCOMP = "cell.seccomp"

ATTEMPTS = [
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
    Attempt(58, "symbolic link", "", "show(W + '/link.txt')"),
    Attempt(58, "dot dot, /proc/self/root, /proc/self/fd", "", """
show(W + "/.." + PERSON + "/private.txt", "/proc/self/root" + PERSON + "/private.txt", "/proc/1/root" + PERSON + "/private.txt",
     "/proc/self/cwd/.." + PERSON + "/private.txt")
fd = os.open("/", os.O_RDONLY)
show(f"/proc/self/fd/{fd}{PERSON}/private.txt")
for n in range(64):
    show(f"/proc/1/fd/{n}")
os.symlink(PERSON, W + "/way")
show(W + "/way/private.txt")
"""),
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
            effect=left(".Git/Hooks/Pre-Commit"), rule="chaperone.commit.runs_later"),
    Attempt(62, "normal form of a name", "T1546", "os.makedirs(W + '/.g\\u200cit/hooks'); open(W + '/.g\\u200cit/hooks/pre-commit', 'w').write('x')",
            effect=left(".g\u200cit/hooks/pre-commit"), rule="chaperone.commit"),
    Attempt(63, "predictable name in /tmp", "", "show(SHARED + '/tool-1000.tmp', '/tmp/*/*/*/tool-1000.tmp')"),
    Attempt(64, "signals to others", "", """
for pid in [NEIGHBOUR, *GUARDS, 1]:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as e:
        print("no:", pid, e)
try:
    os.waitpid(NEIGHBOUR, 0)
except OSError:
    pass
for _ in range(500):
    if ARM == "bare" and "State:\\tZ" in open(f"/proc/{NEIGHBOUR}/status").read():
        print("THE EFFECT IS THERE")
        break
    if ARM != "bare": break
    time.sleep(0.01)
""", effect=lambda o: word(o) or not getattr(o, "neighbour_lives", True)),
]
