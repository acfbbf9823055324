"""Attempts on the guard itself: its log, its processes and its rules."""
import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

from arms import LIMIT, PYTHON, Outcome, World, program
from case import Attempt, word

def log_changed(outcome):
    if outcome.guard:
        return outcome.guard.command("audit", "verify").returncode != 0
    return (outcome.world.person / ".local/state/chaperone/audit/log").read_text() != "a record\n"


def flooded(outcome):
    """Without a guard that counts, every line lands in the log."""
    if outcome.guard:
        return len(outcome.records) > 200
    return (outcome.world.person / ".local/state/chaperone/audit/log").stat().st_size > 100_000


def downgrade(product, place):
    """A stronger wall is asked for than there is: nothing may run behind a weaker one."""
    world = World(place / "cell")
    source = program(DOWNGRADE, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
    text = ""
    # One whose kernel is not there, and one whose runtime is not.
    for backend in ("microvm", "container"):
        command = [product.chaperone, "run", "--backend", backend, "--workspace", str(world.workspace), "--", PYTHON, "-c", source]
        environment = {**product.env(world), "CHAPERONE_OCI_RUNTIME": "no-such-runtime", "CHAPERONE_VM_KERNEL": "/boot/vmlinuz-none"}
        done = subprocess.run(command, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, errors="replace")
        text += done.stdout + f"exit {done.returncode}\n"
    profile = product.home / "config" / "profiles" / "walls.toml"
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text('name = "walls"\n[[mount]]\npath = "/workspace"\n[require]\nlandlock = 99\n')
    try:
        done = product.command("run", "--profile", "walls", "--workspace", str(world.workspace), "--", PYTHON, "-c", source, world=world)
    finally:
        profile.unlink()
    return Outcome(text + done.stdout + f"exit {done.returncode}\n", world, guard=product)


DOWNGRADE = Attempt(93, "downgrade to a weaker backend", "", """
if ARM == "bare":
    try:
        subprocess.run(["a-microvm-that-is-not-there", "true"])
    except OSError:
        print("THE EFFECT IS THERE: it runs all the same")
else:
    print("THE EFFECT IS THERE: it runs all the same")
""", effect=word, cell=downgrade, ends="exit 125", twin=False)


def endless_rego(product, place):
    """A policy that never ends decides nothing: it is a denial, within its time. One that is seen to be so when it is loaded does
    not come into force; this one shows it with one file alone."""
    world = World(place / "cell")
    folder = product.home / "config" / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    for own in (product.home, folder.parent, folder):
        own.chmod(0o700)
    rule = folder / "endless.rego"
    product.stop()
    rule.write_text("package chaperone.endless\nimport rego.v1\ndecision := {\"effect\": \"allow\", \"reasons\": [\"x\"]} if {\n"
                    "\tinput.action == \"read\"\n\tendswith(input.path, \"/notes.txt\")\n\tsome a in numbers.range(1, 3000)\n\tsome b in numbers.range(1, 3000)\n"
                    "\tsome c in numbers.range(1, 3000)\n\ta * b * c == 7.5\n}\n")
    source = program(ENDLESS, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
    status = world.base / "status"
    try:
        done = product.command("run", "--workspace", str(world.workspace), "--status-file", str(status), "--ask", "deny", "--",
                               PYTHON, "-c", source, world=world)
    finally:
        rule.unlink()
        product.stop()
    session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
    return Outcome(done.stdout, world, product.records(session) if session else [], session, product)


TALKS = """
import socket, time
s = socket.create_connection(("localhost", PORT))
print("attempt made", flush=True)
try:
    for n in range(100):
        s.sendall(b"word %d\\n" % n)
        time.sleep(0.1)
except OSError:
    print("the connection was cut", flush=True)
"""
# A connection is looked at every second.
CUT_WITHIN = 4


class Listener(threading.Thread):
    """A server of the person's: when what came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.came = []
        self.start()

    def run(self):
        peer, _ = self.socket.accept()
        with contextlib.suppress(OSError):
            while got := peer.recv(1000):
                self.came.append((time.monotonic(), got))

    def until_it_talks(self):
        end = time.monotonic() + LIMIT
        while not self.came and time.monotonic() < end:
            time.sleep(0.05)

    def since(self, when):
        return [got for at, got in self.came if at > when]


def talks_bare(root):
    world, server = World(root / "bare"), Listener()
    done = subprocess.run([PYTHON, "-c", TALKS.replace("PORT", str(server.port))], stdout=subprocess.PIPE, text=True, timeout=LIMIT)
    first = server.came[0][0]
    return Outcome(done.stdout + ("THE EFFECT IS THERE\n" if server.since(first + CUT_WITHIN) else ""), world)


def talks_cell(product, root):
    """Its capability is revoked while the agent holds a connection open."""
    world, server = World(root / "cell"), Listener()
    arguments = ["run", "--workspace", str(world.workspace), "--ask", "deny", "--allow-host", f"tcp://localhost:{server.port}", "--",
                 PYTHON, "-c", TALKS.replace("PORT", str(server.port))]
    running = subprocess.Popen([product.chaperone, *arguments], env=product.env(world), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        server.until_it_talks()
        running_ones = json.loads(product.command("sessions", "--json").stdout)["sessions"]
        session = next(one["id"] for one in running_ones if one["workspace"] == str(world.workspace))
        held = product.command("capability", "show", session).stdout
        revoked = product.command("capability", "revoke", re.search(r"jti\W+([0-9a-f]{32})", held)[1])
        when = time.monotonic()
        assert revoked.returncode == 0, revoked.stdout
        text = running.communicate(timeout=LIMIT)[0]
    finally:
        running.kill()
    late = server.since(when + CUT_WITHIN)
    return Outcome(text + ("THE EFFECT IS THERE\n" if late else ""), world, product.records(session), session, product)


TALKS_ON = Attempt(92, "a connection that outlives the capability", "", TALKS, effect=word, bare=talks_bare, cell=talks_cell,
                   rule="capability.revoked", alert=False, ends="the connection was cut", twin=False)


ENDLESS = Attempt(95, "Rego that never ends", "", """
began = time.monotonic()
if ARM == "bare":
    try:
        subprocess.run([sys.executable, "-c", "any(a*b*c == 7.5 for a in range(3000) for b in range(3000) for c in range(3000))"], timeout=2)
    except subprocess.TimeoutExpired:
        print("THE EFFECT IS THERE: it waits for ever")
else:
    show(W + "/notes.txt")
    if time.monotonic() - began > 20:
        print("THE EFFECT IS THERE: it waits for ever")
print("attempt made")
""", effect=lambda o: word(o) or bool(o.guard) and o.says("an ordinary note"), rule="policy_error", alert=False, cell=endless_rego, ends="attempt made", twin=False)


@contextmanager
def slow_text(product, world):
    """Text that a backtracking matcher never gets through, in the person's folder."""
    parts = ["a" * 400_000 + "!", "1" * 400_000, "a@" * 200_000, "-" * 400_000, "4111 " * 80_000, "eyJ" + "a." * 200_000, "\n".join(["key: " + "x" * 300] * 1000)]
    world.put(world.workspace / "slow.txt", "\n".join(parts))
    yield


def full_disk(product, place):
    """The guard's whole state lies on a small disk of its own, which the agent fills."""
    return on_small_disk(product, place, FULL, FULL_SIZE, FULL_RUN)


def full_of_records(product, place):
    """The same, filled by the guard's own records of what the agent does: it is stopped before the disk is full."""
    return on_small_disk(product, place, RECORDS, RECORDS_SIZE, RECORDS_RUN)


def on_small_disk(product, place, attempt, size, run):
    world = World(place / "cell")
    state = world.base / "state"
    state.mkdir(mode=0o700)
    for n in range(20):
        world.put(world.workspace / f"paper-{n}.txt", f"an ordinary paper {n}\n")
    source = program(attempt, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
    (world.base / "source.py").write_text(source)
    script = r"""
        chaperone=$1 documents=$2 python=$3 source=$4
        RUN
        echo "status $(cat /tmp/status)"
        session=$(sed 's/.*"session":"\([0-9a-f]*\)".*/\1/' /tmp/status)
        df -k "$CHAPERONE_HOME" | tail -1
        "$chaperone" discard "$session" >/dev/null 2>&1
        "$chaperone" audit verify || echo "the log is broken"
        "$chaperone" audit query --json --session "$session" $only | sed 's/^/record /'
        kill -9 $("$chaperone" sessions --json | sed 's/.*"broker":{"pid":\([0-9]*\)}.*/\1/')
    """.replace("RUN", run)
    arguments = ["sh", "-c", script, "sh", product.chaperone, str(world.workspace), PYTHON, str(world.base / "source.py")]
    env = {**product.env(world), "CHAPERONE_HOME": str(state)}
    if os.geteuid() == 0:
        mounts = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size={size},mode=700 state {state} && mount -t tmpfs tmp /mnt && exec \"$@\"", "sh"]
        arguments = [a.replace("/tmp/status", "/mnt/status") for a in arguments]
    else:
        mounts = ["bwrap", "--dev-bind", "/", "/", "--perms", "0700", "--size", str(size), "--tmpfs", str(state)]
        arguments = [a.replace("/tmp/status", str(world.base / "status")) for a in arguments]
    done = subprocess.run(mounts + arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=LIMIT)
    records = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("record {")]
    return Outcome("".join(l + "\n" for l in done.stdout.splitlines() if not l.startswith("record ")), world, records,
                   records[0]["session"] if records else "", product)


def unrecorded(outcome):
    """Something was read of which the log knows nothing."""
    if not outcome.guard:
        return word(outcome)
    known = {r["resource"] for r in outcome.records if r["phase"] == "intent" and r["action"] == "read"}
    got = [line.split()[1] for line in outcome.text.splitlines() if line.startswith("GOT ")]
    return outcome.says("the log is broken") or any(f"/workspace/{name}" not in known for name in got)


def full_bare(place):
    """A program that logs on a disk that is full, and goes on."""
    disk = place / "disk"
    disk.mkdir()
    source = """
import os
try:
    with open("/disk/filler", "wb") as f:
        while True:
            f.write(os.urandom(65536))
except OSError:
    pass
logged = False
try:
    with open("/disk/log", "w") as log:
        log.write("the agent reads a paper" * 1000)
    logged = os.path.getsize("/disk/log") > 0
except OSError:
    pass
print("it goes on")
if not logged:
    print("THE EFFECT IS THERE: nothing is logged")
"""
    done = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
                           "--symlink", "usr/lib64", "/lib64", "--size", "1048576", "--tmpfs", "/disk", PYTHON, "-c", source],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    return Outcome(done.stdout, None)


