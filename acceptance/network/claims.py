"""python3 network CHAPERONE WORK PLACE [NAME]: real clients and real agents, through a cell's only way out, to servers here."""
import concurrent.futures, hashlib, os, re, shutil, subprocess, sys, time, traceback

import agents
from cell import COUNTS, DOCS, OTHER, PLACE, PLAIN, SEEN, WORK, Ran, claim, profile, skipped
from clients import CLIENTS, REQUESTS, missing
from servers import CONTENT, EVENTS, SHA256, Server, certificates

CHOSEN = sys.argv[4] if len(sys.argv) > 4 else ""
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


def ran_client(name, ports):
    script, needs, h2 = CLIENTS[name]
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
        holds = code == 0 and expected in out
        place = base.split("/")[2]
        holds &= logged("connect", place)
        holds &= logged("request", f"{verb} {base}{path}") == (mode != "plain")
        holds &= mode != "plain" or not any(r["action"] == "request" and base in r["resource"] for r in records)
        claim(f"{name}: {how}", holds, *context(mode))
    why = {r["resource"] for r in ran.refusals()}
    for mode, how, clear, resource in [
        ("host", "a host that is not allowed is refused, clearly", NO_NAME, OTHER),
        ("port", "so is a port", TURNED_AWAY, f"{PLAIN}:{ports['shut']}"),
    ]:
        code, out, err = seen.get(mode, (0, "", ""))
        holds = code != 0 and re.search(clear, out + err, re.I) and resource in why
        claim(f"{name}: {how}", holds, *context(mode), why)


def a_rule_of_paths_lets_git_read_and_not_write(name, ports):
    paths = '["/git/repo.git/info/refs", "/git/repo.git/git-upload-pack"]'
    profile("reading", [(SEEN, [ports["tls"]], f'methods = ["GET", "POST"], paths = {paths}')])
    base = f"https://{SEEN}:{ports['tls']}/git/repo.git"
    ran = Ran("reading", DOCS, "bash", "-c", f"""
        cd /tmp; git clone -q {base} r && cd r && sha256sum < content.bin
        git -c user.email=a@b.c -c user.name=n commit -q --allow-empty -m more; git push -q origin HEAD:refs/heads/no && echo pushed""")
    refused = [r["resource"] for r in ran.refusals()]
    claim(name, SHA256 in ran.out and "pushed" not in ran.out and "403" in ran.err and refused == [f"POST {base}/git-receive-pack"], ran.out, ran.err, refused)


def a_host_that_run_allows_is_reached(name, ports):
    allowed = [f"--allow-host={PLAIN}:{ports[p]}" for p in ("tls", "http")]
    ran = Ran("default", DOCS, "bash", "-c", f"""
        curl -sS --cacert tools/authority.crt https://{PLAIN}:{ports['tls']}/content | sha256sum
        curl -sS http://{PLAIN}:{ports['http']}/content | sha256sum
        curl -sS http://{PLAIN}:{ports['shut']}/content; curl -sS http://{SEEN}:{ports['http']}/content; exit 0""", options=("--ask", "deny", *allowed))
    told = f"may not reach {PLAIN} port {ports['shut']}"
    claim(name, ran.out.count(SHA256) == 2 and told in ran.out and "resolve host" in ran.err, ran.out[:2000], ran.err)


RULES = {f.__name__.replace("_", " "): f for f in (a_rule_of_paths_lets_git_read_and_not_write, a_host_that_run_allows_is_reached)}


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
        h2 = subprocess.Popen(["node", os.path.join(PLACE, "network", "h2.mjs"), *held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ports["h2"] = int(h2.stdout.readline())
    return ports


def attempted(name, what, *arguments):
    try:
        what(*arguments)
    except Exception:
        claim(f"{name}: ran", False, "\n".join(traceback.format_exc().splitlines()[-6:]))


def main():
    os.makedirs(DOCS)
    ports = prepared()
    reached = sorted(p for name, p in ports.items() if name != "shut")
    profile("clients", [(SEEN, reached, "inspect = true"), (PLAIN, reached, "")], mode="read-only")
    jobs = []
    for name, (_, needs, h2) in CLIENTS.items():
        if CHOSEN not in name:
            continue
        lacks = missing(needs, TOOLS) or (h2 and "h2" not in ports)
        jobs.append((name, skipped, name, "what it needs is not installed") if lacks else (name, attempted, name, ran_client, name, ports))
    jobs += [(name, attempted, name, what, name, ports) for name, what in RULES.items() if CHOSEN in name]
    for name in agents.AGENTS:
        if CHOSEN in name:
            jobs.append((name, attempted, name, agents.ran_agent, name, ports))
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "3"))) as pool:
        for job in [pool.submit(*what) for _, *what in jobs]:
            job.result()
    print(f"{COUNTS['passed']} passed, {COUNTS['failed']} failed in {time.monotonic() - started:.0f} s")
    sys.stdout.flush()
    # Threads that still serve a connection hold nobody up.
    os._exit(COUNTS["failed"] != 0)


main()
