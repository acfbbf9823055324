"""Servers that mean harm to whoever talks to them, and the end of the guard in the middle of a conversation."""
import os
import signal
import subprocess
import time

from arms import PYTHON, Outcome
from case import word
from network import NetAttempt, prepared, source_of

# What the broker may hold at most while servers send without end.
ROOM = 192 << 20
HOSTILE = '{ host = "hostile.example", ports = [80, 443, 9443], inspect = true }'

SERVERS = """
WAYS = ["echo", "reset", "nothing", "noise", "long-head", "many-heads", "two-lengths", "minus", "chunks", "chunk-line", "informed", "switch", "split"]
import resource
if ARM == "bare":
    # A program that takes whatever it is given.
    resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))
    try:
        urllib.request.urlopen("http://hostile.example/hostile/endless").read()
    except MemoryError:
        print("THE EFFECT IS THERE: it took everything")
else:
    for scheme in ("http", "https"):
        for way in WAYS:
            got = run("curl", "-sSkN", "-m", "3", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-d", "some words", f"{scheme}://hostile.example/hostile/{way}")
            good = got.endswith("200 2") if way == "split" else way in ("echo", "reset") or not re.search("^(101|200) ", got)
            if not good:
                print("THE EFFECT IS THERE: passed on as it is:", way, got)
        run("curl", "-sSkN", "-m", "1", "-o", "/dev/null", f"{scheme}://hostile.example/hostile/stall")
        run("curl", "-sSkN", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"{scheme}://hostile.example/hostile/endless")
        # Sixteen that nobody reads.
        held = []
        for n in range(16):
            s = socket.create_connection(("hostile.example", 80 if scheme == "http" else 443))
            s = s if scheme == "http" else careless.wrap_socket(s, server_hostname="hostile.example")
            s.sendall(b"GET /hostile/endless HTTP/1.1\\r\\nHost: hostile.example\\r\\n\\r\\n")
            held.append(s)
        time.sleep(1.5)
    talk("hostile.example", 9443, "GET / HTTP/1.1\\r\\nHost: hostile.example:9443\\r\\n\\r\\n", tls="hostile.example")
    run("curl", "-sSkN", "-m", "3", "-o", "/dev/null", "https://hostile.example:9443/")
"""


def hurt(outcome):
    if not outcome.guard:
        return word(outcome)
    print(f"            the broker held {outcome.peak >> 20} MiB at most", flush=True)
    return word(outcome) or not outcome.guards_live or outcome.peak > ROOM


# In HTTP, in TLS that the broker opens, in TLS that it does not.
DRIP = """
held = [socket.create_connection(("hostile.example", 80))]
for host in ("hostile.example", "opaque.example"):
    held.append(careless.wrap_socket(socket.create_connection((host, 443)), server_hostname=host))
for s in held:
    host = "opaque.example" if s is held[-1] else "hostile.example"
    s.sendall(b"GET /hostile/drip HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % host.encode())
child = subprocess.Popen(["sleep", "987.654321"])
while held[0].recv(100):
    pass
print("the server hung up", flush=True)
time.sleep(60)
"""


def lives():
    """Whether the agent's child is still there, seen from outside."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if b"987.654321" in f.read():
                    return True
        except OSError:
            pass
    return False


def count(product, mark, kind):
    return len([r for r in product.internet.since(mark) if r["kind"] == kind])


def killed(case, product, place):
    """The broker dies in the middle: what it carried is closed, and nobody goes on without it."""
    world = prepared(place / "cell")
    profile = product.home / "config" / "profiles" / "net.toml"
    profile.write_text('name = "net"\n[[mount]]\npath = "/workspace"\n[network]\nallow = [{ host = "opaque.example" }, ' + HOSTILE + "]\n")
    mark = product.internet.mark()
    broker, vault = product.processes()
    with subprocess.Popen([product.chaperone, "run", "--profile", "net", "--workspace", str(world.workspace), "--", PYTHON, "-c", source_of(case, world, "cell")],
                          env=product.env(world), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=product.internet.enter) as agent:
        for _ in range(100):
            if count(product, mark, "request") == 3 and lives():
                break
            time.sleep(0.1)
        else:
            agent.kill()
            raise OSError("the transfer did not begin")
        os.kill(broker, signal.SIGKILL)
        begun = time.monotonic()
        text = ""
        left = {
            "the agent goes on": lives,
            "a connection is open": lambda: count(product, mark, "closed") < 3,
            "the command does not end": lambda: agent.poll() is None,
            "the vault lives on": lambda: os.path.exists(f"/proc/{vault}"),
        }
        while any(still() for still in left.values()) and time.monotonic() - begun < 5:
            time.sleep(0.05)
        text += "".join(f"THE EFFECT IS THERE: {what}\n" for what, still in left.items() if still())
        agent.kill()
        text += f"attempt made, over after {time.monotonic() - begun:.2f} s\n" + agent.stdout.read()[-300:]
    outcome = Outcome(text, world, guard=product)
    outcome.reached = []
    return outcome


def guard_dies(case, product, place):
    """A guard beside the program, of which the program does not know."""
    world = prepared(place / "bare")
    guard, program = (subprocess.Popen(["sleep", "30"]) for _ in range(2))
    guard.kill()
    guard.wait()
    text = "THE EFFECT IS THERE: the agent goes on\n" if program.poll() is None else ""
    program.kill()
    program.wait()
    return Outcome(text, world)


KILLED = NetAttempt(88, "kill the broker in mid-transfer", "", DRIP, effect=word, ends="attempt made")
KILLED.bare = lambda product, place: guard_dies(KILLED, product, place)
KILLED.cell = lambda product, place: killed(KILLED, product, place)

ATTEMPTS = [
    NetAttempt(89, "hostile servers", "", SERVERS, allow=[HOSTILE], effect=hurt, limit=170),
    KILLED,
]
