"""What a user and an agent meet day by day, checked through the real binary."""
import http.server, json, os, re, shutil, subprocess, threading

from harness.cell import CHAPERONE, CONFIG, DOCS, HOME, ROOT, WORK, asked, chaperone, exists, fresh_docs as before, last_session, profile, read, run, start, until, waiting, write
from harness.claims import claim

PERSONAL = "name,ssn\nAda Lovelace,536-22-8145\nBob Byte,612-33-1234\n"


@claim
def undo_takes_back_one_file_one_commit_or_the_whole_session():
    for name in "abc":
        write(name, f"{name} before\n")
    _, session = run("for f in a b c; do echo agent > $f; done; echo new > d; rm c")
    chaperone("commit", session, "a", "b")
    chaperone("commit", session)
    assert (read("a"), read("b"), read("d"), exists("c")) == ("agent\n", "agent\n", "new\n", False)
    chaperone("undo", session, "a")
    assert (read("a"), read("b")) == ("a before\n", "agent\n")
    chaperone("undo", session, "--commit", "2")
    assert read("c") == "c before\n" and not exists("d") and read("b") == "agent\n"
    chaperone("undo", session)
    assert [read(n) for n in "abc"] == [f"{n} before\n" for n in "abc"]


@claim
def undo_does_not_destroy_what_the_person_did_since():
    write("mine", "before\n")
    _, session = run("echo agent > mine")
    chaperone("commit", session)
    write("mine", "edited by me\n")
    assert "changed" in chaperone("undo", session, fails=True)
    assert read("mine") == "edited by me\n"


@claim
def nothing_leaves_the_stage_before_the_person_commits_and_discard_forgets_it():
    write("kept", "before\n")
    _, session = run("rm kept; echo x > other")
    assert read("kept") == "before\n" and not exists("other")
    assert "kept" in chaperone("changes", session)
    chaperone("discard", session)
    chaperone("commit", session)
    assert read("kept") == "before\n" and os.listdir(DOCS) == ["kept"]


@claim
def a_tools_cache_is_there_and_what_is_added_is_never_written_back():
    cache = os.path.join(HOME, ".cargo", "registry", "cache")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "crate"), "w") as f:
        f.write("cached\n")
    profile("builder", 'name = "builder"\n[[mount]]\npath = "/workspace"\n[cache]\ntools = ["cargo", "npm", "pip", "uv", "go", "gradle", "maven"]\n')
    add = "mkdir -p ~/.npm/_cacache && echo y > ~/.npm/_cacache/y && mkdir -p ~/.cargo/registry/mine && echo z > ~/.cargo/registry/mine/z"
    if ROOT:
        # The agent is not root: it adds where it may.
        add = "mkdir -p ~/.npm/_cacache && echo y > ~/.npm/_cacache/y"
    out, session = run(f"cat ~/.cargo/registry/cache/crate && {add} && cat ~/.npm/_cacache/y", "--profile", "builder")
    assert out == "cached\ny\n", out
    assert os.listdir(os.path.join(HOME, ".cargo", "registry")) == ["cache"] and not os.path.exists(os.path.join(HOME, ".npm"))
    # And the next session begins afresh.
    out, _ = run("ls ~/.npm", "--profile", "builder")
    assert out == "", out


@claim
def what_a_cell_shows_of_the_host_is_listed_before_it_starts_as_in_its_record():
    try:
        listed_as_recorded()
    finally:
        tidy_home()


