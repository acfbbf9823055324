"""python3 internet.py FOLDER: a network of its own in which every address is this machine, and servers that write down what
reaches them. Namespaces, /etc/hosts and /etc/resolv.conf are private; whoever joins them is the person at their machine."""
import base64
import ctypes
import hashlib
import itertools
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
# Names that the user's own hosts file gives an address of this machine, so that a cell may reach them when they are allowed.
NAMES = {
    "friend.example": "127.0.0.2", "honest.example": "127.0.0.2", "inspected.example": "127.0.0.3", "opaque.example": "127.0.0.4", "multi.example": "127.0.0.5",
    "small.example": "127.0.0.6", "hostile.example": "127.0.0.7", "metadata.friend.example": "169.254.169.254",
    "proxy.golang.org": "127.0.0.8", "sum.golang.org": "127.0.0.9",
}
# Every other name, by the name server below.
PUBLIC, PRIVATE = "93.184.216.34", "10.1.2.3"
WEB, TLS = (80, 8080), (443, 8443)
# What answers with anything but TLS.
LIAR = 9443
PORTS = (LIAR, 21, 22, 23, 25, 53, 853, 1080, 3128, 4444, 5432, 6667, 9418, 31337, *WEB, *TLS)
DATAGRAMS = (123, 443, 500, 4500, 5353, 31337)
CLONE = {"user": 0x10000000, "net": 0x40000000, "mount": 0x20000}
libc = ctypes.CDLL(None, use_errno=True)
lock, numbers = threading.Lock(), itertools.count()


def checked(got):
    if got != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def leave():
    """Into namespaces of one's own; a person who is not root is root in them, until they run something."""
    user, group = os.getuid(), os.getgid()
    checked(libc.unshare(CLONE["net"] | CLONE["mount"] | (CLONE["user"] if user else 0)))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    checked(libc.mount(None, b"/", None, 0x40000 | 0x4000, None))
    hosts = "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in NAMES.items())
    for name, text in (("hosts", hosts), ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n"), ("nsswitch.conf", "hosts: files dns\n")):
        (FOLDER / name).write_text(text)
        place = os.path.realpath("/etc/" + name)
        if os.path.exists(place):
            checked(libc.mount(str(FOLDER / name).encode(), place.encode(), None, 0x1000, None))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        import fcntl
        fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40) + bytes(14))
    for family in (socket.AF_INET, socket.AF_INET6):
        everything_is_local(family)
    Path("/proc/sys/net/ipv4/ping_group_range").write_text(f"{group} {group}")
    Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("3")


