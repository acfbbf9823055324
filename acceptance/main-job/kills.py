"""Kill -9 of any process of ours at random points: no acknowledged write and no record is lost, and only what depends
on the dead process ends."""
import gzip, os, random, signal, subprocess

from harness.cell import CHAPERONE, WORK, asked
from harness.claims import check, note

# ACCEPTANCE_SEED repeats a run.
SEED = int(os.environ.get("ACCEPTANCE_SEED") or int.from_bytes(os.urandom(4), "big"))
DOCS = os.path.join(WORK, "kills")
FILES = 3000
WRITER = "i=0; while :; do i=$((i+1)); echo $i > last && echo $i >> all && echo $i || exit 1; done"
# Archives are looked into by a worker. A refusal is an answer; anything but the archive's bytes is not.
READER = f"i=0; while [ $i -lt {FILES} ]; do i=$((i+1)); cat in/$i.gz 2>/dev/null | gzip -dc 2>/dev/null | grep -q 'row,7' && echo $i || echo refused; done; while :; do read x || exit 0; done"


class Session:
    def __init__(self, name, script):
        self.folder, self.lines = os.path.join(DOCS, name), []
        os.makedirs(self.folder, exist_ok=True)
        self.process = subprocess.Popen([CHAPERONE, "run", "--workspace", self.folder, "--", "sh", "-c", script],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.until(1)
        self.id = next(s["id"] for s in asked("sessions")["sessions"] if s["workspace"] == self.folder)

    def until(self, count):
        while len(self.lines) < count:
            line = self.process.stdout.readline()
            assert line, f"the session ended after {len(self.lines)} lines"
            self.lines.append(line.strip())

    def ended(self):
        self.process.stdin.close()
        self.lines += [line.strip() for line in self.process.stdout]
        return self.process.wait(30)


def processes(kind, session=None):
    if kind == "broker":
        return [asked("sessions")["broker"]["pid"]]
    if kind == "vault":
        return [asked("sessions")["vault"]["pid"]]
    if kind == "cell-init":
        return [s["init_pid"] for s in asked("sessions")["sessions"] if s["id"] == session.id]
    if kind == "launcher":
        return [session.process.pid]
    broker = str(asked("sessions")["broker"]["pid"])
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]
            if parent == broker and b"__worker" in open(f"/proc/{pid}/cmdline", "rb").read():
                found.append(int(pid))
        except OSError:
            continue
    return found


def survives(kind, chance):
    # The broker of the round before may still be on its way out.
    writer, reader = Session("writer", WRITER), Session("reader", READER)
    writer.until(chance.randrange(5, 80))
    reader.until(chance.randrange(2, 20))
    victims = processes(kind, writer)
    assert victims or kind == "worker", f"there is no {kind}"
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    if kind == "worker":
        before = len(writer.lines)
        writer.until(before + 20)
        reader.until(len(reader.lines) + 20)
        assert reader.lines[-5:] != ["refused"] * 5, reader.lines
        os.kill(processes("cell-init", writer)[0], signal.SIGKILL)
    if kind == "vault":
        # Without it nothing is signed: no session starts, and the user restarts the broker.
        done = subprocess.run([CHAPERONE, "run", "--workspace", writer.folder, "--", "true"], capture_output=True, timeout=60)
        assert done.returncode != 0, "a session started without a vault"
        for pid in processes("broker"):
            os.kill(pid, signal.SIGKILL)
    writer.ended()
    if kind in ["cell-init", "launcher", "worker"]:
        reader.until(len(reader.lines) + 5)
    if kind in ["broker", "vault"]:
        reader.ended()
    else:
        reader.process.kill()
        reader.ended()
    said = int(writer.lines[-1])
    report = subprocess.run([CHAPERONE, "commit", writer.id, "all"], capture_output=True, text=True, timeout=60)
    assert os.path.exists(os.path.join(writer.folder, "all")), (kind, said, report)
    have = [int(line) for line in open(os.path.join(writer.folder, "all"))]
    assert have == list(range(have[0], have[0] + len(have))) and have[-1] >= said, (kind, said, have[-3:], report)
    os.remove(os.path.join(writer.folder, "all"))
    verified = subprocess.run([CHAPERONE, "audit", "verify"], capture_output=True, text=True, timeout=120)
    assert verified.returncode == 0, (kind, verified.stdout, verified.stderr)
    reads = [r for r in reader.lines if r != "refused"]
    assert reads == sorted(reads, key=int), "a reader went back"
    note(f"{kind}: {said} writes acknowledged, {have[-1]} there, {len(reads)} archives read")


@check("kill -9 of cell-init, worker, launcher, vault and broker at random points loses nothing acknowledged")
def _():
    chance = random.Random(SEED)
    note(f"seed {SEED}")
    os.makedirs(os.path.join(DOCS, "reader", "in"))
    for i in range(1, FILES + 1):
        with gzip.open(os.path.join(DOCS, "reader", "in", f"{i}.gz"), "wt") as f:
            f.write("row,value\n" + "".join(f"row,{n + i}\n" for n in range(40)) + "row,7\n")
    for kind in ["cell-init", "worker", "launcher", "vault", "broker"]:
        survives(kind, chance)
