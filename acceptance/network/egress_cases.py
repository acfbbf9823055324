"""Public cases of what agents send, each from a cell of its own through the real exit. Runs where every address is this machine
and every port is free to open (see suite.py)."""
import collections, concurrent.futures, glob, http.server, ipaddress, json, os, re, shutil, socket, struct, threading
import time, traceback
from urllib.parse import unquote, urlsplit

from cell import Ran
from harness.cell import CONFIG, PLACE, WORK, chaperone
from harness.claims import Skipped, check, expect, note
from servers import Handler, certificates

CASES = os.path.join(PLACE, "cases")

# Where names lead that are nobody's in particular: a public address, so that no rule for addresses is in the way.
PUBLIC = "93.184.215.14"
# Where messages go that name no host of their own.
TOOLS = "https://tools.chaperone-acceptance.net/rpc"
# What comes in is never sent by these; that it can be passed on is tried where nothing is wrong with it.
INCOMING = {"response_content", "mcp_tool_result", "mcp_tool_definition", "a2a_agent_card"}
# What the exit claims to see, and what of it needs something else.
NOT_CLAIMED = {
    "response_injection": "instructions in answers: the exit judges what leaves, an answer gives no right to send",
    "mcp_tool_poison": "descriptions of tools come in; the exit judges what leaves",
    "a2a_card_poison": "descriptions of agents come in; the exit judges what leaves",
    "mcp_chain": "what calls to tools elsewhere add up to: the exit judges each message, and knows what the session itself read",
}
NOT_SUPPORTED = {
    "response_scanning": NOT_CLAIMED["response_injection"],
    "mcp_tool_baseline": NOT_CLAIMED["mcp_tool_poison"],
    "mcp_chain_memory": NOT_CLAIMED["mcp_chain"],
}


def not_applicable(case):
    """Why the exit has no say in a case. Whatever is benign has to pass the exit in any case."""
    if case["expected_verdict"] == "allow":
        return ""
    for key, known in [("capability_tags", NOT_CLAIMED), ("requires", NOT_SUPPORTED)]:
        for named in case[key]:
            if named in known:
                return known[named]
    if case["input_type"] in INCOMING:
        return "it comes in; the exit judges what leaves"
    if "injection" in case["id"] and "mcp_input_scan" in case["capability_tags"]:
        return "instructions to whoever reads them: nothing of the person's leaves with them"
    return ""


def address(text):
    """What a client takes for an address, in any of the ways that C libraries read one."""
    text = text.removesuffix(".")
    if text == "localhost" or text.endswith(".localhost"):
        return ipaddress.ip_address("127.0.0.1")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(text)))
    except (OSError, UnicodeError):
        return None


def ascii_name(host):
    try:
        return host.encode("ascii").decode().lower()
    except UnicodeError:
        return host.encode("idna").decode().lower()