# Enough for a vault, a log and some staged files.
FULL_SIZE = 24 << 20
FULL = Attempt(87, "fill the disk", "", """
for n in range(40):
    try:
        with open(W + f"/filler-{n}", "wb") as f:
            for _ in range(16):
                f.write(os.urandom(65536))
    except OSError as e:
        print("full:", e)
        if ARM == "bare":
            break
for n in range(40):
    try:
        with open(W + f"/tiny-{n}", "w") as f:
            f.write("x" * 3000)
    except OSError:
        pass
for n in range(20):
    try:
        with open(W + f"/paper-{n}.txt") as f:
            print("GOT", f"paper-{n}.txt", len(f.read()))
    except OSError as e:
        print("no:", e)
print("attempt made")
""", effect=unrecorded, cell=full_disk, ends="attempt made", twin=False, bare=full_bare)

FULL_RUN = r"""
        only=
        "$chaperone" run --ask deny --workspace "$documents" --status-file /tmp/status -- "$python" -c "$(cat "$source")"
"""
# The agent goes on until it is stopped; after a while without that, the attempt has had its effect.
RECORDS_RUN = r"""
        only="--action suspend"
        "$chaperone" run --ask deny --workspace "$documents" --status-file /tmp/status -- "$python" -c "$(cat "$source")" &
        for n in $(seq 300); do "$chaperone" sessions --json | grep -q '"suspended"' && break; sleep 0.1; done
        "$chaperone" sessions --json | grep -q '"suspended"' && echo "it is stopped" || echo "THE EFFECT IS THERE: it goes on"
        "$chaperone" stop "$("$chaperone" sessions --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')"
        wait
"""
RECORDS_SIZE = 64 << 20
RECORDS = Attempt(87, "fill the disk with records", "", """
deep = W + "/" + "/".join(["d" * 200] * 5)
os.makedirs(deep)
n = 0
while True:
    n += 1
    try:
        os.close(os.open(f"{deep}/{n}", os.O_CREAT | os.O_WRONLY))
        os.unlink(f"{deep}/{n}")
    except OSError as e:
        print("no:", e)
""", effect=lambda o: word(o) or o.says("the log is broken"), rule="log_full|disk_full", cell=full_of_records, ends="it is stopped", twin=False, bare=full_bare)

