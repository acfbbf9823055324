"""One file gets one answer, whichever way it goes: a mediated read, the mask of a staged directory, a tool's read, a commit, the
network exit. What differs by design is listed here with its reason."""
import contextlib, http.server, json, os, subprocess, threading

from harness.cell import CHAPERONE, DOCS, Cell, chaperone, in_cell, write
from harness.claims import check, claim, note

# By design the exit alone differs: there what is likely or possible counts, too (packs/policies/default/findings.rego), so that it
# may hold back what no read is interrupted for.
# So many labelled cases of each label go all ways.
EACH = 12

# Of each class, in the form that its finding takes; the first word says whether reads are interrupted.
OWN = {
    "caught-key.pem.txt": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75XCPkOjVnFaVGZRbQm\nabcdefghijklmnopqrstuvwxyz0123\n-----END RSA PRIVATE KEY-----\n",
    "caught-aws.ini": "[aws]\naccess = AKIAZ7QRPDLBIVNHUXEM\n",
    "caught-seed.txt": "seed: letter advice cage absurd amount doctor acoustic avoid letter advice cage above\n",
    "caught-people.csv": "name,ssn\nAda Lovelace,536-22-8145\n",
    "caught-people.json": '{"people": [{"name": "Ada", "ssn": "536-22-8145"}]}\n',
    "caught-card.txt": "Please charge the card 4111 1111 1111 1111 today.\n",
    "caught-dashes.txt": "SSN 536\u201122\u20118145\n",
    "passed-likely.py": 'api_key = "q7Gd81bK20sXz4PmN3vR"\npassword = "hunter2000!"\n',
    "passed-words.txt": "then letter advice cage absurd amount doctor acoustic avoid letter advice cage above abandon hope\n",
    "passed-numbers.txt": "4e00 4e59 4e01 4111 1111 1111 1111 4e43 4e5d\n",
    "passed-lock.txt": "sha512-q2Z5YJ9yqk1Zz5c1kX1n8o6a0bqT3m7rW4e9uV2xY8s= 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
    "passed-plain.md": "# A project\n\nIt does what it says.\n",
}


def labelled():
    """Cases of the labelled set, where there is one: some that hold something certain and some that hold nothing."""
    folder = os.environ.get("CHAPERONE_CASES", "")
    chosen, counts = {}, {True: 0, False: 0}
    for kind in ("pii", "secret"):
        try:
            with open(os.path.join(folder, "dlp", f"{kind}.jsonl")) as f:
                lines = [json.loads(line) for line in f]
        except OSError:
            continue
        for case in lines[:: max(1, len(lines) // (2 * EACH))]:
            if counts[case["expected"]] < EACH and len(case["text"]) < 4000:
                counts[case["expected"]] += 1
                chosen[f"case-{case['id'][:12]}.txt"] = case["text"] + "\n"
    return chosen


def read_in_cell(names, profile):
    """The names that a program in a cell cannot read."""
    script = "import json, sys\nout = []\nfor name in json.load(open('names.list')):\n    try: open(name, 'rb').read()\n    except OSError: out.append(name)\nprint(json.dumps(out))"
    write("names.list", json.dumps(names))
    told = json.loads(in_cell("python3", "-c", script, options=("--profile", profile, "--ask", "deny")))
    os.remove(os.path.join(DOCS, "names.list"))
    return set(told)


def read_by_tool(names):
    """The names that a tool does not read."""
    server = subprocess.Popen([CHAPERONE, "mcp", "--workspace", DOCS, "--ask", "deny"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(number, method, params):
        server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
        server.stdin.flush()
        while True:
            answer = json.loads(server.stdout.readline())
            if answer.get("id") == number:
                return answer["result"]

    call(0, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "acceptance", "version": "1"}})
    server.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\n")
    refused = set()
    for number, name in enumerate(names, 1):
        if call(number, "tools/call", {"name": "read_file", "arguments": {"path": f"/workspace/{name}"}}).get("isError"):
            refused.add(name)
    server.stdin.close()
    server.wait(30)
    return refused


def committed(files):
    """The names that are kept back when an agent wrote the same content."""
    cell = Cell("--ask", "deny")
    cell("import os\nos.makedirs('made')")
    for name, text in files.items():
        cell(f"open('made/{name}', 'wb').write({text.encode()!r})")
    session = cell.end()
    chaperone("changes", session)
    subprocess.run([CHAPERONE, "commit", session], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    there = {name for name in files if os.path.exists(os.path.join(DOCS, "made", name))}
    chaperone("discard", session)
    return set(files) - there


@contextlib.contextmanager
def listening(got):
    class Take(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            got.add(self.path.rsplit("/", 1)[1])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def sent(files):
    """The names whose content does not leave."""
    got = set()
    with listening(got) as port:
        for name, text in files.items():
            # Each in a session of its own: what one sends counts for what may leave after it.
            cell = Cell("--ask", "deny", "--allow-host", f"localhost:{port}")
            cell(f"import urllib.request\ntry: urllib.request.urlopen(urllib.request.Request('http://localhost:{port}/{name}', data={text.encode()!r}, method='PUT'), timeout=30).read()\n"
                 "except OSError: pass")
            cell.end()
    return set(files) - got


@check("five ways give one answer on one file")
def _():
    files = {**OWN, **labelled()}
    for name, text in files.items():
        write(name, text)
    names = sorted(files)
    ways = {"mediated": read_in_cell(names, "default"), "staged": read_in_cell(names, "source"), "tool": read_by_tool(names)}
    ways["commit"], ways["exit"] = committed(files), sent(files)
    note(f"{len(files)} files; held back: " + ", ".join(f"{way} {len(held)}" for way, held in ways.items()))
    with claim("each class is held back or read as it should be"):
        wrong = {name for name in OWN if name.startswith("caught") != (name in ways["mediated"])}
        assert not wrong, wrong
    for way in ("staged", "tool", "commit"):
        with claim(f"mediated and {way} agree"):
            assert not ways[way] ^ ways["mediated"], sorted(ways[way] ^ ways["mediated"])
    with claim("the exit holds back all of it, and what is likely besides"):
        assert ways["mediated"] <= ways["exit"], sorted(ways["mediated"] - ways["exit"])
        assert not {"passed-plain.md", "passed-lock.txt"} & ways["exit"], sorted(ways["exit"])
        assert {name for name in OWN if name.startswith("passed-") and name.split("-")[1][:6] in ("likely", "words.", "number")} <= ways["exit"], sorted(ways["exit"])
