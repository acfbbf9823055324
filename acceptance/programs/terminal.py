"""The agent's terminal, driven as a user would from a real pseudo-terminal."""
import fcntl, os, pty, re, select, signal, struct, subprocess, termios, time

from harness import claims
from harness.cell import CHAPERONE, DOCS, chaperone, until, write

LIMIT = 30


class Screen:
    """A program on a pseudo-terminal of ours."""

    def __init__(self, *command, rows=40, columns=100):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(command[0], command)
        self.seen = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern, limit=LIMIT):
        """What was shown up to a match of `pattern`; it is taken away."""
        end = time.monotonic() + limit
        while True:
            found = re.search(pattern.encode(), self.seen)
            if found:
                shown, self.seen = self.seen[: found.end()], self.seen[found.end():]
                return shown.decode(errors="replace")
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{pattern!r} did not appear in {self.seen[-600:]!r}")
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"it ended before {pattern!r}: {self.seen[-600:]!r}")

    def end(self):
        try:
            while os.read(self.master, 65536):
                pass
        except OSError:
            pass
        return os.waitpid(self.pid, 0)[1]


def shell(*options):
    screen = Screen(CHAPERONE, "run", "--workspace", DOCS, *options, "--", "bash", "--norc", "--noprofile")
    screen.until(r"\$ ")
    screen.type("PS1=READY'> '\n")
    screen.until(r"READY> ")
    return screen


def run(screen, command):
    screen.type(command + "\n")
    return screen.until(r"READY> ")


def until_it_runs(command):
    """What is typed before is the shell's: its line editor echoes nothing while it ends a line."""
    running = lambda: subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
    assert until(lambda: command in running(), LIMIT), f"{command} did not start"


def claim(f):
    """A check named like its function; a refusal in the way of it is told."""
    def told():
        try:
            f()
        except Exception:
            claims.note(chaperone("why")[-600:])
            raise

    claims.check("terminal: " + f.__name__.replace("_", " "), told)
    return f


@claim
def the_agent_has_a_terminal_of_its_own_with_the_size_of_ours_and_follows_it():
    s = shell()
    assert "40 100" in run(s, "stty size")
    assert "/dev/pts/0" in run(s, "tty")
    s.resize(33, 77)
    for _ in range(50):
        if "33 77" in run(s, "stty size"):
            break
    else:
        raise AssertionError("the size did not follow")
    run(s, "ls -l /proc/self/fd")
    s.type("exit 3\n")
    assert os.waitstatus_to_exitcode(s.end()) == 3


@claim
def ctrl_c_and_job_control_work():
    s = shell()
    s.type("sleep 1234.5\n")
    until_it_runs("sleep 1234.5")
    s.type("\x03")
    s.until(r"READY> ")
    s.type("cat -u -u\n")
    until_it_runs("cat -u -u")
    s.until("cat -u -u")
    s.type("one\n")
    s.until("one\r\none")
    s.type("\x1a")
    s.until("Stopped")
    s.until(r"READY> ")
    assert "cat" in run(s, "jobs")
    s.type("fg\n")
    s.until("cat")
    s.type("two\n")
    s.until("two\r\ntwo")
    s.type("\x04")
    s.until(r"READY> ")
    s.type("exit\n")
    assert s.end() == 0


@claim
def vim_edits_a_file():
    s = shell()
    s.type("vim -u NONE -N edited.txt\n")
    s.until(r"edited\.txt")
    s.type("iwritten in vim\x1b:wq\r")
    s.until(r"READY> ")
    assert "written in vim" in run(s, "cat edited.txt")
    s.type("exit\n")
    assert s.end() == 0


@claim
def hostile_sequences_do_not_reach_the_persons_terminal():
    s = shell()
    shown = run(s, r"printf '\033]52;c;aGF4\007\033]0;pwned\007\033[6n\033[c\033P+q544e\033\\\033[21t\033[31mred\033[0m done\n'")
    shown += run(s, "echo next")
    for hostile in ["\x1b]52", "\x1b]0;", "\x1b[6n", "\x1b[c", "\x1bP", "\x1b[21t"]:
        assert hostile not in shown, (hostile, shown)
    assert "\x1b[31mred" in shown, shown
    s.type("exit\n")
    assert s.end() == 0


def personal():
    write("personal.csv", "name,ssn\nAda Lovelace,536-22-8145\nBob Byte,612-33-1234\n")


@claim
def an_ask_puts_the_screen_aside_and_brings_it_back():
    personal()
    s = shell()
    s.type("cat personal.csv\n")
    shown = s.until(r"\[N\]o: ")
    for part in ["\x1b[?1049h", "/workspace/personal.csv", "personal_data", "us_ssn", "cat personal.csv"]:
        assert part in shown, (part, shown)
    s.type("r\n")
    shown = s.until(r"READY> ")
    assert "\x1b[?1049l" in shown and "name,ssn" in shown and "536-22-8145" not in shown, shown
    s.type("exit\n")
    assert s.end() == 0
    s = shell()
    s.type("cat personal.csv\n")
    s.until(r"\[N\]o: ")
    s.type("n\n")
    assert "Permission denied" in s.until(r"READY> ")
    s.type("cat personal.csv\n")
    s.until(r"\[N\]o: ")
    s.type("o\n")
    assert "536-22-8145" in s.until(r"READY> ")
    s.type("exit\n")
    assert s.end() == 0


@claim
def what_was_typed_before_an_ask_does_not_answer_it():
    personal()
    s = shell()
    s.type("cat personal.csv\no\no\no\n")
    s.until(r"\[N\]o: ")
    s.type("n\n")
    shown = s.until(r"READY> ")
    assert "536-22-8145" not in shown, shown
    s.type("exit\n")
    s.end()


@claim
def the_answer_may_come_from_another_terminal():
    personal()
    s = Screen(CHAPERONE, "run", "--workspace", DOCS, "--", "sh", "-c", "cat personal.csv > /tmp/x 2>&1; wc -l < /tmp/x; grep -c 536- /tmp/x; exit 0")
    watch = subprocess.Popen([CHAPERONE, "approvals", "--watch"], stdout=subprocess.PIPE, text=True)
    s.until(r"\[N\]o: ")
    line = ""
    while "request " not in line:
        line = watch.stdout.readline()
        assert line
    request = re.search(r"request ([0-9a-f]+)", line).group(1)
    subprocess.run([CHAPERONE, "approve", request, "--redact"], check=True, capture_output=True)
    watch.terminate()
    s.type("\n")
    shown = s.until(r"3\r\n0\r\n")
    s.end()
