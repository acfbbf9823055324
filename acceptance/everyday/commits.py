"""What is left behind can be committed in one go."""
import json, os, re, shutil

from harness.cell import CHAPERONE, DOCS, chaperone, exists, last_session, records, until, write
from harness.claims import Skipped
from terminal import Screen
from ways import committed, everywhere, git, once, repository


def dependencies(way, hidden=""):
    write("package.json", '{"name": "app", "version": "1.0.0"}\n')
    write("package-lock.json", json.dumps({"lockfileVersion": 3, "packages": {f"node_modules/p{n}": {"version": "1.0.0"} for n in range(40)}}))
    way.shell(f"""
        for n in $(seq 40); do mkdir -p node_modules/p$n/bin; echo '{{"name": "p'$n'", "scripts": {{"test": "node x"}}}}' > node_modules/p$n/package.json
        printf '#!/usr/bin/env node\\n' > node_modules/p$n/bin/cli.js; chmod +x node_modules/p$n/bin/cli.js; echo x > node_modules/p$n/index.js; done
        echo done > result.txt; {hidden}
    """)


@everywhere
def what_is_kept_back_is_exit_3_and_the_exact_next_command(way):
    dependencies(way)
    code, told = committed()
    if exists("node_modules/p1/package.json"):
        return
    assert exists("result.txt") and code == 3, (code, told[-600:])
    assert re.search(r"^.*chaperone commit \S+ .*node_modules", told, re.M), told[-600:]


@everywhere
def one_decision_takes_a_directory_of_dependencies(way):
    dependencies(way)
    committed()
    code, told = committed("node_modules")
    assert exists("node_modules/p1/package.json") and exists("node_modules/p40/bin/cli.js"), (code, told[-600:])
    assert len(told.splitlines()) < 30, len(told.splitlines())


@everywhere
def a_look_at_some_paths_says_nothing_of_the_others(way):
    way.shell("mkdir -p a/b; for f in a/b/c a/b/e a/d f; do echo $f > $f; done")
    shown = chaperone("changes", last_session(), "a/b/c", "f")
    assert "+a/b/c" in shown and "+f" in shown and "a/d" not in shown and "a/b/e" not in shown, shown
    stat = chaperone("changes", "--stat", last_session())
    assert stat.splitlines()[-1] == "6 changes: 6 create; +4 −0", stat
    code, told = committed()
    assert code == 0 and all(map(exists, ("a/b/c", "f", "a/d", "a/b/e"))), told


@everywhere
def a_path_is_committed_with_the_new_directories_that_it_stands_in_and_undone_with_them(way):
    way.shell("mkdir -p a/b e; echo x > a/b/c; echo y > a/d; echo z > a/b/z")
    code, told = committed("a/b/c")
    assert code == 0 and [line.split()[2] for line in told.splitlines()] == ["a", "a/b", "a/b/c"], told
    assert exists("a/b/c") and not exists("a/d") and not exists("a/b/z") and not exists("e")
    write("a/mine", "mine")
    undone = chaperone("undo", last_session(), "a/b/c")
    assert not exists("a/b") and exists("a/mine"), undone


@everywhere
def the_printed_command_accepts_a_reason_of_its_paths_alone(way):
    way.shell("mkdir tools; for f in tools/one tools/two three; do printf '#!/bin/sh\\n' > $f; chmod +x $f; done")
    code, told = committed()
    if exists("three"):
        return
    line = re.search(r"chaperone commit (--accept .*)", told)
    assert code == 3 and line, (code, told)
    words = line[1].split()
    assert words[:3] == ["--accept", "executable", last_session()] and set(words[3:]) == {"tools/one", "tools/two", "three"}, words
    code, told = committed("--accept", "many_deletes", "tools")
    assert code == 3 and not exists("tools/one"), told
    code, told = committed("--accept", "executable", "tools")
    assert code == 0 and exists("tools/one") and exists("tools/two") and not exists("three"), told


@everywhere
def a_new_script_that_is_handed_to_its_interpreter_and_plain_settings_ask_nothing(way):
    way.shell("printf '#!/usr/bin/env python3\\nprint(1)\\n' > tidy.py; printf 'APP_NAME=\"My App\"\\nPORT=3000\\nBASE_URL=http://localhost:3000\\n' > .env")
    code, told = committed()
    assert code == 0 and exists("tidy.py") and exists(".env"), told


@everywhere
def a_checkout_that_the_agent_made_lets_no_script_through_until_the_user_works_in_it(way):
    write("notes.txt", "hello\n")
    way.shell("git init -q new; cd new; printf '#!/bin/sh\nid\n' > tool.sh; chmod +x tool.sh")
    committed()
    code, told = committed()
    assert exists("new/.git/config") and not exists("new/tool.sh") and code == 3, (code, told[-600:])
    # The user takes it up.
    write("new/README.md", "mine\n")
    git("add", "README.md", at=os.path.join(DOCS, "new"))
    code, told = committed()
    assert exists("new/tool.sh") and code == 0, (code, told[-600:])


