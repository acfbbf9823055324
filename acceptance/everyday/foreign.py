"""Suites that others wrote for file systems: what differs stands in a list with why, and the list only shrinks."""
import os, re, shutil, subprocess, tempfile

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


def listed(way, suite="pjdfstest"):
    """What is known to differ in this way."""
    with open(os.path.join(PLACE, "acceptance", "everyday", f"{suite}.txt")) as f:
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


# Those of stress-ng that work on files, with how often; a few more make thousands of files a time, and show nothing else.
STRESSORS = {name: 2 for name in """access chattr chmod chown copy-file dentry dir dirmany dnotify dup fallocate fcntl fiemap file-ioctl filename
    flock fsize fstat getdent hdd inode-flags inotify io iomix lease link locka lockf lockofd mknod open readahead rename seek sync-file touch
    utime verity xattr""".split()}
STRESS = 'for s in "$@"; do n=${s#*=} s=${s%=*}; mkdir -p t; timeout 60 stress-ng --temp-path t --$s 1 --$s-ops $n --verify -t 5 > out 2>&1 || { echo "FAILED $s"; cat out; }; echo "RAN $s"; rm -rf t; done'


def stressed(run):
    """Which stressors ran, and which found something wrong."""
    told = run("sh", "-c", STRESS, "sh", *(f"{name}={count}" for name, count in STRESSORS.items())).stdout
    return set(re.findall("^RAN (.*)$", told, re.M)), set(re.findall("^FAILED (.*)$", told, re.M)), told


def natively(*command):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(DOCS)) as place:
        return subprocess.run(command, cwd=place, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)


@everywhere
def stress_ng_finds_what_it_finds_on_any_file_system(way):
    if not shutil.which("stress-ng"):
        raise Skipped("stress-ng is not installed", installable=True)
    _, on_any, _ = stressed(natively)
    ran, failed, told = stressed(way.ran)
    known = listed(way, "stress")
    expect(ran == set(STRESSORS), "not run:", sorted(set(STRESSORS) - ran), told[-500:])
    new, gone = failed - on_any - known, known - failed
    expect(not new and not gone, "new:", sorted(new), "to be struck off:", sorted(gone), told[:3000])


# Ways to read and write, each with the checksum of every block looked at again.
WRITERS = {"psync": "randrw", "pvsync2": "write", "mmap": "randwrite", "posixaio": "randrw", "splice": "write"}


@everywhere
def fio_reads_what_it_wrote(way):
    if not shutil.which("fio"):
        raise Skipped("fio is not installed", installable=True)
    one = "fio --name={0} --ioengine={0} --rw={1} --size=2m --bsrange=512-64k --verify=crc32c --verify_fatal=1 --verify_backlog=64 --fsync=32 --thread"
    for engine, pattern in WRITERS.items():
        command = one.format(engine, pattern).split()
        # Without what this fio was built without.
        if natively(*command).returncode:
            continue
        done = way.ran(*command)
        expect(done.returncode == 0 and "err= 0" in done.stdout, engine, done.stdout[-500:], done.stderr[-500:])
