"""Attempts to make the guard work without end, or hold without bound: by holes in files, bodies that are never whole, long tables,
and a name server that never answers."""
import json
import os
import subprocess

from arms import LIMIT, PYTHON, Outcome, Protected, World, program
from case import Attempt, word
from network import NetAttempt, cell, peak, prepared, source_of

# What one command of the user's may take over a file of terabytes of nothing, in seconds.
SOON = 30
# Of a file of nothing, what may lie on the disk after a commit.
NEXT_TO_NOTHING = 1 << 20
# What the broker may hold at most: the session's share, and what it takes by itself.
ROOM = 320 << 20
# While it reads one table of 28 MB: it is streamed.
CSV_ROOM = 224 << 20
CSV_BYTES = 28_000_000


def in_time(product, world, *arguments):
    """What a command prints, or that it does not end."""
    try:
        return product.command(*arguments, world=world, limit=SOON).stdout
    except subprocess.TimeoutExpired:
        return f"THE EFFECT IS THERE: {arguments[0]} does not end\n"


def at_once(case):
    """A session, a look at its changes, and a commit of them, in both modes of a directory; the first of them is the outcome's."""
    def made(product, place):
        text, records, first = "", [], ""
        for n, profile in enumerate(("default", "source")):
            world = World(place / f"cell{n}")
            source = program(case, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
            status = world.base / "status"
            text += in_time(product, world, "run", "--profile", profile, "--workspace", str(world.workspace), "--status-file", str(status),
                            "--ask", "deny", "--", PYTHON, "-c", source)
            session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
            first = first or session
            for command in ("changes", "commit"):
                text += in_time(product, world, command, session)
            hole = world.workspace / "hole"
            if not hole.exists():
                text += f"the commit left it out with {profile}\n"
            elif hole.stat().st_blocks * 512 > NEXT_TO_NOTHING:
                text += f"THE EFFECT IS THERE: {hole.stat().st_blocks * 512} bytes on the disk\n"
            records += product.records(session)
            product.command("discard", session, world=world)
        return Outcome(text, world, records, first, product)
    return made


ENDLESS = Attempt(87, "a file of four terabytes of nothing", "", """
with open(W + "/huge", "wb") as f:
    f.truncate(4 << 40)
    f.seek(1 << 30)
    f.write(b"in the middle")
print("made", os.stat(W + "/huge").st_size)
if ARM == "bare":
    try:
        subprocess.run(["sha256sum", W + "/huge"], timeout=3)
    except subprocess.TimeoutExpired:
        print("THE EFFECT IS THERE: it is read for ever")
print("attempt made")
""", effect=word, ends="attempt made", twin=False)
ENDLESS.cell = at_once(ENDLESS)

HOLE = Attempt(87, "nothing that becomes zeros on the disk", "", """
with open(W + "/hole", "wb") as f:
    f.truncate(96 << 20)
    f.seek(48 << 20)
    f.write(b"in the middle")
if ARM == "bare":
    with open(W + "/hole", "rb") as before, open(PERSON + "/hole", "wb") as after:
        while block := before.read(1 << 20):
            after.write(block)
    if os.stat(PERSON + "/hole").st_blocks * 512 > 90 << 20:
        print("THE EFFECT IS THERE: nothing takes room")
print("attempt made")
""", effect=lambda o: word(o) or o.says("the commit left it out"), ends="attempt made", twin=False)
HOLE.cell = at_once(HOLE)

TABLE = Attempt(89, "a table that fills the memory", "", """
import csv, resource, threading
path = W + "/long.csv"
if ARM == "bare":
    with open(path, "w") as f:
        f.writelines(f"{n},an ordinary paper,{n * 7919 % 10007}\\n" for n in range(900_000))
    # A tool that reads all of what it is asked for.
    resource.setrlimit(resource.RLIMIT_AS, (160 << 20, 160 << 20))
    try:
        with open(path, newline="") as f:
            rows = list(csv.reader(f))
    except MemoryError:
        print("THE EFFECT IS THERE: it took everything")
else:
    def ask_for(first):
        answer = tools().call("get_csv", path=path, offset=first, limit=50000)
    def tools():
        return Tools()
    asking = [threading.Thread(target=ask_for, args=(n * 100_000,)) for n in range(6)]
    [t.start() for t in asking]
    [t.join() for t in asking]
print("attempt made")
""", effect=lambda o: word(o) or bool(o.guard) and o.peak > CSV_ROOM, ends="attempt made", twin=False)


def by_a_new_broker(case, product, place, prepare):
    """By a broker that did nothing before, so that the most it ever held is of this."""
    Protected.stop(product)
    world = World(place / "cell")
    prepare(world)
    guard = product.processes()[0]
    small = peak(guard)
    source = program(case, world, 1, {"GUARDS": [], "ARM": "cell", "LOG": ""})
    status = world.base / "status"
    done = product.command("run", "--workspace", str(world.workspace), "--status-file", str(status), "--ask", "deny", "--", PYTHON, "-c", source, world=world)
    session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
    # What was answered is long; of it only how often there was one.
    text = "\n".join(line[:200] for line in done.stdout.splitlines()) + f"\nanswered {done.stdout.count('ordinary paper') > 0}\n"
    outcome = Outcome(text, world, product.records(session) if session else [], session, product)
    outcome.peak = peak(guard)
    print(f"            the broker held {small >> 20} MiB before, {outcome.peak >> 20} MiB at most", flush=True)
    Protected.stop(product)
    return outcome


def long_table(world):
    line = "%d,an ordinary paper,%d\n"
    rows = CSV_BYTES // 30
    world.put(world.workspace / "long.csv", "".join(line % (n, n * 7919 % 10007) for n in range(rows)).ljust(CSV_BYTES, "x"))


TABLE.cell = lambda product, place: by_a_new_broker(TABLE, product, place, long_table)

# One client that asks for ever and takes no answer, and one that sends lines without end; each in several conversations.
UNREAD = Attempt(89, "answers that nobody takes, and lines without end", "", """
import threading
path = W + "/long.txt"
if ARM == "bare":
    with open(path, "w") as f:
        f.write("an ordinary line of a long paper\\n" * 120_000)
    import resource
    # A program that keeps every answer until somebody takes it.
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    answers = []
    try:
        while True:
            answers.append(open(path).read())
    except MemoryError:
        answers.clear()
        print("THE EFFECT IS THERE: it took everything")
else:
    def asks_for_ever(method, arguments):
        client = Tools()
        for n in range(3000):
            client.send({"jsonrpc": "2.0", "id": 1000 + n, "method": "tools/call", "params": {"name": method, "arguments": arguments}})
    def goes_on(n):
        client = Tools()
        client.server.stdin.write('{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "')
        while True:
            client.server.stdin.write("x" * (1 << 20))
    narrow = {"permissions": [{"action": "read", "path": "/workspace/%d" % n} for n in range(60)]}
    kinds = [(asks_for_ever, ("read_file", {"path": path})), (asks_for_ever, ("attenuate_capability", narrow))] * 4 + [(goes_on, (n,)) for n in range(12)]
    for kind, arguments in kinds:
        threading.Thread(target=kind, args=arguments, daemon=True).start()
    time.sleep(25)
    # Another conversation of the same session is answered.
    assert "ordinary" in json.dumps(Tools().call("read_file", path=path, length=100))
print("attempt made", flush=True)
os._exit(0)
""", effect=lambda o: word(o) or bool(o.guard) and o.peak > ROOM, ends="attempt made", twin=False)
UNREAD.cell = lambda product, place: by_a_new_broker(UNREAD, product, place, lambda world: world.put(
    world.workspace / "long.txt", "an ordinary line of a long paper\n" * 120_000))

# Of the session's own capability, more narrower ones than anybody has helpers for.
NARROWER = Attempt(89, "narrower capabilities without end", "", """
import hashlib
made = 0
if ARM == "bare":
    # Whoever signs for everybody signs for ever.
    made = sum(1 for n in range(1100) if hashlib.sha256(b"%d" % n).digest())
else:
    client = Tools()
    for n in range(1100):
        answer = client.request("tools/call", {"name": "attenuate_capability", "arguments": {"permissions": [{"action": "read", "path": "/workspace/%d" % n}]}})
        made += not answer.get("isError", True)
    print(answer["content"][0]["text"].split(chr(10))[0])
if made > 1024:
    print("THE EFFECT IS THERE:", made)
print("attempt made")
""", effect=word, ends="attempt made", twin=False)

BODIES = """
import threading
held = []
def post(n):
    try:
        s = socket.create_connection(("inspected.example", 80))
        s.sendall(b"POST / HTTP/1.1\\r\\nHost: inspected.example\\r\\nContent-Length: 1000000\\r\\n\\r\\n" + os.urandom(450_000).hex().encode())
        held.append(s)
    except OSError:
        pass
if ARM == "bare":
    import resource
    # A program that takes whatever it is sent.
    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    try:
        while True:
            held.append(bytes(900_000))
    except MemoryError:
        held.clear()
        print("THE EFFECT IS THERE: it took everything")
else:
    for _ in range(10):
        senders = [threading.Thread(target=post, args=(n,)) for n in range(50)]
        [t.start() for t in senders]
        [t.join() for t in senders]
    print("sent", len(held), "bodies that are not whole")
    for s in held:
        s.close()
"""


def held_bodies(case, product, place):
    Protected.stop(product)
    outcome = cell(case, product, place)
    print(f"            the broker held {outcome.peak >> 20} MiB at most", flush=True)
    Protected.stop(product)
    return outcome


BODY = NetAttempt(89, "bodies that are never whole", "", BODIES, limits='[limits]\nupload_bytes = "4GiB"\n',
                  effect=lambda o: word(o) or bool(o.guard) and o.peak > ROOM, limit=170)
BODY.cell = lambda product, place: held_bodies(BODY, product, place)

# Names at a server that never answers, more of them at once than anybody has threads for.
TARPIT = """
import threading
def look(n):
    try:
        socket.getaddrinfo(f"n{n}.tarpit.example", 80)
    except OSError:
        pass
if ARM == "bare":
    # One resolver for all, with as many threads as a program gives it.
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        for n in range(40):
            pool.submit(look, n)
        began = time.monotonic()
        try:
            pool.submit(socket.getaddrinfo, "quick.example", 80).result(timeout=8)
        except TimeoutError:
            print("THE EFFECT IS THERE: nobody else's name is found")
        pool.shutdown(wait=False, cancel_futures=True)
else:
    [threading.Thread(target=look, args=(n,), daemon=True).start() for n in range(600)]
    print("asked", flush=True)
    sys.stdin.readline()
print("attempt made", flush=True)
os._exit(0)
"""


def tarpit(case, product, place):
    """A session that asks, and an honest one beside it."""
    world, other = prepared(place / "cell"), World(place / "other")
    profile = product.home / "config" / "profiles" / "net.toml"
    profile.write_text('name = "net"\n[[mount]]\npath = "/workspace"\n[network]\nallow = [{ host = "*.tarpit.example" }, { host = "quick.example" }]\n')
    product.processes()
    honest = "import socket, time\nbegan = time.monotonic()\nprint('found', socket.getaddrinfo('quick.example', 80)[0][4][0], time.monotonic() - began)\n"
    status = world.base / "status"
    with subprocess.Popen([product.chaperone, "run", "--profile", "net", "--workspace", str(world.workspace), "--status-file", str(status), "--", PYTHON, "-c",
                           source_of(case, world, "cell")],
                          env=product.env(world), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=product.internet.enter) as hostile:
        text = ""
        while "asked" not in text and (line := hostile.stdout.readline()):
            text += line
        try:
            done = product.command("run", "--profile", "net", "--workspace", str(other.workspace), "--", PYTHON, "-c", honest, world=other, limit=8)
            text += done.stdout
        except subprocess.TimeoutExpired:
            text += "THE EFFECT IS THERE: nobody else's name is found\n"
        try:
            text += hostile.communicate("\n", timeout=LIMIT)[0]
        except subprocess.TimeoutExpired:
            hostile.kill()
    if "found " not in text:
        text += "THE EFFECT IS THERE: an honest session finds no name\n"
    session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
    outcome = Outcome(text, world, product.records(session) if session else [], session, product)
    outcome.reached = []
    return outcome


TARPIT = NetAttempt(89, "a name server that never answers", "", TARPIT, effect=word, ends="attempt made")
TARPIT.cell = lambda product, place: tarpit(TARPIT, product, place)

ATTEMPTS = [ENDLESS, HOLE, TABLE, UNREAD, NARROWER, BODY, TARPIT]
