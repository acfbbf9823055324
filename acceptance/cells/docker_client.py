"""What Docker's own client asks an engine for."""
import http.server, json, os, socketserver, threading

from exported import checker, ran
from harness.cell import WORK


class Engine(http.server.BaseHTTPRequestHandler):
    """An engine that keeps what it is asked to create, and creates nothing."""
    asked = []

    def address_string(self):
        return "client"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        self.send_response(code)
        for header in (("Api-Version", "1.41"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b'{"ApiVersion":"1.41","MinAPIVersion":"1.12","OSType":"linux"}' if "version" in self.path else b"OK")

    do_HEAD = do_GET

    def do_POST(self):
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(400, b'{"message":"kept"}')


def asked_of_docker(files, **variables):
    """The container that Docker's own command line asks for."""
    docker = checker("docker", "docker.io")
    folder = os.path.join(WORK, "docker")
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    socket = os.path.join(WORK, "docker.sock")
    if os.path.exists(socket):
        os.unlink(socket)
    Engine.asked.clear()
    with socketserver.UnixStreamServer(socket, Engine) as engine:
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        environment = {"PATH": f"{os.path.dirname(docker)}:/usr/bin:/bin", "HOME": WORK, "DOCKER_HOST": f"unix://{socket}", **variables}
        [script] = [name for name in files if name.endswith(".docker.sh")]
        done = ran("sh", os.path.join(folder, script), env=environment)
        engine.shutdown()
    assert Engine.asked and "kept" in done.stderr, done
    return Engine.asked[0]