class Case:
    def __init__(self, text):
        self.case = json.loads(text)
        self.id, self.payload = self.case["id"], self.case["payload"]
        self.why_not = not_applicable(self.case)
        url = self.payload.get("url")
        self.steps = []
        if self.payload.get("frames"):
            self.steps = [{"url": url, "frames": self.payload["frames"]}]
        elif self.payload.get("jsonrpc_messages"):
            self.steps = [self.post(json.dumps(m, ensure_ascii=False), "application/json") for m in self.payload["jsonrpc_messages"]]
        elif "response_body" in self.payload:
            self.steps = [self.post(self.payload["response_body"], "text/plain")]
        elif url:
            body = self.payload.get("body", "")
            body = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            headers = dict(self.payload.get("headers") or {})
            if self.payload.get("content_type"):
                headers["Content-Type"] = self.payload["content_type"]
            self.steps = [{"url": url, "method": self.payload.get("method", "GET"), "headers": headers, "body": body}]
        elif self.payload.get("command"):
            self.steps = [self.post(self.payload["command"], "text/plain")]
        schemes = {urlsplit(str(step["url"])).scheme.lower() for step in self.steps}
        if not self.why_not and not (schemes and schemes <= {"http", "https", "ws", "wss"}):
            self.why_not = "a payload of a form that no client of a cell carries by HTTP"
        # Name, port, whether it is TLS; and the address that the name leads to.
        if self.is_ssrf() and any(re.search(r"[?&][^=&]*=\w+:(//|%2f%2f)", str(step["url"]), re.I) for step in self.steps):
            self.why_not = "a redirect inside a server elsewhere: where it leads to is a request of its own"
        self.hosts = [] if self.why_not else sorted({self.place(step["url"]) for step in self.steps})
        if any(len(name) > 253 or len(max(name.split("."), key=len)) > 63 for name, _, _ in self.hosts):
            self.why_not, self.hosts = "a name that is too long to be asked for", []
        self.leads = {name: self.leads_to(name) for name, _, _ in self.hosts}

    @staticmethod
    def post(text, kind):
        return {"url": TOOLS, "method": "POST", "headers": {"Content-Type": kind}, "body": text}

    @staticmethod
    def place(url):
        parts = urlsplit(url)
        tls = parts.scheme.lower() in ("https", "wss")
        return ascii_name(parts.hostname), parts.port or (443 if tls else 80), tls

    def is_ssrf(self):
        return self.case["expected_verdict"] == "block" and {"ssrf", "ssrf_bypass"} & set(self.case["capability_tags"])

    def is_about_hosts(self):
        return self.is_ssrf() or "domain_blocklist" in self.case["capability_tags"]

    def leads_to(self, name):
        """An attack on what is inside needs a name that leads there; one of those that say so themselves, or the machine's own."""
        if not self.is_ssrf():
            return PUBLIC
        said = re.search(r"(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})", name)
        if said and address(".".join(said.groups())):
            return ".".join(said.groups())
        return "169.254.169.254" if "metadata" in name else "127.0.0.1"

    def rules(self):
        """That a host is allowed leaves the decision to inspection and to what is known of addresses."""
        if "domain_blocklist" in self.case["capability_tags"] and self.case["expected_verdict"] == "block":
            return [("tools.chaperone-acceptance.net", 443)]
        found = []
        for name, port, _ in self.hosts:
            if address(name):
                # The whole Internet: names no address in particular, so what is not public stays shut.
                found += [("0.0.0.0/0", port), ("::/0", port)]
            elif "hostname_exfil" in self.case["capability_tags"] and name.count(".") > 1:
                labels = name.split(".")
                # A name of two letters below a short one is open to everybody, like co.uk.
                most = 3 if len(labels) > 3 and len(labels[-1]) == 2 and len(labels[-2]) < 4 else 2
                found.append(("*." + ".".join(labels[-most:]), port))
            else:
                found.append((name, port))
        return found

    def write_profile(self, folder):
        allow = ", ".join(f'{{ host = "{host}", ports = [{port}], inspect = true }}' for host, port in self.rules())
        with open(os.path.join(folder, self.id + ".toml"), "w") as f:
            f.write(f'name = "{self.id}"\n[[mount]]\npath = "/workspace"\nmode = "read-only"\nactions = ["read", "list"]\n[network]\nallow = [{allow}]\n')


class Arrived:
    """What came to the servers here."""

    def __init__(self):
        self.lock, self.requests, self.messages, self.names = threading.Lock(), [], [], set()

    def has(self, step, told):
        """Whether what a step sends came; what the client was told in answer is a proof as well."""
        parts = urlsplit(step["url"])
        place = ascii_name(parts.hostname)
        with self.lock:
            heard = [text for host, text in self.messages if host == place]
            requests = list(self.requests)
        if "frames" in step:
            said, message = [], ""
            for frame in step["frames"]:
                if frame.get("opcode") in ("ping", "pong", "close"):
                    said.append(frame["payload"])
                    continue
                message += frame["payload"]
                if frame.get("fin", True):
                    said.append(message)
                    message = ""
            return all(any(text in message for message in heard) for text in said)
        target = unquote((parts.path or "/") + ("?" + parts.query if parts.query else ""))
        return told.get("receipt") in range(len(requests)) or any(
            (host, method, unquote(path), body) == (place, step["method"], target, step["body"].encode())
            and all(headers.get(name.lower()) == value.strip() for name, value in step["headers"].items())
            for host, method, path, headers, body in requests
        )


