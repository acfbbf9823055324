"""Claims about folders that the agent works on directly: read-only and staged mounts."""
import json, os, signal, socket, subprocess

from harness import cell as product
from harness.cell import CHAPERONE, CONFIG, DOCS, PERSONAL, ROOT, WORK, Cell, asked, broker, chaperone, read, records, refused, write
from harness.claims import Skipped, claim


def profile(mode, *lines):
    """A profile with one mount of that mode."""
    return product.profile(f"a-{mode}", "\n".join([f'name = "a-{mode}"', "[[mount]]", 'path = "/workspace"', f'mode = "{mode}"', *lines]))


@claim
def a_read_only_directory_is_read_and_not_written():
    write("in/data.txt", "data")
    os.symlink("in/data.txt", os.path.join(DOCS, "link"))
    cell = Cell("--profile", profile("read-only", 'actions = ["read", "list"]'))
    assert cell("import os; result = [open('link').read(), sorted(os.listdir('.')), os.stat('in/data.txt').st_size]") == \
        ["data", ["in", "link"], 4]
    for attempt in ("open('in/data.txt', 'a')", "open('new', 'w')", "os.unlink('link')", "os.chmod('in/data.txt', 0o777)"):
        refused(cell, attempt)
    write("in/data.txt", "more data")
    assert cell("result = open('in/data.txt').read()") == "more data"
    cell.end()
    assert sorted(os.listdir(DOCS)) == ["in", "link"] and read("in/data.txt") == "more data"


@claim
def what_listens_at_a_socket_in_the_directory_cannot_be_reached():
    attempt = """
import os, socket
told = []
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect("agent.sock")
        told.append("reached")
    except OSError as e:
        told.append(type(e).__name__)
try:
    os.write(os.open("pipe", os.O_WRONLY | os.O_NONBLOCK), b"x")
    told.append("written")
except OSError as e:
    told.append(type(e).__name__)
result = told
"""
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(DOCS)
    listener.bind("agent.sock")
    os.chdir(here)
    listener.listen()
    os.mkfifo(os.path.join(DOCS, "pipe"))
    for name in ("agent.sock", "pipe"):
        os.chmod(os.path.join(DOCS, name), 0o777)
    pipe = os.open(os.path.join(DOCS, "pipe"), os.O_RDONLY | os.O_NONBLOCK)
    bind = f"mount --bind {DOCS} {DOCS} && mount -o remount,bind,ro {DOCS} && cd {DOCS} && exec /usr/bin/python3 -c '{attempt}print(result)'"
    bare = subprocess.run(["unshare", "-Urmn", "sh", "-c", bind], capture_output=True, text=True)
    assert bare.stdout.strip() == "['reached', 'written']", bare
    cell = Cell("--profile", profile("read-only", 'actions = ["read", "list"]'))
    assert cell(attempt) == ["ConnectionRefusedError", "OSError"]
    cell.end()
    listener.close()
    os.close(pipe)


def staged(*options):
    return Cell("--profile", profile("staged"), "--ask", "deny", *options)


def kind_of(cell):
    """What serves the folder."""
    return cell("result = next(l.split(' - ')[1].split()[0] for l in open('/proc/self/mountinfo') if l.split()[4] == '/workspace')")


def changed(session):
    return {c["path"]: c["op"] for c in asked("changes", session)}