@once
def psql_and_docker_do_not_raise_an_alarm_by_starting(way):
    for name, place in (("psql", ".pgpass"), ("docker", ".docker/config.json")):
        write(name, f"#!/usr/bin/python3\nimport os\ntry: open(os.path.expanduser('~/{place}')).read()\nexcept OSError: pass\n")
        os.chmod(os.path.join(DOCS, name), 0o755)
        done = way.ran(f"./{name}")
        assert done.returncode == 0 and "credential" not in done.stderr.lower() and "decoy" not in done.stderr.lower(), done.stderr


@once
def a_program_that_has_no_business_with_a_decoy_raises_an_alarm(way):
    way.ran("sh", "-c", "cat ~/.pgpass")
    session = last_session()
    assert until(lambda: any("credential_decoy" in json.dumps(record) for record in records(session))), records(session)


@everywhere
def thousands_of_files_are_committed_in_one_go(way):
    way.run("python3", "-c", "import os\nfor n in range(6000):\n    os.makedirs(d := f'lib/p{n // 50}', exist_ok=True)\n    open(f'{d}/m{n}.txt', 'w').write(f'module {n}\\n' * 20)")
    code, told = committed()
    assert code == 0 and "too_much_held" not in told, (code, told[-600:])
    assert sum(len(names) for _, _, names in os.walk(os.path.join(DOCS, "lib"))) == 6000, told[-600:]


@everywhere
def the_state_of_a_work_tree_is_one_command_and_never_half_of_it(way):
    repository()
    way.shell("git worktree add -q trees/next -b next")
    code, told = committed("--accept", "runs_later", "--accept", "part_of_operation", ".git/worktrees/next/gitdir")
    assert code == 3 and not exists(".git/worktrees/next/gitdir"), (code, told[-900:])
    code, told = committed()
    commands = re.findall(r"^.*part_of_operation.*to commit: chaperone (commit .*)$", told, re.M)
    assert code == 3 and len(commands) == 1, (code, told[-900:])
    chaperone(*commands[0].split())
    assert all(exists(f".git/worktrees/next/{name}") for name in ("gitdir", "commondir", "HEAD", "index")), told[-900:]
    committed("--accept", "runs_later", "trees")
    assert git("branch", "--show-current", at=os.path.join(DOCS, "trees/next")) == "next\n"


@everywhere
def a_build_comes_whole_or_stays_whole(way):
    way.shell("""mkdir -p target/debug; echo '{}' > target/.rustc_info.json; printf '\\177ELF' > target/debug/app; chmod +x target/debug/app
        echo x > target/debug/app.d; echo done > result.txt""")
    code, told = committed()
    assert code == 3 and exists("result.txt") and not exists("target"), (code, told)
    assert re.search(r"target kept back: .*; to commit: chaperone commit --accept dependency_directory \S+ target", told), told
    code, told = committed("--accept", "dependency_directory", "target")
    assert code == 0 and exists("target/debug/app") and exists("target/debug/app.d"), (code, told)


@everywhere
def each_group_is_a_question_with_its_reason_and_its_difference(way):
    dependencies(way, "mkdir -p app; printf 'all:\\n\\techo built\\n' > app/Makefile; printf '#!/bin/sh\\necho 1\\n' > run.sh; chmod +x run.sh")
    screen = Screen(CHAPERONE, "commit", "--interactive", last_session())
    try:
        answers = {"result.txt": "y", "node_modules/": "n", "run.sh": "d", "Makefile": "n"}
        seen = []
        for _ in range(8):
            shown = screen.until(r"commit \d+ changes?\? \[y,n,d,l,a,q,\?\] |chaperone: node_modules kept back").decode()
            if "[y,n" not in shown:
                break
            mine = next((name for name in answers if name in shown), None)
            seen.append(mine)
            if mine is None:
                screen.type("n\n")
                continue
            screen.type(answers[mine] + "\n")
            if answers[mine] == "d":
                screen.until("echo 1")
                screen.until(r"\[y,n,d,l,a,q,\?\] ")
                screen.type("y\n")
    finally:
        screen.end()
    assert "run.sh" in seen and "node_modules/" in seen, seen
    assert exists("result.txt") and exists("run.sh") and not exists("node_modules") and not exists("app/Makefile"), seen


@everywhere
def why_names_what_was_refused_before_what_commits_kept_back(way):
    way.ran("sh", "-c", "mkdir __pycache__; for n in $(seq 150); do printf '\\\\313\\\\r\\\\r\\\\n\\\\0\\\\0\\\\0\\\\0' > __pycache__/m$n.cpython-311.pyc; done")
    committed()
    told = json.loads(chaperone("why", last_session(), "--json"))
    kept = [entry for entry in told if ".pyc" in entry["resource"]]
    assert len(kept) <= 2, [entry["resource"] for entry in kept]


@once
def psql_of_the_system_does_not_raise_an_alarm_by_looking_for_a_password(way):
    if not shutil.which("psql"):
        raise Skipped("psql is not installed", installable=True)
    way.ran("sh", "-c", "psql -h 127.0.0.1 -p 1 -w -c 'select 1' 2>/dev/null; true")
    told = [record for record in records(last_session()) if "credential_decoy" in json.dumps(record)]
    assert all(record.get("phase") != "alert" for record in told), told
