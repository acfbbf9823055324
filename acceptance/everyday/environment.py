"""The user's own environment: repositories, paths, toolchains, settings."""
import os, subprocess

from harness.claims import Skipped
from harness.cell import CHAPERONE, DOCS, HOME, PERSONAL, asked, chaperone, shell, write
from ways import committed, everywhere, executable, git, once, repository


@everywhere
def a_worktree_inside_is_a_repository(way):
    repository()
    git("worktree", "add", "-q", "-b", "side", "side")
    assert "On branch side" in way.shell("cd side && git status")


@everywhere
def a_worktree_as_the_workspace_is_a_repository(way):
    main = repository(os.path.join(DOCS, "main"))
    git("worktree", "add", "-q", "-b", "side", "../side", at=main)
    side = os.path.join(DOCS, "side")
    assert "On branch side" in way.shell("git status; echo more >> tracked.txt; git -c user.name=A -c user.email=a@b.c commit -qam more", workspace=side)
    chaperone("commit", last())
    assert "more" in git("log", "--oneline", "side", at=main)


@everywhere
def a_worktree_beside_is_found(way):
    main = repository(os.path.join(DOCS, "main"))
    git("worktree", "add", "-q", "-b", "side", "../side", at=main)
    assert "On branch side" in way.shell(f"git -C {DOCS}/side status", workspace=main)


@everywhere
def a_submodule_is_a_repository_also_as_the_workspace(way):
    library = repository(os.path.join(DOCS, "library"))
    whole = repository(os.path.join(DOCS, "whole"))
    git("submodule", "add", "-q", library, "sub", at=whole)
    git("commit", "-qm", "with sub", at=whole)
    assert "first" in way.shell("git -C sub log --oneline; git submodule status", workspace=whole)
    assert "first" in way.shell("git log --oneline", workspace=os.path.join(whole, "sub"))


@everywhere
def the_workspace_is_at_its_own_path_too(way):
    write("a/file", "content\n")
    assert way.shell(f"cat {DOCS}/a/file; echo more > {DOCS}/a/new; cat /workspace/a/new; test {DOCS}/a/new -ef /workspace/a/new && echo same") == \
        "content\nmore\nsame\n"


@everywhere
def what_may_not_be_read_is_not_readable_at_its_own_place(way):
    write(".env", "API_TOKEN=4f3c2b1a99887766554433\n")
    write("personal.csv", PERSONAL)
    with open(os.path.join(os.path.dirname(DOCS), "beside.txt"), "w") as f:
        f.write("beside")
    done = way.ran("sh", "-c", f"cat {DOCS}/.env {DOCS}/personal.csv {DOCS}/../beside.txt; ls {DOCS}/..")
    assert done.stdout == "docs\n", done


@everywhere
def the_agent_starts_where_the_user_stood(way):
    os.makedirs(os.path.join(DOCS, "a/b"))
    done = way.ran("pwd", cwd=os.path.join(DOCS, "a/b"), options=("--workspace", DOCS))
    assert done.stdout.strip() == f"{DOCS}/a/b", done


@everywhere
def a_virtual_environment_that_the_agent_makes_runs_after_the_commit(way):
    way.shell("""python3 -m venv --without-pip venv
        venv/bin/python -c 'import sys; open("venv/bin/hello", "w").write("#!" + sys.executable + "\\nprint(6 * 7)\\n")'; chmod +x venv/bin/hello""")
    code, told = committed("venv")
    assert code == 0, told
    assert shell(f"{DOCS}/venv/bin/hello") == "42\n"


@everywhere
def a_work_tree_that_the_agent_adds_is_one_after_the_commit(way):
    repository()
    way.shell("git worktree add -q trees/next -b next")
    code, told = committed("--accept", "part_of_operation", "--accept", "runs_later", ".git", "trees")
    assert code == 0, told
    assert git("branch", "--show-current", at=os.path.join(DOCS, "trees/next")) == "next\n"


@everywhere
def a_virtual_environment_of_the_user_runs(way):
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", os.path.join(DOCS, "venv")], check=True)
    executable(os.path.join(DOCS, "venv/bin/hello"), f"#!{DOCS}/venv/bin/python3\nimport sys\nprint(sys.prefix)\n")
    assert "venv" in way.run("venv/bin/hello")
    assert "venv" in way.shell(". venv/bin/activate && hello")


