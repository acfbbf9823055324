"""The command-line agents of others, headless, each at one whole task, against models that are here."""
import os

from cell import PLAIN, SEEN, Ran, profile
from harness.cell import PLACE, WORK, asked as answers, chaperone
from harness.claims import Skipped, holds
import models

KEY = "sk-test-5f0c1b7a9e24d386"
WAYS = [("TLS inspected", SEEN, models.NOTES), ("TLS inspected, a long file", SEEN, models.NOTES + models.LONG), ("TLS not inspected, a long file", PLAIN, models.NOTES + models.LONG)]
AGENTS = {f"{agent}: {way}": (agent, host, notes) for agent in ("claude", "codex") for way, host, notes in WAYS}
TASK = "Read notes.txt, close the count in it, and count its bytes into counted.txt."


def command(agent, base):
    program = os.path.join(PLACE, "agents", "node_modules", ".bin", agent)
    if agent == "claude":
        return [program, "-p", TASK, "--model", "claude-sonnet-4-5", "--allowedTools", "Read,Edit,Bash", "--permission-mode", "acceptEdits",
                "--output-format", "stream-json", "--verbose", "--include-partial-messages"]
    provider = f'model_providers.here={{name="here", base_url="{base}/v1", env_key="OPENAI_API_KEY", wire_api="responses", request_max_retries=0, stream_max_retries=0}}'
    return [program, "exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
            "-c", "model_provider=here", "-c", provider, "-m", "gpt-5-codex", TASK]


def ran_agent(name, ports):
    agent, host, notes = AGENTS[name]
    if not os.path.exists(os.path.join(PLACE, "agents", "node_modules", ".bin", agent)):
        raise Skipped("npm is not installed", installable=True)
    # A passage of a file that leaves where it can be seen is put to the user, who allows it.
    is_asked = host == SEEN and len(notes) > len(models.NOTES)
    short = f"{agent}-{host.split('.')[0]}{'-asked' if is_asked else ''}"
    # The server tells runs apart by the path.
    base = f"https://{host}:{ports['tls']}/{short}"
    docs = os.path.join(WORK, short)
    os.makedirs(docs)
    with open(os.path.join(docs, "notes.txt"), "w") as f:
        f.write(notes)
    trust = ""
    if host == PLAIN:
        with open(os.path.join(WORK, "tls", "ca.pem")) as ca, open(os.path.join(docs, "authority.crt"), "w") as f:
            f.write(ca.read())
        trust = 'NODE_EXTRA_CA_CERTS = "/workspace/authority.crt"\nSSL_CERT_FILE = "/workspace/authority.crt"\nCODEX_CA_CERTIFICATE = "/workspace/authority.crt"\n'
    variable = {"claude": "ANTHROPIC_API_KEY", "codex": "OPENAI_API_KEY"}[agent]
    os.environ[variable] = KEY
    profile(short, [(host, [ports["tls"]], "inspect = true" if host == SEEN else "")],
            environment=f'pass = ["LANG", "TERM", "{variable}"]\n[environment.set]\nANTHROPIC_BASE_URL = "{base}"\n{trust}')
    asked = []

    def allow():
        # Others ask at the same time.
        for ask in (a for a in answers("approvals") if base in a["resource"]):
            asked.append(ask)
            chaperone("approve", ask["id"], "--session")

    options = ("--ask", "wait", "--ask-timeout", "60s") if is_asked else ("--ask", "deny")
    ran = Ran(short, docs, *command(agent, base), options=options, limit=90, meanwhile=allow if is_asked else None)
    seen = models.SEEN.get(short, {"requests": 0, "results": [], "keys": set()})
    records = ran.records()
    network = [f"{r['phase']} {r['action']} {r['resource']} {r['effect']} {','.join(r['reasons'])}" for r in records if r["action"] in ("connect", "request", "resolve")]
    what = (ran.code, f"{ran.took:.1f} s", seen, ran.out[-3000:], ran.err[-1500:], "\n".join(network[-20:]))
    # What claude prints of the answers as they come; codex prints whole ones.
    pieces = ran.out.count('"text_delta"')
    holds(f"{name}: does its task, and says so", ran.code == 0 and models.DONE in ran.out and (agent == "codex" or pieces > 3), *what)
    results, edited = "".join(seen["results"]), notes.replace("open", "closed")
    holds(f"{name}: the model is told what the tools found, with the key that the profile passes",
          len(seen["results"]) == 3 and models.WORD in results and str(len(edited)) in seen["results"][-1] and seen["keys"] == {KEY}, *what)
    changes = chaperone("changes", ran.session)
    with open(os.path.join(docs, "notes.txt")) as f:
        kept = f.read() == notes
    chaperone("commit", ran.session, "notes.txt", "counted.txt")
    got = [open(os.path.join(docs, n)).read() if os.path.exists(os.path.join(docs, n)) else None for n in ("notes.txt", "counted.txt")]
    holds(f"{name}: the edit and the command's output are staged, and committed when told",
          kept and "+The count is closed." in changes and got == [edited, f"{len(edited)}\n"], changes, got)
    path = {"claude": "/v1/messages", "codex": "/v1/responses"}[agent]
    wanted = [r for r in records if r["action"] == "request" and r["resource"] == f"POST {base}{path}" and r["phase"] == "outcome"]
    allowed = {r["resource"].split(":")[0] for r in records if r["action"] in ("connect", "resolve") and r["effect"] == "allow"}
    holds(f"{name}: the log has its {'requests' if host == SEEN else 'connections'}, and no other host was reached",
          (len(wanted) >= 4 if host == SEEN else not wanted) and allowed == {host}, *what)
    refused = {r["resource"].split(":")[0] for r in records if r["action"] in ("connect", "resolve") and r["effect"] == "deny"}
    told = {r["resource"].split(":")[0] for r in ran.refusals()}
    holds(f"{name}: other hosts that it asks for are refused and named, and that stops nothing ({', '.join(sorted(refused))})",
          refused and refused <= told and host not in refused, refused, told)
    if is_asked:
        mine = [a["reasons"] for a in asked if a["session"] == ran.session]
        holds(f"{name}: the person is asked before what it read leaves", mine and all(r == ["passage_leaves"] for r in mine), mine, *what)
