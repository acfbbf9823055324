"""A stand-in of the models' APIs (Anthropic Messages, OpenAI Responses, Gemini), as they tell it with server-sent events. It
thinks nothing: it does one scripted task, a step for each result that it is told, and remembers what it was sent."""
import gzip, http.server, json, os, re, ssl, threading, time, urllib.parse

from harness import served
from harness.cell import PLACE

DONE = "The task is done, and the tests pass."


class Task:
    """Read a file, replace a text in it, run a command."""

    def __init__(self, folder, name, old, new, command):
        self.path, self.name, self.old, self.new, self.command = os.path.join(folder, name), name, old, new, command
        self.results, self.keys = [], set()

    def saw(self, results, key):
        self.keys.add(key)
        if len(results) > len(self.results):
            self.results = results

    def step(self, done, reading, editing, running):
        """The next call of a tool, by the tools of an agent: (name, arguments), or nothing."""
        steps = [
            (reading, {"file_path": self.path}),
            (editing, {"file_path": self.path, "old_string": self.old, "new_string": self.new}),
            (running, {"command": self.command, "description": "Run the tests"}),
        ]
        return steps[done] if done < len(steps) else None


class Handler(served.Handler):
    def do_GET(self):
        self.send({"error": {"message": "not here"}}, status=404)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.body()
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        path = urllib.parse.urlsplit(self.path).path
        told = next((tell for end, tell in APIS if path.endswith(end)), None)
        if told is None:
            return self.send({"error": {"message": "not here"}}, status=404)
        told(self, self.server.task, json.loads(body))

    def events(self, events, named=True):
        heads = (f"event: {event['type']}\n" if named else "" for event in events)
        self.stream(f"{head}data: {json.dumps(event)}\n\n".encode() for head, event in zip(heads, events))


def anthropic(handler, task, asked):
    results = [json.dumps(p.get("content")) for m in asked["messages"] if isinstance(m["content"], list) for p in m["content"] if p["type"] == "tool_result"]
    task.saw(results, handler.headers["x-api-key"])
    tools = {t["name"] for t in asked.get("tools", [])}
    step = task.step(len(results), "Read", "Edit", "Bash") if "Edit" in tools else None
    block = {"type": "tool_use", "id": f"toolu_{len(results)}", "name": step[0], "input": step[1]} if step else {"type": "text", "text": DONE}
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {"id": f"msg_{time.monotonic_ns()}", "type": "message", "role": "assistant", "model": asked["model"], "stop_sequence": None, "usage": usage}
    reason = "tool_use" if step else "end_turn"
    if not asked.get("stream"):
        return handler.send({**message, "content": [block], "stop_reason": reason})
    empty = {**block, "input": {}} if step else {**block, "text": ""}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])} if step else {"type": "text_delta", "text": DONE}
    handler.events([
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ])


def openai(handler, task, asked):
    results = [json.dumps(i["output"]) for i in asked["input"] if i.get("type", "").endswith("call_output")]
    # A command that goes on is waited for, and its last word counts.
    goes_on = re.search(r"running with session ID (\d+)", results[-1]) if results else None
    results = [r for r in results if "running with session ID" not in r]
    task.saw(results, (handler.headers["authorization"] or "").removeprefix("Bearer "))
    tools = {t.get("name", t["type"]): t for t in asked.get("tools", [])}
    at = len(results)
    call = lambda name, arguments: {"type": "function_call", "id": f"fc_{len(asked['input'])}", "call_id": f"call_{len(asked['input'])}", "name": name, "arguments": json.dumps(arguments)}
    patch = f"*** Begin Patch\n*** Update File: {task.name}\n@@\n-{task.old}\n+{task.new}\n*** End Patch\n"
    commands = [f"cat {task.path}", f"apply_patch <<'P'\n{patch}P\n", task.command]
    if goes_on:
        item = call("write_stdin", {"session_id": int(goes_on[1]), "chars": "", "yield_time_ms": 30000})
    elif at >= len(commands):
        item = {"type": "message", "id": f"msg_{at}", "role": "assistant", "content": [{"type": "output_text", "text": DONE, "annotations": []}]}
    elif at == 1 and tools.get("apply_patch", {}).get("type") == "custom":
        item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "apply_patch", "input": patch}
    elif "exec_command" in tools:
        item = call("exec_command", {"cmd": commands[at], "yield_time_ms": 60000})
    elif "shell_command" in tools:
        item = call("shell_command", {"command": commands[at]})
    else:
        item = call("shell", {"command": ["bash", "-c", commands[at]]})
    response = {"id": f"resp_{time.monotonic_ns()}", "object": "response", "model": asked["model"], "output": []}
    usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
    handler.events([
        {"type": "response.created", "response": response},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [item], "usage": usage}},
    ])


def gemini(handler, task, asked):
    results = [json.dumps(p["functionResponse"]["response"]) for c in asked.get("contents", []) for p in c.get("parts", []) if "functionResponse" in p]
    task.saw(results, handler.headers["x-goog-api-key"])
    tools = {f["name"]: f for t in asked.get("tools", []) for f in t.get("functionDeclarations", [])}
    step = task.step(len(results), "read_file", "replace", "run_shell_command") if "replace" in tools else None
    part = {"functionCall": {"name": step[0], "args": {**step[1], **({"instruction": "As told."} if step[0] == "replace" else {})}}} if step else {"text": DONE}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    answer = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}], "usageMetadata": usage, "modelVersion": "stand-in"}
    if "streamGenerateContent" in handler.path:
        handler.events([answer], named=False)
    else:
        handler.send(answer)


APIS = [("/v1/messages", anthropic), ("/v1/responses", openai), (":streamGenerateContent", gemini), (":generateContent", gemini),
        ("/count_tokens", lambda handler, *_: handler.send({"input_tokens": 10})), (":countTokens", lambda handler, *_: handler.send({"totalTokens": 10}))]


class StandIn(http.server.ThreadingHTTPServer):
    """Serves one task over TLS, with a certificate that this machine trusts, until it is shut down."""
    daemon_threads = True

    def __init__(self, task):
        super().__init__(("127.0.0.1", 0), Handler)
        self.task, folder = task, os.path.join(PLACE, "authority")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        super().finish_request(self.tls.wrap_socket(request, server_side=True), address)

    def handle_error(self, *_):
        pass