# Where the usual managers of toolchains put what runs, and where what it needs lies beside it.
TOOLCHAINS = {
    "rustup": (".cargo/bin", ".rustup/toolchains/stable/lib"), "nvm": (".nvm/versions/node/v22.1.0/bin", ".nvm/versions/node/v22.1.0/lib"),
    "fnm": (".local/share/fnm/node-versions/v22.1.0/installation/bin", ".local/share/fnm/node-versions/v22.1.0/installation/lib"),
    "volta": (".volta/bin", ".volta/tools/image/node/22.1.0/lib"), "uv": (".local/bin", ".local/share/uv/python/cpython-3.13/lib"),
    "pyenv": (".pyenv/shims", ".pyenv/versions/3.13.0/lib"), "pipx": (".local/bin", ".local/share/pipx/venvs/tool/lib"),
    "conda": ("miniconda3/bin", "miniconda3/lib"), "sdkman": (".sdkman/candidates/java/current/bin", ".sdkman/candidates/java/current/lib"),
    "asdf": (".asdf/shims", ".asdf/installs/tool/1.0/lib"), "mise": (".local/share/mise/shims", ".local/share/mise/installs/tool/1.0/lib"),
    "go": ("go/bin", "go/bin"), "deno": (".deno/bin", ".deno/lib"), "bun": (".bun/bin", ".bun/install/global"),
    "rbenv": (".rbenv/shims", ".rbenv/versions/3.4.0/lib"),
}


@once
def toolchains_below_the_home_are_those_of_the_users_path(way):
    missing = []
    for name, (place, beside) in TOOLCHAINS.items():
        program = executable(os.path.join(HOME, beside if place == ".local/bin" else place, f"{name}-tool"), f"#!/bin/sh\ncat {HOME}/{beside}/part\n")
        os.makedirs(os.path.join(HOME, beside), exist_ok=True)
        if place == ".local/bin":
            # What the user wrote lies beside it, and only what a manager put there is a link.
            os.makedirs(os.path.join(HOME, place), exist_ok=True)
            os.symlink(program, os.path.join(HOME, place, f"{name}-tool"))
        with open(os.path.join(HOME, beside, "part"), "w") as f:
            f.write(name)
        done = way.ran(f"{name}-tool", env={"PATH": os.path.join(HOME, place) + ":" + os.environ["PATH"]})
        if done.stdout != name:
            missing.append((name, done.stdout, done.stderr[-300:]))
        inner = way.ran("sh", "-c", f"{name}-tool", env={"PATH": os.path.join(HOME, place) + ":" + os.environ["PATH"]})
        if inner.stdout != name:
            missing.append((name, "from a shell", inner.stderr[-300:]))
    assert not missing, missing


@once
def credentials_beside_toolchains_are_not_shown(way):
    executable(os.path.join(HOME, ".cargo/bin/cargo-tool"), "#!/bin/sh\ncat ~/.cargo/credentials.toml $HOME/.cargo/credentials.toml\n")
    with open(os.path.join(HOME, ".cargo/credentials.toml"), "w") as f:
        f.write('[registry]\ntoken = "of-the-registry"\n')
    done = way.ran("sh", "-c", f"cargo-tool; cat {HOME}/.cargo/credentials.toml", env={"PATH": f"{HOME}/.cargo/bin:" + os.environ["PATH"]})
    assert "of-the-registry" not in done.stdout, done


@once
def scripts_of_the_users_beside_toolchains_are_not_shown(way):
    executable(os.path.join(HOME, ".local/bin/deploy"), "#!/bin/sh\necho of-the-user\n")
    program = executable(os.path.join(HOME, ".local/share/pipx/venvs/tool/bin/tool"), "#!/bin/sh\necho tool\n")
    os.symlink(program, os.path.join(HOME, ".local/bin/tool"))
    done = way.ran("sh", "-c", f"tool; ls {HOME}/.local/bin; deploy", env={"PATH": f"{HOME}/.local/bin:" + os.environ["PATH"]})
    assert done.stdout == "tool\ntool\n", done


