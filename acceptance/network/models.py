"""Models that always do the same task, as their APIs tell it, with server-sent events: read a file, edit it, run a command."""
import json, re, threading, time

WORD = "periwinkle"
NOTES = f"The word of the day is {WORD}.\nThe count is open.\n"
# Long enough to be known again when it leaves.
LONG = "".join(f"On day {i} the {a} gardener of the northern terrace wrote down {i * 7} {b} seedlings beside the old wall.\n"
               for i, (a, b) in enumerate([("patient", "tulip"), ("hasty", "maple"), ("quiet", "fern"), ("clever", "juniper"), ("sleepy", "walnut")]))
COMMAND = "wc -c < /workspace/notes.txt > /workspace/counted.txt && cat /workspace/counted.txt"
DONE = "The task is done."
# What the programs sent, by the first part of the path: the results of tools, for the claims.
SEEN = {}
LOCK = threading.Lock()


def saw(handler, results, key):
    with LOCK:
        seen = SEEN.setdefault(handler.path.split("/")[1], {"requests": 0, "results": [], "keys": set()})
        seen["requests"] += 1
        seen["keys"].add(key)
        if len(results) > len(seen["results"]):
            seen["results"] = results


def told(kind, data, pause=0.0):
    time.sleep(pause)
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


# --- Anthropic Messages

def messages(handler, asked):
    results = [part for m in asked["messages"] if isinstance(m["content"], list) for part in m["content"] if part["type"] == "tool_result"]
    saw(handler, [json.dumps(r.get("content")) for r in results], handler.headers["x-api-key"])
    if handler.path.split("?")[0].endswith("/count_tokens"):
        return handler.send({"input_tokens": 10})
    steps = [
        ("Read", {"file_path": "/workspace/notes.txt"}),
        ("Edit", {"file_path": "/workspace/notes.txt", "old_string": "open", "new_string": "closed"}),
        ("Bash", {"command": COMMAND, "description": "Count the bytes"}),
    ]
    names = {t["name"] for t in asked.get("tools", [])}
    step = steps[len(results)] if len(results) < len(steps) else None
    blocks = [{"type": "text", "text": "Next." if step else DONE}]
    if step and step[0] in names:
        blocks.append({"type": "tool_use", "id": f"toolu_{len(results)}", "name": step[0], "input": step[1]})
    else:
        step = None
    reason = "tool_use" if step else "end_turn"
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    message = {"id": f"msg_{time.monotonic_ns()}", "type": "message", "role": "assistant", "model": asked["model"], "stop_sequence": None, "usage": usage}
    if not asked.get("stream"):
        return handler.send({**message, "content": blocks, "stop_reason": reason})

    def pieces():
        yield told("message_start", {"message": {**message, "content": [], "stop_reason": None}})
        for i, block in enumerate(blocks):
            if block["type"] == "text":
                yield told("content_block_start", {"index": i, "content_block": {"type": "text", "text": ""}})
                parts = [{"type": "text_delta", "text": t} for t in re.findall(".{1,6}", block["text"])]
            else:
                yield told("content_block_start", {"index": i, "content_block": {**block, "input": {}}})
                parts = [{"type": "input_json_delta", "partial_json": t} for t in re.findall(".{1,40}", json.dumps(block["input"]))]
            for part in parts:
                yield told("content_block_delta", {"index": i, "delta": part}, 0.01)
            yield told("content_block_stop", {"index": i})
        yield told("message_delta", {"delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 5}})
        yield told("message_stop", {})

    handler.stream(pieces())


# --- OpenAI Responses

def responses(handler, asked):
    results = [i for i in asked["input"] if i.get("type", "").endswith("call_output")]
    saw(handler, [json.dumps(r["output"]) for r in results], (handler.headers["authorization"] or "").removeprefix("Bearer "))
    tools = {t.get("name", t["type"]): t for t in asked.get("tools", [])}
    commands = ["cat /workspace/notes.txt", "sed -i s/open/closed/ /workspace/notes.txt", COMMAND]
    at = len(results)
    if at >= len(commands):
        item = {"type": "message", "id": f"msg_{at}", "role": "assistant", "content": [{"type": "output_text", "text": DONE, "annotations": []}]}
    elif "exec_command" in tools:
        item = call(at, "exec_command", {"cmd": commands[at]})
    elif "shell_command" in tools:
        item = call(at, "shell_command", {"command": commands[at]})
    else:
        item = call(at, "shell", {"command": ["bash", "-c", commands[at]]})
    if at == 1 and "apply_patch" in tools:
        patch = "*** Begin Patch\n*** Update File: notes.txt\n@@\n-The count is open.\n+The count is closed.\n*** End Patch\n"
        if tools["apply_patch"]["type"] == "custom":
            item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "apply_patch", "input": patch}
        else:
            item = call(at, "apply_patch", {"input": patch})
    response = {"id": f"resp_{time.monotonic_ns()}", "object": "response", "model": asked["model"], "output": []}

    def pieces():
        yield told("response.created", {"response": response})
        if item["type"] == "message":
            yield told("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}})
            for text in re.findall(".{1,6}", DONE):
                yield told("response.output_text.delta", {"item_id": item["id"], "output_index": 0, "content_index": 0, "delta": text}, 0.01)
        yield told("response.output_item.done", {"output_index": 0, "item": item})
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
        yield told("response.completed", {"response": {**response, "status": "completed", "output": [item], "usage": usage}}, 0.05)

    handler.stream(pieces())


def call(at, name, arguments):
    return {"type": "function_call", "id": f"fc_{at}", "call_id": f"call_{at}", "name": name, "arguments": json.dumps(arguments)}
