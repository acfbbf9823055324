"""Drive an MCP server with the Python SDK, whichever version is installed; exits 0 when everything was as expected.

Usage: python-client.py REVISION legacy|auto COMMAND [ARGUMENT…]; the workspace holds table.csv and people.csv.
"""

import asyncio
import json
import os
import sys

from mcp import StdioServerParameters

revision, mode, *command = sys.argv[1:]
server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
TOOLS = {
    "list_capabilities", "list_directory", "stat", "read_file", "write_file", "append_file", "create_directory", "delete", "rename",
    "get_csv", "stage_blob", "save_workbook", "request_elevation", "fetch", "list_allowed_hosts",
    "attenuate_capability",
}


def is_error(result):
    return getattr(result, "isError", None) or getattr(result, "is_error", False)


async def checks(session):
    tools = {tool.name for tool in (await session.list_tools()).tools}
    assert tools == TOOLS, tools ^ TOOLS

    async def call(tool, **arguments):
        result = await session.call_tool(tool, arguments)
        text = result.content[0].text
        return text if is_error(result) else json.loads(text)

    table = await call("get_csv", path="/workspace/table.csv")
    assert table["header"] == ["region", "sum"] and table["types"] == ["text", "integer"], table
    assert table["rows"] == [["north", "10"], ["south", "32"]], table
    assert table == await call("getCsv", path="/workspace/table.csv")
    name = f"/workspace/by-{revision}-{mode}.txt"
    assert (await call("write_file", path=name, content="one\n"))["state"] == "staged"
    assert (await call("append_file", path=name, content="two\n"))["size"] == 8
    assert (await call("read_file", path=name, offset=4))["content"] == "two\n"
    assert (await call("stat", path=name))["staged"] is True
    await call("rename", **{"from": name, "to": name + ".new"})
    names = {entry["name"] for entry in (await call("list_directory", path="/workspace"))["entries"]}
    assert os.path.basename(name) + ".new" in names and os.path.basename(name) not in names, names
    await call("delete", path=name + ".new")

    for reason, tool, arguments in [
        ("ask_denied", "read_file", {"path": "/workspace/people.csv"}),
        ("ask_denied", "get_csv", {"path": "/workspace/people.csv"}),
        ("bad_path", "read_file", {"path": "/workspace/../etc/passwd"}),
        ("not_found", "read_file", {"path": "/workspace/nothing"}),
        ("bad_arguments", "read_file", {"path": "/workspace/table.csv", "mode": "rw"}),
        ("no_such_blob", "save_workbook", {"dest_path": "/workspace/a.xlsx", "content_hash": "sha256:00"}),
    ]:
        told = await call(tool, **arguments)
        assert isinstance(told, str) and told.startswith(reason + ": "), (reason, told)


async def main():
    try:
        from mcp import Client
    except ImportError:
        from mcp import ClientSession
        from mcp.client.stdio import stdio_client

        async with stdio_client(server) as (reader, writer), ClientSession(reader, writer) as session:
            negotiated = (await session.initialize()).protocolVersion
            assert negotiated == revision, negotiated
            await checks(session)
    else:
        async with Client(server, mode=mode) as client:
            assert client.protocol_version == revision, client.protocol_version
            await checks(client)


asyncio.run(asyncio.wait_for(main(), 60))