def listed_as_recorded():
    for name in (".npm/_cacache/x", ".npm/_logs/x", "tool-of-mine/lib/x"):
        os.makedirs(os.path.join(HOME, name), exist_ok=True)
    tool = os.path.join(HOME, "tool-of-mine", "bin", "tool")
    os.makedirs(os.path.dirname(tool), exist_ok=True)
    with open(tool, "w") as f:
        f.write("#!/bin/sh\nls -A ~/.npm\n")
    os.chmod(tool, 0o755)
    told = asked("profile", "show", "source", "--workspace", DOCS, "--json", "--", tool)
    shown = [one["path"] for one in told["shown"]]
    assert os.path.join(HOME, ".npm/_cacache") in shown and os.path.join(os.path.dirname(tool)) in shown, told
    assert all(one["why"] for one in told["shown"]) and not any("_logs" in path for path in shown), told
    assert told["mounts"] == [{"at": "/workspace", "from": DOCS, "mode": "staged"}], told
    plain = chaperone("profile", "show", "source", "--workspace", DOCS, "--", tool)
    assert all(path in plain for path in shown) and DOCS in plain, plain
    assert not asked("sessions")["sessions"]
    done = subprocess.run([CHAPERONE, "run", "--profile", "source", "--workspace", DOCS, "--verbose", "--", tool], capture_output=True, text=True, timeout=60)
    assert done.stdout == "_cacache\n", (done.stdout, done.stderr)
    listed = [line.split(": ")[2].rsplit(" (", 1)[0] for line in done.stderr.splitlines() if "shown read-only" in line]
    records = [json.loads(line) for line in chaperone("audit", "query", "--session", last_session(), "--json").splitlines()]
    [first] = [r for r in records if r["action"] == "start"]
    recorded = json.loads(chaperone("audit", "show", str(first["seq"])))["payload"]["shown"]
    assert listed == shown and recorded == told["shown"], (listed, shown, recorded)


def tidy_home():
    for name in (".npm", "tool-of-mine"):
        shutil.rmtree(os.path.join(HOME, name), ignore_errors=True)


@claim
def a_cache_is_kept_for_the_workspace_where_the_profile_says_so():
    profile("keeper", 'name = "keeper"\n[[mount]]\npath = "/workspace"\n[cache]\ntools = ["npm"]\nkeep = true\n')
    if ROOT:
        assert "ordinary user" in start_fails("--profile", "keeper")
        return
    run("echo y > ~/.npm/y", "--profile", "keeper")
    out, _ = run("cat ~/.npm/y", "--profile", "keeper")
    assert out == "y\n" and not os.path.exists(os.path.join(HOME, ".npm"))
    first = start("read line", "--profile", "keeper")
    assert until(lambda: any(s["profile"] == "keeper" and s["state"] == "running" for s in asked("sessions")["sessions"])), first.poll()
    assert "stop that session" in start_fails("--profile", "keeper")
    first.communicate("\n", timeout=30)


def start_fails(*options):
    cell = start("true", *options)
    _, err = cell.communicate(timeout=30)
    assert cell.returncode == 125, (cell.returncode, err)
    return err