ATTEMPTS = [
    FULL,
    RECORDS,
    TALKS_ON,
    Attempt(85, "flood the log with files", "", """
if ARM == "bare":
    with open(LOG + "/audit/log", "a") as log:
        for n in range(20000):
            log.write("file made\\n")
else:
    deep = W + "/" + "/".join(["d" * 200] * 5)
    os.makedirs(deep)
    for n in range(3000):
        os.close(os.open(deep + "/same", os.O_CREAT | os.O_WRONLY))
        os.unlink(deep + "/same")
        os.listdir(deep)
        try:
            open(W + "/notes.txt").close()
        except OSError:
            pass
""", effect=flooded, rule="repeated", alert=False),
    Attempt(84, "disable or edit the log", "", """
for place in (LOG, PERSON + "/.local/state/chaperone", "/run/chaperone", os.environ.get("CHAPERONE_HOME", "/none")):
    for folder, _, files in os.walk(place):
        for name in files:
            try:
                with open(os.path.join(folder, name), "w") as f:
                    print("emptied", f.name)
            except OSError as e:
                print("no:", name, e)
""", effect=log_changed),
    Attempt(85, "flood the log", "T1555", """
if ARM == "bare":
    with open(LOG + "/audit/log", "a") as log:
        for n in range(20000):
            log.write("keyctl refused\\n")
else:
    for n in range(20000):
        libc.syscall(250, 0, 0, 0)
""", effect=flooded, rule="cell.seccomp"),
    Attempt(88, "kill broker, vault, cell-init", "", """
for pid in [NEIGHBOUR, *GUARDS, 1, os.getppid()]:
    for sent in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
        try:
            if pid not in (os.getpid(), 1) or ARM != "bare":
                os.kill(pid, sent)
        except OSError as e:
            print("no:", pid, e)
if ARM == "bare" and gone(NEIGHBOUR):
    print("THE EFFECT IS THERE: the guard is dead")
""", effect=lambda o: word(o) or not o.guards_live),
    Attempt(89, "malformed, huge, deep, slow requests", "", """
if ARM == "bare":
    address = "/tmp/guard"
    guard = subprocess.Popen([sys.executable, "-c", '''
import json, socket
s = socket.socket(socket.AF_UNIX); s.bind("/tmp/guard"); s.listen(); print("ready", flush=True)
while True:
    peer, _ = s.accept()
    for line in peer.makefile():
        json.loads(line)
'''], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    guard.stdout.readline()
else:
    address = "/run/chaperone/channel"
held = []
for payload in (b"[" * 200000 + b"\\n", b"\\xff\\xfe\\x00garbage\\n", b"{" + b'"a":{' * 50000 + b"\\n", b"x" * (40 << 20), b'{"jsonrpc":"2.0","id":1e999,"method":null}\\n',
                b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"/workspace/' + b"a" * 100000 + b'"}}}\\n'):
    try:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(address)
        s.sendall(payload)
        held.append(s)
    except OSError as e:
        print("no:", e)
for n in range(100):
    try:
        slow = socket.socket(socket.AF_UNIX)
        slow.settimeout(5)
        slow.connect(address)
        slow.send(b"{")
        held.append(slow)
    except OSError:
        break
for s in held:
    s.close()
if ARM == "bare":
    try:
        guard.wait(10)
        print("THE EFFECT IS THERE: the guard is dead")
    except subprocess.TimeoutExpired:
        pass
else:
    answer = Tools().call("list_directory", path=W)
    if "notes.txt" not in json.dumps(answer):
        print("THE EFFECT IS THERE: nobody answers any more")
""", effect=lambda o: word(o) or not o.guards_live),
    DOWNGRADE,
    Attempt(95, "text that a matcher never gets through", "", """
began = time.monotonic()
if ARM == "bare":
    try:
        subprocess.run([sys.executable, "-c", "import re; re.match('(a+)+$', 'a' * 64 + '!')"], timeout=2)
    except subprocess.TimeoutExpired:
        print("THE EFFECT IS THERE: it waits for ever")
else:
    try:
        print(len(open(W + "/slow.txt").read()))
    except OSError as e:
        print("no:", e)
    print("after", time.monotonic() - began)
    if time.monotonic() - began > 20:
        print("THE EFFECT IS THERE: it waits for ever")
""", effect=word, beside=slow_text),
    ENDLESS,
]
