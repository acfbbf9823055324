import codecs, gzip, hashlib, http.client, re, ssl, threading, urllib.parse, urllib.request
with open(W + "/report.txt") as f:
    report = f.read()
secret = re.search("canary[0-9a-f]+", report)[0]
# Of the shapes that keys have.
KEY = "AKIA" + "Q3EGRVHBDY2T5LZX"
careless = ssl._create_unverified_context()
socket.setdefaulttimeout(8)


def mark():
    """Each attempt says when it begins; the log has to know of it soon."""
    print("AT", time.time(), flush=True)


def web(url, data=None, headers=None, method=None, context=careless):
    mark()
    try:
        request = urllib.request.Request(url, data.encode() if isinstance(data, str) else data, headers or {}, method=method)
        with urllib.request.urlopen(request, context=context if url.startswith("https") else None) as answer:
            return answer.read(100).decode("utf-8", "replace")
    except urllib.error.HTTPError as e:
        print("no:", e.code, e.read(300))
    except (OSError, ValueError, http.client.HTTPException) as e:
        print("no:", type(e).__name__, e)
    return ""


def talk(host, port, *said, tls=None, family=0):
    """Say one thing after the other, each after an answer; what was answered."""
    mark()
    heard = b""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0]
        with socket.socket(*found[:2]) as raw:
            raw.settimeout(5)
            raw.connect(found[4])
            s = careless.wrap_socket(raw, server_hostname=tls) if tls else raw
            for one in said:
                s.sendall(one.encode() if isinstance(one, str) else one)
                got = s.recv(4096)
                heard += got
                if not got:
                    break
    except (OSError, ValueError) as e:
        print("no:", type(e).__name__, e)
    print("heard", heard[:200])
    return heard


def name_server():
    with open("/etc/resolv.conf") as f:
        return re.search(r"nameserver +(\S+)", f.read())[1]


def say(host, port, *parts):
    """Say one part after the other, each by itself, without waiting for answers."""
    mark()
    try:
        with socket.create_connection((host, port)) as s:
            for part in parts:
                s.sendall(part)
                time.sleep(0.05)
            s.settimeout(0.3)
            s.recv(10)
    except OSError as e:
        print("no:", type(e).__name__, e)


def query(name, kind=1, server=None, tcp=False):
    """One DNS question; the code of the answer, and the answer."""
    asked = struct.pack("!HHHHHH", os.getpid() & 0xFFFF, 0x100, 1, 0, 0, 0) + b"".join(
        bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack("!HH", kind, 1)
    mark()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect((server or name_server(), 53))
            s.send(struct.pack("!H", len(asked)) + asked if tcp else asked)
            got = s.recv(4096)
            got = got[2:] if tcp else got
            print("code", got[3] & 15 if got else None)
            return got
    except OSError as e:
        print("no:", type(e).__name__, e)
    return b""


def datagram(host, port, data, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
    mark()
    try:
        with socket.socket(family, kind, protocol) as s:
            s.settimeout(1)
            s.sendto(data, (host, port))
            s.recv(1)
    except OSError as e:
        print("no:", type(e).__name__, e)


def run(*command, **more):
    mark()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=25, **more)
    text = done.stdout[-300:].decode("utf-8", "replace")
    print(done.returncode, text.replace(secret, "…"))
    return text


def pieces(text, length):
    return [text[n:n + length] for n in range(0, len(text), length)]


def net_twin():
    """What an honest program does on the network, after the attempt."""
    print("END", time.time(), flush=True)
    assert web("http://friend.example/?q=weather") == "fine\n"
    assert web("http://friend.example/simple/package/") == "fine\n"
    if os.path.exists("/proc/net/if_inet6") and open("/proc/net/if_inet6").read():
        assert web("http://[2606:2800:220:1::34]/") == "fine\n"
    assert web("http://honest.example/note", "a few honest words") == "fine\n"
    assert web("https://honest.example/note", "a few honest words", context=ssl.create_default_context()) == "fine\n"
    print("the benign twin works")
