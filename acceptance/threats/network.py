"""The two arms of a network: a make-believe Internet whose servers write down what reaches them, and who talks to it."""
import base64
import codecs
import ctypes
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
import zipfile
import zlib

from arms import HERE, LIMIT, PYTHON, Outcome, Protected, World, keyring, program
from case import Attempt

TWIN = ("127.0.0.2:", "2606:2800:220:1::34:")
libc = ctypes.CDLL(None, use_errno=True)

# Something to read whose passages are recognised; the canary stands in the middle of it.
PROSE = ("The orchard behind the old mill was planted by a retired clockmaster in a dry spring. He counted blossoms every "
         "morning and wrote the numbers into ledgers bound in green cloth. When the river rose that autumn, seventeen "
         "ledgers were carried to the attic, and one was lent to a surveyor from the coast. ")
LETTER = ("The winter of the other house was long, CANARY, and nobody of those who went up to the lake in November came back before the roads were "
          "open; what they had written there lay in a box under the stairs, and is told here as it stands, without a word of ours.\n")
REPORT = PROSE + "The word of the year is CANARY and must not be told to anyone. " + (
    "Afterwards the surveyor returned with maps, two mules and a proposal to move the mill upstream. Nobody agreed, yet "
    "the proposal was copied three times by hand and kept with the blossoms. ")


