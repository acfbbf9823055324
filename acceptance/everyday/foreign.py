"""Suites that others wrote for file systems: what differs stands in a list with why, and the list only shrinks."""
import os, re, shutil

from harness.cell import DOCS, PLACE, ROOT
from harness.claims import Skipped, expect
from ways import everywhere

TOOLS = os.path.join(PLACE, "tools")
# As an ordinary user in a cell has them; who is missing is only needed by tests for root.
SETTINGS = '[features]\nposix_fallocate = {}\n[settings]\nnaptime = 0.01\nallow_remount = false\n[dummy_auth]\nentries = [["nobody", "nogroup"], ["agent", "agent"]]\n'


def tool(name):
    if not os.path.exists(os.path.join(TOOLS, name)):
        raise Skipped(f"{name} is not installed", installable=True)
    shutil.copy(os.path.join(TOOLS, name), DOCS)


def listed(way):
    """What is known to differ in this way."""
    with open(os.path.join(PLACE, "acceptance", "everyday", "pjdfstest.txt")) as f:
        lines = [line.split(" | ") for line in f if line.strip() and not line.startswith("#")]
    # Root's staged directories are served as mediated ones.
    served = "mediated" if ROOT else way.name
    return {name.strip() for name, which, _ in lines if which.strip() in (served, "both")}


@everywhere
def pjdfstest_finds_what_it_finds_on_any_file_system(way):
    tool("pjdfstest")
    os.mkdir(os.path.join(DOCS, "tests"))
    with open(os.path.join(DOCS, "settings.toml"), "w") as f:
        f.write(SETTINGS)
    done = way.ran("./pjdfstest", "-c", "settings.toml", "-p", "/workspace/tests")
    results = dict(re.findall(r"^(\w+(?:::\w+)+)\s+(ok|FAILED)$", done.stdout, re.M))
    failed = {name for name, result in results.items() if result == "FAILED"}
    # It opens a program before the kernel may have begun to run it, on any file system.
    failed.discard("open::etxtbsy")
    known = listed(way)
    expect(len(results) > 200, done.stdout[-500:], done.stderr[-500:])
    expect(failed == known, "new:", sorted(failed - known), "to be struck off:", sorted(known & set(results) - failed), "gone:", sorted(known - set(results)))


@everywhere
def fsx_finds_no_byte_at_the_wrong_place(way):
    tool("fsx")
    done = way.ran("./fsx", "-N", "5000", "-S", "7", "-q", "/workspace/file")
    expect(done.returncode == 0, done.stdout[-500:], done.stderr[-500:])