def everything_is_local(family):
    """`ip route add local default dev lo`."""
    index = socket.if_nametoindex("lo")
    body = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 3, 254 if family == socket.AF_INET else 0, 2, 0)
    body += struct.pack("HHI", 8, 4, index)
    message = struct.pack("IHHII", 16 + len(body), 24, 0x1 | 0x4 | 0x400 | 0x200, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(message)
        error = struct.unpack("i", s.recv(4096)[16:20])[0]
    if error and family == socket.AF_INET:
        raise OSError(-error, os.strerror(-error))


def certificates():
    names = ",".join("DNS:" + n for n in [*NAMES, "*.friend.example", "attacker.example", "*.example"])

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=listeners")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (FOLDER / "ext").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "ext")


def note(kind, to, data=b"", **more):
    line = json.dumps({"kind": kind, "to": to, "time": time.time(), "data": base64.b64encode(data).decode(), **more})
    with lock, open(FOLDER / "reached", "a") as f:
        f.write(line + "\n")


def shown(address):
    ip = address[0].removeprefix("::ffff:")
    return f"{ip}:{address[1]}"


def conversation(raw, port, context):
    to, number = shown(raw.getsockname()), next(numbers)
    note("accept", to, connection=number)
    raw.settimeout(20)
    stream, sni = raw, []
    if port in TLS:
        context.sni_callback = lambda sock, name, _: sni.append(name)
        stream = context.wrap_socket(raw, server_side=True)
    greeting = {22: b"SSH-2.0-listener\r\n", 21: b"220 listener\r\n", 25: b"220 listener\r\n"}.get(port)
    if greeting:
        stream.sendall(greeting)
    seen = b""
    while True:
        data = stream.recv(65536)
        if not data:
            return
        note("data", to, data, connection=number, tls=port in TLS, sni=(sni or [""])[-1])
        seen = (seen + data)[-(1 << 20):]
        if port == LIAR:
            stream.sendall(b"\x16\x03\x03\xff\xff" + os.urandom(70000) + b"\x15\x03\x03\x00\x02\x02\x28")
        elif port == 1080 and data[:1] == b"\x05":
            stream.sendall(b"\x05\x00" if len(data) < 5 else b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        elif re.match(rb"CONNECT ", seen):
            stream.sendall(b"HTTP/1.1 200 fine\r\n\r\n")
            seen = b""
        elif re.match(rb"(?i)\s*[^\s]+\s+\S+\s+HTTP/1", seen):
            seen = web(stream, seen, to)
        elif port in (21, 25):
            stream.sendall(b"230 fine\r\n")
        elif port not in TLS + WEB + (22,):
            stream.sendall(b"fine\n")


def web(stream, seen, to):
    """Answer what is complete; what is left of it."""
    while b"\r\n\r\n" in seen:
        head, rest = seen.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        need = int(length[1]) if length else 0
        if re.search(rb"(?i)transfer-encoding: *chunked", head):
            if b"0\r\n\r\n" not in rest:
                return seen
            need = rest.index(b"0\r\n\r\n") + 5
        if len(rest) < need:
            return seen
        line = head.split(b"\r\n")[0]
        note("request", to, line)
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
        if key:
            accept = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            stream.sendall(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            messages(stream, to)
        if b" /hostile/" in line:
            hostile(stream, line.split()[1].decode().split("/")[2], rest[:need], to)
            raise OSError("done")
        kind, body = b"text/plain", b"fine\n"
        if to.startswith(("127.0.0.8:", "127.0.0.9:")):
            body = relayed(line.split()[1].decode(), to)
        if b"service=git-receive-pack" in line:
            kind = b"application/x-git-receive-pack-advertisement"
            first = b"0" * 40 + b" capabilities^{}\0report-status\n"
            body = b"001f# service=git-receive-pack\n0000" + b"%04x" % (len(first) + 4) + first + b"0000"
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body)
        seen = rest[need:]
    return seen


def relayed(path, to):
    """What a proxy of modules does: it asks the host that begins the import path."""
    host = path.removeprefix("/sumdb/").removeprefix("/lookup/").lstrip("/").split("/")[0].split(":")[0]
    if host != "github.com":
        try:
            with socket.create_connection((host, 80), timeout=5) as s:
                s.sendall(f"GET {path}?go-get=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        except OSError:
            pass
        note("relayed", to, f"{host} {path}".encode())
    return b"v1.0.0\n"


WRONG = {
    "nothing": b"", "noise": b"\xff\xfe\x00" * 5000, "long-head": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * (8 << 20),
    "many-heads": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(100_000)) + b"\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 5\r\n\r\nab", "minus": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\na",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na", "chunk-line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * (4 << 20),
    "informed": b"HTTP/1.1 103 Early\r\n\r\n" * 100_000, "switch": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\xff" + b"\xff" * 8,
    "split": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
}


def hostile(stream, way, body, to):
    """A server that means harm."""
    stream.settimeout(20)
    if way == "echo":
        stream.sendall(b"HTTP/1.1 200 OK\r\nX-Echo: " + body[:1000].replace(b"\n", b" ") + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    elif way == "stall":
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na")
        stream.recv(1)
    elif way == "endless":
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            stream.sendall(bytes(1 << 20))
    elif way == "reset":
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif way == "drip":
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        try:
            for _ in range(1000):
                stream.sendall(b".")
                time.sleep(0.02)
        except OSError:
            note("closed", to)
    else:
        stream.sendall(WRONG[way])


def messages(stream, to):
    """Short messages of a WebSocket, each answered."""
    whole = stream.makefile("rb")
    while head := whole.read(2):
        length = head[1] & 127
        if length == 126:
            length = int.from_bytes(whole.read(2), "big")
        mask, data = whole.read(4), whole.read(length)
        note("data", to, bytes(b ^ mask[n % 4] for n, b in enumerate(data)), connection=next(numbers))
        stream.sendall(b"\x81\x04fine")
    raise OSError("done")


def listen(port, protocol=0, fast=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if fast:
        s.setsockopt(socket.IPPROTO_TCP, 23, 16)
    s.bind(("::", port))
    s.listen(64)

    def one(raw):
        try:
            with raw:
                conversation(raw, port, context)
        except OSError:
            pass

    def serve():
        while True:
            raw, _ = s.accept()
            threading.Thread(target=one, args=(raw,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


turned = set()


def address_of(name):
    """The address of any name; that of `rebind` is another one from the second question on."""
    if name.startswith("rebind"):
        known = name in turned
        turned.add(name)
        return PRIVATE if known else PUBLIC
    if name.startswith("inward"):
        return PRIVATE
    if name.startswith("loop"):
        return "127.0.0.1"
    if name.startswith("metadata"):
        return "169.254.169.254"
    return NAMES.get(name, PUBLIC)


def reply(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]])
        at += 1 + query[at]
    question, kind = query[12:at + 5], struct.unpack("!H", query[at + 1:at + 3])[0]
    name = b".".join(labels).decode("ascii", "replace").lower()
    data = {1: socket.inet_aton(address_of(name)) if kind == 1 else b"", 16: b"\x05fine!"}.get(kind)
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if data else 0, 0, 0)
    answer = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data if data else b""
    return name, head + question + answer


def datagrams(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port))

    def serve():
        while True:
            data, peer = s.recvfrom(65536)
            if port != 53:
                note("data", f"udp:{port}", data)
                continue
            try:
                name, answer = reply(data)
            except (IndexError, OSError):
                note("data", "udp:53", data)
                continue
            note("query", "udp:53", name.encode())
            if name.endswith(".tarpit.example"):
                continue
            s.sendto(answer, peer)

    threading.Thread(target=serve, daemon=True).start()


def pings():
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    def serve():
        while True:
            data = s.recv(65536)
            # Only questions; the kernel answers them.
            if data[20:21] == b"\x08":
                note("data", "icmp:0", data[28:])

    threading.Thread(target=serve, daemon=True).start()


def local(address):
    s = socket.socket(socket.AF_UNIX)
    s.bind(address)
    s.listen()

    def serve():
        while True:
            peer, _ = s.accept()
            note("data", "unix:0", peer.recv(65536))
            peer.close()

    threading.Thread(target=serve, daemon=True).start()


if __name__ == "__main__":
    leave()
    certificates()
    (FOLDER / "reached").touch()
    for port in PORTS:
        listen(port, fast=port == 31337)
    try:
        listen(8262, protocol=262)
    except OSError:
        pass
    for port in (53, *DATAGRAMS):
        datagrams(port)
    pings()
    local("\0listener-outside")
    print("ready", flush=True)
    sys.stdin.read()
