"""Cells in virtual machines: a kernel of the agent's own, with everything else as in a native cell, breakouts in two arms, and what is
left when they are killed. The main job is done in them by 01-main-job, behind ACCEPTANCE_BACKEND=microvm."""
import glob, json, os, pty, signal, subprocess, threading

from breakouts import BREAKOUTS, leftovers
from harness.cell import CHAPERONE, CONFIG, DOCS, LIMIT, ROOT, asked, chaperone, fresh_docs as before, last_session, read, records, until, write
from harness.claims import Skipped, claim

# How many are started, half of them killed; 200 by hand.
CELLS = int(os.environ.get("ACCEPTANCE_VMS", "4"))


def must_be_there():
    missing = [what for what, at in (("qemu-system-x86_64", "/usr/bin/qemu-system-x86_64"), ("a kernel in /boot", "/boot/vmlinuz-*")) if not glob.glob(at)]
    if missing:
        message = f"not installed: {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            raise AssertionError(message)
        raise Skipped(message)


def machine(*command, options=(), backend="microvm", text=None, **how):
    must_be_there()
    given = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run([CHAPERONE, "run", "--backend", backend, "--ask", "deny", "--workspace", DOCS, *options, "--", *command],
                          capture_output=True, text=True, timeout=LIMIT, **given, **how)


@claim
def an_agent_in_a_virtual_machine_has_a_kernel_of_its_own_and_everything_else_as_ever():
    write("a.txt", "text\n")
    script = "cat a.txt; echo more > b.txt; id -u; pwd; uname -r; grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp_filters)' /proc/self/status; cat /proc/1/comm; echo wrong >&2; exit 7"
    done = machine("sh", "-c", script)
    assert done.returncode == 7 and done.stderr.startswith("wrong\n"), done
    lines = done.stdout.split("\n")
    assert lines[:3] == ["text", "1000", DOCS] and "cell-init" in lines, done
    assert lines[3] != os.uname().release and f"/boot/vmlinuz-{lines[3]}" in glob.glob("/boot/vmlinuz-*"), lines
    said = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert said == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp_filters": "1"}, said
    session = last_session()
    shown = json.loads(chaperone("audit", "show", str(records(session)[0]["seq"])))["payload"]
    assert shown["backend"] == "microvm" and shown["enforced"]["runtime"] == "/usr/bin/qemu-system-x86_64", shown
    assert not os.path.exists(os.path.join(DOCS, "b.txt"))
    chaperone("commit", session)
    assert read("b.txt") == "more\n"


@claim
def ways_out_of_a_machine_are_closed_in_the_guest():
    """The same program with the machine before it, and in a guest."""
    write("ways.py", BREAKOUTS)
    marked = subprocess.Popen(["/usr/bin/python3", "-c", "import time; time.sleep(60)", "a-process-of-the-host"])
    try:
        careless = subprocess.run(["/usr/bin/python3", os.path.join(DOCS, "ways.py")], capture_output=True, text=True, timeout=LIMIT)
        closed = machine("/usr/bin/python3", "ways.py")
    finally:
        marked.kill()
        marked.wait()
    assert "host's processes" in careless.stdout, careless
    if ROOT:
        assert "core_pattern" in careless.stdout, careless
    assert closed.returncode == 0 and closed.stdout.strip() == "open: []", closed


@claim
def attempts_in_the_guest_are_recorded_and_alerted():
    done = machine("sh", "-c", "unshare --mount true; cat ~/.ssh/id_rsa > /dev/null; chaperone why")
    found = [json.dumps(r) for r in records(last_session())]
    for what in ("unshare", "id_rsa"):
        assert any(what in record and "alert" in record for record in found), (what, found)
    # The channel is there as well.
    assert "unshare" in done.stdout and "id_rsa" in done.stdout, done


