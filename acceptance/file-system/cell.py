"""A cell over a folder, to be told what to do in Python, and the person outside of it."""
import json, os, subprocess, sys, textwrap

CHAPERONE, WORK = sys.argv[1], sys.argv[2]
DOCS = os.path.join(WORK, "docs")
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


class Refused(Exception):
    """An OSError inside the cell."""


class Cell:
    def __init__(self, *options):
        self.status = os.path.join(WORK, "status.json")
        self.process = subprocess.Popen(
            [CHAPERONE, "run", "--workspace", DOCS, "--status-file", self.status, *options, "--", "python3", "-c", INTERPRETER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, code):
        self.process.stdin.write(json.dumps(textwrap.dedent(code)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the cell ended"
        answer = json.loads(line)
        if "errno" in answer:
            raise Refused(os.strerror(answer["errno"]) + f" ({answer['errno']})")
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def session(self):
        return json.loads(chaperone("sessions", "--json"))["sessions"][-1]["id"]

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        with open(self.status) as f:
            return json.load(f)["session"]


def chaperone(*arguments, fails=False):
    done = subprocess.run([CHAPERONE, *arguments], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout


def write(name, text, mode="w"):
    path = os.path.join(DOCS, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, mode) as f:
        f.write(text)
    return path


def read(name):
    with open(os.path.join(DOCS, name)) as f:
        return f.read()


def refused(what, code):
    try:
        what(code)
    except Refused as e:
        return str(e)
    raise AssertionError("it was not refused")


CLAIMS = []


def claim(f):
    CLAIMS.append(f)
    return f
