"""The traffic of `scripts/bench network`: one server, and workers that run in a cell or beside it.

    traffic.py serve                         print a port of 127.0.0.1 and serve it
    traffic.py free                          print a port that is free
    traffic.py alternate ROUNDS --next WORKER… --next WORKER…   let workers take turns; print the median of each one's samples
    traffic.py memory PID TOTAL STEP --next WORKER…     let a worker go on; print a process's resident MiB after each step

A worker does its work once for each line on its standard input, and answers with a line of samples:
    down PORT BYTES [PROXY_PORT]   MB/s of a download, through a proxy's CONNECT when one is given
    connect PORT COUNT [AT_ONCE]   ms of connect, one byte of answer, and close
    streams PORT COUNT BYTES       failures, then s, of so many streams at once, each way
    upload PORT KIND BYTES         MB/s of an HTTP/1.1 upload of code, csv or json
    names NAME COUNT               us of a query to the machine's resolver
    sync FILE COUNT                ms of fdatasync after a small append
"""
import asyncio, os, random, socket, statistics, struct, subprocess, sys, threading, time

HOST = "127.0.0.1"
BUFFER = 256 << 10


def receive_line(connection):
    """Byte by byte: nothing of what follows may be taken along."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return line
        line += byte
    return line


def drain(connection, left, buffer):
    while left:
        got = connection.recv_into(buffer, min(left, len(buffer)))
        if not got:
            raise ConnectionError(f"{left} bytes are missing")
        left -= got


# What a client says first is neither HTTP nor TLS, so that no proxy takes it for one.
def answer(connection):
    buffer = memoryview(bytearray(BUFFER))
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = receive_line(connection)
        if line.startswith(b"d"):
            left = int(line[1:])
            while left:
                left -= connection.send(buffer[: min(left, BUFFER)])
        elif line.startswith(b"p"):
            connection.sendall(b"p")
            connection.recv(1)
        elif line.startswith(b"e"):
            left = int(line[1:])
            while left and (got := connection.recv_into(buffer, min(left, BUFFER))):
                connection.sendall(buffer[:got])
                left -= got
        elif line.startswith(b"POST"):
            while line.startswith(b"POST"):
                length = 0
                while (line := receive_line(connection)) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                drain(connection, length, buffer)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                line = receive_line(connection)


def guarded(connection):
    try:
        answer(connection)
    except OSError:
        pass  # the client says what went wrong


def serve():
    listener = socket.create_server((HOST, 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()


def free():
    with socket.create_server((HOST, 0)) as listener:
        print(listener.getsockname()[1])


def connected(port, proxy=None):
    connection = socket.create_connection((HOST, int(proxy or port)), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if proxy:
        connection.sendall(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
        status = line = receive_line(connection)
        while line not in (b"\r\n", b""):
            line = receive_line(connection)
        if b" 200 " not in status:
            raise ConnectionError(f"the proxy said {status!r}")
    return connection


def down(port, size, proxy=None):
    buffer = memoryview(bytearray(BUFFER))
    with connected(port, proxy) as connection:
        begin = time.perf_counter()
        connection.sendall(b"d%d\n" % int(size))
        drain(connection, int(size), buffer)
        return [int(size) / 1e6 / (time.perf_counter() - begin)]


def ping(port):
    begin = time.perf_counter()
    with connected(port) as connection:
        connection.sendall(b"p\n")
        if connection.recv(1) != b"p":
            raise ConnectionError("no answer")
    return 1e3 * (time.perf_counter() - begin)


def connect(port, count, at_once=1):
    samples, failed = [], []

    def some(n):
        try:
            samples.extend(ping(port) for _ in range(n))
        except OSError as e:
            failed.append(e)

    if int(at_once) == 1:
        return [ping(port) for _ in range(int(count))]
    threads = [threading.Thread(target=some, args=(int(count) // int(at_once),)) for _ in range(int(at_once))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [statistics.median(samples)]


def streams(port, count, size):
    async def one(n):
        content = random.Random(n).randbytes(int(size))
        try:
            reader, writer = await asyncio.open_connection(HOST, int(port))
            writer.write(b"e%d\n" % len(content))
            writer.write(content)
            sent = asyncio.ensure_future(writer.drain())
            got = await asyncio.wait_for(reader.readexactly(len(content)), 60)
            await sent
            writer.close()
            return got == content
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            return False

    async def all_of_them():
        return await asyncio.gather(*(one(n) for n in range(int(count))))

    begin = time.perf_counter()
    failures = asyncio.run(all_of_them()).count(False)
    return [failures, time.perf_counter() - begin]


WORDS = "buffer cache child column count cursor entry field frame handle index item label layer limit margin match node offset order page parent path pixel queue range record region render result row scale scope shape slice slot source stack state step table target token tree unit value view weight width window".split()


def code(pick, n):
    a, b, c, d = (pick.choice(WORDS) for _ in range(4))
    return (f"def {a}_{b}_{n}({c}, {d}=None):\n    # the {b} of the {c} comes before its {d}\n"
            f"    if {d} is None:\n        {d} = {c}.{a}[{n % 97}]\n"
            f"    for {b} in range(len({c})):\n        {d} += {c}[{b}] * {pick.randrange(90)} - {a}_limit\n    return {d}\n\n")


def csv(pick, n):
    return f"{n},{pick.choice(WORDS)},{pick.choice(WORDS)},{pick.random() * 90:.2f},{pick.randrange(900)},{pick.choice(['open', 'closed', 'late'])}\n"


def json(pick, n):
    return f'{{"row": {n}, "{pick.choice(WORDS)}": "{pick.choice(WORDS)} {pick.choice(WORDS)}", "share": {pick.random():.3f}, "tags": ["{pick.choice(WORDS)}"], "done": true}},\n'


KINDS = {"code": (code, "text/x-python"), "csv": (csv, "text/csv"), "json": (json, "application/json")}
ready = {}


def text(kind, size):
    make, pick, parts, have, n = KINDS[kind][0], random.Random(7), [], 0, 0
    while have < size:
        parts.append(make(pick, n))
        have += len(parts[-1])
        n += 1
    joined = "".join(parts)
    if kind == "json":
        return ("[" + joined[: joined.rindex("},\n", 0, size) + 1] + "]").encode()
    return joined[:size].encode()


def upload(port, kind, size):
    # Made here: of what a cell reads, passages would be recognised.
    body = ready.setdefault(kind, None) or text(kind, int(size))
    ready[kind] = body
    with connected(port) as connection:
        begin = time.perf_counter()
        connection.sendall(f"POST /{kind} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: {KINDS[kind][1]}\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode())
        connection.sendall(body)
        said = connection.recv(4096)
        took = time.perf_counter() - begin
    if b" 200 " not in said.split(b"\r\n")[0]:
        raise ConnectionError(said.decode(errors="replace").replace("\r\n", " · ")[:300])
    return [len(body) / 1e6 / took]


def names(name, count):
    """AAAA: it is decided and recorded as any query, and answered without a look at the disk or the system's resolver."""
    with open("/etc/resolv.conf") as f:
        resolver = next(line.split()[1] for line in f if line.startswith("nameserver"))
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", 28, 1)
    samples = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((resolver, 53))
        sender.settimeout(5)
        for n in range(int(count)):
            begin = time.perf_counter()
            sender.send(struct.pack(">HHHHHH", n, 0x0100, 1, 0, 0, 0) + question)
            reply = sender.recv(4096)
            samples.append(1e6 * (time.perf_counter() - begin))
            if reply[3] & 15:
                raise ConnectionError(f"the resolver refused {name}: code {reply[3] & 15}")
    return samples


