"""The agent's terminal, driven as a user would from a real pseudo-terminal."""
import fcntl, json, os, pty, re, select, signal, struct, subprocess, termios, time

from harness import claims
from harness.cell import CHAPERONE, DOCS, chaperone, until, write

LIMIT = 30
# What stands below a question once an answer can be typed.
ANSWER = r"anything else is a no: "


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
    for hostile in ["\x1b]52", "\x1b]0;", "\x1bP", "\x1b[21t"]:
        assert hostile not in shown, (hostile, shown)
    assert "\x1b[31mred" in shown, shown
    s.type("exit\n")
    assert s.end() == 0


@claim
def what_goes_to_a_terminal_arrives_when_another_stream_does_not():
    agent = r"cat; printf 'to output\033]52;c;aGF4\007\n'; printf 'to error\033]0;pwned\007\n' >&2"
    run = f'{CHAPERONE} run --workspace {DOCS} -- sh -c "$AGENT"'
    os.environ["AGENT"] = agent
    for command, wanted in [
        (f"echo typed | {run}", ["typed", "to output", "to error"]),
        (f"{run} | sed s/^/piped:/", ["piped:to output", "to error"]),
        (f"{run} 2>/dev/null </dev/null", ["to output"]),
    ]:
        s = Screen("/bin/sh", "-c", f"{command}; echo OVER")
        shown = s.until("OVER")
        assert s.end() == 0
        for text in wanted:
            assert text in shown, (command, text, shown)
        if "sed" not in command:
            assert "\x1b]52" not in shown and "\x1b]0;" not in shown, shown


@claim
def a_commit_that_nobody_looked_at_is_shown_and_asked_about_once():
    def staged():
        agent = "for i in 1 2 3; do echo $i > looked-$i.txt; done; ln -s looked-1.txt looked-link"
        chaperone("run", "--workspace", DOCS, "--", "sh", "-c", agent)
        sessions = json.loads(chaperone("sessions", "--all", "--json"))["sessions"]
        return max(sessions, key=lambda s: s["started"])["id"]
    there = lambda: os.path.exists(os.path.join(DOCS, "looked-1.txt"))
    session = staged()
    s = Screen(CHAPERONE, "commit", session)
    shown = s.until(r"commit 4 changes\? ")
    assert "4 changes: 4 create" in shown and "looked-link → looked-1.txt" in shown, shown
    s.type("no\n")
    s.until("nothing was committed")
    assert s.end() != 0 and not there()
    s = Screen(CHAPERONE, "commit", session)
    s.until(r"commit 4 changes\? ")
    s.type("yes\n")
    s.until("committed")
    s.end()
    assert there()
    chaperone("undo", session)
    assert not there()
    # A script is asked nothing.
    assert "committed" in chaperone("commit", staged())


@claim
def the_agent_stands_still_while_its_changes_are_asked_about():
    s = shell()
    s.type("i=0; while :; do i=$((i+1)); echo $i > count.txt; done\n")
    sessions = json.loads(chaperone("sessions", "--json"))["sessions"]
    session = max(sessions, key=lambda s: s["started"])["id"]
    ticks = lambda: sum(int(open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[11]) for p in below(s.pid))
    assert until(lambda: ticks() > 5, LIMIT)
    asking = Screen(CHAPERONE, "commit", session)
    asking.until(r"commit 1 change\? ")
    before = ticks()
    time.sleep(1)
    assert ticks() - before <= 2, "the agent went on"
    # However the one who asks ends.
    os.kill(asking.pid, signal.SIGKILL)
    asking.end()
    assert until(lambda: ticks() > before + 5, LIMIT), "the agent stands still"
    s.type("\x03exit\n")
    s.end()