@once
def toolchains_are_listed_before_the_start(way):
    executable(os.path.join(HOME, ".deno/bin/deno-tool"), "#!/bin/sh\necho deno\n")
    os.environ["PATH"], before = f"{HOME}/.deno/bin:" + os.environ["PATH"], os.environ["PATH"]
    try:
        shown = [one["path"] for one in asked("profile", "show", "default", "--workspace", DOCS, "--json", "--", "true")["shown"]]
    finally:
        os.environ["PATH"] = before
    assert any(path.startswith(os.path.join(HOME, ".deno")) for path in shown), shown


@once
def of_opt_only_what_is_needed_is_shown(way):
    done = way.ran("sh", "-c", "cat /opt/service/service.conf; opt-tool", env={"PATH": "/opt/tool/bin:" + os.environ["PATH"]})
    assert "of-the-service" not in done.stdout and "the tool" in done.stdout, done


@everywhere
def git_knows_who_commits(way):
    repository()
    with open(os.path.join(HOME, ".gitconfig"), "w") as f:
        f.write("[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n\tsigningkey = ABCDEF\n[commit]\n\tgpgsign = true\n[pull]\n\trebase = true\n"
                "[alias]\n\tboo = !echo alias-ran\n\tst = status\n[core]\n\thooksPath = /home/hooks\n\teditor = sh -c 'echo editor-ran'\n[credential]\n\thelper = store\n")
    told = way.shell("echo more >> tracked.txt; git commit -qam more; git log -1 --format='%an %ae'; git config pull.rebase; git st >/dev/null; "
                     "git config credential.helper || true; git config core.hooksPath || true; git config alias.boo || true")
    assert told == "Ada Lovelace ada@example.org\ntrue\n", told


@everywhere
def a_tracked_file_that_may_not_be_read_is_unchanged_to_git(way):
    repository()
    write(".env", "API_TOKEN=4f3c2b1a99887766554433\n")
    git("add", ".env")
    git("commit", "-qm", "settings")
    # Git reads what was written in the second of its index, whatever else is the same.
    for name in (".env", "tracked.txt"):
        os.utime(os.path.join(DOCS, name), (1_700_000_000, 1_700_000_000))
    git("status")
    told = way.shell("git status --short; echo more >> tracked.txt; git -c user.name=A -c user.email=a@b.c commit -qam more; git status --short; git show --stat --format=%s")
    assert told.split()[0] == "more" and ".env" not in told, told


@once
def locale_and_time_zone_are_the_users(way):
    done = way.ran("sh", "-c", "date -d @0 +%H; echo $LANG", env={"TZ": "Asia/Tokyo", "LANG": "C.UTF-8"})
    assert done.stdout == "09\nC.UTF-8\n", done


@everywhere
def a_link_of_a_virtual_environment_is_committed_when_it_is_named(way):
    way.shell("/usr/bin/python3 -m venv --without-pip venv")
    told = chaperone("changes", last())
    assert "/usr/bin/python3" in told, told
    done = subprocess.run([CHAPERONE, "commit", last(), "venv/bin/python3"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert os.path.islink(os.path.join(DOCS, "venv/bin/python3")), done


@everywhere
def the_log_of_a_web_server_is_read(way):
    lines = [f'203.0.{n}.7 - - [04/Nov/2026:03:04:02 +0000] "GET /p/{n} HTTP/1.1" 304 26230 "-" "Mozilla/5.0 (X11; Linux x86_64)"' for n in range(60)]
    write("access.log", "\n".join(lines) + "\n")
    write("hits.jsonl", "".join(f'{{"ip":"203.0.{n}.7","path":"/p/{n}","status":200}}\n' for n in range(60)))
    write("clients.csv", "client;hits\n" + "".join(f"203.0.{n}.7;{n}\n" for n in range(60)))
    assert way.shell("cat *.log *.jsonl *.csv | grep -c '203[.]0[.]'") == "180\n"


@everywhere
def php_keeps_what_its_sessions_hold(way):
    if not os.path.isdir("/var/lib/php/sessions"):
        raise Skipped("PHP of the system is not installed")
    assert way.shell("echo held > /var/lib/php/sessions/sess_a; cat /var/lib/php/sessions/sess_a") == "held\n"


def last():
    return asked("sessions", "--all")["sessions"][-1]["id"]