@claim
def a_staged_directory_is_worked_on_directly_and_committed():
    write("src/a.txt", "a")
    write("src/b.txt", "b")
    write("src/sub/c.txt", "c")
    write("old/x.txt", "x")
    write("was-file", "file")
    write("was-folder/inner", "inner")
    cell = staged()
    assert kind_of(cell) == ("fuse.chaperone" if ROOT else "overlay")
    cell("""
        import os, shutil
        open('src/a.txt', 'a').write(' and more')
        open('src/new.txt', 'w').write('new')
        os.chmod('src/b.txt', 0o600)
        shutil.rmtree('old')
        os.makedirs('made/deep'); open('made/deep/file', 'w').write('deep')
        os.symlink('a.txt', 'src/link')
        os.unlink('was-file'); os.mkdir('was-file'); open('was-file/content', 'w').write('content')
        shutil.rmtree('was-folder'); open('was-folder', 'w').write('a file now')
        shutil.rmtree('src/sub'); os.mkdir('src/sub'); open('src/sub/d.txt', 'w').write('d')
    """)
    session = cell.end()
    assert read("src/a.txt") == "a" and os.path.exists(os.path.join(DOCS, "old/x.txt"))
    assert changed(session)["src/a.txt"] == "modify", changed(session)
    chaperone("commit", session)
    assert read("src/a.txt") == "a and more" and read("src/new.txt") == "new"
    assert os.stat(os.path.join(DOCS, "src/b.txt")).st_mode & 0o777 == 0o600
    assert not os.path.exists(os.path.join(DOCS, "old")) and read("made/deep/file") == "deep"
    assert os.readlink(os.path.join(DOCS, "src/link")) == "a.txt"
    assert read("was-file/content") == "content" and read("was-folder") == "a file now"
    assert os.listdir(os.path.join(DOCS, "src/sub")) == ["d.txt"]
    assert changed(session) == {}
    chaperone("undo", session)
    assert read("src/a.txt") == "a" and read("old/x.txt") == "x" and read("was-folder/inner") == "inner"
    assert read("was-file") == "file" and read("src/sub/c.txt") == "c"


@claim
def a_staged_directory_is_committed_while_the_agent_works_on():
    write("a.txt", "one")
    write("theirs.txt", "one")
    cell = staged()
    cell("open('a.txt', 'w').write('two'); open('b.txt', 'w').write('new'); open('theirs.txt', 'w').write('agent')")
    session = cell.session()
    assert changed(session) == {"a.txt": "modify", "b.txt": "create", "theirs.txt": "modify"}
    write("theirs.txt", "person")
    chaperone("commit", session, "a.txt")
    assert read("a.txt") == "two" and changed(session) == {"b.txt": "create", "theirs.txt": "modify"}
    cell("open('a.txt', 'a').write(' three'); import os; os.unlink('b.txt')")
    assert changed(session) == {"a.txt": "modify", "theirs.txt": "modify"}
    chaperone("commit", session, "a.txt")
    assert read("a.txt") == "two three" and changed(session) == {"theirs.txt": "modify"}
    left = chaperone("commit", session, fails=True)
    assert "theirs.txt" in left and read("theirs.txt") == "person"
    cell.end()
    assert changed(session) == {"theirs.txt": "modify"}
    chaperone("discard", session)
    assert changed(session) == {} and read("theirs.txt") == "person"


