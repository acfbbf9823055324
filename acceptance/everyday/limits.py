"""Limits that hold exactly what they say."""
import ctypes

from harness.cell import profile
from ways import once

MANY = """
import subprocess
held = []
try:
    for n in range(200): held.append(subprocess.Popen(['sleep', '60']))
    print('all')
except OSError:
    print(len(held))
for one in held: one.kill()
"""


@once
def the_limit_of_processes_counts_the_cell_alone_and_exactly(way):
    name = profile("few", 'name = "few"\n[[mount]]\npath = "/workspace"\n[limits]\nprocesses = 40\n')
    done = way.ran("python3", "-c", MANY, options=("--profile", name))
    assert done.stdout.strip().isdigit() and 34 <= int(done.stdout) <= 40, done


@once
def a_cell_has_a_keyring_of_its_own(way):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(248, b"user", b"of-the-launcher", b"x", 1, -3) > 0, ctypes.get_errno()
    done = way.ran("sh", "-c", "cat /proc/keys; echo read")
    assert "of-the-launcher" not in done.stdout and "read" in done.stdout, done
