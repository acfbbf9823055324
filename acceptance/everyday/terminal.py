"""A terminal as any program has it."""
import fcntl, os, pty, re, select, signal, struct, termios, time

from harness.cell import CHAPERONE, DOCS, write
from ways import once


class Screen:
    """A terminal of ours, which answers what terminals answer."""
    ANSWERS = {b"\x1b[6n": b"\x1b[12;34R", b"\x1b[c": b"\x1b[?62;22c", b"\x1b]11;?\x07": b"\x1b]11;rgb:1e1e/1e1e/2e2e\x07", b"\x1b[?u": b"\x1b[?0u"}

    def __init__(self, *command, cwd=DOCS):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.chdir(cwd)
            os.execv(command[0], command)
        self.seen, self.asked = b"", b""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def until(self, pattern, limit=20):
        end = time.monotonic() + limit
        while not (found := re.search(pattern.encode(), self.seen)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"{pattern!r} did not appear in {self.seen[-600:]!r}")
            try:
                block = os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"it ended before {pattern!r}: {self.seen[-600:]!r}")
            self.seen += block
            for query, answer in self.ANSWERS.items():
                if query in block:
                    os.write(self.master, answer)
        shown, self.seen = self.seen[: found.end()], self.seen[found.end():]
        return shown

    def end(self):
        try:
            os.kill(self.pid, signal.SIGHUP)
            os.close(self.master)
        except OSError:
            pass
        os.waitpid(self.pid, 0)


def agent(code):
    write("agent.py", "import os, sys, termios, tty, select\nold = termios.tcgetattr(0)\ntty.setcbreak(0)\n" + code)
    return Screen(CHAPERONE, "run", "--workspace", DOCS, "--", "python3", "agent.py")


QUERY = r"""
os.write(1, QUERY)
got = b''
while select.select([0], [], [], 3)[0]:
    got += os.read(0, 100)
    if got.endswith(END): break
print('got', got.hex(), 'over', flush=True)
"""


def answered(query, end):
    s = agent(f"QUERY, END = {query!r}, {end!r}\n" + QUERY)
    try:
        shown = s.until(r"got [0-9a-f]* over")
        return bytes.fromhex(re.search(rb"got ([0-9a-f]*) over", shown)[1].decode())
    finally:
        s.end()


@once
def the_place_of_the_cursor_is_told(way):
    assert answered(b"\x1b[6n", b"R") == b"\x1b[12;34R"


@once
def what_terminal_it_is_is_told(way):
    assert answered(b"\x1b[c", b"c").startswith(b"\x1b[?62")


@once
def the_background_colour_is_told(way):
    assert b"rgb:1e1e/1e1e/2e2e" in answered(b"\x1b]11;?\x07", b"\x07")


@once
def whether_the_keyboard_protocol_is_spoken_is_told(way):
    assert answered(b"\x1b[?u", b"u") == b"\x1b[?0u"


def shown(text):
    s = agent(f"os.write(1, {text!r} + b'OVER\\n')\n")
    try:
        return s.until("OVER")
    finally:
        s.end()


@once
def links_in_text_are_shown(way):
    assert b"\x1b]8;;https://example.org/\x1b\\here" in shown(b"\x1b]8;;https://example.org/\x1b\\here\x1b]8;;\x1b\\")


@once
def keyboard_modes_and_bracketed_paste_are_switched(way):
    told = shown(b"\x1b[>1u\x1b[?2004h")
    assert b"\x1b[>1u" in told and b"\x1b[?2004h" in told, told


@once
def what_would_echo_text_of_the_agents_stays_filtered(way):
    told = shown(b"\x1b]0;title\x07\x1b[21t\x1bP$q m\x1b\\\x1b]52;c;?\x07\x1b]52;c;aGF4\x07")
    for hostile in (b"\x1b]0;", b"\x1b[21t", b"\x1bP", b"\x1b]52"):
        assert hostile not in told, told


def at_prompt(shell):
    """The person's shell in the directory, with a prompt that nothing else looks like."""
    shell.until(r"[$#] ")
    shell.type(f"PS1='READY''> '; cd {DOCS}\n")
    shell.until("READY> ")


@once
def an_answer_is_typed_to_nobody_but_who_asked(way):
    asks = r"printf '\033[6n\033[c\033]11;?\007\033[?1003h'"
    for command, typed in ((asks, True), (f"{CHAPERONE} run -- sh -c \"{asks}\"", False)):
        s = Screen("/bin/bash", "--norc", "--noprofile", "-i")
        try:
            at_prompt(s)
            s.type(command + "\n")
            s.until(r"\x1b\]11;\?")
            if typed:
                # What bash makes no key of stands on its line.
                s.until(";34R")
                continue
            s.until("READY> ")
            s.type("echo over-$((1+1))\n")
            assert b";34R" not in s.until("over-2"), command
        finally:
            s.end()


@once
def a_directly_run_program_is_stopped_and_goes_on(way):
    s = Screen("/bin/bash", "--norc", "--noprofile", "-i")
    try:
        at_prompt(s)
        s.type(f"{CHAPERONE} run -- cat\n")
        s.type("one\n")
        s.until("one\r\none")
        s.type("\x1a")
        s.until("Stopped", limit=6)
        s.until("READY> ")
        s.type("echo shell-is-$((40+2))\n")
        s.until("shell-is-42")
        s.type("fg\n")
        s.until("cat")
        s.type("two\n")
        s.until("two\r\ntwo")
        s.type("\x04")
        s.until("READY> ")
    finally:
        s.end()


@once
def the_size_is_followed(way):
    s = agent("import signal\nsignal.signal(28, lambda *_: print('size', *os.get_terminal_size(), flush=True))\nprint('up', flush=True)\nwhile True: signal.pause()\n")
    try:
        s.until("up")
        fcntl.ioctl(s.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        os.kill(s.pid, signal.SIGWINCH)
        s.until("size 77 33")
    finally:
        s.end()
