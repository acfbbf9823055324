"""Protocols that programs speak, to servers that the user named."""
import contextlib, http.server, json, os, shutil, socket, socketserver, ssl, subprocess, threading

from harness.cell import DOCS, PLACE, last_session, profile, records, write
from ways import once

HERE = os.path.join(PLACE, "acceptance", "everyday")


@contextlib.contextmanager
def served(handle):
    """A TCP server on this machine; `handle(connection)` for each connection."""
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                handle(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address = True, True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def python(way, port, code, *options):
    write("client.py", f"import socket\nPORT = {port}\n{code}")
    return way.ran("python3", "client.py", options=("--allow-host", f"localhost:{port}", *options))


@contextlib.contextmanager
def grpc(*certificate):
    """A server of calls: its port, and what it got when it has ended."""
    got = []
    with subprocess.Popen(["node", os.path.join(HERE, "h2c-server.mjs"), *certificate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield int(server.stdout.readline()), got
        server.stdin.close()
        got += server.stdout.read().splitlines()


def called(way, calls, messages, *texts):
    shutil.copy(os.path.join(HERE, "h2c-client.mjs"), DOCS)
    with grpc() as (port, got):
        done = way.ran("node", "h2c-client.mjs", f"http://localhost:{port}", str(calls), str(messages), *texts, options=("--allow-host", f"localhost:{port}"))
    return done, got


@once
def http2_without_tls_works_every_time(way):
    done, _ = called(way, 20, 1)
    assert done.stdout.strip() == "20 of 20", done


@once
def streams_go_both_ways_at_once(way):
    # Whether the server or its client is first to speak is chance.
    done, _ = called(way, 10, 20)
    assert done.stdout.strip() == "10 of 10", done


@once
def what_is_streamed_is_inspected_together(way):
    honest, key = ("a few", "honest", "words"), ("a few", "AKIAQ3EGRV", "HBDY2T5LZX")
    done, got = called(way, 1, 3, *honest)
    assert done.stdout.strip() == "1 of 1" and got == list(honest), (done, got)
    # Without a cell it leaves.
    with grpc() as (port, got):
        subprocess.run(["node", os.path.join(HERE, "h2c-client.mjs"), f"http://localhost:{port}", "1", "3", *key], check=True, capture_output=True)
    assert got == list(key), got
    done, got = called(way, 1, 3, *key)
    assert done.stdout.strip() == "0 of 1" and got == list(key[:2]), (done, got)
    told = json.dumps(records(last_session()))
    assert "secret_leaves" in told and '"alert"' in told and key[2] not in told, told[-3000:]


@once
def calls_in_tls_go_both_ways_and_are_inspected(way):
    place = os.path.join(PLACE, "authority")
    shutil.copy(os.path.join(HERE, "h2c-client.mjs"), DOCS)
    with grpc(os.path.join(place, "server.pem"), os.path.join(place, "server.key")) as (port, _):
        profile("calls", f'name = "calls"\n[[mount]]\npath = "/workspace"\n[network]\nallow = [{{ host = "plain.chaperone.test", ports = [{port}], inspect = true }}]\n')
        done = way.ran("node", "h2c-client.mjs", f"https://plain.chaperone.test:{port}", "5", "5", options=("--profile", "calls"))
    assert done.stdout.strip() == "5 of 5", done
    assert any("/pkg.Service/Call" in str(record) for record in records(last_session()))


def answer(text):
    def handle(connection):
        connection.recv(65536)
        connection.sendall(text)
    return handle


@once
def many_cookies_are_no_fault_of_an_answer(way):
    cookies = "".join(f"Set-Cookie: c{n}=v\r\n" for n in range(120))
    with served(answer(f"HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode())) as port:
        # Python's own client stops at a hundred lines.
        done = python(way, port, "s = socket.create_connection(('localhost', PORT)); s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')\n"
                      "got = b''\nwhile b := s.recv(65536): got += b\nprint(got[:12].decode(), got.lower().count(b'set-cookie:'))")
    assert done.stdout.strip() == "HTTP/1.1 200 120", done


@once
def trailers_of_an_answer_arrive(way):
    with served(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n")) as port:
        done = python(way, port, "s = socket.create_connection(('localhost', PORT)); s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nTE: trailers\\r\\nConnection: close, TE\\r\\n\\r\\n')\n"
                      "got = b''\nwhile b := s.recv(65536): got += b\nprint(b'x-sum: 42' in got.lower())")
    assert done.stdout.strip() == "True", done


@once
def plain_protocols_of_lines_reach_a_server_that_was_named(way):
    lines = [b"PING\r\n", b"NICK someone\r\nUSER a 0 * :b\r\n", b"OPTIONS rtsp://localhost/x RTSP/1.0\r\nCSeq: 1\r\n\r\n",
             b"OPTIONS sip:a@localhost SIP/2.0\r\nVia: SIP/2.0/TCP localhost\r\n\r\n", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nhello\r\n",
             b"EHLO localhost\r\n", b"A1 LOGIN x y\r\n", b"*1\r\n$4\r\nPING\r\n"]

    def echo(connection):
        while data := connection.recv(65536):
            connection.sendall(b"seen:" + data)

    with served(echo) as port:
        write("client.py", f"""import socket
PORT = {port}
wrong = []
for line in {lines!r}:
    s = socket.create_connection(('localhost', PORT), timeout=10); s.sendall(line); got = b''
    try:
        while len(got) < 5 + len(line) and (b := s.recv(65536)): got += b
    except OSError as e: got += repr(e).encode()
    if got != b'seen:' + line: wrong.append((line[:20], got[:60]))
print(wrong)
""")
        done = way.ran("python3", "client.py", options=("--allow-host", f"tcp://localhost:{port}"))
        assert done.stdout.strip() == "[]", done
        # Where nothing says that it is no server of the web, what one may take for a request is one.
        done = way.ran("python3", "client.py", options=("--allow-host", f"localhost:{port}"))
        assert "OPTIONS rtsp://local" in done.stdout, done


@once
def a_company_proxy_is_dialled_through(way):
    seen = []

    def proxy(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        seen.append(head.decode())
        if head.startswith(b"CONNECT"):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nproxied")

    with served(proxy) as port:
        url = f"http://me:word@127.0.0.1:{port}"
        done = way.ran("curl", "-s", "http://api.example.test/", options=("--allow-host", "api.example.test:80"),
                       env={"http_proxy": url, "https_proxy": url, "no_proxy": "localhost"})
    assert done.stdout == "proxied" and "basic bwu6d29yza==" in seen[0].lower(), (done, seen)


@once
def node_trusts_the_machines_own_roots(way):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The key is for this run alone.
    context.load_cert_chain(os.path.join(PLACE, "authority", "server.pem"), os.path.join(PLACE, "authority", "server.key"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        write("get.mjs", f"import https from 'node:https'; https.get('https://plain.chaperone.test:{port}/', r => r.on('data', d => console.log(String(d)))).on('error', e => console.log(e.code));")
        done = way.ran("node", "get.mjs", options=("--allow-host", f"plain.chaperone.test:{port}"))
        server.shutdown()
    assert done.stdout.strip() == "ok", done


@once
def a_trust_store_with_a_mounted_file_does_not_stop_what_opens_tls(way):
    done = way.ran("true", options=("--allow-service", "pypi"))
    assert done.returncode == 0, done