def below(pid):
    """The processes below one that run on."""
    children = {}
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(open(f"/proc/{other}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(other))
    found, todo = [], [pid]
    while todo:
        of = children.get(todo.pop(), [])
        found += of
        todo += of
    return found


def personal():
    write("personal.csv", "name,ssn\nAda Lovelace,536-22-8145\nBob Byte,612-33-1234\n")


def answer(screen, shown, word):
    screen.type(f"{word} {re.search(word + ' ([0-9a-f]{4})', shown)[1]}\n")


@claim
def an_ask_puts_the_screen_aside_and_brings_it_back():
    personal()
    s = shell()
    s.type("cat personal.csv\n")
    shown = s.until(ANSWER)
    for part in ["\x1b[?1049h", "/workspace/personal.csv", "personal_data", "us_ssn", "cat personal.csv"]:
        assert part in shown, (part, shown)
    answer(s, shown, "redacted")
    shown = s.until(r"READY> ")
    assert "\x1b[?1049l" in shown and "name,ssn" in shown and "536-22-8145" not in shown, shown
    s.type("exit\n")
    assert s.end() == 0
    s = shell()
    s.type("cat personal.csv\n")
    s.until(ANSWER)
    s.type("n\n")
    assert "Permission denied" in s.until(r"READY> ")
    s.type("cat personal.csv\n")
    answer(s, s.until(ANSWER), "yes")
    assert "536-22-8145" in s.until(r"READY> ")
    s.type("exit\n")
    assert s.end() == 0


@claim
def what_is_typed_for_the_agent_does_not_answer_an_ask_and_reaches_it():
    personal()
    paste = "".join(f"yes {n} session once o y s\n" for n in range(8))
    for text, interval in (("no\n", 0.08), ("ls\n", 0.15), ("go\n", 0.3), ("o\no\no\n", 0), (paste, 0.005), ("yes\nyes\n", 0.2)):
        s = shell()
        s.type("cat personal.csv; cat > typed.txt; echo\n")
        s.until(r"echo\r\n")
        for key in text:
            s.type(key)
            time.sleep(interval)
        shown = s.until(ANSWER)
        s.type("\n")
        shown += s.until("Permission denied")
        s.type("\x04")
        shown += s.until(r"READY> ")
        assert "536-22-8145" not in shown, shown
        assert text.replace("\n", "\r\n") in run(s, "cat typed.txt").replace("\x04", ""), shown
        s.type("exit\n")
        s.end()


@claim
def an_ask_and_the_end_of_a_run_stand_on_a_plain_screen():
    personal()
    disguise = r"\033[8m\033(0\033[?7l\033[5;6r\033[4h\033[?1003h\033[?1006h\033[?2026h\033[?2l\033[2h"
    s = Screen(CHAPERONE, "run", "--workspace", DOCS, "--", "sh", "-c", f"printf '{disguise}'; cat personal.csv; exit 0")
    shown = s.until(ANSWER)
    asked = shown.index("asks to")
    for disguised, plain in (("\x1b[8m", "\x1b[0m"), ("\x1b(0", "\x1b(B"), ("\x1b[?7l", "\x1b[?7h"), ("\x1b[5;6r", "\x1b[r"), ("\x1b[4h", "\x1b[4l"),
                             ("\x1b[?1003h", "\x1b[?1003l"), ("\x1b[?2026h", "\x1b[?2026l")):
        assert shown.index(disguised) < shown.rindex(plain, 0, asked), (disguised, shown)
    assert "\x1b[?2l" not in shown and "\x1b[2h" not in shown, shown
    s.type("\n")
    s.until(r"\x1b\[\?1049l")
    rest = ""
    while True:
        try:
            block = os.read(s.master, 65536)
        except OSError:
            break
        if not block:
            break
        rest += block.decode(errors="replace")
    os.waitpid(s.pid, 0)
    rest = s.seen.decode(errors="replace") + rest
    for disguised, plain in (("\x1b[8m", "\x1b[0m"), ("\x1b(0", "\x1b(B"), ("\x1b[?1003h", "\x1b[?1003l"), ("\x1b[?1006h", "\x1b[?1006l")):
        assert disguised in rest and rest.rindex(plain) > rest.rindex(disguised), (disguised, rest)


@claim
def the_answer_may_come_from_another_terminal():
    personal()
    s = Screen(CHAPERONE, "run", "--workspace", DOCS, "--", "sh", "-c", "cat personal.csv > /tmp/x 2>&1; wc -l < /tmp/x; grep -c 536- /tmp/x; exit 0")
    watch = subprocess.Popen([CHAPERONE, "approvals", "--watch"], stdout=subprocess.PIPE, text=True)
    s.until(ANSWER)
    line = ""
    while "request " not in line:
        line = watch.stdout.readline()
        assert line
    request = re.search(r"request ([0-9a-f]+)", line).group(1)
    subprocess.run([CHAPERONE, "approve", request, "--redact"], check=True, capture_output=True)
    watch.terminate()
    shown = s.until(r"3\r\n0\r\n")
    s.end()
