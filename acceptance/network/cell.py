"""The user's side of the network exit: rules, whole runs, and what the log and `why` say of them."""
import json, os, subprocess, threading, time

from harness import cell
from harness.cell import CHAPERONE, WORK, asked

# Names of this machine in its hosts file: TLS is opened, is not opened; that nobody allowed.
SEEN, PLAIN, OTHER = "seen.chaperone.test", "plain.chaperone.test", "other.chaperone.test"


def profile(name, rules, *, mode="mediated", environment=""):
    allow = ", ".join(f'{{ host = "{host}", ports = {ports}{more and ", " + more} }}' for host, ports, more in rules)
    actions = '["read", "list"]' if mode == "read-only" else '["read", "write", "append", "list", "delete", "rename"]'
    cell.profile(name, f'name = "{name}"\n[[mount]]\npath = "/workspace"\nmode = "{mode}"\nactions = {actions}\n'
                 f"[network]\nallow = [{allow}]\n[environment]\n{environment}\n")


class Ran:
    """A program that ran in a cell of its own."""

    def __init__(self, profile, workspace, *command, options=("--ask", "deny"), limit=100, meanwhile=None, given=os.devnull):
        status = os.path.join(WORK, f"status-{threading.get_ident()}.json")
        started = time.monotonic()
        arguments = [CHAPERONE, "run", "--profile", profile, "--workspace", workspace, "--status-file", status, *options, "--", *command]
        with open(given) as stdin, subprocess.Popen(arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
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
        found = cell.records(self.session, "--limit", "5000")
        return [r for r in found if all(r.get(k) == v for k, v in fields.items())]

    def refusals(self):
        return asked("why", self.session)
