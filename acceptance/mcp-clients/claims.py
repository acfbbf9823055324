"""The inspector, the oldest and the newest Python SDK and the conformance runner, outside a cell and in one."""
import json, os, shutil, subprocess

from harness.cell import CHAPERONE, DOCS, PLACE, WORK, chaperone, fresh_docs, in_cell, write
from harness.claims import check, claim, note

HERE = os.path.join(PLACE, "acceptance", "mcp-clients")
SERVE = [CHAPERONE, "mcp", "--workspace", DOCS, "--ask", "deny"]
SERVER, SENT, ANSWERED = (os.path.join(WORK, name) for name in ("server", "sent", "answered"))
NPM = os.path.join(PLACE, "npm", "node_modules", ".bin")


def set_up():
    os.environ["PATH"] = os.path.join(PLACE, "node", "bin") + ":" + os.environ["PATH"]
    # What goes over the wire is written down; the inspector passes no environment on.
    with open(SERVER, "w") as f:
        f.write(f"#!/bin/sh\nexport CHAPERONE_HOME='{os.environ['CHAPERONE_HOME']}'\ntee '{SENT}' | {' '.join(SERVE)} | tee '{ANSWERED}'\n")
    os.chmod(SERVER, 0o755)


def before():
    fresh_docs()
    write("table.csv", "region,sum\nnorth,10\nsouth,32\n")
    write("people.csv", "name,ssn\nAnn Lee,536-22-8726\nBo Li,219-09-9999\n")
    shutil.copy(os.path.join(HERE, "python-client.py"), DOCS)


def inspector(era, *arguments):
    return subprocess.run([os.path.join(NPM, "mcp-inspector"), "--cli", "--format", "json", "-q", "--protocol-era", era, *arguments, SERVER],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def messages(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def reads(era, name):
    return inspector(era, "--method", "tools/call", "--tool-name", "read_file", "--tool-args-json", json.dumps({"path": f"/workspace/{name}"}))


def inspected(era):
    with claim(f"the inspector ({era}) lists the sixteen tools"):
        done = inspector(era, "--method", "tools/list")
        assert len(json.loads(done.stdout.splitlines()[0])["result"]["tools"]) == 16, done
    with claim(f"the inspector ({era}) reads a file"):
        done = reads(era, "table.csv")
        assert "north,10" in done.stdout, done
    if era == "legacy":
        with claim("2025-11-25 was negotiated"):
            assert messages(ANSWERED)[0]["result"]["protocolVersion"] == "2025-11-25", messages(ANSWERED)
    else:
        with claim("2026-07-28 was negotiated: discovered, said with every request, never initialized"):
            sent = messages(SENT)
            assert len(sent) > 1 and all(
                m["method"] != "initialize" and m["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28" for m in sent if "id" in m), sent
        with claim("both revisions were offered"):
            assert {"2025-11-25", "2026-07-28"} <= set(messages(ANSWERED)[0]["result"]["supportedVersions"]), messages(ANSWERED)
    with claim(f"the inspector ({era}) is told of a refusal as a tool's error"):
        done = reads(era, "people.csv")
        assert done.returncode == 5 and "ask_denied" in done.stdout + done.stderr, done


for era in ("legacy", "modern"):
    check(f"the inspector ({era})", lambda era=era: inspected(era))


@check("the inspector finds nothing to say against the tools' schemas")
def _():
    done = inspector("legacy", "--strict", "--method", "tools/list")
    assert "attenuate" in done.stdout and not done.stderr, (done.stdout[-600:], done.stderr)


def python(version):
    return os.path.join(PLACE, version, "bin", "python")


def nothing_reached_the_directory():
    assert sorted(os.listdir(DOCS)) == ["people.csv", "python-client.py", "table.csv"], os.listdir(DOCS)


# All tools of files, and refusals, in each revision.
SDKS = [("the oldest Python SDK", "the oldest", "oldest", "2024-11-05", "legacy"), ("the newest", "the newest", "newest", "2025-11-25", "legacy"), ("the newest", "the newest", "newest", "2026-07-28", "auto")]


@check("the Python SDKs")
def _():
    for called, _, version, revision, mode in SDKS:
        with claim(f"{called} works outside a cell, in {revision}"):
            done = subprocess.run([python(version), os.path.join(DOCS, "python-client.py"), revision, mode, *SERVE], capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, (done.stdout, done.stderr)
    for _, called, version, revision, mode in SDKS:
        with claim(f"{called} works in a cell, in {revision}"):
            in_cell(python(version), "python-client.py", revision, mode, "chaperone", "mcp")
    with claim("nothing of it reached the folder"):
        nothing_reached_the_directory()


@check("conformance")
def _():
    """Over a bridge: the runner speaks HTTP only."""
    # It ends when its standard input closes.
    with subprocess.Popen(["node", os.path.join(HERE, "http-bridge.mjs"), *SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bridge:
        url = bridge.stdout.readline().strip()
        for revision in ("2025-11-25", "2026-07-28"):
            with claim(f"conformance with {revision}, but for the committed list"):
                expected = os.path.join(HERE, f"conformance-{revision}.yaml")
                done = subprocess.run([os.path.join(NPM, "conformance"), "server", "--url", url, "--requirements", revision, "--expected-failures", expected,
                                       "-o", os.path.join(WORK, f"results-{revision}")], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
                note("\n".join(done.stdout.splitlines()[-4:]))
                assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def tear_down():
    with claim("the log verifies"):
        chaperone("audit", "verify")
