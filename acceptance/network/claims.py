"""Real clients and real agents, through a cell's only way out, to servers here."""
import hashlib, os, re, shutil, subprocess

import agents
from cell import OTHER, PLAIN, SEEN, Ran, profile
from harness.cell import DOCS, PLACE, WORK
from harness.claims import Skipped, check, claim, expect, holds
from clients import CLIENTS, REQUESTS, missing
from servers import CONTENT, EVENTS, SHA256, Server, certificates

TOOLS = os.path.join(PLACE, "tools")
# What comes of each client that does not print the hash of the content.
EXPECTED = {
    "WebSocket": hashlib.sha256("".join(f"message {i} of many\n" for i in range(200)).encode()).hexdigest(),
    "event stream": hashlib.sha256(b"".join(b"data: %d" % i for i in range(EVENTS))).hexdigest(),
}
# How a client is told of the servers' authority where its TLS is carried as it is.
TRUST = """
export CA=/workspace/tools/authority.crt
export SSL_CERT_FILE=$CA CURL_CA_BUNDLE=$CA GIT_SSL_CAINFO=$CA CARGO_HTTP_CAINFO=$CA REQUESTS_CA_BUNDLE=$CA PIP_CERT=$CA NODE_EXTRA_CA_CERTS=$CA
"""
# The four modes of a client, one after the other in one cell; each tells its name, code, output and errors.
DRIVER = """
export PYTHONPATH=/workspace/tools/site PYTHONDONTWRITEBYTECODE=1
try() {
  export MODE=$1 BASE=$2; mkdir /tmp/$MODE; cd /tmp/$MODE
  ( set -e -o pipefail; eval "$3"; eval "$CLIENT" ) > out 2> err
  printf '\\1%s\\1%s\\1%s\\1%s' $MODE $? "$(cat out)" "$(cat err)"
}
"""
# What clients say of a name that is not given out, and of TLS that is turned away.
NO_NAME = r"resol|name or service|getaddrinfo|ENOTFOUND|EAI_AGAIN|no such host|lookup|ConnectException"
TURNED_AWAY = r"access.denied|denied|403|alert|EPROTO|not allowed"


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


# The servers by name, once they are up; how many cells run at a time.
PORTS = {}
jobs = int(os.environ.get("JOBS", "3"))


def ran_client(name, ports):
    script, needs, h2 = CLIENTS[name]
    if missing(needs, TOOLS) or (h2 and "h2" not in ports):
        raise Skipped("what it needs is not installed", installable=True)
    tls = ports["h2" if h2 else "tls"]
    modes = {
        "seen": (f"https://{SEEN}:{tls}", ""),
        "plain": (f"https://{PLAIN}:{tls}", TRUST),
        "http": (f"http://{PLAIN}:{ports['http']}", f"HTTP={PLAIN}"),
        "host": (f"https://{OTHER}:{tls}", ""),
        "port": (f"https://{PLAIN}:{ports['shut']}", TRUST),
    }
    driver = DRIVER + f"CLIENT={quoted(script)}\n" + "".join(f"try {m} {base} {quoted(before)}\n" for m, (base, before) in modes.items())
    ran = Ran("clients", DOCS, "bash", "-c", driver)
    told = ran.out.split("\1")[1:]
    seen = {m: (int(code), out, err) for m, code, out, err in zip(told[::4], told[1::4], told[2::4], told[3::4])}
    records = ran.records()
    expected = EXPECTED.get(name, SHA256)
    verb, path = REQUESTS[name].split(" ")

    def logged(action, resource, effect="allow", phase="outcome"):
        return any((r["action"], r["resource"], r["effect"], r["phase"]) == (action, resource, effect, phase) for r in records)

    def context(mode):
        lines = [f"{r['phase']} {r['action']} {r['resource']} {r['effect']} {','.join(r['reasons'])}" for r in records if r["action"] in ("connect", "request", "resolve")]
        return seen.get(mode), ran.err[-600:], "\n".join(lines[-24:])

    for mode, how in [("seen", "TLS inspected"), ("plain", "TLS not inspected"), ("http", "plain HTTP")]:
        base = modes[mode][0]
        code, out, _ = seen.get(mode, (-1, "", ""))
        is_right = code == 0 and expected in out
        place = base.split("/")[2]
        is_right &= logged("connect", place)
        is_right &= logged("request", f"{verb} {base}{path}") == (mode != "plain")
        is_right &= mode != "plain" or not any(r["action"] == "request" and base in r["resource"] for r in records)
        holds(f"{name}: {how}", is_right, *context(mode))
    why = {r["resource"] for r in ran.refusals()}
    for mode, how, clear, resource in [
        ("host", "a host that is not allowed is refused, clearly", NO_NAME, OTHER),
        ("port", "so is a port", TURNED_AWAY, f"{PLAIN}:{ports['shut']}"),
    ]:
        code, out, err = seen.get(mode, (0, "", ""))
        is_clear = code != 0 and re.search(clear, out + err, re.I) and resource in why
        holds(f"{name}: {how}", is_clear, *context(mode), why)


