"""Programs that know nothing of Chaperone, in a cell."""
import os, shutil, subprocess

from harness.cell import CHAPERONE, DOCS, PLACE, WORK, chaperone, fresh_docs, in_cell, last_session, shell, write
from harness.claims import Skipped, check, claim
import totals
import terminal  # noqa: F401: it brings its claims

# LibreOffice believes a workbook's cached values unless told otherwise.
RECALCULATE = ('<?xml version="1.0"?><oor:items xmlns:oor="http://openoffice.org/2001/registry"><item oor:path="/org.openoffice.Office.Calc/Formula/Load">'
               '<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>')


def before():
    fresh_docs()
    for i in range(1, 201):
        write(f"f{i}.txt", f"line {i} of a file with a needle in the hay\n")


def needs(program, what=None):
    """In CI everything can be installed, so nothing may be missing."""
    if not shutil.which(program):
        raise Skipped(f"{what or program} is not installed", installable=True)


def script(name, text, program=None):
    """A check that runs a shell script in a cell, which must end well."""
    def runs():
        if program:
            needs(program)
        in_cell("sh", "-e", "-c", text)

    check(name, runs)


script("git: init, add, commit, log, branch, rebase, gc", """
  git init -q -b main r; cd r; git config user.email a@b.c; git config user.name n
  for i in 1 2 3; do cp ../f$i.txt .; git add .; git commit -qm "c$i"; done
  git checkout -q -b side HEAD~1; echo side > side.txt; git add .; git commit -qm side; git rebase -q main
  test "$(git log --oneline | wc -l)" = 4; git gc -q; git fsck --no-progress; test -z "$(git status --porcelain)\"""")