class Internet:
    """The servers' process; its namespaces are where the broker and the unprotected program run."""

    def __init__(self, root):
        self.folder = root / "internet"
        self.folder.mkdir(mode=0o755)
        self.servers = subprocess.Popen([PYTHON, "-B", str(HERE / "internet.py"), str(self.folder)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        if self.servers.stdout.readline().strip() != "ready":
            raise OSError("the make-believe Internet did not come up")
        kinds = ("user", "net", "mnt") if os.getuid() else ("net", "mnt")
        self.spaces = [os.open(f"/proc/{self.servers.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]

    def enter(self):
        """For a child, before it becomes a program."""
        for space in self.spaces:
            if libc.setns(space, 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def mark(self):
        return (self.folder / "reached").stat().st_size

    def since(self, mark):
        with open(self.folder / "reached") as f:
            f.seek(mark)
            seen = [json.loads(line) for line in f]
        for record in seen:
            record["data"] = base64.b64decode(record["data"])
        return seen

    def stop(self):
        self.servers.stdin.close()
        self.servers.wait(LIMIT)
        self.servers.stdout.close()
        for space in self.spaces:
            os.close(space)


class Online(Protected):
    """The product on a machine with that network."""

    def __init__(self, chaperone, root):
        (root / "online").mkdir()
        super().__init__(chaperone, root / "online")
        self.internet = Internet(root)
        (self.home / "config" / "profiles").mkdir(mode=0o700, parents=True)
        (self.home / "config").chmod(0o700)

    def env(self, world=None):
        return {**super().env(world), "SSL_CERT_FILE": str(self.internet.folder / "ca.pem")}

    def command(self, *args, world=None, limit=LIMIT):
        return subprocess.run([self.chaperone, *args], env=self.env(world), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=limit, errors="replace", preexec_fn=self.internet.enter)

    def stop(self):
        super().stop()
        self.internet.stop()




def prepared(place):
    world = World(place)
    world.put(world.workspace / "report.txt", REPORT)
    with zipfile.ZipFile(world.workspace / "letter.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("letter.txt", LETTER.replace("CANARY", world.canary))
    world.put(world.workspace / "settings.ini", 'db_host = db.internal\ndb_password = "Blue-Harbour-77!x"\n')
    return world


def source_of(case, world, arm):
    head = program(case, world, 1, {"GUARDS": [], "ARM": arm, "LOG": ""}).removesuffix(case.attack)
    return head + (HERE / "prelude_network.py").read_text() + case.attack + "\nnet_twin()\n"


def bare(case, product, place):
    """The attempt on the person's machine itself."""
    world = prepared(place / "bare")
    folder = product.internet.folder
    for name in ("hosts", "resolv.conf", "nsswitch.conf"):
        (world.etc / name).write_text((folder / name).read_text())
    mark = product.internet.mark()
    shell = ["bwrap", "--unshare-all", "--share-net", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
             "--ro-bind", "/usr", "/usr", "--bind", str(world.base), str(world.base), "--ro-bind", str(HERE), str(HERE),
             "--bind", str(world.workspace), "/workspace", "--bind", str(world.etc), "/etc", "--ro-bind", str(folder / "ca.pem"), "/ca.pem",
             "--dir", "/run", "--chdir", "/workspace"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink("/" + name):
            shell += ["--symlink", os.readlink("/" + name), "/" + name]
    env = {**world.environment(), "SSL_CERT_FILE": "/ca.pem"}
    env.pop("CANARY")
    done = subprocess.run([*shell, PYTHON, "-c", source_of(case, world, "bare")], env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=LIMIT, errors="replace", preexec_fn=product.internet.enter)
    outcome = Outcome(done.stdout, world)
    outcome.reached = product.internet.since(mark)
    return outcome


def peak(pid):
    """The most memory that a process ever had."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) << 10


def cell(case, product, place):
    """The same in a cell of that person's."""
    world = prepared(place / "cell")
    profile = product.home / "config" / "profiles" / "net.toml"
    allow = ['{ host = "friend.example" }', '{ host = "2606:2800:220:1::34" }', *[f'{{ host = "{name}.example", inspect = true }}' for name in ("honest", "inspected")], *case.allow]
    profile.write_text(f'name = "net"\n[[mount]]\npath = "/workspace"\nmode = "{case.mode}"\n' + '[network]\nallow = [\n' + ",\n".join(allow) + "\n]\n" + case.limits)
    mark = product.internet.mark()
    status = world.base / "status"
    # The broker comes up with its own environment, inside.
    guards = product.processes()
    user = threading.Thread(target=answer_first, args=(product,)) if case.answered else None
    if user:
        user.start()
    done = product.command("run", "--profile", "net", "--workspace", str(world.workspace), "--status-file", str(status), *(case.options or ("--ask", "deny")),
                           "--", PYTHON, "-c", source_of(case, world, "cell"), world=world, limit=case.limit)
    if user:
        user.join()
    reached = product.internet.since(mark)
    session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
    outcome = Outcome(done.stdout, world, product.records(session) if session else [], session, product)
    outcome.reached, outcome.guards_live, outcome.peak = reached, product.processes() == guards, peak(guards[0])
    if session:
        product.command("discard", session, world=world)
    return outcome


def answer_first(product):
    """The user, who says yes for the session to the first question, and is not there any more."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        asked = product.command("approvals", "--json")
        if asked.returncode == 0 and (waiting := json.loads(asked.stdout)):
            product.command("approve", "--session", waiting[0]["id"])
            return
        time.sleep(0.2)


HOMOGLYPHS = str.maketrans("асеуо", "aceyo")


def forms(data):
    """Everything that what arrived may have been before it was disguised."""
    text = data.decode("utf-8", "replace")
    yield text
    yield urllib.parse.unquote_plus(text)
    yield codecs.decode(text, "rot13")
    yield text[::-1]
    yield text.translate(HOMOGLYPHS)
    bits = "".join("01"[c == "\u200c"] for c in text if c in "\u200b\u200c")
    yield int("0" + bits, 2).to_bytes(len(bits) // 8 + 1, "big").decode("latin-1")
    for run in re.findall(r"[0-9a-fA-F]{16,}", text):
        yield bytes.fromhex(run[: len(run) // 2 * 2]).decode("latin-1")
    for run in re.findall(r"[A-Za-z0-9+/]{16,}", text):
        for at in range(4):
            part = run[at:]
            plain = base64.b64decode(part[: len(part) // 4 * 4])
            yield plain.decode("latin-1")
            yield from unpacked(plain)
    yield from unpacked(data)


def unpacked(data):
    """What gzip or zlib packed, wherever it begins."""
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        try:
            yield zlib.decompressobj(47).decompress(data[start.start():]).decode("latin-1")
        except zlib.error:
            pass


def told(reached):
    """What arrived, joined by connection; data in names joined, too."""
    whole = {}
    for record in reached:
        if record["kind"] == "data":
            key = record.get("connection", record["to"])
            whole[key] = whole.get(key, b"") + record["data"]
    names = [r["data"].split(b".") for r in reached if r["kind"] == "query"]
    whole["names"] = b"".join(dict.fromkeys(label for labels in names for label in labels[:-2] if len(label) > 5))
    # Pieces in many requests: their values one after the other.
    everything = b"\n".join(r["data"] for r in reached if r["kind"] == "data")
    whole["pieces"] = b"".join(re.findall(rb"piece=([^ &\r\n]*)", everything))
    return list(whole.values())


def carried(outcome):
    """The word itself arrived, in whatever form."""
    canary = outcome.world.canary
    return any(canary in form for data in told(outcome.reached) for form in forms(data))


def arrived(outcome):
    """Without a guard the word arrives; with one, nothing at all, but for what the honest program says."""
    if not outcome.guard:
        return carried(outcome)
    # A connection alone says nothing, where the host is allowed; where it is not, there is none.
    return carried(outcome) or any(r["data"] for r in strangers(outcome) if r["kind"] == "data" or r["kind"] == "query")


def touched(outcome):
    """A connection counts, too."""
    return bool(strangers(outcome))


def strangers(outcome):
    return [r for r in outcome.reached if not r["to"].startswith(TWIN)]


class NetAttempt(Attempt):
    """An attempt on the network. `allow` are rules of the profile, in TOML, besides those for the twin's host; `mode` is that of
    the folder, `limits` more of the profile; `answered`: the first question is, for the session."""

    def __init__(self, number, name, technique, attack, allow=(), effect=arrived, limit=LIMIT, mode="mediated", limits="", answered=False, **more):
        super().__init__(number, name, technique, attack, effect=effect, twin=False, ends=more.pop("ends", "the benign twin works"), **more)
        self.allow, self.limit, self.mode, self.limits, self.online = allow, limit, mode, limits, True
        self.answered = answered
        self.bare = lambda product, place: bare(self, product, place)
        self.cell = lambda product, place: cell(self, product, place)
