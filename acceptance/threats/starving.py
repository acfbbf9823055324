"""A hostile session hoards and floods whatever it can; an honest one beside it works on, and the broker stays small."""
import json, os, subprocess, time

from harness.cell import CHAPERONE, DOCS, WORK, asked, broker, chaperone, fresh_docs, until, write
from harness.claims import check, claim, expect, note

# Seconds that the honest one works alone, and beside the hostile one.
ALONE, BESIDE = 6, 25
# What others may make of an opening beside a doubling: the machine has few processors, and the hostile one keeps one busy.
ALLOWANCE_MS = 10
# Of the broker, in bytes: the share of one session, and what it takes by itself.
MEMORY = (256 << 20) + (192 << 20)
# Of the log: what a session may write at once and then each second, with room for what is measured late.
LOG_AT_ONCE, LOG_A_SECOND = 150 << 20, 3 << 20
LARGE, LARGE_BYTES, NAMES = 20, 24 << 20, 20_000

HONEST = """
import os, sys, time
until, took = time.monotonic() + float(sys.argv[1]), []
while time.monotonic() < until:
    for n in range(50):
        began = time.perf_counter()
        with open(f"/workspace/honest/{n}.txt") as f:
            assert f.read().startswith("an ordinary paper")
        took.append(time.perf_counter() - began)
        time.sleep(0.001)
took.sort()
print(len(took), took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3)
"""
HOSTILE = """
import itertools, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
deep = "/workspace/" + "/".join(["d" * 200] * 10)
os.makedirs(deep)
held = []

def hoard(open_one, most=20_000):
    try:
        held.append(open_one())
        if len(held) > most:
            os.close(held.pop(0))
    except OSError:
        pass

def names_of(directory):
    try:
        return os.listdir(directory)
    except OSError:
        return []

def copies():
    for name in names_of("/workspace/large"):
        hoard(lambda: os.open("/workspace/large/" + name, os.O_RDONLY))

def files():
    for n in range(50):
        hoard(lambda: os.open(f"/workspace/honest/{n}.txt", os.O_RDONLY))

def folders():
    hoard(lambda: os.open("/workspace/many", os.O_RDONLY | os.O_DIRECTORY))
    try:
        os.listdir(held[-1])
    except (OSError, IndexError):
        pass

names = itertools.count()
def records():
    for path in (deep + "/same", f"{deep}/{'n' * 200}{next(names)}"):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            if path.endswith("same"):
                os.unlink(path)
        except OSError:
            pass

for kind in (copies, files, folders, records):
    if os.fork() == 0:
        while True:
            kind()
os.wait()
"""


def session(source, *arguments):
    return subprocess.Popen([CHAPERONE, "run", "--workspace", DOCS, "--ask", "deny", "--", "python3", "-c", source, *arguments],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def honest(seconds):
    """How many openings there were, and of those the median and the slowest of a hundred, in ms."""
    out, _ = session(HONEST, str(seconds)).communicate(timeout=seconds + 60)
    count, median, slow = out.split()[-3:]
    return int(count), float(median), float(slow)


def memory(pid):
    """Resident bytes, and where one may look those of files in memory, which are nobody's mapping."""
    with open(f"/proc/{pid}/status") as f:
        lines = dict(line.split(":", 1) for line in f)
    resident = int(lines["VmRSS"].split()[0]) << 10
    return resident + sum(blocks for _, blocks in memory_files(pid).items())


def memory_files(pid):
    found = {}
    for fd in descriptors(pid) or ():
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("/memfd:"):
                seen = os.stat(f"/proc/{pid}/fd/{fd}")
                found[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
        except OSError:
            pass
    return found


def descriptors(pid):
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return None


def most_descriptors(pid):
    """What one session gets of the broker's limit, and what the broker has besides."""
    with open(f"/proc/{pid}/limits") as f:
        limit = next(line.split()[3] for line in f if line.startswith("Max open files"))
    share = int(limit) // 8 * 3
    return share // 64 + share // 2 + 400


def log_bytes():
    folder = os.path.join(os.environ["CHAPERONE_HOME"], "state", "audit")
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names if os.path.exists(os.path.join(at, name)))


@check("a hostile session starves only itself")
def _():
    fresh_docs()
    for n in range(50):
        write(f"honest/{n}.txt", f"an ordinary paper {n}\n")
    # One content, so that it is looked at once: each is a private copy of its own all the same.
    for n in range(LARGE):
        write(f"large/{n}.txt", ("an ordinary line of a long paper\n" * 800_000)[:LARGE_BYTES])
    for n in range(NAMES):
        write(f"many/{n}", "")
    before = honest(ALONE)
    pid, small, log = broker(), memory(broker()), log_bytes()
    hostile = session(HOSTILE)
    try:
        began, seen, open_files = time.monotonic(), 0, 0
        time.sleep(2)
        work = session(HONEST, str(BESIDE))
        while work.poll() is None:
            seen = max(seen, memory(pid))
            open_files = max(open_files, len(descriptors(pid) or ()))
            time.sleep(0.2)
        out = work.communicate()[0]
        after = out.split()[-3:]
        written, seconds = log_bytes() - log, time.monotonic() - began
        ended = hostile.poll()
    finally:
        hostile.kill()
        told = hostile.communicate()[0]
    with claim("the hostile one went on all the time"):
        expect(ended is None, told)
    count, median, slow = int(after[0]), float(after[1]), float(after[2])
    note(f"alone: {before[0]} openings, median {before[1]:.2f} ms, p99 {before[2]:.2f} ms")
    note(f"beside it: {count} openings, median {median:.2f} ms, p99 {slow:.2f} ms")
    note(f"broker: {small >> 20} MiB before, {seen >> 20} MiB at most, {open_files} descriptors at most; {written / seconds / 1e6:.1f} MB of records a second")
    with claim("an honest one's openings take at most twice their time and a little"):
        expect(slow <= 2 * before[2] + ALLOWANCE_MS, before, after)
    with claim("the broker's memory stays below what one session may hold"):
        expect(seen <= MEMORY, seen)
    if descriptors(pid) is not None:
        with claim("the broker's descriptors stay below what one session may hold"):
            expect(open_files <= most_descriptors(pid), open_files, most_descriptors(pid))
    with claim("the log grows at its pace"):
        expect(written <= LOG_AT_ONCE + LOG_A_SECOND * seconds, written, seconds)
    with claim("what it held is freed when it has ended"):
        less = until(lambda: memory(pid) <= small + (96 << 20), 15)
        expect(less, small, memory(pid))
    with claim("the log verifies, and says how often what was repeated"):
        assert asked("audit", "verify")["integrity"] == "ok"
        last = [s["id"] for s in asked("sessions", "--all")["sessions"]]
        records = [json.loads(line) for one in last for line in chaperone("audit", "query", "--session", one, "--action", "delete", "--json").splitlines()]
        expect(any("repeated" in r["reasons"] for r in records), records[-3:])
