"""Ten real projects are built, tested and edited in a cell by their own commands with nobody to answer, and committed: what a
person would have done natively comes out, and nothing was asked, refused or masked on the way.

One of them runs by default; `acceptance/08-everyday --all-projects` runs all ten, natively, too, and prints the list with times."""
import dataclasses, os, re, shlex, shutil, subprocess, time

from checkouts import ALL, MISSING, SOURCES, account, git, interruptions
from harness.cell import CHAPERONE, DOCS, ROOT, fresh_docs, last_session
from harness.claims import Skipped, check, claim, expect, note
from ways import before  # noqa: F401: done before each check

LONG = 900
WAYS = {"mediated": "everyday", "staged": "source"}
ROWS = []


@dataclasses.dataclass
class Project:
    title: str
    # Its sources in SOURCES, and what they are laid out as beside `shutil.copytree`.
    source: str
    needs: tuple
    # The documented commands, as a person types them; each has to end well.
    work: str
    # Done by the agent afterwards, and what it made: a file and what is in it then.
    edit: str
    edited: tuple
    # The tests again: in the cell after the edit, and outside of it after the commit.
    again: str
    is_repository: bool = True
    ways: tuple = ("mediated", "staged")
    ignored: str = ""
    short: bool = False
    # What a commit may be asked about, and is right to be: reasons.
    asked: tuple = ()
    lay: object = None


def monorepo(folder):
    """A superproject with packages of two languages, a library of others as a submodule, and a linked work tree."""
    library = folder + ".library"
    shutil.copytree(os.path.join(SOURCES, "zlib"), library)
    git(library, "init", "-q")
    git(library, "add", ".")
    git(library, "commit", "-qm", "Import the library")
    os.makedirs(os.path.join(folder, "packages"))
    for name, part in (("schemas", "node/src/v3"), ("router", "go")):
        shutil.copytree(os.path.join(SOURCES, part), os.path.join(folder, "packages", name))
    git(folder, "init", "-q")
    with open(os.path.join(folder, ".gitignore"), "w") as f:
        f.write("trees/\n")
    git(folder, "submodule", "add", "-q", library, "libraries/zlib")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Import")
    git(folder, "worktree", "add", "-q", os.path.join(folder, "trees", "release"), "-b", "release")