@claim
def the_network_of_the_guest_ends_at_the_broker():
    """A host that nobody allowed: by its name, by its address, and past TCP."""
    script = ("import socket\n"
              "for at in (('example.org', 80), ('192.0.2.7', 443), ('192.0.0.66', 22)):\n"
              "    try: socket.create_connection(at, 10).sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print('open', at)\n"
              "    except OSError as e: print('closed', at[0])\n")
    done = machine("/usr/bin/python3", "-c", script)
    assert "closed example.org" in done.stdout and "closed 192.0.0.66" in done.stdout, done
    found = [json.dumps(r) for r in records(last_session()) if "example.org" in json.dumps(r) or "192.0.2.7" in json.dumps(r)]
    assert any("example.org" in r for r in found) and any("192.0.2.7" in r for r in found), found


@claim
def the_clock_of_the_guest_is_the_machines():
    """Also on a machine that has other work: a clock that loses ticks would be behind after a while."""
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(3)]
    try:
        done = machine("/usr/bin/python3", "-c", "import os, time; time.sleep(8)\nopen('now', 'w').close(); print(time.time() - os.stat('now').st_mtime)")
    finally:
        [one.kill() for one in busy]
        [one.wait() for one in busy]
    assert done.returncode == 0 and abs(float(done.stdout)) < 1, done


