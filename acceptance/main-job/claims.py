"""The main job: the case study, its hostile twin, a directory of one's own, and death at any moment."""
import os, random, re, shutil, signal, subprocess, tempfile

from harness.cell import CHAPERONE, DOCS, HOME, PLACE, WORK, broker, chaperone, exists, fresh_docs as before, last_session, read, vault, write
from harness.claims import check, claim
import kills  # noqa: F401: it brings its claim

AGENT, ROGUE = os.path.join(PLACE, "spreadsheet-agent"), os.path.join(PLACE, "rogue-agent")


def reports():
    """The workspace of the case study, with what is to be read in it."""
    os.makedirs(os.path.join(DOCS, "out"))
    subprocess.run([os.path.join(PLACE, "generate-reports"), os.path.join(DOCS, "reports")], check=True, capture_output=True)


def run(*arguments, profile=("--profile", "spreadsheet"), **how):
    return chaperone("run", *profile, "--workspace", DOCS, *arguments, **how)


def is_written(*names):
    return all(exists(f"out/{name}.xlsx") and os.path.getsize(os.path.join(DOCS, f"out/{name}.xlsx")) for name in names)


@claim
def doctor_says_that_a_cell_can_run():
    chaperone("doctor")


@check("the case study: refused, redacted, refused by time-out")
def _():
    reports()
    with claim("refused personal data, the agent goes on without it"):
        run("--ask", "deny", "--", AGENT)
    with claim("two workbooks were committed"):
        assert is_written("sales-by-region", "headcount")
    with claim("nothing was made of the refused file"):
        assert not exists("out/bonus-by-department.xlsx")
    with claim("the refusal is told by why"):
        assert "personal_data" in chaperone("why", "--json")
    with claim("with redaction the third workbook comes, too"):
        run("--ask", "redact", "--", AGENT)
    with claim("the third workbook was committed"):
        assert is_written("bonus-by-department")
    with claim("redacted rows hold no number of the original"):
        original = read("reports/employees.csv").splitlines()
        redacted = run("--ask", "redact", "--", "cat", "/workspace/reports/employees.csv").splitlines()
        assert redacted and redacted[0].startswith("employee,department"), redacted[:2]
        numbers = [line.split(",")[3] for line in original[1:]]
        assert numbers and not [n for n in numbers if n in "\n".join(redacted)], redacted[:5]
    with claim("unanswered, an ask is denied after its time-out"):
        run("--ask-timeout", "1s", "--", "cat", "/workspace/reports/employees.csv", fails=True)


@check("the hostile twin of the case study")
def _():
    reports()
    key = os.path.join(HOME, ".ssh", "id_ed25519")
    os.makedirs(os.path.dirname(key), exist_ok=True)
    with open(key, "w") as f:
        f.write("CANARY\n")
    with claim("every attempt of the rogue agent is refused"):
        run("--ask", "deny", "--", ROGUE)
    with claim("its touch of a decoy was recorded as an alert"):
        log = chaperone("audit", "query", "--json").splitlines()
        assert any('"phase":"alert"' in line and "T1552.004" in line for line in log), log[-20:]
    with claim("no git hook reached the folder"):
        assert not exists(".git")


def in_a_cell(script, **how):
    return run("--", "sh", "-c", script, profile=(), **how)


def code_of(*command):
    return subprocess.run([CHAPERONE, "run", "--workspace", DOCS, "--", *command], capture_output=True, stdin=subprocess.DEVNULL, timeout=60).returncode


@check("a folder of one's own: an edit, a commit, an undo")
def _():
    write("note.txt", "one\n")
    with claim("a shell edits a file in the cell"):
        in_a_cell('echo two >> note.txt; echo new > new.txt; mkdir -p .git/hooks; echo "#!/bin/sh" > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit')
    session = last_session()
    with claim("the folder itself is untouched"):
        assert read("note.txt") == "one\n" and not exists("new.txt")
    with claim("changes shows the edit"):
        assert re.search(r"^\+two", chaperone("changes", session), re.M)
    committed = subprocess.run([CHAPERONE, "commit", session], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    with claim("commit brings the edit"):
        assert read("note.txt") == "one\ntwo\n", committed
    with claim("commit leaves what would run later"):
        assert "runs_later" in committed.stdout + committed.stderr and not exists(".git/hooks/pre-commit"), committed
    with claim("undo takes the edit back"):
        chaperone("undo", session)
        assert read("note.txt") == "one\n" and not exists("new.txt")


@claim
def git_works_over_the_mediated_directory():
    in_a_cell("git init -q g && cd g && git config user.email a@b.c && git config user.name n && echo 1 > f && git add f && git commit -qm one && git log --oneline | grep -q one && git gc -q")


@claim
def a_home_is_refused_as_a_workspace():
    chaperone("run", "--workspace", HOME, "--", "true", fails=True)


@claim
def an_unknown_program_ends_with_127():
    assert code_of("no-such-program") == 127


@check("the agent's own exit code is the command's")
def _():
    assert code_of("sh", "-c", "exit 7") == 7


@check("kill -9 of the broker and of the vault")
def _():
    """Death at any moment loses nothing that was acknowledged."""
    with claim("kill -9 of the broker ends the cell and keeps acknowledged writes"):
        script = "i=0; while :; do i=$((i+1)); echo $i > acknowledged.txt && echo $i >> all.txt && echo $i || exit 1; done"
        cell = subprocess.Popen([CHAPERONE, "run", "--workspace", DOCS, "--", "sh", "-c", script],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(20):
            assert cell.stdout.readline()
        os.kill(broker(), signal.SIGKILL)
        rest = cell.communicate(timeout=60)[0].split()
        said = int(rest[-1]) if rest else 20
        told = chaperone("commit", last_session(), "all.txt")
        have = int(read("all.txt").split()[-1])
        assert have >= said, (said, have, told)
    with claim("the log verifies after that"):
        chaperone("audit", "verify")
    with claim("kill -9 of the vault denies, and the next broker goes on"):
        os.kill(vault(), signal.SIGKILL)
        in_a_cell("true", fails=True)
        os.kill(broker(), signal.SIGKILL)
        in_a_cell("true")
    with claim("the log verifies after that, too"):
        chaperone("audit", "verify")


def flipped(log):
    """One bit of one file of the log, whichever."""
    files = [os.path.join(d, f) for d, _, names in os.walk(log) for f in names if "lock" not in f and os.path.getsize(os.path.join(d, f))]
    path = random.choice(files)
    at = random.randrange(os.path.getsize(path))
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))
    return path, at


@check("a flipped byte of the log is seen")
def _():
    in_a_cell("true")
    os.kill(broker(), signal.SIGKILL)
    for i in range(1, 6):
        with claim(f"a flipped byte of the log is seen ({i})"):
            copy = tempfile.mkdtemp(prefix="log.", dir=WORK)
            shutil.copytree(os.path.join(os.environ["CHAPERONE_HOME"], "state", "audit"), copy, dirs_exist_ok=True)
            chaperone("audit", "verify", "--log", copy)
            where = flipped(copy)
            done = subprocess.run([CHAPERONE, "audit", "verify", "--log", copy], capture_output=True, text=True, timeout=60)
            assert done.returncode != 0, (where, done.stdout)
