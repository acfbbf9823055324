"""The person outside of the cells: profiles, runs, and what the log and `why` say of them."""
import json, os, subprocess, sys, threading, time

CHAPERONE, WORK, PLACE = sys.argv[1:4]
DOCS = os.path.join(WORK, "docs")
# Names of this machine in its hosts file: TLS is opened, is not opened; that nobody allowed.
SEEN, PLAIN, OTHER = "seen.chaperone.test", "plain.chaperone.test", "other.chaperone.test"
COUNTS = {"passed": 0, "failed": 0}
LOCK = threading.Lock()


def claim(name, holds, *told):
    """One line for one claim; what was seen follows it where it does not hold."""
    with LOCK:
        COUNTS["passed" if holds else "failed"] += 1
        print("ok     " if holds else "FAILED ", name, flush=True)
        for text in () if holds else told:
            for line in str(text).strip().splitlines()[-30:]:
                print("        " + line[:600], flush=True)
    return holds


def skipped(name, why):
    """In CI everything can be installed, so nothing may be missing."""
    if os.environ.get("CI"):
        claim(name, False, why)
    else:
        with LOCK:
            print(f"SKIPPED {name}: {why}", flush=True)


def chaperone(*arguments):
    done = subprocess.run([CHAPERONE, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def profile(name, rules, *, mode="mediated", environment=""):
    allow = ", ".join(f'{{ host = "{host}", ports = {ports}{more and ", " + more} }}' for host, ports, more in rules)
    folder = os.path.join(os.environ["CHAPERONE_HOME"], "config", "profiles")
    for place in (os.path.dirname(folder), folder):
        os.makedirs(place, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, name + ".toml"), "w") as f:
        actions = '["read", "list"]' if mode == "read-only" else '["read", "write", "append", "list", "delete", "rename"]'
        f.write(f'name = "{name}"\n[[mount]]\npath = "/workspace"\nmode = "{mode}"\nactions = {actions}\n')
        f.write(f"[network]\nallow = [{allow}]\n[environment]\n{environment}\n")


class Ran:
    """A program that ran in a cell of its own."""

    def __init__(self, profile, workspace, *command, options=("--ask", "deny"), limit=100, meanwhile=None):
        status = os.path.join(WORK, f"status-{threading.get_ident()}.json")
        started = time.monotonic()
        arguments = [CHAPERONE, "run", "--profile", profile, "--workspace", workspace, "--status-file", status, *options, "--", *command]
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            held = []
            reader = threading.Thread(target=lambda: held.append(process.communicate()))
            reader.start()
            while reader.is_alive() and time.monotonic() < started + limit:
                if meanwhile:
                    meanwhile()
                reader.join(0.2)
            if reader.is_alive():
                process.terminate()
                reader.join(10)
            if reader.is_alive():
                process.kill()
            reader.join()
        self.out, self.err = held[0]
        self.code, self.took = process.returncode, time.monotonic() - started
        with open(status) as f:
            self.session = json.load(f)["session"]
        assert self.session, self.err

    def records(self, **fields):
        """What the log has of the session, oldest first, where it has these fields."""
        lines = chaperone("audit", "query", "--session", self.session, "--limit", "5000", "--json").splitlines()
        found = [json.loads(line) for line in lines]
        return [r for r in found if all(r.get(k) == v for k, v in fields.items())]

    def refusals(self):
        return json.loads(chaperone("why", self.session, "--json"))
