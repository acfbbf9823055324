"""What checks over real projects share: the sources, a home as somebody has it, and what of a session was interrupted."""
import json, os, shutil, subprocess

from harness import cell
from harness.cell import HOME, LIMIT, PLACE, records

ALL = os.environ.get("ACCEPTANCE_PROJECTS") == "all"
SOURCES = os.path.join(PLACE, "projects")
# What a person commits as, outside of a cell and in it.
IDENTITY = "[user]\n\tname = Me\n\temail = me@example.org\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n"
# `mediated` is the default profile with the caches of `source`.
MEDIATED = 'name = "everyday"\n[[mount]]\npath = "/workspace"\n[limits]\nmemory = "8GiB"\nprocesses = 1024\n[cache]\ntools = ["cargo", "npm", "pip", "go"]\n'


def missing():
    """Sources that could not be had, with why; none where the suite only lists its checks."""
    listed = os.path.join(SOURCES, "missing.json")
    if not os.path.exists(listed):
        return {}
    with open(listed) as f:
        return json.load(f)


def git(at, *arguments):
    subprocess.run(["git", *arguments], cwd=at, check=True, capture_output=True, timeout=LIMIT)


def account():
    """A home with an identity and the caches that `source` shows, as somebody has them who worked here before."""
    with open(os.path.join(HOME, ".gitconfig"), "w") as f:
        f.write(IDENTITY)
    if os.path.isdir(os.path.join(SOURCES, "npm-cache")):
        shutil.copytree(os.path.join(SOURCES, "npm-cache"), os.path.join(HOME, ".npm"))
    cell.profile("everyday", MEDIATED)


def interruptions(session):
    """What policy refused or would have asked the person about; but for what a commit asks, and for what programs look for by
    themselves, also natively, and do without: hosts that nobody named, and their own credentials (psql its .pgpass)."""
    return [f"{r['action']} {r.get('resource')} {r['effect']} {','.join(r['reasons'])}" for r in records(session, "--limit", "20000")
            if r.get("effect") in ("deny", "ask") and r.get("action") not in ("commit", "undo") and not {"host_not_allowed", "own_credentials"} & set(r["reasons"])]


MISSING = missing()
