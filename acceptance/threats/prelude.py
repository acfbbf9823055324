import base64, ctypes, glob, json, os, select, signal, socket, struct, subprocess, sys, time
W, HOME = "/workspace", os.environ.get("HOME", "/")
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    """A raw system call: its value, or minus its errno."""
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments])
    return got if got != -1 else -ctypes.get_errno()


def show(*paths):
    for path in paths:
        for found in glob.glob(path) or [path]:
            try:
                with open(found, "rb") as f:
                    print(f.read(65536).decode("utf-8", "replace"))
            except OSError as e:
                print("no:", found, e)


def homes(*names):
    """In the home of this program and in the person's own."""
    show(*[os.path.join(home, name) for name in names for home in (HOME, PERSON)])


def ask(address):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(address)
            print(s.recv(4096).decode())
    except OSError as e:
        print("no:", repr(address), e)


def put(text, *names, mode=0o644):
    """Into the folder, this home and the person's."""
    for home in (W, HOME, PERSON):
        for name in names:
            path = os.path.join(home, name)
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w") as f:
                    f.write(text)
                os.chmod(path, mode)
            except OSError as e:
                print("no:", path, e)


def processes():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]


def memory_of(pid):
    """Whatever of a process's writable memory holds the marker, by /proc and by process_vm_readv."""
    try:
        with open(f"/proc/{pid}/maps") as maps:
            spans = [l.split()[0].split("-") for l in maps if " rw" in l]
        memory = open(f"/proc/{pid}/mem", "rb", 0)
    except OSError as e:
        print("no:", pid, e)
        return
    with memory:
        for start, end in ((int(a, 16), int(b, 16)) for a, b in spans):
            try:
                memory.seek(start)
                data = memory.read(min(end - start, 1 << 24))
            except (OSError, ValueError, OverflowError):
                continue
            at = data.find(b"memory-of-the-neighbour canary")
            if at >= 0:
                print(data[at:at + 60].decode("utf-8", "replace"))


def gone(pid):
    """Whether a process has died, reaped or not."""
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] in "ZX":
                    return True
        except OSError:
            return True
        if ARM == "cell":
            return False
        time.sleep(0.01)
    return False


class Tools:
    """The session's tools over stdio; without Chaperone there are none."""

    def __init__(self):
        self.server = subprocess.Popen(["chaperone", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.next = 0
        self.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {},
                                    "clientInfo": {"name": "attacker", "version": "1"}})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message):
        self.server.stdin.write(json.dumps(message) + "\n")
        self.server.stdin.flush()

    def request(self, method, params):
        self.next += 1
        self.send({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
        while True:
            line = self.server.stdout.readline()
            if not line:
                return {"error": "hung up"}
            answer = json.loads(line)
            if answer.get("id") == self.next:
                return answer.get("result", answer)

    def call(self, tool, **arguments):
        answer = self.request("tools/call", {"name": tool, "arguments": arguments})
        print(json.dumps(answer))
        return answer


def twin():
    """What an honest program does, after the attempt and in the same place."""
    with open(W + "/notes.txt") as f:
        assert "ordinary" in f.read()
    for path in (W + "/twin.txt", HOME + "/twin.txt", "/tmp/twin.txt"):
        with open(path, "w") as f:
            f.write("work")
    child = subprocess.Popen(["sleep", "60"])
    child.kill()
    assert child.wait() == -signal.SIGKILL
    here, there = socket.socketpair()
    here.send(b"x")
    assert there.recv(1) == b"x"
    print("the benign twin works")
