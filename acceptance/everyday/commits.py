"""What is left behind can be committed in one go."""
import json, os, re

from harness.cell import DOCS, chaperone, exists, last_session, records, until, write
from ways import committed, everywhere, once


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
def a_look_at_some_paths_counts_for_these_alone(way):
    way.shell("mkdir -p a/b; for f in a/b/c a/b/e a/d f; do echo $f > $f; done")
    shown = chaperone("changes", last_session(), "a/b/c", "f")
    assert "+a/b/c" in shown and "+f" in shown and "a/d" not in shown and "a/b/e" not in shown, shown
    stat = chaperone("changes", "--stat", last_session())
    assert stat.splitlines()[-1] == "6 changes: 6 create; +4 −0", stat
    code, told = committed()
    assert code == 3 and exists("a/b/c") and exists("f") and not exists("a/d") and not exists("a/b/e"), told
    assert told.count("changed_since_shown") == 2, told


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