def sync(path, count):
    samples = []
    with open(path, "ab", buffering=0) as f:
        for _ in range(int(count)):
            f.write(b"x" * 600)
            begin = time.perf_counter()
            os.fdatasync(f.fileno())
            samples.append(1e3 * (time.perf_counter() - begin))
    return samples


WORKERS = {f.__name__: f for f in (down, connect, streams, upload, names, sync)}


def work(name, *arguments):
    for _ in sys.stdin:
        try:
            print(*(f"{sample:.6g}" for sample in WORKERS[name](*arguments)), flush=True)
        except (OSError, StopIteration) as e:
            sys.exit(f"{name}: {e or type(e).__name__}")


class Worker:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def samples(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(1)  # it said why
        return [float(word) for word in line.split()]

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def commands(arguments):
    found = []
    for argument in arguments:
        if argument == "--next":
            found.append([])
        else:
            found[-1].append(argument)
    return found


def alternate(rounds, *arguments):
    workers = [Worker(command) for command in commands(arguments)]
    samples = [[] for _ in workers]
    for turn in range(int(rounds) + 1):
        for worker, kept in zip(workers, samples):
            got = worker.samples()
            # The first turn warms up.
            if turn:
                kept.append(got)
    for worker in workers:
        worker.end()
    for kept in samples:
        # By place for workers with several results, over all for those with many samples of one.
        if len(kept[0]) == 2:
            print(*(f"{statistics.median(place):.3f}" for place in zip(*kept)))
        else:
            print(f"{statistics.median(sum(kept, [])):.3f}")


def memory(pid, total, step, *arguments):
    [command] = commands(arguments)
    worker = Worker(command)
    for _ in range(int(total) // int(step)):
        worker.samples()
        time.sleep(1)
        with open(f"/proc/{pid}/status") as f:
            print(next(f"{int(line.split()[1]) / 1024:.1f}" for line in f if line.startswith("VmRSS")), flush=True)
    worker.end()


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    if name in WORKERS:
        work(name, *rest)
    else:
        {"serve": serve, "free": free, "alternate": alternate, "memory": memory}[name](*rest)
