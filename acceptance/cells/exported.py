"""A profile as files, and the programs that check them."""
import json, os, shutil, subprocess

from harness.cell import CHAPERONE, DOCS, LIMIT, PLACE, WORK, fresh_docs
from harness.claims import Skipped

TOOLS = os.path.join(PLACE, "tools")
PROBE = os.path.join(TOOLS, "probe")


def before():
    """A directory as the spreadsheet's profile has it, which whoever runs an agent can read."""
    fresh_docs()
    for path in (WORK, DOCS):
        os.chmod(path, 0o755)
    for name in ("reports", "out"):
        os.mkdir(os.path.join(DOCS, name))
    with open(os.path.join(DOCS, "reports", "q1.csv"), "w") as f:
        f.write("region,sum\nnorth,1\n")


def exported(target, *options, profile="spreadsheet", command=(), where=DOCS):
    """The files of an export, by name."""
    words = [CHAPERONE, "export", target, profile, "--json", *options, *(["--", *command] if command else [])]
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, (words, done.stderr)
    return {file["name"]: file["text"] for file in json.loads(done.stdout)}


def only(files, ending):
    [text] = [text for name, text in files.items() if name.endswith(ending)]
    return text


def checker(name, package):
    """Where a checker is; one that is not there is named."""
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if not path:
        raise Skipped(f"{name} is missing; scripts/ci-install brings {package}", installable=True)
    return path


def ran(*command, **how):
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **how)


def written(name, text):
    path = os.path.join(WORK, name)
    with open(path, "w") as f:
        f.write(text)
    return path
