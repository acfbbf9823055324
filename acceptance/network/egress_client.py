"""python3 client.py STEPS: sends each step of a case from inside a cell, and says on a line each what came of it."""
import base64, http.client, json, os, socket, ssl, struct, sys
from urllib.parse import quote, urlsplit

OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
LIMIT = 15


def connected(url):
    tls = url.scheme.lower() in ("https", "wss")
    family, kind, _, _, to = socket.getaddrinfo(url.hostname, url.port or (443 if tls else 80), type=socket.SOCK_STREAM)[0]
    stream = socket.socket(family, kind)
    stream.settimeout(LIMIT)
    stream.connect(to)
    return ssl.create_default_context().wrap_socket(stream, server_hostname=url.hostname) if tls else stream


def head(url, method, headers):
    """As it was given, but for what cannot stand in a line of its own."""
    target = quote((url.path or "/") + ("?" + url.query if url.query else ""), safe="".join(map(chr, range(33, 127))))
    host = url.netloc.rsplit("@", 1)[-1].encode("idna" if not url.netloc.isascii() else "ascii").decode()
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answered(stream, method):
    answer = http.client.HTTPResponse(stream, method=method)
    answer.begin()
    told = {"status": answer.status, "reason": answer.getheader("x-chaperone-reason")}
    if answer.status > 499:
        told["text"] = answer.read(600).decode("utf-8", "replace")
    return told, answer


def request(url, step):
    body = step["body"].encode()
    more = {"Content-Length": len(body)} if body or step["method"] not in ("GET", "HEAD") else {}
    stream = connected(url)
    stream.sendall(head(url, step["method"], {**step["headers"], **more}) + body)
    told, answer = answered(stream, step["method"])
    return {**told, **(json.load(answer) if told["status"] == 200 and step["method"] != "HEAD" else {})}


def web_socket(url, step):
    stream = connected(url)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(head(url, "GET", {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}))
    told, answer = answered(stream, "GET")
    if told["status"] != 101:
        return told
    echoes = 0
    for frame in step["frames"]:
        data, mask, fin = frame["payload"].encode(), os.urandom(4), frame.get("fin", True)
        length = bytes([128 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\xff" + struct.pack(">Q", len(data))
        stream.sendall(bytes([fin << 7 | OPCODES[frame.get("opcode", "text")]]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        if fin:
            # The echo says that it arrived.
            if not answer.fp.read(1):
                return {**told, "echoes": echoes, "closed": True}
            size = answer.fp.read(1)[0]
            size = struct.unpack(">H" if size == 126 else ">Q", answer.fp.read(2 if size == 126 else 8))[0] if size > 125 else size
            answer.fp.read(size)
            echoes += 1
    return {**told, "echoes": echoes}


for step in json.load(sys.stdin):
    try:
        told = (web_socket if "frames" in step else request)(urlsplit(step["url"]), step)
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