ARRIVED = Arrived()


class Heard(Handler):
    """Takes whatever comes, and says each message of a WebSocket back."""

    def parse_request(self):
        return super().parse_request() and not setattr(self, "host", urlsplit("//" + self.headers.get("host", "")).hostname or "")

    def answer(self):
        if (self.headers.get("upgrade") or "").lower() == "websocket":
            return self.web_socket()
        body = self.body()
        with ARRIVED.lock:
            ARRIVED.requests.append((self.host, self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            receipt = {"receipt": len(ARRIVED.requests) - 1}
        self.send(receipt)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    do_GET = do_HEAD = do_POST = answer

    def said(self, data):
        with ARRIVED.lock:
            ARRIVED.messages.append((self.host, data.decode("utf-8", "replace")))


class Listener(http.server.ThreadingHTTPServer):
    """Every address of one port; in TLS for who begins it."""

    daemon_threads = True
    request_queue_size = 64
    address_family = socket.AF_INET6

    def __init__(self, port, tls):
        self.tls = tls
        super().__init__(("::", port), Heard)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request, address):
        if request.recv(1, socket.MSG_PEEK) == b"\x16":
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)
        request.close()

    def handle_error(self, *_):
        pass


def serve_names(leads):
    """The one resolver: each name of a case leads where the case needs it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def answer(query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        name, kind = ".".join(labels).lower(), query[at + 1:at + 3]
        with ARRIVED.lock:
            ARRIVED.names.add(name)
        found = name in leads
        has = found and kind == b"\0\1"
        head = query[:2] + (b"\x85\x80" if found else b"\x85\x83") + struct.pack(">4H", 1, has, 0, 0)
        return head + query[12:at + 5] + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(leads[name]) if has else b"")

    def serve():
        while True:
            query, peer = server.recvfrom(4096)
            try:
                server.sendto(answer(query), peer)
            except (IndexError, OSError):
                pass

    threading.Thread(target=serve, daemon=True).start()


def is_inside(ip):
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip is not None and (ip.is_loopback or ip.is_unspecified or ip.is_link_local)


def judged(case, ran):
    """The verdict on one case, and what it rests on."""
    told = [json.loads(line) for line in ran.out.splitlines()]
    refused = [{"action": r["action"], "resource": r["resource"], "reasons": r["reasons"]} for r in ran.records(phase="outcome", effect="deny")]
    evidence = {"steps": told, "refusals": refused}
    arrived = all(ARRIVED.has(step, came) for step, came in zip(case.steps, told + [{}] * len(case.steps)))
    # A name is told to whoever answers for it.
    if case.case["category"] == "hostname_exfiltration":
        arrived |= any(name in ARRIVED.names for name, _, _ in case.hosts)
    if arrived:
        return "allow", {**evidence, "matched_signal": "arrived"}
    # Where neither names nor addresses are what the case is about, a refusal of these says nothing about it.
    if not case.is_about_hosts():
        refused = [r for r in refused if not {"host_not_allowed", "private_address", "metadata_address"} & set(r["reasons"])]
    if refused:
        return "block", {**evidence, "matched_signal": "refused"}
    # Nothing was asked of the exit where the address is the cell itself, in which nothing listens, or a link that it has none of.
    if case.hosts and all(is_inside(address(name)) for name, _, _ in case.hosts) and all("error" in step for step in told):
        return "block", {**evidence, "matched_signal": "address_of_the_cell_itself"}
    return "error", {**evidence, "stderr": ran.err[-600:]}


def result(case, version):
    line = {"case_id": case.id, "tool": "chaperone", "tool_version": version, "expected_verdict": case.case["expected_verdict"]}
    if case.why_not:
        return {**line, "actual_verdict": "not_applicable", "score": "not_applicable", "evidence": {}, "notes": case.why_not}
    try:
        ran = Ran(case.id, os.path.join(WORK, "cases"), "/usr/bin/python3", "-B", "client.py", limit=30, given=os.path.join(WORK, "given", case.id + ".json"))
        verdict, evidence = judged(case, ran)
    except Exception:
        verdict, evidence = "error", {"runner": traceback.format_exc()[-800:]}
    score = "error" if verdict == "error" else "pass" if verdict == line["expected_verdict"] else "fail"
    return {**line, "actual_verdict": verdict, "score": score, "evidence": evidence, "notes": ""}


def prepared(cases):
    work = os.path.join(WORK, "cases")
    os.makedirs(work)
    # What a case sends is not to be found in the folder: passages of what is there are asked about.
    given = os.path.join(WORK, "given")
    os.makedirs(given)
    shutil.copy(os.path.join(PLACE, "acceptance", "network", "egress_client.py"), os.path.join(work, "client.py"))
    profiles = os.path.join(CONFIG, "profiles")
    os.makedirs(os.path.dirname(profiles), mode=0o700, exist_ok=True)
    os.makedirs(profiles, mode=0o700, exist_ok=True)
    leads, names, ports = {}, set(), set()
    for case in cases:
        if not case.why_not:
            case.write_profile(profiles)
            with open(os.path.join(given, case.id + ".json"), "w") as f:
                json.dump(case.steps, f)
            # A name of an ordinary case leads where that needs it.
            leads.update((n, to) for n, to in case.leads.items() if to == PUBLIC or n not in leads)
            ports.update(port for _, port, _ in case.hosts)
            names.update(f"IP:{address(n)}" if address(n) else n for n, _, tls in case.hosts if tls)
    tls = certificates(os.path.join(WORK, "tls"), sorted(names))
    os.environ["SSL_CERT_FILE"] = os.path.join(WORK, "tls", "ca.pem")
    os.environ.pop("SSL_CERT_DIR", None)
    serve_names(leads)
    for port in sorted(ports):
        Listener(port, tls)


@check("the public egress cases are decided as they say, through the exit of a cell")
def _():
    if not os.path.isdir(CASES):
        raise Skipped("$CHAPERONE_CASES/egress is no directory")
    started = time.monotonic()
    paths = sorted(p for p in glob.glob(os.path.join(CASES, "*", "*.json")) if os.path.basename(os.path.dirname(p)) != "schemas")
    cases = [Case(open(p, encoding="utf-8").read()) for p in paths]
    version = chaperone("--version").split()[-1]
    prepared(cases)
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "3"))) as pool:
        results = list(pool.map(lambda c: result(c, version), cases))
    with open(os.path.join(PLACE, "results", os.environ["ACCEPTANCE_USER"] + ".jsonl"), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in results)
    score = collections.Counter(r["score"] for r in results)
    false = sum(r["expected_verdict"] == "allow" and r["actual_verdict"] == "block" for r in results)
    for why, n in collections.Counter(r["notes"] for r in results if r["notes"]).items():
        note(f"{n} not applicable: {why}")
    note(f"egress cases: {score['pass']} passed, {score['fail']} failed, {score['error']} errors, {score['not_applicable']} not applicable, "
         f"{false} false positives ({len(results)} in {time.monotonic() - started:.0f} s)")
    wrong = [f"{r['case_id']}: {r['actual_verdict']}, {r['expected_verdict']} expected; {json.dumps(r['evidence'])}" for r in results if r["score"] in ("fail", "error")]
    expect(score["pass"] and not wrong, *wrong or ["no case"])