@claim
def the_exit_code_of_run_tells_how_it_ended():
    write("plain", "not a program\n")
    profile("overlaps", 'name = "overlaps"\n[[mount]]\npath = "/workspace"\n[[mount]]\npath = "/workspace/below"\n')
    profile("empty", 'name = "empty"\n')
    for code, options, command in [
        (0, [], ["true"]), (7, [], ["sh", "-c", "exit 7"]), (143, [], ["sh", "-c", "kill $$"]),
        (2, ["--ask-timeout", "never"], ["true"]), (127, [], ["no-such-program"]), (126, [], ["./plain"]),
        (125, ["--profile", "no-such-profile"], ["true"]), (125, ["--profile", "overlaps"], ["true"]), (125, ["--profile", "empty"], ["true"]),
        (125, ["--profile", "spreadsheet"], ["true"]), (125, ["--backend", "no-such-wall"], ["true"]), (125, ["--allow-host", "no host"], ["true"]),
        (125, ["--workspace", "/"], ["true"]), (125, ["--workspace", "/no/such/place"], ["true"]), (125, ["--status-file", "/no/such/place"], ["true"]),
    ]:
        done = subprocess.run([CHAPERONE, "run", *options, "--", *command], cwd=DOCS, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, (code, options, command, done)
        assert code in (0, 7, 143) or done.stderr, (options, command)


@claim
def a_query_with_a_limit_prints_the_newest_records():
    run("true")
    all_of_it = chaperone("audit", "query", "--json").splitlines()
    assert len(all_of_it) > 2 and chaperone("audit", "query", "--json", "--limit", "2").splitlines() == all_of_it[-2:]
    assert chaperone("audit", "query", "--json", "--limit", "0") == ""


@claim
def an_ask_says_who_wants_what_and_why_and_what_came_before():
    write("notes.txt", "nothing in here\n")
    write("personal.csv", PERSONAL)
    cell = start("cat notes.txt; grep -c Ada personal.csv; true", "--ask", "wait")
    request = waiting()
    assert request["program"] == ["grep", "-c", "Ada", "personal.csv"], request
    assert any("cat notes.txt" in p for p in request["parents"]), request
    assert any("notes.txt" in json.dumps(r) for r in request["recent"]), request
    assert request["rule"] and request["reasons"] == ["personal_data"] and request["resource"] == "/workspace/personal.csv"
    assert request["findings"][0]["detector"] == "us_ssn" and "536-22" not in json.dumps(request)
    chaperone("deny", request["id"], "--why", "not this one")
    cell.communicate(timeout=30)
    assert "not this one" in chaperone("why") or "person" in chaperone("why")


@claim
def an_answer_holds_exactly_as_far_as_it_said():
    write("one.csv", PERSONAL)
    write("two.csv", PERSONAL.replace("Ada", "Eva"))
    # Once: the next opening asks again. For the session: it does not, but another file does, and so does other content.
    cell = start("cat one.csv; cat one.csv; cat one.csv; cat two.csv; read x; cat one.csv; true", "--ask", "wait")
    first = waiting()
    chaperone("approve", first["id"])
    second = waiting()
    assert second["id"] != first["id"] and second["resource"] == "/workspace/one.csv"
    chaperone("approve", second["id"], "--session")
    third = waiting()
    assert third["resource"] == "/workspace/two.csv", third
    chaperone("deny", third["id"])
    write("one.csv", PERSONAL.replace("612-33-1234", "219-09-9999"))
    cell.stdin.write("\n")
    cell.stdin.flush()
    fourth = waiting()
    assert fourth["resource"] == "/workspace/one.csv"
    chaperone("deny", fourth["id"])
    out, _ = cell.communicate(timeout=30)
    assert out.count("Ada") == 3 and "Eva" not in out, out


@claim
def a_request_is_answered_once():
    write("personal.csv", PERSONAL)
    cell = start("cat personal.csv", "--ask", "wait")
    request = waiting()["id"]
    chaperone("deny", request)
    chaperone("approve", request, fails=True)
    out, _ = cell.communicate(timeout=30)
    assert cell.returncode != 0 and "Ada" not in out


@claim
def a_refusal_names_its_rule_and_the_paved_road_inside_and_outside():
    write(".env", "TOKEN=x\n")
    out, session = run("cat .env; cat .env; chaperone why", "--ask", "deny")
    for told in [out, chaperone("why", session)]:
        assert "/workspace/.env" in told and "chaperone.credentials.dotenv" in told and "instead" in told, told
        assert told.count("/workspace/.env") == 1 and "2 times" in told, told


@claim
def commands_that_come_at_once_share_one_broker():
    fresh = {**os.environ, "CHAPERONE_HOME": os.path.join(WORK, "fresh")}
    os.mkdir(fresh["CHAPERONE_HOME"], 0o700)
    several = [subprocess.Popen([CHAPERONE, "sessions", "--json"], env=fresh, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = [json.loads(p.communicate(timeout=60)[0]) for p in several]
    brokers = {a["broker"]["pid"] for a in answers}
    os.kill(next(iter(brokers)), 15)
    assert len(brokers) == 1 and all(p.returncode == 0 for p in several), answers


@claim
def one_that_hammers_is_suspended_says_so_and_waits_for_resume():
    write(".env", "TOKEN=x\n")
    cell = start("i=0; while [ $i -lt 40 ]; do cat .env 2>/dev/null; i=$((i+1)); done; echo over", "--ask", "deny")
    session = until(lambda: next((s["id"] for s in asked("sessions")["sessions"] if s["state"] == "suspended"), None))
    assert session, "it was not suspended"
    assert cell.poll() is None
    assert "suspend" in chaperone("audit", "query")
    # Wherever the user looks, it is said why, and what comes next.
    why = "the same refusal twenty times"
    for command in (["sessions"], ["why", session]):
        told = chaperone(*command)
        assert why in told and f"chaperone resume {session}" in told, (command, told)
    chaperone("resume", session)
    # It goes on hammering, and is suspended again.
    assert until(lambda: cell.poll() is not None or subprocess.run([CHAPERONE, "resume", session], capture_output=True) and None, 60)
    out, err = cell.communicate(timeout=30)
    assert "over" in out and "suspended" in err and f"chaperone resume {session}" in err, (out, err)


@claim
def one_that_hammers_on_a_destination_is_suspended_by_policy():
    tries = "import socket\nfor n in range(60):\n    try:\n        c = socket.create_connection(('203.0.113.9', 80), 5)\n        c.sendall(b'GET / HTTP/1.0' + bytes([13, 10, 13, 10])); c.recv(1)\n    except OSError: pass\nprint('over')"
    cell = start(f'/usr/bin/python3 -c "{tries}"', "--ask", "deny")
    session = until(lambda: next((s["id"] for s in asked("sessions")["sessions"] if s["state"] == "suspended"), None))
    assert session and cell.poll() is None, "it was not suspended"
    told = chaperone("why", session)
    assert "policy stops a session that goes on like this" in told and f"chaperone resume {session}" in told, told
    assert "suspend" in chaperone("audit", "query", "--session", session)
    chaperone("stop", session)
    out, err = cell.communicate(timeout=30)
    assert "over" not in out, (out, err)


@claim
def a_second_factor_is_demanded_and_only_the_right_one_counts():
    chaperone("sessions")
    write("payroll/may.txt", "nothing personal\n")
    folder = os.path.join(CONFIG, "policies")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "payroll.rego"), "w") as f:
        f.write('package chaperone.payroll\nimport rego.v1\ndecision := {"effect": "step_up", "reasons": ["payroll"]} if {\n\tinput.action == "read"\n\tstartswith(input.path, "/workspace/payroll/")\n}\n')
    chaperone("policy", "check")
    chaperone("policy", "reload")
    out, _ = run("cat payroll/may.txt; true", "--ask", "wait", "--ask-timeout", "20s")
    assert out == "" and "second factor" in chaperone("why"), chaperone("why")
    chaperone("vault", "pin", text="271828\n")
    cell = start("cat payroll/may.txt", "--ask", "wait")
    request = waiting()["id"]
    chaperone("approve", request, fails=True)
    chaperone("approve", request, "--pin-stdin", text="111111\n", fails=True)
    assert "asked_every_time" in chaperone("approve", request, "--session", "--pin-stdin", text="271828\n", fails=True)
    chaperone("approve", request, "--pin-stdin", text="271828\n")
    out, _ = cell.communicate(timeout=30)
    assert out == "nothing personal\n", out
    os.remove(os.path.join(folder, "payroll.rego"))
    chaperone("policy", "reload")


@claim
def a_policy_comes_into_force_when_it_is_saved_and_a_broken_one_changes_nothing():
    chaperone("sessions")
    write("plans.txt", "x\n")
    file = os.path.join(CONFIG, "policies", "plans.rego")
    cell = start("while read line; do cat plans.txt 2>&1; done", "--ask", "deny")
    def look():
        cell.stdin.write("\n")
        cell.stdin.flush()
        return cell.stdout.readline()
    def comes(answer):
        assert until(lambda: look() == answer, 20), look()
    comes("x\n")
    deny = 'package chaperone.plans\nimport rego.v1\ndecision := {"effect": "deny", "reasons": ["plans"]} if input.path == "/workspace/plans.txt"\n'
    with open(file, "w") as f:
        f.write(deny)
    comes("cat: plans.txt: Permission denied\n")
    with open(file, "w") as f:
        f.write(deny[:60])
    assert "plans.rego" in chaperone("policy", "reload", fails=True)
    assert look() == "cat: plans.txt: Permission denied\n"
    os.remove(file)
    chaperone("policy", "reload")
    assert look() == "x\n"
    cell.communicate(timeout=30)
    changes = [r for r in chaperone("audit", "query", "--action", "policy", "--json").splitlines()]
    assert len(changes) >= 2, changes


@claim
def a_long_session_keeps_its_rights_to_its_end():
    profile("short", 'name = "short"\n[[mount]]\npath = "/workspace"\n[limits]\ntime = "30m"\n')
    for name, life in [("short", 30 * 60), ("default", 12 * 3600)]:
        cell = start("echo on; read line", "--profile", name)
        assert cell.stdout.readline() == "on\n"
        session = asked("sessions")["sessions"][-1]["id"]
        shown = chaperone("capability", "show", session)
        issued, expires = (int(re.search(rf'"{field}": *(\d+)', shown).group(1)) for field in ["iat", "exp"])
        assert expires - issued in [life, life - 1], shown
        cell.communicate("\n", timeout=30)


@claim
def the_agent_cannot_switch_it_off():
    write("personal.csv", PERSONAL)
    attempts = ["sessions", "stop all", "approvals", "approve 1", "commit x", "vault pin", "policy reload", "run -- true"]
    script = "; ".join(f"chaperone {a} </dev/null && echo POSSIBLE {a}" for a in attempts)
    out, _ = run(f"{script}; env CHAPERONE_HOME=/tmp/h chaperone sessions; kill -9 1; cat personal.csv; echo end", "--ask", "deny")
    assert "POSSIBLE" not in out and "Ada" not in out and "end" in out, out


@claim
def what_is_configured_and_not_enforced_is_an_error_with_its_line():
    profile("wrong", 'name = "wrong"\n[[mount]]\npath = "/workspace"\nmod = "read-only"\n')
    told = start_fails("--profile", "wrong")
    assert "wrong.toml:4" in told and "mode" in told, told
    profile("hosts", 'name = "hosts"\n[[mount]]\npath = "/workspace"\n[network]\nallow = [{ host = "example.com", inject = "key" }]\n')
    assert "network" in start_fails("--profile", "hosts")
    assert "publicsuffix" in start_fails("--allow-host", "*.com").replace(" ", "")
    assert "default" in start_fails("--profile", "defualt")


@claim
def pipes_redirections_and_exit_codes_come_through():
    line = f"printf 'b\\na\\n' | '{CHAPERONE}' run --workspace '{DOCS}' -- sort 2>/dev/null | tr '\\n' ' '"
    assert subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60).stdout == "a b "
    cell = start("exit 7")
    cell.communicate(timeout=30)
    assert cell.returncode == 7
    cell = start("kill -TERM $$")
    cell.communicate(timeout=30)
    assert cell.returncode == 143, cell.returncode


