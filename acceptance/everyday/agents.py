"""The command-line agents that people use, each at one whole task over a real project in a cell: it reads, edits, runs the tests,
and what it did is looked at and committed. Their models are a stand-in."""
import glob, os, shutil, subprocess, time

from checkouts import ALL, MISSING, SOURCES, account, git, interruptions
from harness.cell import DOCS, PLACE, chaperone, fresh_docs, last_session, profile, records
from harness.claims import Skipped, check, claim, expect, note
from stand_in_of_models import DONE, StandIn, Task
from ways import before  # noqa: F401: done before each check

NAME, KEY = "plain.chaperone.test", "sk-test-5f0c1b7a9e24d386"
ORDER = "Say in the documentation of base64_decode what it raises, and run the tests."
FILE = "src/itsdangerous/encoding.py"
OLD = "def base64_decode(string: str | bytes) -> bytes:"
NEW = OLD + "  # raises BadData"
TESTS = "PYTHONPATH=site:src python3 -m pytest -q tests 2>&1"
PROGRAMS = os.path.join(PLACE, "agents", "node_modules", ".bin")
# Agent to the variable of its key, those that point it to its model, and what it is started with.
AGENTS = {
    "claude": ("ANTHROPIC_API_KEY", {"ANTHROPIC_BASE_URL": "{base}"},
               ["-p", ORDER, "--model", "claude-sonnet-4-5", "--allowedTools", "Read,Edit,Bash", "--permission-mode", "acceptEdits"]),
    "codex": ("OPENAI_API_KEY", {},
              ["exec", "-c", "model_provider=here", "-m", "gpt-5-codex", "-c",
               'model_providers.here={{name="here", base_url="{base}/v1", env_key="OPENAI_API_KEY", wire_api="responses", request_max_retries=0, stream_max_retries=0}}', ORDER]),
    "gemini": ("GEMINI_API_KEY", {"GOOGLE_GEMINI_BASE_URL": "{base}", "GEMINI_CLI_TRUST_WORKSPACE": "true"}, ["--yolo", "-m", "gemini-2.5-flash", "-p", ORDER]),
}


def at_work(agent, mode):
    if not os.path.exists(os.path.join(PROGRAMS, agent)) or MISSING:
        raise Skipped(f"{agent} or the project cannot be had here: {MISSING}", installable=True)
    variable, pointing, arguments = AGENTS[agent]
    fresh_docs()
    account()
    shutil.copytree(os.path.join(SOURCES, "python"), DOCS, dirs_exist_ok=True)
    for wheel in glob.glob(os.path.join(DOCS, "wheelhouse", "*.whl")):
        shutil.unpack_archive(wheel, os.path.join(DOCS, "site"), "zip")
    shutil.rmtree(os.path.join(DOCS, "wheelhouse"))
    # With another place of its model gemini wants to be told how it logs in.
    os.mkdir(os.path.join(DOCS, ".gemini"))
    with open(os.path.join(DOCS, ".gemini", "settings.json"), "w") as f:
        f.write('{"security": {"auth": {"selectedType": "gemini-api-key"}}}\n')
    git(DOCS, "init", "-q")
    git(DOCS, "add", ".")
    git(DOCS, "commit", "-qm", "Import")
    with StandIn(Task("/workspace", FILE, OLD, NEW, TESTS)) as server:
        base = f"https://{NAME}:{server.server_address[1]}"
        named = "".join(f'{k} = "{v.format(base=base)}"\n' for k, v in pointing.items())
        profile(agent, f'name = "{agent}"\n[[mount]]\npath = "/workspace"\nmode = "{mode}"\n[network]\nallow = [{{ host = "{NAME}", ports = [{server.server_address[1]}], pass_through = true }}]\n'
                       f'[environment]\npass = ["LANG", "TERM", "{variable}"]\n[environment.set]\n{named}')
        command = ["--profile", agent, "--ask", "deny", "--", os.path.join(PROGRAMS, agent), *(a.format(base=base) if a.startswith("model_providers") else a for a in arguments)]
        started = time.monotonic()
        try:
            done = subprocess.run([os.path.join(PLACE, "chaperone"), "run", *command], cwd=DOCS, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  timeout=600, env={**os.environ, variable: KEY})
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"it did not end: {server.task.results} {(late.stdout or b'')[-1500:]} {(late.stderr or b'')[-1500:]}") from None
        took = time.monotonic() - started
        server.shutdown()
    told_over(agent, mode, done, server.task, took)


def told_over(agent, mode, done, task, took):
    session = last_session()
    what = (done.returncode, f"{took:.1f} s", task.results[-1:], task.keys, done.stdout[-1500:], done.stderr[-1500:])
    with claim(f"{agent}, {mode}: it does its task with the key that the profile passes, and says so"):
        expect(done.returncode == 0 and DONE in done.stdout and task.keys == {KEY}, *what)
    with claim(f"{agent}, {mode}: it is told what is in the file and how the tests ended"):
        expect(len(task.results) == 3 and OLD in task.results[0] and " passed" in task.results[2] and " failed" not in task.results[2], *what)
    with claim(f"{agent}, {mode}: of files nothing is asked about, refused or masked"):
        told = [line for line in interruptions(session) if line.split()[0] not in ("connect", "resolve", "request")]
        expect(not told and "masked" not in done.stderr, *told, done.stderr[-1000:])
    with claim(f"{agent}, {mode}: what it changed is shown, and committed"):
        shown = chaperone("changes", session)
        expect("+" + NEW in shown, shown[-2500:])
        told = chaperone("commit", session)
        with open(os.path.join(DOCS, FILE)) as f:
            expect(NEW in f.read(), told)
        left = subprocess.run(["git", "status", "--porcelain"], cwd=DOCS, capture_output=True, text=True).stdout
        expect(left.strip() == f"M {FILE}", left, shown[:3000])
    reached = sorted({f"{r['resource']} {r['effect']}" for r in records(session, "--limit", "5000") if r["action"] in ("connect", "resolve")})
    note(f"{took:.1f} s; reached: {', '.join(reached)}; events: {'; '.join(line for line in done.stderr.splitlines() if line.startswith('chaperone:'))[:600]}")


for agent in AGENTS if ALL else ():
    for mode in ("mediated", "staged"):
        check(f"agent {agent} ({mode})", lambda agent=agent, mode=mode: at_work(agent, mode))
