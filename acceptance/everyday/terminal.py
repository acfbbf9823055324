"""A terminal as any program has it."""
import fcntl, os, pty, re, select, signal, struct, termios, time

from harness.cell import CHAPERONE, DOCS, exists, last_session, write
from ways import committed, executable, once


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
            if self.pid:
                os.kill(self.pid, signal.SIGHUP)
            os.close(self.master)
        except OSError:
            pass
        if self.pid:
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
        s.type(f"{CHAPERONE} run -- sed -u s/one/seen/\n")
        s.type("one\n")
        # What it answers shows that it runs; what was typed ahead is shown by the terminal before.
        s.until("seen\r\n")
        s.type("\x1a")
        s.until("Stopped", limit=6)
        s.until("READY> ")
        s.type("echo shell-is-$((40+2))\n")
        s.until("shell-is-42")
        s.type("fg\n")
        s.until("sed")
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


def changes_of(way, count=300):
    way.shell(f"for i in $(seq 1000 {999 + count}); do echo $i > $i.txt; done")
    return last_session()


@once
def changes_on_a_terminal_are_paged_and_what_the_pager_did_not_read_was_not_shown(way):
    session = changes_of(way)
    s = Screen("/usr/bin/env", "PAGER=less -R", CHAPERONE, "changes", session)
    try:
        told = s.until("1000\\.txt")
        told += s.until("1003\\.txt")
        assert b"\x1b[1m" in told and b"\x1b[32m+1000" in told, told
        s.type("q")
        told = s.until("changes were not shown")
        left = int(re.search(rb"(\d+) of 300 changes were not shown", told)[1])
        assert 100 < left < 300, left
    finally:
        s.end()
    code, told = committed()
    assert code == 3 and told.count("changed_since_shown") == left and exists("1000.txt") and not exists("1299.txt"), told[-600:]
    s = Screen("/usr/bin/env", "PAGER=less -R", CHAPERONE, "changes", session)
    try:
        s.until(r"\.txt")
        s.type("G")
        s.until("1299\\.txt")
        s.type("q")
        os.waitpid(s.pid, 0)
        s.pid = None
    finally:
        s.end()
    code, told = committed()
    assert code == 0 and exists("1299.txt"), told[-600:]


@once
def a_pager_of_the_workspace_is_not_run(way):
    changes_of(way, 3)
    executable(os.path.join(DOCS, "less"), "#!/bin/sh\necho taken > taken\n")
    path = f"PATH=.::{DOCS}:" + os.environ["PATH"]
    for pager in ("PAGER=less", f"PAGER={DOCS}/less", "PAGER=./less"):
        s = Screen("/usr/bin/env", path, pager, "LESS=FRX", CHAPERONE, "changes", last_session())
        try:
            s.until("\\+1002")
        finally:
            s.end()
        assert not exists("taken"), pager


@once
def colours_and_pager_can_be_left_out(way):
    changes_of(way)
    for words in (["NO_COLOR=1", CHAPERONE, "changes", "--no-pager", last_session()], ["TERM=dumb", "PAGER=cat", CHAPERONE, "changes", last_session()]):
        s = Screen("/usr/bin/env", *words)
        try:
            assert b"\x1b[" not in s.until("\\+1299"), words
        finally:
            s.end()
