"""A directory in its two ways, mediated and staged, and claims that are made of both."""
import os, shutil, subprocess

from harness.cell import CHAPERONE, DOCS, HOME, LIMIT, Cell, fresh_docs, in_cell, last_session
from harness.claims import check

WAYS = {"mediated": ("--ask", "deny"), "staged": ("--profile", "source", "--ask", "deny")}


def before():
    """The user's home and directory, as a new account has them."""
    fresh_docs()
    shutil.rmtree(HOME, ignore_errors=True)
    os.mkdir(HOME, 0o700)


class Way:
    """One of them."""

    def __init__(self, name):
        self.name, self.options = name, WAYS[name]

    def cell(self, *options):
        return Cell(*self.options, *options)

    def run(self, *command, workspace=DOCS, options=()):
        """What a program printed, which has to end well."""
        return in_cell(*command, options=(*self.options, *options), workspace=workspace)

    def shell(self, script, **how):
        return self.run("bash", "-c", "set -e; " + script, **how)

    def ran(self, *command, cwd=DOCS, options=(), env=None):
        """However it ended, from where the user stands."""
        return subprocess.run([CHAPERONE, "run", *self.options, *options, "--", *command], cwd=cwd, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=LIMIT, env={**os.environ, **(env or {})})


def everywhere(function):
    """A claim that is made of a mediated directory and of a staged one."""
    for name in WAYS:
        check(f"{function.__name__.replace('_', ' ')} ({name})", lambda name=name: function(Way(name)))
    return function


def once(function):
    """A claim that does not depend on the directory."""
    return check(function.__name__.replace("_", " "), lambda: function(Way("mediated")))


def git(*arguments, at=DOCS):
    """The user's own git, outside of any cell."""
    mine = ["-c", "user.name=Me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *mine, *arguments], cwd=at, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def repository(at=DOCS):
    os.makedirs(at, exist_ok=True)
    git("init", "-q", at=at)
    with open(os.path.join(at, "tracked.txt"), "w") as f:
        f.write("tracked\n")
    git("add", ".", at=at)
    git("commit", "-qm", "first", at=at)
    return at


def executable(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path


def committed(*arguments):
    """A commit of the last session, whatever is kept back of it; its code and all it said."""
    done = subprocess.run([CHAPERONE, "commit", last_session(), *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT)
    return done.returncode, done.stdout + done.stderr
