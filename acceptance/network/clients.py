"""What each client does in its cell, as shell text: it prints the SHA-256 of what it got, or fails and says why."""
import os, shutil, textwrap

from servers import EVENTS

CLIENTS = {}
# A request that each one makes, as the log names it.
REQUESTS = {}


def client(name, needs, request="GET /content", h2=False):
    def taken(text):
        CLIENTS[name] = (textwrap.dedent(text()), needs, h2)
        REQUESTS[name] = request

    return taken


@client("curl, HTTP/1.1", "curl", "POST /hash")
def _():
    return """
        curl -sS --fail --http1.1 $BASE/content > got; sha256sum < got
        test "$(curl -sS --fail --http1.1 -H 'Expect: 100-continue' --data-binary @got $BASE/hash)" = "$(sha256sum < got | cut -d' ' -f1)"
    """


@client("curl, HTTP/2", "curl", "POST /hash", h2=True)
def _():
    return """
        case $BASE in http://*) how=--http2-prior-knowledge;; *) how=--http2;; esac
        curl -sS --fail $how -D head $BASE/content -o got; sha256sum < got; grep -q ^HTTP/2 head
        test "$(curl -sS --fail $how --data-binary @got $BASE/hash)" = "$(sha256sum < got | cut -d' ' -f1)"
        case $BASE in http://*) exit;; esac
        grep -qi '^x-spoken: 2.0' head; grep -qi '^x-end: all' head
        # Many streams of one connection; in plain HTTP this curl opens them too early.
        curl -sS --fail $how --parallel "$BASE/content?[1-20]" -o "many#1"
        for i in $(seq 20); do cmp got many$i; done
    """


@client("wget", "wget")
def _():
    return "wget -nv -t 1 -O got ${CA:+--ca-certificate=$CA} $BASE/content; sha256sum < got"


@client("git: clone and push", "git", "POST /git/repo.git/git-receive-pack")
def _():
    return """
        git clone -q $BASE/git/repo.git there; cd there; sha256sum < content.bin
        git config user.email a@b.c; git config user.name n
        # More than git sends in one piece.
        head -c 2000000 /dev/urandom > more.bin; git add .; git commit -qm $MODE; git push -q origin HEAD:refs/heads/$MODE-$(id -u)
        git ls-remote $BASE/git/repo.git | grep -q "^$(git rev-parse HEAD).*refs/heads/$MODE"
    """


@client("pip", "python3", "GET /wheels/greeting-1.0-py3-none-any.whl")
def _():
    return """
        python3 -m pip install -q --retries 1 --no-cache-dir --disable-pip-version-check --root-user-action ignore --target there \\
          --index-url $BASE/simple/ --trusted-host ${HTTP:-none} greeting
        sha256sum < there/greeting/content.bin
    """


@client("npm", "npm", "GET /npm/greeting/-/greeting-1.0.0.tgz")
def _():
    return """
        export npm_config_cache=$PWD/cache npm_config_fetch_retries=0 npm_config_update_notifier=false ${CA:+npm_config_cafile=$CA}
        npm install --silent --loglevel=error --no-audit --no-fund --registry $BASE/npm/ --prefix there greeting
        sha256sum < there/node_modules/greeting/content.bin
    """


@client("cargo", "/workspace/tools/cargo", "GET /crates/greeting/1.0.0/download")
def _():
    return """
        mkdir -p here/src; cd here; touch src/lib.rs
        printf '[package]\\nname = "here"\\nversion = "1.0.0"\\nedition = "2021"\\n[dependencies]\\ngreeting = { version = "1", registry = "local" }\\n' > Cargo.toml
        export CARGO_HOME=$PWD/home CARGO_NET_RETRY=0 CARGO_REGISTRIES_LOCAL_INDEX=sparse+$BASE/crates/
        /workspace/tools/cargo vendor -q > /dev/null; sha256sum < vendor/greeting/content.bin
    """


@client("Python requests", "python3", "POST /hash")
def _():
    return """
        cat > c.py <<'.'
        import hashlib, os, requests
        base = os.environ["BASE"]
        with requests.Session() as s:
            got = s.get(base + "/content").content
            sha256 = hashlib.sha256(got).hexdigest()
            # A body of unknown length goes in chunks.
            assert s.post(base + "/hash", data=(got[i:i + 7000] for i in range(0, len(got), 7000))).text == sha256
        print(sha256)
        .
        python3 c.py
    """


@client("Node fetch", "node", "POST /hash")
def _():
    return """
        cat > c.mjs <<'.'
        import { createHash } from "node:crypto";
        const base = process.env.BASE;
        const got = Buffer.from(await (await fetch(base + "/content")).arrayBuffer());
        const sha256 = createHash("sha256").update(got).digest("hex");
        const told = await (await fetch(base + "/hash", { method: "POST", body: got })).text();
        if (told !== sha256) throw new Error(told);
        console.log(sha256);
        .
        node c.mjs
    """


@client("Go net/http", "/workspace/tools/get-go", "POST /hash")
def _():
    return "/workspace/tools/get-go $BASE"


@client("Java HttpClient", "/workspace/tools/Get.class", "POST /hash")
def _():
    return "java -XX:TieredStopAtLevel=1 -Xshare:auto ${CA:+-Djavax.net.ssl.trustStore=/workspace/tools/trusted -Djavax.net.ssl.trustStorePassword=changeit} -cp /workspace/tools Get $BASE"


@client("WebSocket", "python3", "GET /socket")
def _():
    return """
        cat > c.py <<'.'
        import hashlib, os, ssl
        from websockets.sync.client import connect
        base = os.environ["BASE"].replace("http", "ws", 1)
        lines = [f"message {i} of many\\n" for i in range(200)]
        with connect(base + "/socket") as s:
            for line in lines:
                s.send(line)
                assert s.recv() == line
            # In fragments, and as bytes.
            s.send(lines)
            assert s.recv() == "".join(lines)
            long = "".join(lines).encode() * 30
            s.send(long)
            assert s.recv() == long
            s.ping().wait(5)
        print(hashlib.sha256("".join(lines).encode()).hexdigest())
        .
        python3 c.py
    """


@client("event stream", "python3", "GET /events")
def _():
    return f"""
        cat > c.py <<'.'
        import hashlib, os, requests, time
        times, data = [], []
        with requests.get(os.environ["BASE"] + "/events", stream=True) as r:
            for line in r.iter_lines(chunk_size=1):
                if line.startswith(b"data: "):
                    times.append(time.monotonic())
                    data.append(line)
        gaps = [b - a for a, b in zip(times, times[1:])]
        assert len(data) == {EVENTS} and min(gaps) > 0.15, gaps
        print(hashlib.sha256(b"".join(data)).hexdigest())
        .
        python3 c.py
    """


def missing(needs, tools):
    """Whether what a client needs is not here."""
    return not (shutil.which(needs) or os.path.exists(needs.replace("/workspace/tools", tools)))
