"""Cells in containers of each OCI runtime that is installed: walls, breakouts in two arms, and what is left when they are killed.
That everything else is as in a native cell is shown by the other suites, behind ACCEPTANCE_BACKEND=container."""
import glob, json, os, pty, shutil, signal, subprocess, tempfile, threading

from breakouts import BREAKOUTS, leftovers
from harness.cell import CHAPERONE, DOCS, LIMIT, ROOT, WORK, asked, chaperone, fresh_docs as before, last_session, read, records, until, write
from harness.claims import Skipped, claim

RUNTIMES = ("crun", "runc")
# How many cells are started, half of them killed; 200 by hand.
CELLS = int(os.environ.get("ACCEPTANCE_CELLS", "24"))


def runtimes():
    found = [name for name in RUNTIMES if shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")]
    if len(found) < len(RUNTIMES):
        message = f"not installed: {', '.join(set(RUNTIMES) - set(found))}"
        if os.environ.get("CI") == "true":
            raise AssertionError(message)
        raise Skipped(message)
    return found


def contained(runtime, *command, options=(), **how):
    environment = {**os.environ, "CHAPERONE_OCI_RUNTIME": runtime}
    return subprocess.run([CHAPERONE, "run", "--backend", "container", "--ask", "deny", "--workspace", DOCS, *options, "--", *command],
                          env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT, **how)


@claim
def an_agent_in_a_container_has_the_walls_of_the_runtime_and_ours():
    write("a.txt", "text\n")
    script = "cat a.txt; echo more > b.txt; id -u; grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp_filters)' /proc/self/status; cat /proc/1/comm"
    for runtime in runtimes():
        done = contained(runtime, "sh", "-c", script)
        assert done.returncode == 0, done
        lines = done.stdout.split("\n")
        assert lines[0] == "text" and lines[1] == "1000" and "cell-init" in lines, done
        said = dict(line.split(":\t") for line in lines if ":\t" in line)
        assert said == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp_filters": "2"}, said
        session = last_session()
        first = records(session)[0]
        shown = json.loads(chaperone("audit", "show", str(first["seq"])))["payload"]
        assert shown["backend"] == "container" and os.path.basename(shown["enforced"]["runtime"]) == runtime, shown
        assert not os.path.exists(os.path.join(DOCS, "b.txt"))
        chaperone("commit", session)
        assert read("b.txt") == "more\n"
        os.unlink(os.path.join(DOCS, "b.txt"))


@claim
def the_ways_out_of_containers_are_closed():
    """The same program with the machine before it, and in a container."""
    write("ways.py", BREAKOUTS)
    marked = subprocess.Popen(["/usr/bin/python3", "-c", "import time; time.sleep(60)", "a-process-of-the-host"])
    try:
        careless = subprocess.run(["/usr/bin/python3", os.path.join(DOCS, "ways.py")], capture_output=True, text=True, timeout=LIMIT)
        closed = {runtime: contained(runtime, "/usr/bin/python3", "ways.py") for runtime in runtimes()}
    finally:
        marked.kill()
        marked.wait()
    assert "host's processes" in careless.stdout, careless
    if ROOT:
        # Not every machine has the others.
        for name in ("core_pattern", "release_agent", "first process's descriptors"):
            assert f"'{name}'" in careless.stdout or f'"{name}"' in careless.stdout, (name, careless)
    for runtime, done in closed.items():
        assert done.returncode == 0 and done.stdout.strip() == "open: []", (runtime, done)


@claim
def a_terminal_in_a_container_is_the_cells_own():
    for runtime in runtimes():
        with open(os.path.join(WORK, "screen"), "w+b") as screen:
            child, terminal = pty.fork()
            if child == 0:
                os.environ["CHAPERONE_OCI_RUNTIME"] = runtime
                os.execv(CHAPERONE, ["chaperone", "run", "--backend", "container", "--workspace", DOCS, "--", "sh", "-c",
                                     "tty; stty size; read line; echo heard $line"])
            os.write(terminal, b"a word\n")
            while True:
                try:
                    piece = os.read(terminal, 4096)
                except OSError:
                    break
                if not piece:
                    break
                screen.write(piece)
            os.waitpid(child, 0)
            os.close(terminal)
            screen.seek(0)
            shown = screen.read()
        assert b"/dev/pts/0" in shown and b"heard a word" in shown, (runtime, shown)


@claim
def an_attempt_on_a_container_is_recorded_and_alerted():
    for runtime in runtimes():
        contained(runtime, "unshare", "--mount", "true")
        found = [r for r in records(last_session()) if r["action"] == "syscall" or "unshare" in json.dumps(r)]
        assert found and any("alert" in json.dumps(r) for r in found), (runtime, records(last_session()))


@claim
def a_runtime_that_cannot_make_a_container_is_told_and_nothing_stands_in():
    # Not below /tmp, where a cell is built.
    place = tempfile.mkdtemp(dir="/var/lib" if ROOT else WORK)
    broken = os.path.join(place, "crun")
    with open(broken, "w") as f:
        f.write("#!/bin/sh\necho nothing works >&2\nexit 3\n")
    os.chmod(broken, 0o755)
    os.chmod(place, 0o755)
    environment = {**os.environ, "CHAPERONE_OCI_RUNTIME": broken}
    try:
        done = subprocess.run([CHAPERONE, "run", "--backend", "container", "--workspace", DOCS, "--", "touch", "it-ran"], env=environment,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT)
    finally:
        shutil.rmtree(place)
    # A file of the user's own, which an agent's commit may have written, is not run at all.
    told = "cannot make the container: nothing works" if ROOT else "is no OCI runtime that is known and installed"
    assert done.returncode == 125 and told in done.stderr, done
    assert not asked("sessions")["sessions"], "a session is left"


def holders():
    """Pids of holders and cell-inits of this user's broker: the launchers' children and theirs."""
    pids = set()
    for session in asked("sessions")["sessions"]:
        pids.add(session["init_pid"])
    return pids


@claim
def nothing_is_left_of_containers_that_ended_or_were_killed():
    runtimes()
    known = {s["id"] for s in asked("sessions", "--all")["sessions"]}
    failures, pids = [], set()

    def one(number):
        environment = {**os.environ, "CHAPERONE_OCI_RUNTIME": RUNTIMES[number % 2]}
        killed = number % 4 >= 2
        script = "echo up; sleep 300 & sleep 300" if killed else "sleep 300 & echo up; read line"
        cell = subprocess.Popen([CHAPERONE, "run", "--backend", "container", "--ask", "deny", "--workspace", DOCS, "--", "sh", "-c", script],
                                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = cell.stdout.readline()
        pids.update(holders())
        if killed:
            cell.send_signal(signal.SIGKILL)
        cell.communicate("on\n", timeout=LIMIT)
        if said != "up\n":
            failures.append((number, said))

    for start in range(0, CELLS, 4):
        running = [threading.Thread(target=one, args=(number,)) for number in range(start, min(start + 4, CELLS))]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    assert not failures, failures
    assert until(lambda: not asked("sessions")["sessions"]), asked("sessions")
    own = {s["id"] for s in asked("sessions", "--all")["sessions"]} - known
    assert len(own) == CELLS and len(pids) >= CELLS // 2, (own, pids)
    assert until(lambda: not leftovers(own)), leftovers(own)
    assert until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids)), pids