DATABASE = """export PATH=$PATH:/usr/lib/postgresql/15/bin; D=$(mktemp -d) && initdb -D $D/data -U postgres --auth=trust -N >/dev/null &&
pg_ctl -D $D/data -o "-k $D -c fsync=off -p 5432" -w -l $D/log start >/dev/null &&
psql -h $D -U postgres -qc "CREATE DATABASE testdb ENCODING 'UTF8' TEMPLATE template0" &&
psql -h $D -U postgres -qc "ALTER DATABASE testdb SET TIMEZONE TO UTC" || exit 1
%s
code=$?; pg_ctl -D $D/data -m fast stop >/dev/null; (exit $code)"""
JARS = "jars/junit4.jar:jars/hamcrest.jar:jars/hamcrest-core.jar:jars/commons-lang3.jar"
# What a commit is right to ask about where programs were built, and where packages were installed.
BUILT = ("compiled_code", "executable", "dependency_directory")
INSTALLED = (*BUILT, "runs_later", "link_leaves_directory")
VENV = "python3 -m venv .venv && .venv/bin/pip install -q --no-index --find-links wheelhouse "
PYTEST = ".venv/bin/python -m pytest -q -p no:cacheprovider "
PROJECTS = [
    Project("Python: itsdangerous", "python", (), VENV + "-r requirements.txt && .venv/bin/pip install -q --no-build-isolation --no-index -e . && " + PYTEST + "tests",
            "printf '\\n\\ndef is_signed(value: str) -> bool:\\n    return \".\" in value\\n' >> src/itsdangerous/encoding.py && "
            "printf 'from itsdangerous.encoding import is_signed\\n\\n\\ndef test_is_signed():\\n    assert is_signed(\"a.b\")\\n' > tests/test_signed.py",
            ("tests/test_signed.py", "test_is_signed"), PYTEST + "tests", ignored=".venv/\n__pycache__/\n*.egg-info/\n", asked=INSTALLED),
    Project("Node and TypeScript: zod", "node", ("npm", "node"), "export NO_UPDATE_NOTIFIER=1; npm ci --offline --no-audit --no-fund && npm run build && npm test",
            "printf 'export const edited = 1;\\n' > src/v3/edited.ts && "
            "printf 'import { expect, test } from \"vitest\";\\nimport { edited } from \"../edited.js\";\\ntest(\"edited\", () => expect(edited).toBe(1));\\n' > src/v3/tests/edited.test.ts",
            ("src/v3/edited.ts", "edited = 1"), "npm run build && npm test", ignored="node_modules/\nout/\n", asked=INSTALLED),
    Project("Rust: toml", "rust", ("cargo",), "cargo build --offline -q && cargo test --offline -q",
            "printf '\\n#[test]\\nfn edited() {\\n    assert!(\"a = 1\".parse::<toml::Value>().is_ok());\\n}\\n' > tests/edited.rs",
            ("tests/edited.rs", "fn edited"), "cargo test --offline -q", ignored="target/\n", asked=BUILT),
    Project("Go: gorilla/mux", "go", ("go",), "go vet ./... && go build ./... && go test ./...",
            "printf 'package mux\\n\\nimport \"testing\"\\n\\nfunc TestEdited(t *testing.T) {\\n\\tif NewRouter() == nil {\\n\\t\\tt.Fatal()\\n\\t}\\n}\\n' > edited_test.go && gofmt -l . ",
            ("edited_test.go", "TestEdited"), "go test ./..."),
    Project("Java: commons-codec", "java", ("javac",),
            f"javac -nowarn -encoding UTF-8 -d build/classes $(find src/main/java -name '*.java') 2>&1 && "
            f"javac -nowarn -encoding UTF-8 -d build/tests -cp build/classes:{JARS} $(find src/test/java -name '*.java') 2>&1 && "
            f"java -cp build/classes:build/tests:src/test/resources:src/main/resources:{JARS} org.junit.runner.JUnitCore org.apache.commons.codec.binary.HexTest org.apache.commons.codec.digest.DigestUtilsTest",
            "sed -i 's/public class Hex /\\/** Edited. *\\/\\npublic class Hex /' src/main/java/org/apache/commons/codec/binary/Hex.java",
            ("src/main/java/org/apache/commons/codec/binary/Hex.java", "Edited."),
            f"javac -nowarn -encoding UTF-8 -d build/classes $(find src/main/java -name '*.java') 2>&1 && "
            f"java -cp build/classes:build/tests:src/test/resources:src/main/resources:{JARS} org.junit.runner.JUnitCore org.apache.commons.codec.binary.HexTest", ignored="build/\n", asked=BUILT),
    Project("C: zlib", "zlib", ("cc", "make"), "./configure && make && make test",
            "printf '/* Edited. */\\n' >> trees.c", ("trees.c", "Edited."), "make test",
            asked=BUILT),
    Project("a monorepo of git with work trees and submodules", "", ("git",),
            "git status --porcelain && git submodule status && git log --oneline | cat && git submodule foreach -q 'git status --porcelain && git log -1 --format=%s' && "
            "(cd trees/release && git status --porcelain && git log -1 --format=%s) && git worktree list && git fsck --no-dangling",
            "git switch -qc topic && echo '// Ours.' >> packages/schemas/types.ts && git commit -qam 'Say what it is' && "
            "(cd libraries/zlib && git switch -qc ours && echo ours >> README && git commit -qam 'Say whose it is') && git add libraries/zlib && git commit -qm 'Take our library' && "
            "(cd trees/release && git merge -q --no-edit topic && echo 1.0 > VERSION && git add VERSION && git commit -qm 'Release') && "
            "git switch -q main && git merge -q --no-ff --no-edit release && git tag v1.0",
            ("VERSION", "1.0"), "git fsck --no-dangling && git status --porcelain && git -C trees/release status --porcelain &&  "
            "git -C libraries/zlib log -1 --format=%s | grep -q whose && git rev-parse v1.0 && git log --format=%s | grep -q 'Take our library'",
            lay=monorepo, short=True),
    Project("documents of LibreOffice", "documents", ("soffice",),
            "soffice --headless --convert-to pdf --outdir pdf *.docx >/dev/null 2>&1 && soffice --headless --convert-to odt --outdir odt blk-containing-table.docx >/dev/null 2>&1 && ls pdf odt",
            "python3 - <<'P'\nimport shutil, zipfile\nwith zipfile.ZipFile('blk-containing-table.docx') as old, zipfile.ZipFile('new.docx', 'w', zipfile.ZIP_DEFLATED) as new:\n"
            "    for i in old.infolist():\n        data = old.read(i)\n        new.writestr(i, data.replace(b'</w:body>', b'<w:p><w:r><w:t>Edited here</w:t></w:r></w:p></w:body>', 1) if i.filename == 'word/document.xml' else data)\n"
            "shutil.move('new.docx', 'blk-containing-table.docx')\nP\n", ("", ""),
            "soffice --headless --convert-to txt:Text --outdir txt blk-containing-table.docx >/dev/null 2>&1 && ls txt", is_repository=False),
    Project("notebooks of Jupyter", "notebooks", (),
            VENV + "-r requirements.txt && .venv/bin/jupyter nbconvert --to notebook --execute --inplace *.ipynb 2>&1 && .venv/bin/jupyter nbconvert --to html HelloWorld.ipynb 2>&1",
            "python3 - <<'P'\nimport json\nn = json.load(open('HelloWorld.ipynb'))\nn['cells'][0]['source'] = ['print(6 * 7)']\njson.dump(n, open('HelloWorld.ipynb', 'w'), indent=1)\nP\n"
            ".venv/bin/jupyter nbconvert --to notebook --execute --inplace HelloWorld.ipynb 2>&1",
            ("HelloWorld.ipynb", "42"), ".venv/bin/jupyter nbconvert --to notebook --execute --stdout HelloWorld.ipynb 2>&1", is_repository=False, asked=INSTALLED),
    Project("a web application on PostgreSQL: Kinto", "web", ("psql",),
            VENV + "-r requirements.txt && export PYTHONPATH=. && " + DATABASE % (PYTEST + "-k PostgreSQL tests/core/test_cache.py tests/core/test_permission.py 2>&1"),
            "printf 'def test_edited():\\n    import kinto\\n\\n    assert kinto.__version__\\n' > tests/test_edited.py", ("tests/test_edited.py", "test_edited"),
            "export PYTHONPATH=.; " + PYTEST + "tests/test_edited.py", ignored=".venv/\n__pycache__/\n*.egg-info/\n", asked=INSTALLED),
]