@claim
def streams_and_signals_reach_the_agent():
    done = machine("sh", "-c", "wc -c; yes | head -1; head -c 300000 /dev/zero", text="x" * 200_000)
    assert done.returncode == 0 and done.stdout.startswith("200000\ny\n") and done.stdout.count("\0") == 300_000, done.stdout[:80]
    cell = subprocess.Popen([CHAPERONE, "run", "--backend", "microvm", "--workspace", DOCS, "--", "sh", "-c",
                             "trap 'echo caught; exit 9' TERM; echo up; while :; do sleep 0.1; done"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert cell.stdout.readline() == "up\n"
    cell.send_signal(signal.SIGTERM)
    assert cell.stdout.read() == "caught\n" and cell.wait(LIMIT) == 9, cell.returncode
    missing = machine("no-such-program")
    assert missing.returncode == 127 and "no-such-program" in missing.stderr, missing


@claim
def a_terminal_in_a_guest_is_its_own():
    must_be_there()
    child, terminal = pty.fork()
    if child == 0:
        os.execv(CHAPERONE, ["chaperone", "run", "--backend", "microvm", "--workspace", DOCS, "--", "sh", "-c",
                             "tty; stty size; read line; echo heard $line; trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done"])
    shown = b""
    os.write(terminal, b"a word\n")
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        if b"ready" in piece and b"ready" not in shown:
            os.write(terminal, b"\x03")
        shown += piece
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert b"/dev/pts/0" in shown and b"heard a word" in shown and b"interrupted" in shown, shown
    assert os.waitstatus_to_exitcode(status) == 3, (status, shown)


@claim
def what_a_virtual_machine_cannot_hold_is_refused_with_what_helps():
    published = machine("true", options=("--publish", "28917"))
    assert published.returncode == 125 and "cannot be published" in published.stderr and "--backend native" in published.stderr, published
    profile("small", "128MiB")
    done = machine("true", options=("--profile", "small"))
    assert done.returncode == 125 and "too little for a virtual machine" in done.stderr and "limits.memory" in done.stderr, done
    broken = subprocess.run([CHAPERONE, "run", "--backend", "microvm", "--workspace", DOCS, "--", "true"], capture_output=True, text=True,
                            env={**os.environ, "CHAPERONE_VM_KERNEL": "/etc/passwd"}, stdin=subprocess.DEVNULL, timeout=LIMIT)
    assert broken.returncode == 125 and "CHAPERONE_VM_KERNEL names" in broken.stderr, broken
    assert not asked("sessions")["sessions"], "a session is left"


@claim
def a_guest_without_memory_ends_what_the_agent_runs_and_tells():
    profile("tight", "560MiB")
    full = machine("sh", "-c", "head -c 200000000 /dev/zero > /dev/shm/a; echo still here", options=("--profile", "tight"))
    assert full.returncode == 0 and "still here" in full.stdout and "No space left" in full.stderr, full
    eaten = machine("/usr/bin/python3", "-c", "x = [bytearray(b'x' * 1000000) for _ in range(800)]", options=("--profile", "tight"))
    assert eaten.returncode == 137 and "the memory limit was reached" in eaten.stderr, eaten


def profile(name, memory, mounts='[[mount]]\npath = "/workspace"\n'):
    os.makedirs(os.path.join(CONFIG, "profiles"), exist_ok=True)
    with open(os.path.join(CONFIG, "profiles", f"{name}.toml"), "w") as f:
        f.write(f'name = "{name}"\nbackend = "microvm"\n{mounts}[limits]\nmemory = "{memory}"\n')


@claim
def a_read_only_directory_is_as_the_user_has_it_by_now():
    must_be_there()
    reference = os.path.join(DOCS, "reference")
    os.makedirs(reference)
    os.makedirs(os.path.join(DOCS, "own"))
    with open(os.path.join(reference, "a"), "w") as f:
        f.write("old\n")
    profile("refers", "2GiB", '[[mount]]\npath = "/workspace/own"\n[[mount]]\npath = "/workspace/reference"\nmode = "read-only"\n')
    cell = subprocess.Popen([CHAPERONE, "run", "--profile", "refers", "--workspace", DOCS, "--", "sh", "-c",
                             "cd /workspace/reference; cat *; ls; read line; cat *; ls; echo x > c"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert [cell.stdout.readline() for _ in range(2)] == ["old\n", "a\n"]
    for name in ("a", "b"):
        with open(os.path.join(reference, name), "w") as f:
            f.write(f"new {name}\n")
    out, errors = cell.communicate("on\n", timeout=LIMIT)
    assert out == "new a\nnew b\na\nb\n" and "Read-only file system" in errors, (out, errors)
    assert sorted(os.listdir(reference)) == ["a", "b"]


@claim
def what_a_suspended_guest_wrote_can_be_looked_at():
    must_be_there()
    tries = ("import socket\nopen('z', 'w').write('written')\n"
             "for i in range(60):\n    s = socket.socket(); s.settimeout(0.3)\n    try: s.connect(('9.9.9.9', 443)); s.recv(1)\n    except OSError: pass\n"
             "input()\n")
    cell = subprocess.Popen([CHAPERONE, "run", "--backend", "microvm", "--workspace", DOCS, "--", "/usr/bin/python3", "-c", tries],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    suspended = lambda: [s["id"] for s in asked("sessions")["sessions"] if s.get("state") == "suspended"]
    assert until(suspended, LIMIT), asked("sessions")
    session = suspended()[0]
    assert "+written" in chaperone("changes", session)
    chaperone("stop", session)
    cell.communicate(timeout=LIMIT)


@claim
def nothing_is_left_of_machines_that_ended_or_were_killed_and_no_two_are_alike():
    must_be_there()
    known = {s["id"] for s in asked("sessions", "--all")["sessions"]}
    failures, random = [], []

    def one(number):
        killed = number % 2 == 1
        script = "head -c 16 /dev/urandom | od -An -tx1; sleep 300 & " + ("sleep 300" if killed else "read line")
        cell = subprocess.Popen([CHAPERONE, "run", "--backend", "microvm", "--ask", "deny", "--workspace", DOCS, "--", "sh", "-c", script],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = cell.stdout.readline()
        random.append(said)
        if killed:
            cell.send_signal(signal.SIGKILL)
        cell.communicate("on\n", timeout=LIMIT)
        if len(said.split()) != 16:
            failures.append((number, said))

    for start in range(0, CELLS, 2):
        running = [threading.Thread(target=one, args=(number,)) for number in range(start, min(start + 2, CELLS))]
        [thread.start() for thread in running]
        [thread.join() for thread in running]
    assert not failures, failures
    assert len(set(random)) == CELLS, random
    sessions = {s["id"] for s in asked("sessions", "--all")["sessions"]} - known

    def gone():
        machines = [at for at in glob.glob("/proc/[0-9]*/cmdline") if of_this_suite(at)]
        return not leftovers(sessions) and not machines

    assert until(gone), "something is left"


def of_this_suite(at):
    try:
        with open(at, "rb") as f:
            words = f.read()
        return b"qemu-system" in words and os.stat(os.path.dirname(at)).st_uid == os.geteuid()
    except OSError:
        return False
