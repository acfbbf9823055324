"""The MCP server takes what its schemas and the file system take."""
import json, os, select, subprocess

from harness.cell import CHAPERONE, DOCS, write
from ways import once


class Server:
    def __init__(self):
        self.process = subprocess.Popen([CHAPERONE, "mcp", "--workspace", DOCS, "--ask", "deny"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.number = 0
        self.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}})
        self.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        assert select.select([self.process.stdout], [], [], 30)[0], "no answer"
        return json.loads(self.process.stdout.readline())

    def ask(self, method, params):
        self.number += 1
        self.send(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}))
        return self.answer()

    def tool(self, name, **arguments):
        result = self.ask("tools/call", {"name": name, "arguments": arguments})
        return result.get("result", {}).get("isError", "error" in result), json.dumps(result)

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


@once
def null_stands_for_an_argument_that_is_left_out(way):
    write("a.txt", "content\n")
    server = Server()
    listed = server.ask("tools/list", {})["result"]["tools"]
    wrong = []
    for tool in listed:
        required = set(tool["inputSchema"].get("required", []))
        optional = [n for n in tool["inputSchema"].get("properties", {}) if n not in required]
        given = {n: "/workspace/a.txt" for n in required if "path" in n}
        if not optional or len(given) != len(required):
            continue
        failed, told = server.tool(tool["name"], **given, **dict.fromkeys(optional))
        if "null" in told or "expected" in told or "invalid_arguments" in told:
            wrong.append((tool["name"], told[:300]))
    server.end()
    assert not wrong, wrong


@once
def paths_are_what_the_file_system_says(way):
    write("in/a.txt", "content\n")
    server = Server()
    told = {p: server.tool("read_file", path=p) for p in
            ("/workspace//in/a.txt", "/workspace/./in/a.txt", "/workspace/in/./a.txt")}
    server.end()
    assert not [p for p, (failed, text) in told.items() if failed or "content" not in text], told


@once
def a_path_may_lead_through_a_link_that_stays_inside(way):
    write("in/a.txt", "content\n")
    os.symlink("in/a.txt", os.path.join(DOCS, "link"))
    os.symlink("in", os.path.join(DOCS, "folder"))
    server = Server()
    told = {p: server.tool("read_file", path=p) for p in ("/workspace/link", "/workspace/folder/a.txt", "/workspace/folder/../in/a.txt")}
    server.end()
    assert not [p for p, (failed, text) in told.items() if failed or "content" not in text], told


@once
def a_path_that_leads_out_is_refused(way):
    os.symlink("/etc/passwd", os.path.join(DOCS, "out"))
    server = Server()
    told = {p: server.tool("read_file", path=p) for p in ("/workspace/out", "/workspace/../etc/passwd", "/workspace//../../etc/passwd", "/etc/passwd")}
    server.end()
    assert all(failed and "root:" not in text for failed, text in told.values()), told


@once
def broken_json_is_answered_as_such(way):
    server = Server()
    for line in ("{not json", '{"jsonrpc": "2.0", "id": 7, ', "[1, 2"):
        server.send(line)
        answer = server.answer()
        assert answer["error"]["code"] == -32700 and answer["id"] is None, answer
    assert "tools" in json.dumps(server.ask("tools/list", {}))
    server.end()