@claim
def git_in_the_cell_cannot_plant_what_runs_later():
    subprocess.run(["git", "init", "-q", DOCS], check=True)
    _, session = run("git config core.fsmonitor 'touch /tmp/pwned'; printf '#!/bin/sh\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo fine > fine.txt", "--ask", "deny")
    before = read(".git/config")
    done = subprocess.run([CHAPERONE, "commit", session], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert read(".git/config") == before and not exists(".git/hooks/pre-commit"), done
    assert read("fine.txt") == "fine\n", done


@claim
def completions_man_pages_and_inventory_are_there():
    for shell in ["bash", "zsh", "fish"]:
        assert "chaperone" in chaperone("completions", shell)
    pages = os.path.join(WORK, "man")
    chaperone("man", pages)
    assert {"chaperone.1", "chaperone-run.1", "chaperone-undo.1"} <= set(os.listdir(pages))
    assert asked("inventory")
    doctor = subprocess.run([CHAPERONE, "doctor", "--json"], capture_output=True, text=True).stdout
    assert "landlock" in json.dumps(json.loads(doctor)).lower(), doctor


@claim
def changes_that_are_very_many_or_very_large_are_shown_and_discarded():
    make = """
import os
if os.environ["WHAT"] == "large":
    for n in range(300):
        with open(f"large-{n}.txt", "w") as f:
            f.writelines(f"line {i} of the agent in {n}\\n" for i in range(6000))
    with open("every.txt", "w") as f:
        f.writelines(f"{(i * 104729) % 7919:020} new\\n" for i in range(40000))
    os.chmod("mode.txt", 0o666)
    os.unlink("link.txt")
    os.symlink("mode.txt", "link.txt")
else:
    os.mkdir("d" * 200); os.chdir("d" * 200)
    for n in range(3000):
        open(f"{n}-" + "n" * 200, "w").close()
"""
    for n in range(300):
        write(f"large-{n}.txt", "".join(f"line {i} of the person in {n}\n" for i in range(6000)))
    write("every.txt", "".join(f"{(i * 7) % 7919:020} old\n" for i in range(40000)))
    write("mode.txt", "diary\n")
    write("link.txt", "notes\n")
    os.chmod(os.path.join(DOCS, "mode.txt"), 0o600)
    _, session = run(f"WHAT=large /usr/bin/python3 -c '{make}'", "--ask", "deny")
    shown = chaperone("changes", session)
    assert len(set(re.findall(r"^staged    modify (large-[0-9]+\.txt)", shown, re.M))) == 300
    assert "too different to compare: 40000 lines → 40000 lines" in shown or "more changed lines are not shown" in shown
    assert re.search(r"modify mode\.txt  \[mode 0600 → 0666\]", shown), shown[-3000:]
    assert re.search(r"link\.txt → mode\.txt  \[symlink in place of a file\]", shown), shown[-3000:]
    left = chaperone("commit", session, "mode.txt", "link.txt", "--json")
    assert left.count('"committed"') == 2, left
    chaperone("discard", session)
    _, session = run(f"WHAT=many /usr/bin/python3 -c '{make}'", "--ask", "deny")
    assert len(asked("changes", session)) == 3001
    assert chaperone("discard", session).count("discarded") == 3001
    assert asked("changes", session) == []


class Greeting(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass


WISH = r"""
import json, os, socket, subprocess, sys, time
PORT = int(os.environ["PORT"])
tools = subprocess.Popen(["chaperone", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def call(number, method, **params):
    tools.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
    tools.stdin.flush()
    return json.loads(tools.stdout.readline())
call(1, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "x", "version": "1"})
tools.stdin.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}) + "\n")
def reached():
    try:
        with socket.create_connection(("localhost", PORT), 5) as server:
            server.sendall(b"GET / HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n" % PORT)
            return b"hello" in server.makefile("rb").read()
    except ConnectionRefusedError:
        return False
def wish(number):
    return call(number, "tools/call", name="request_elevation", arguments={"action": "connect", "host": "localhost", "port": PORT, "seconds": 5, "reason": "tests"})["result"]["structuredContent"]
print("before", reached())
print("granted", wish(2)["granted"])
print("after", reached())
def listens():
    try:
        socket.create_connection(("localhost", PORT), 5).close()
        return True
    except ConnectionRefusedError:
        return False
until = time.monotonic() + 30
while (reached() or listens()) and time.monotonic() < until:
    time.sleep(0.1)
print("over", not listens())
own = socket.socket()
own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
own.bind(("127.0.0.1", PORT))
own.listen()
print("taken", "listens at port" in wish(3)["note"])
"""


@claim
def a_server_of_the_users_is_in_a_running_cell_for_as_long_as_it_was_granted():
    write("wish.py", WISH)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Greeting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        # One that is allowed already, so that the cell has a way out at all.
        cell = start(f"PORT={port} python3 wish.py", "--ask", "wait", "--allow-host", "localhost:9")
        for _ in range(2):
            wish = waiting()
            assert str(port) in json.dumps(wish), wish
            chaperone("approve", wish["id"])
        out, _ = cell.communicate(timeout=60)
        server.shutdown()
    assert out.split() == "before False granted True after True over True taken True".split(), out