@claim
def a_rule_of_paths_lets_git_read_and_not_write():
    ports = PORTS
    paths = '["/git/repo.git/info/refs", "/git/repo.git/git-upload-pack"]'
    profile("reading", [(SEEN, [ports["tls"]], f'methods = ["GET", "POST"], paths = {paths}')])
    base = f"https://{SEEN}:{ports['tls']}/git/repo.git"
    ran = Ran("reading", DOCS, "bash", "-c", f"""
        cd /tmp; git clone -q {base} r && cd r && sha256sum < content.bin
        git -c user.email=a@b.c -c user.name=n commit -q --allow-empty -m more; git push -q origin HEAD:refs/heads/no && echo pushed""")
    refused = [r["resource"] for r in ran.refusals()]
    expect(SHA256 in ran.out and "pushed" not in ran.out and "403" in ran.err and refused == [f"POST {base}/git-receive-pack"], ran.out, ran.err, refused)


@claim
def a_host_that_run_allows_is_reached():
    ports = PORTS
    allowed = [f"--allow-host={PLAIN}:{ports[p]}" for p in ("tls", "http")]
    ran = Ran("default", DOCS, "bash", "-c", f"""
        curl -sS --cacert tools/authority.crt https://{PLAIN}:{ports['tls']}/content | sha256sum
        curl -sS http://{PLAIN}:{ports['http']}/content | sha256sum
        curl -sS http://{PLAIN}:{ports['shut']}/content; curl -sS http://{SEEN}:{ports['http']}/content; exit 0""", options=("--ask", "deny", *allowed))
    told = f"may not reach {PLAIN} port {ports['shut']}"
    expect(ran.out.count(SHA256) == 2 and told in ran.out and "resolve host" in ran.err, ran.out[:2000], ran.err)


def prepared():
    """The workspace of the clients, and the servers."""
    context = certificates(os.path.join(WORK, "tls"), [SEEN, PLAIN])
    authority = os.path.join(WORK, "tls", "ca.pem")
    # The broker believes the servers here as it believes those of the Internet.
    with open(os.path.join(WORK, "roots.pem"), "w") as f:
        for name in ["/etc/ssl/certs/ca-certificates.crt", authority]:
            if os.path.exists(name):
                f.write(open(name).read())
    os.environ["SSL_CERT_FILE"] = f.name
    os.environ.pop("SSL_CERT_DIR", None)
    shutil.copytree(TOOLS, os.path.join(DOCS, "tools"))
    shutil.copy(authority, os.path.join(DOCS, "tools", "authority.crt"))
    if shutil.which("keytool"):
        subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "a", "-file", authority, "-keystore", os.path.join(DOCS, "tools", "trusted"),
                        "-storetype", "JKS", "-storepass", "changeit"], check=True, capture_output=True)
    repositories = os.path.join(WORK, "repositories")
    git = lambda *a: subprocess.run(["git", "-c", "init.defaultBranch=main", *a], check=True, capture_output=True, cwd=WORK)
    git("init", "-q", "first")
    with open(os.path.join(WORK, "first", "content.bin"), "wb") as f:
        f.write(CONTENT)
    git("-C", "first", "add", ".")
    git("-C", "first", "-c", "user.email=a@b.c", "-c", "user.name=n", "commit", "-qm", "first")
    git("clone", "-q", "--bare", "first", os.path.join(repositories, "repo.git"))
    git("-C", os.path.join(repositories, "repo.git"), "config", "http.receivepack", "true")
    ports = {"tls": Server(repositories, context).port, "http": Server(repositories).port, "shut": Server(repositories, context).port}
    with open(os.path.join(WORK, "content.bin"), "wb") as f:
        f.write(CONTENT)
    if shutil.which("node"):
        held = [os.path.join(WORK, name) for name in ("tls/server.key", "tls/server.pem", "content.bin")]
        # It ends when this process does: its standard input closes then.
        h2 = subprocess.Popen(["node", os.path.join(PLACE, "acceptance", "network", "h2.mjs"), *held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ports["h2"] = int(h2.stdout.readline())
    return ports


def set_up():
    os.makedirs(DOCS)
    PORTS.update(prepared())
    reached = sorted(port for name, port in PORTS.items() if name != "shut")
    profile("clients", [(SEEN, reached, "inspect = true"), (PLAIN, reached, "")], mode="read-only")


for called in CLIENTS:
    check(called, lambda called=called: ran_client(called, PORTS))
for called in agents.AGENTS:
    check(called, lambda called=called: agents.ran_agent(called, PORTS))