@claim
def what_may_not_be_read_is_masked_in_a_staged_directory():
    write("plain.txt", "plain")
    write("people.csv", PERSONAL)
    write("deep/.ssh/id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
    write("deep/notes.txt", "notes")
    cell = staged()
    attempts = ("open('people.csv').read()", "open('people.csv', 'w')", "open('deep/.ssh/id_rsa').read()",
                "import os; os.rename('people.csv', 'other.csv')", "os.link('people.csv', 'linked.csv')",
                "os.chmod('people.csv', 0o644); open('people.csv').read()", "os.truncate('deep/.ssh/id_rsa', 0)")
    for attempt in attempts[0], attempts[2]:
        refused(cell, attempt)
    if not ROOT:
        for attempt in attempts:
            refused(cell, attempt)
        # A directory with a masked file in it may only move as a copy, without that file.
        assert "ermission" in refused(cell, """
            import shutil
            try:
                os.rename('deep', 'moved'); result = open('moved/.ssh/id_rsa').read()
            except OSError:
                shutil.copyfile('deep/.ssh/id_rsa', 'copy')
        """)
    assert cell("result = [open('plain.txt').read(), open('deep/notes.txt').read()]") == ["plain", "notes"]
    # An editor of the user's replaces the file; it stays covered.
    write("new", PERSONAL)
    os.rename(os.path.join(DOCS, "new"), os.path.join(DOCS, "people.csv"))
    refused(cell, "open('people.csv').read()")
    session = cell.end()
    why = chaperone("why", session)
    assert "people.csv" in why and "id_rsa" in why, why
    # Programs say that it is busy or read-only; this says what it is.
    assert ROOT or why.count("it is masked") >= 2, why
    if not ROOT:
        assert [r for r in records(session) if r["action"] == "mask"], records(session)
    assert changed(session) == {} and read("people.csv") == PERSONAL


@claim
def nothing_in_a_staged_directory_is_lost_with_the_broker():
    write("a.txt", "one")
    cell = staged()
    cell("open('a.txt', 'w').write('two'); open('b.txt', 'w').write('new')")
    session = cell.session()
    assert changed(session) == {"a.txt": "modify", "b.txt": "create"}
    cell("open('b.txt', 'a').write('er'); open('c.txt', 'w').write('last')")
    os.kill(broker(), signal.SIGKILL)
    assert cell.process.wait(30) != 0
    assert changed(session) == {"a.txt": "modify", "b.txt": "create", "c.txt": "create"}
    chaperone("commit", session)
    assert [read("a.txt"), read("b.txt"), read("c.txt")] == ["two", "newer", "last"]
    assert changed(session) == {}


@claim
def what_listens_in_a_staged_directory_is_not_reached_and_odd_names_are_carried():
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(DOCS)
    listener.bind("agent.sock")
    os.chdir(here)
    listener.listen()
    cell = staged()
    assert cell("""
import os, socket
with socket.socket(socket.AF_UNIX) as s:
    try:
        s.connect("agent.sock")
        result = "reached"
    except OSError as e:
        result = type(e).__name__
""") in ("ConnectionRefusedError", "OSError", "FileNotFoundError")
    if not ROOT:
        cell("open(b'odd-\\xff', 'w').write('odd'); open('good', 'w').write('good'); os.chmod('good', 0)")
    session = cell.end()
    listener.close()
    if not ROOT:
        left = {c["path"]: c["state"] for c in asked("changes", session)}
        assert left == {"odd-\\xff": "staged", "good": "staged"}, left


FILL = """
import json, os, subprocess, sys, time
chaperone, home = sys.argv[1:]
os.environ["CHAPERONE_HOME"] = home
fill = "import time\\nwith open('big', 'wb') as f:\\n  while True:\\n    f.write(bytes(1 << 20)); f.flush(); time.sleep(0.02)"
agent = subprocess.Popen([chaperone, "run", "--profile", "a-staged", "--workspace", os.path.join(home, "../docs"), "--", "python3", "-c", fill],
                         stderr=subprocess.PIPE, text=True)
deadline = time.monotonic() + 60
while True:
    told = json.loads(subprocess.run([chaperone, "sessions", "--json"], capture_output=True, text=True).stdout)
    state = next((s["state"] for s in told["sessions"]), None)
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    if state == "suspended" or time.monotonic() > deadline or agent.poll() is not None:
        break
    time.sleep(0.05)
os.kill(told["broker"]["pid"], 15)
agent.wait()
print(json.dumps([state, free]))
sys.stderr.write(agent.stderr.read())
"""


@claim
def an_agent_that_fills_the_disk_past_the_broker_is_suspended():
    if ROOT:
        raise Skipped("as root the broker serves the folder itself, and refuses the write")
    small = os.path.join(WORK, "small")
    os.mkdir(small)
    profile("staged")
    profiles = os.path.join(CONFIG, "profiles", "a-staged.toml")
    inner = f'exec unshare -U --map-user=1000 --map-group=1000 /usr/bin/python3 -c "$FILL" {CHAPERONE} {small}/home'
    outer = f"""mount -t tmpfs -o size=64m,mode=700 small {small} && mkdir -m 700 {small}/home {small}/home/config {small}/home/config/profiles &&
        mkdir {small}/docs && cp {profiles} {small}/home/config/profiles/ && {inner}"""
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", outer], env={**os.environ, "FILL": FILL}, capture_output=True, text=True, timeout=120)
    assert done.stdout, done
    state, free = json.loads(done.stdout)
    assert state == "suspended" and 0 < free <= 8 << 20, (state, free, done.stderr)