def laid(project):
    """The project as somebody has it who has just cloned or unpacked it."""
    folder = DOCS
    fresh_docs()
    shutil.rmtree(folder + ".library", ignore_errors=True)
    if project.lay:
        project.lay(folder)
        return folder
    shutil.copytree(os.path.join(SOURCES, project.source), folder, dirs_exist_ok=True, symlinks=True)
    if project.is_repository:
        with open(os.path.join(folder, ".gitignore"), "a") as f:
            f.write(project.ignored)
        git(folder, "init", "-q")
        git(folder, "add", "-f", ".")
        git(folder, "commit", "-qm", "Import")
    return folder


def ran(command, folder, **how):
    """How it ended, what it said, and in which time."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=LONG, **how)
    return done, time.monotonic() - started


def natively(project, script):
    folder = laid(project)
    done, took = ran(["bash", "-c", script], folder)
    expect(done.returncode == 0, "it does not even work natively:", done.stdout[-1500:], done.stderr[-1500:])
    return took


def commit_as_told(session, reasons):
    """The commit, and then what it prints as the way to commit what it is right to ask about, until nothing is left; what was asked
    about, and what a last commit of all says where something is."""
    asked, given = set(), []
    while True:
        done, _ = ran([CHAPERONE, "commit", session], "/")
        told = done.stdout + done.stderr
        advised = [line for line in re.findall(r"chaperone (commit --(?:accept|confirm) .*)", told) if line not in given]
        if done.returncode == 0 or not advised:
            return asked, told if done.returncode else ""
        for line in advised:
            asked.add(line.split()[2])
            if line.split()[2] not in reasons:
                return asked, told
            given.append(line)
            ran([CHAPERONE, *shlex.split(line)], "/")


def worked(project):
    for need in project.needs:
        if not shutil.which(need):
            raise Skipped(f"{need} is not installed; `scripts/ci-install projects` brings it")
    if project.source in MISSING or (project.lay and MISSING):
        raise Skipped(f"its source cannot be had: {MISSING.get(project.source) or MISSING}", installable=True)
    if ROOT and ALL and not project.short:
        raise Skipped("it is done as an ordinary user, who has an overlay, too")
    account()
    script = f"set -e\n{project.work}\n{project.edit}\n{project.again}\n"
    if not project.edited[0]:
        script = script.replace("set -e\n", "set -e; export HOME=$(mktemp -d)\n", 1)
    native = natively(project, script) if ALL else None
    row = [project.title, native]
    # Root's staged directories are served as mediated ones.
    for way in ("mediated",) if ROOT else project.ways:
        row.append(in_way(project, way, script, native))
    ROWS.append(row)


def in_way(project, way, script, native):
    folder = laid(project)
    with claim(f"{project.title}, {way}: it is built, tested and edited by its own commands"):
        done, took = ran([CHAPERONE, "run", "--profile", WAYS[way], "--ask", "deny", "--", "bash", "-c", script], folder)
        expect(done.returncode == 0, f"{done.returncode} after {took:.0f} s", done.stdout[-2500:], done.stderr[-2500:])
    session = last_session()
    with claim(f"{project.title}, {way}: nothing of it is asked about, refused or masked"):
        told = interruptions(session)
        masked = [line for line in done.stderr.splitlines() if "masked" in line or "refused" in line]
        expect(not told and not masked, f"{len(told)} interruptions", *told[:12], *masked[:5])
    with claim(f"{project.title}, {way}: what it left is committed, asked about is only what may be"):
        started = time.monotonic()
        asked, left = commit_as_told(session, project.asked)
        committing = time.monotonic() - started
        expect(not left and asked <= set(project.asked), f"asked: {asked}", left[-2500:])
    with claim(f"{project.title}, {way}: the edit is there, and its tests pass outside of the cell"):
        name, text = project.edited
        if name:
            with open(os.path.join(folder, name), errors="replace") as f:
                expect(text in f.read(), f"{name} has no {text!r}")
        done, _ = ran(["bash", "-c", project.again], folder)
        expect(done.returncode == 0, done.stdout[-1500:], done.stderr[-1500:])
    note(f"{way}: {took:.1f} s" + (f", natively {native:.1f} s" if native else "") + f"; {len(told)} asks and refusals; commit {committing:.1f} s, asked {sorted(asked) or 'nothing'}")
    return took


for project in PROJECTS:
    if ALL or project.short:
        check(project.title, lambda project=project: worked(project))


def tear_down():
    """The list."""
    shown = lambda took: "-" if took is None else f"{took:.1f} s"
    if ROWS:
        note("project".ljust(50) + "native".rjust(10) + "".join(way.rjust(11) for way in WAYS))
    for title, *times in ROWS:
        note(title.ljust(50) + shown(times[0]).rjust(10) + "".join(shown(t).rjust(11) for t in times[1:]))
