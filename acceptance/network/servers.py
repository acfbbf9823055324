"""The servers that the clients of a cell are to reach: TLS and plain HTTP on ports that are free, one content for all."""
import base64, gzip, hashlib, http.server, io, json, os, ssl, struct, subprocess, tarfile, threading, time, zipfile

import models
from harness import served

# Neither compressible nor secret-looking: every byte has to arrive.
CONTENT = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(8192))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
EVENTS = 5
PAUSE = 0.3


def wheel():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as z:
        files = {
            "greeting/__init__.py": b"", "greeting/content.bin": CONTENT,
            "greeting-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
            "greeting-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for name, data in files.items():
            z.writestr(name, data)
        z.writestr("greeting-1.0.dist-info/RECORD", "".join(f"{n},,\n" for n in [*files, "greeting-1.0.dist-info/RECORD"]))
    return held.getvalue()


def tarball(files):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            t.addfile(info, io.BytesIO(data))
    return held.getvalue()


WHEEL = wheel()
PACKAGE = tarball({"package/package.json": b'{"name":"greeting","version":"1.0.0"}', "package/content.bin": CONTENT})
CRATE = tarball({
    "greeting-1.0.0/Cargo.toml": b'[package]\nname = "greeting"\nversion = "1.0.0"\nedition = "2021"\n',
    "greeting-1.0.0/src/lib.rs": b"", "greeting-1.0.0/content.bin": CONTENT,
})


class Handler(served.Handler):
    def base(self):
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        return f"{scheme}://{self.headers['host']}"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/content":
            self.send(CONTENT)
        elif path == "/events":
            self.stream(event(i) for i in range(EVENTS))
        elif path == "/socket":
            self.web_socket()
        elif path.startswith("/git/"):
            self.git(b"")
        elif path == "/simple/greeting/":
            self.send(f'<a href="/wheels/greeting-1.0-py3-none-any.whl#sha256={hashlib.sha256(WHEEL).hexdigest()}">greeting-1.0-py3-none-any.whl</a>'.encode(), "text/html")
        elif path == "/wheels/greeting-1.0-py3-none-any.whl":
            self.send(WHEEL)
        elif path == "/npm/greeting":
            integrity = "sha512-" + base64.b64encode(hashlib.sha512(PACKAGE).digest()).decode()
            version = {"name": "greeting", "version": "1.0.0", "dist": {"tarball": self.base() + "/npm/greeting/-/greeting-1.0.0.tgz", "integrity": integrity}}
            self.send({"name": "greeting", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}})
        elif path == "/npm/greeting/-/greeting-1.0.0.tgz":
            self.send(PACKAGE)
        elif path == "/crates/config.json":
            self.send({"dl": self.base() + "/crates"})
        elif path == "/crates/gr/ee/greeting":
            self.send({"name": "greeting", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(CRATE).hexdigest(), "features": {}, "yanked": False})
        elif path == "/crates/greeting/1.0.0/download":
            self.send(CRATE)
        else:
            self.send(b"not here\n", "text/plain", 404)

    do_HEAD = do_GET

    def do_POST(self):
        path, body = self.path.split("?")[0], self.body()
        if path == "/hash":
            self.send(hashlib.sha256(body).hexdigest().encode(), "text/plain")
        elif path.startswith("/git/"):
            self.git(body)
        elif path.endswith("/v1/messages"):
            models.messages(self, json.loads(body))
        elif path.endswith("/v1/responses"):
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            models.responses(self, json.loads(body))
        else:
            self.send({"error": {"type": "not_found_error", "message": "not here"}}, status=404)

    def git(self, body):
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": "/usr/bin:/bin", "GIT_PROJECT_ROOT": self.server.repositories, "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command, "PATH_INFO": path.removeprefix("/git"), "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type") or "", "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding") or "",
            "GIT_PROTOCOL": self.headers.get("git-protocol") or "",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment)
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send(data, fields.get("Content-Type", "text/plain"), int(fields.get("Status", "200 OK").split()[0]))

    def said(self, data):
        """One message of a WebSocket, whole, or what a ping or its end holds."""

    def web_socket(self):
        """Says each message back, in one frame."""
        accept = base64.b64encode(hashlib.sha1((self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.send_response(101)
        for name, value in [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.decode())]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        message = b""
        while True:
            first, second = self.rfile.read(2)
            length = second & 127
            if length > 125:
                length = struct.unpack(">H" if length == 126 else ">Q", self.rfile.read(2 if length == 126 else 8))[0]
            mask = self.rfile.read(4)
            data = self.rfile.read(length)
            data = (int.from_bytes(data, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")).to_bytes(length, "big")
            opcode = first & 15
            if opcode in (0, 1, 2):
                kind = opcode or kind
                message += data
                if not first & 128:
                    continue
                data, opcode, message = message, kind, b""
            self.said(data)
            if opcode == 9:
                opcode = 10
            head = bytes([128 | opcode]) + (bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\x7f" + struct.pack(">Q", len(data)))
            self.wfile.write(head + data)
            self.wfile.flush()
            if opcode == 8:
                return


def event(i):
    if i:
        time.sleep(PAUSE)
    return b"event: count\ndata: %d\n\n" % i


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, repositories, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.tls = repositories, tls
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        if self.tls:
            # In the thread of the connection: one that says nothing holds nobody up.
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)
        if self.tls:
            request.close()

    def handle_error(self, *_):
        pass

    @property
    def port(self):
        return self.server_address[1]


def certificates(folder, names):
    """A new authority, and a certificate of it for the names."""
    os.makedirs(folder, exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    run = lambda *a: subprocess.run(["openssl", "req", "-x509", *key, *a], cwd=folder, check=True, capture_output=True)
    run("-subj", "/CN=Authority of the acceptance", "-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign")
    run("-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.pem",
        "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth",
        "-addext", "subjectAltName=" + ",".join(n if n.startswith("IP:") else "DNS:" + n for n in names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    return context