@check("git: the repository of the person")
def _():
    shell(f"""git -c init.defaultBranch=main init -q '{DOCS}/repo' && git -C '{DOCS}/repo' -c user.email=a@b.c -c user.name=n commit -q --allow-empty -m first &&
        git -C '{DOCS}/repo' worktree add -q '{DOCS}/linked' -b linked""")
    with claim("git: a checkout of the person, and a worktree linked to it"):
        in_cell("sh", "-e", "-c", """
  git config --global --add safe.directory "*"; git config --global user.email a@b.c; git config --global user.name n
  cd repo; echo 1 > a; git add a; git commit -qm second; cd ..
  sed -i "s|.*/repo/|gitdir: /workspace/repo/|" linked/.git; cd linked; echo 2 > b; git add b; git commit -qm linked; git log --oneline | grep -q linked""")
    with claim("the commits of the cell reach the person's repository"):
        subprocess.run([CHAPERONE, "commit", last_session(), "repo/.git"], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        log = shell(f"git -C '{DOCS}/repo' log --all --format=%s")
        assert "second" in log, log


@check("python: files, csv, sqlite, threads, subprocesses")
def _():
    in_cell("/usr/bin/python3", "-c", r"""
import csv, json, os, sqlite3, subprocess, sys, tempfile, threading
with open("t.csv", "w", newline="") as f: csv.writer(f).writerows([["a", "b"], [1, 2]])
assert list(csv.DictReader(open("t.csv"))) == [{"a": "1", "b": "2"}]
d = sqlite3.connect("p.db"); d.execute("pragma journal_mode=wal"); d.execute("create table t(x)")
d.executemany("insert into t values(?)", [(i,) for i in range(1000)]); d.commit(); assert d.execute("select sum(x) from t").fetchone() == (499500,)
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"
with tempfile.NamedTemporaryFile(dir=".", delete=False) as f: f.write(b"x"); f.flush(); os.fsync(f.fileno()); os.replace(f.name, "replaced")
t = [threading.Thread(target=lambda i=i: open(f"th{i}", "w").write("x" * 10000)) for i in range(8)]
[x.start() for x in t]; [x.join() for x in t]; assert all(os.path.getsize(f"th{i}") == 10000 for i in range(8))""")


@check("node: files, streams, workers")
def _():
    needs("node")
    in_cell("node", "-e", r"""
const fs = require("fs"), { Worker } = require("worker_threads");
fs.writeFileSync("n.json", JSON.stringify({ a: 1 })); if (JSON.parse(fs.readFileSync("n.json")).a !== 1) process.exit(1);
const w = fs.createWriteStream("s.txt"); for (let i = 0; i < 1000; i++) w.write("line\n");
w.end(() => { if (fs.statSync("s.txt").size !== 5000) process.exit(1);
  new Worker("require(\"worker_threads\").parentPort.postMessage(1)", { eval: true }).on("message", () => process.exit(0)); });""")


script("ripgrep finds every needle", 'test "$(rg -l needle --glob "f*.txt" --max-depth 1 | wc -l)" = 200')
script("tar: packs and unpacks", 'tar -czf all.tgz f*.txt; mkdir out; tar -xzf all.tgz -C out; test "$(ls out | wc -l)" = 200; cmp f7.txt out/f7.txt')
script("sqlite3 with a write-ahead log", """sqlite3 s.db "pragma journal_mode=wal; create table t(a);
    with recursive n(i) as (select 1 union all select i+1 from n where i<5000) insert into t select i from n; select sum(a) from t;" | grep -q 12502500
    test "$(sqlite3 s.db "pragma integrity_check")" = ok""")
script("cc: compiles and runs", r'printf "#include <stdio.h>\nint main(){puts(\"built\");}" > b.c; cc b.c -o b; ./b | grep -q built')


@check("sockets inside the cell: 0.0.0.0, AF_UNIX in /tmp, shared memory")
def _():
    in_cell("/usr/bin/python3", "-c", """
import socket, threading
from multiprocessing import shared_memory
s = socket.create_server(("0.0.0.0", 0)); c = socket.create_connection(("127.0.0.1", s.getsockname()[1])); a, _ = s.accept(); a.sendall(b"x"); assert c.recv(1) == b"x"
u = socket.socket(socket.AF_UNIX); u.bind("/tmp/u.sock"); u.listen(); v = socket.socket(socket.AF_UNIX); v.connect("/tmp/u.sock")
m = shared_memory.SharedMemory(create=True, size=4096); m.buf[0] = 1; m.close(); m.unlink()""")


@check("only 0, 1 and 2 are inherited")
def _():
    # The descriptor 3 is that of `ls` itself.
    told = shell(f"exec 7<'{DOCS}/f1.txt'; '{CHAPERONE}' run --workspace '{DOCS}' -- sh -c 'ls /proc/self/fd | sort | tr \"\\n\" \" \"'")
    assert told == "0 1 2 3 ", told


@check("nothing asks about /tmp, the home, or files that the session made")
def _():
    in_cell("sh", "-e", "-c", "echo ssn 536-22-8145 > /tmp/x; cat /tmp/x; cp /tmp/x ~/x; cat ~/x; cp /tmp/x made.csv; cat made.csv; rm /tmp/x ~/x made.csv")
    assert "536-22" not in chaperone("why", "--json")


script("chromium, headless, shows a page that is served in the cell", """
  mkdir -p web; echo "<h1 id=h></h1><script>h.textContent=6*7</script>" > web/index.html
  /usr/bin/python3 -m http.server --directory web 8123 >/dev/null 2>&1 &
  until /usr/bin/python3 -c "import socket; socket.create_connection((\\"127.0.0.1\\", 8123))" 2>/dev/null; do :; done
  chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom http://127.0.0.1:8123/ 2>/dev/null | grep -q "<h1 id=\\"h\\">42</h1>"; kill $!""", "chromium")
script("java runs", "java -version", "java")
script("LibreOffice converts CSV to XLSX", r'printf "a,b\n1,2\n" > l.csv; soffice --headless --convert-to xlsx l.csv >/dev/null 2>&1; test -s l.xlsx', "soffice")


@check("the case study's workbooks")
def _():
    case = os.path.join(WORK, "case")
    subprocess.run([os.path.join(PLACE, "generate-reports"), os.path.join(case, "reports")], check=True, capture_output=True)
    os.makedirs(os.path.join(case, "out"))
    with claim("the case study's workbooks are written"):
        in_cell(os.path.join(PLACE, "spreadsheet-agent"), options=("--profile", "spreadsheet", "--ask", "redact"), workspace=case)
    with claim("LibreOffice recomputes them, and the totals are those of the reports"):
        needs("soffice", "LibreOffice")
        user = os.path.join(WORK, "recalculating", "user")
        os.makedirs(user)
        with open(os.path.join(user, "registrymodifications.xcu"), "w") as f:
            f.write(RECALCULATE)
        shell(f"""soffice -env:UserInstallation='file://{WORK}/recalculating' --headless --convert-to xlsx:'Calc MS Excel 2007 XML' \
            --outdir '{WORK}/recomputed' '{case}/out/sales-by-region.xlsx' >/dev/null 2>&1""")
        totals.check(os.path.join(WORK, "recomputed", "sales-by-region.xlsx"), os.path.join(case, "reports", "sales.csv"))


@check("command-line agents")
def _():
    for agent in ("codex", "claude"):
        with claim(f"{agent} starts in a cell"):
            needs("npm")
            in_cell(os.path.join(PLACE, "tools", "node_modules", ".bin", agent), "--version")
