"""The product as a suite meets it: commands, sessions, cells, and the user's directory beside them. All of a run is under
WORK, and CHAPERONE_HOME is in it, so nothing of the caller's own installation is touched."""
import json, os, shutil, subprocess, textwrap, time

PLACE, WORK = os.environ["ACCEPTANCE_PLACE"], os.environ["ACCEPTANCE_WORK"]
CHAPERONE = os.path.join(PLACE, "chaperone")
# The program itself, where that is a script which names another backend (suite.py).
BEHIND = os.path.join(PLACE, "behind", "chaperone")
PROGRAM = BEHIND if os.path.exists(BEHIND) else CHAPERONE
HOME, CONFIG = os.environ["HOME"], os.path.join(os.environ["CHAPERONE_HOME"], "config")
# The directory that cells work on, made anew for each check.
DOCS = os.path.join(WORK, "docs")
ROOT = os.geteuid() == 0
# Nothing may hang: longer than any command needs on a slow machine.
LIMIT = 120
PERSONAL = "name,ssn,card\nAda Lovelace,536-22-8145,4111 1111 1111 1111\nBob Byte,612-33-1234,5500 0000 0000 0004\n"
INTERPRETER = """
import json, sys, traceback
space = {}
for line in sys.stdin:
    try:
        exec(json.loads(line), space)
        answer = {"ok": space.pop("result", None)}
    except OSError as e:
        answer = {"errno": e.errno}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
"""


def fresh_docs():
    shutil.rmtree(DOCS, ignore_errors=True)
    os.makedirs(DOCS)


def chaperone(*arguments, fails=False, text=None):
    """What a command prints; where it is to fail, its errors, too."""
    given = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run([CHAPERONE, *arguments], capture_output=True, text=True, timeout=LIMIT, **given)
    assert (done.returncode != 0) == fails, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr if fails else done.stdout


def asked(*arguments):
    """What a command says as JSON."""
    return json.loads(chaperone(*arguments, "--json"))


def start(script, *options):
    """A session that runs a shell script over DOCS, with pipes for its streams."""
    return subprocess.Popen([CHAPERONE, "run", "--workspace", DOCS, *options, "--", "sh", "-c", script],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(script, *options, fails=False):
    """A whole session: what it printed, and its id."""
    cell = start(script, *options)
    out, err = cell.communicate(timeout=LIMIT)
    assert (cell.returncode != 0) == fails, (script, cell.returncode, out, err)
    return out, last_session()


def in_cell(*command, options=("--ask", "deny"), workspace=DOCS):
    """One program in a cell, which must end well; what it printed."""
    return chaperone("run", "--workspace", workspace, *options, "--", *command)


def last_session():
    return asked("sessions", "--all")["sessions"][-1]["id"]


def broker():
    return asked("sessions")["broker"]["pid"]


def vault():
    return asked("sessions")["vault"]["pid"]


def shell(script, code=0):
    """A script of the user's outside of any cell, which must end with that code; what it printed."""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT)
    assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def until(condition, limit=30):
    """Ask until it holds; the last answer, also when it does not."""
    end = time.monotonic() + limit
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer


def waiting():
    """The request that waits for the user."""
    requests = until(lambda: asked("approvals"))
    assert requests, "nothing was asked"
    return requests[0]


def records(session, *options):
    """What the log has of a session, oldest first."""
    lines = chaperone("audit", "query", "--session", session, *options, "--json").splitlines()
    return [json.loads(line) for line in lines]


def write(name, text, mode="w"):
    path = os.path.join(DOCS, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode) as f:
        f.write(text)
    return path


def read(name):
    with open(os.path.join(DOCS, name)) as f:
        return f.read()


def exists(name):
    return os.path.exists(os.path.join(DOCS, name))


def profile(name, text):
    """A profile of the user's."""
    folder = os.path.join(CONFIG, "profiles")
    for private in (CONFIG, folder):
        os.makedirs(private, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, f"{name}.toml"), "w") as f:
        f.write(text)
    return name


class Refused(Exception):
    """An OSError inside the cell."""


class Cell:
    """A cell over DOCS that does, line by line, what it is told in Python."""

    def __init__(self, *options):
        self.status, self.errors = os.path.join(WORK, "status.json"), os.path.join(WORK, "errors")
        command = [CHAPERONE, "run", "--workspace", DOCS, "--status-file", self.status, *options, "--", "python3", "-c", INTERPRETER]
        with open(self.errors, "w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def __call__(self, code):
        self.process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            with open(self.errors) as errors:
                raise AssertionError("the cell ended: " + errors.read()[-2000:])
        answer = json.loads(line)
        if "errno" in answer:
            raise Refused(os.strerror(answer["errno"]) + f" ({answer['errno']})")
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def session(self):
        return asked("sessions")["sessions"][-1]["id"]

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        with open(self.status) as f:
            return json.load(f)["session"]


def refused(what, code):
    try:
        what(code)
    except Refused as e:
        return str(e)
    raise AssertionError("it was not refused")
