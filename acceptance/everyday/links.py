"""Several names for one thing, and things that are no regular files."""
import os

from harness.cell import DOCS, Refused, chaperone, last_session, read, refused, write
from harness.cell import PERSONAL
from ways import committed, everywhere, git, repository


@everywhere
def a_file_may_have_two_names(way):
    write("theirs.txt", "theirs\n")
    cell = way.cell()
    assert cell("""
        import os
        open('mine.txt', 'w').write('mine\\n')
        told = []
        for name in ('mine', 'theirs'):
            os.link(name + '.txt', name + '.link')
            open(name + '.link', 'a').write('more\\n')
            told += [open(name + '.txt').read(), os.stat(name + '.txt').st_nlink, os.path.samefile(name + '.txt', name + '.link')]
        result = told
    """) == ["mine\nmore\n", 2, True, "theirs\nmore\n", 2, True]
    cell.end()
    chaperone("commit", last_session())
    assert [read(n) for n in ("mine.txt", "mine.link", "theirs.txt", "theirs.link")] == ["mine\nmore\n"] * 2 + ["theirs\nmore\n"] * 2


@everywhere
def a_file_that_has_two_names_already_can_be_changed_and_committed(way):
    write("one.txt", "before\n")
    os.link(os.path.join(DOCS, "one.txt"), os.path.join(DOCS, "two.txt"))
    cell = way.cell()
    cell("open('one.txt', 'a').write('after\\n')")
    cell.end()
    code, told = committed()
    assert code == 0, told
    assert read("one.txt") == read("two.txt") == "before\nafter\n"


@everywhere
def a_second_name_does_not_make_readable_what_is_not(way):
    write("personal.csv", PERSONAL)
    write(".env", "API_TOKEN=4f3c2b1a99887766554433\n")
    cell = way.cell()
    for name in ("personal.csv", ".env"):
        try:
            seen = cell(f"import os; os.link({name!r}, 'other-name'); result = open('other-name').read()")
        except Refused:
            seen = ""
        assert "536-22" not in seen and "4f3c2b" not in seen, seen
    cell.end()


@everywhere
def the_last_name_of_a_file_takes_it_along(way):
    cell = way.cell()
    assert cell("""
        import os
        open('a', 'w').write('content'); os.link('a', 'b'); os.unlink('a')
        told = [open('b').read(), os.stat('b').st_nlink]
        os.rename('b', 'c'); os.unlink('c')
        result = told + os.listdir('.')
    """) == ["content", 1]
    cell.end()


@everywhere
def a_fifo_carries_what_is_written_to_it(way):
    assert way.shell("mkfifo pipe; (echo through > pipe) & cat pipe; stat -c %F pipe") == "through\nfifo\n"


@everywhere
def a_socket_is_bound_and_connected_to(way):
    cell = way.cell()
    assert cell("""
        import os, socket, stat
        s = socket.socket(socket.AF_UNIX); s.bind('sock'); s.listen()
        c = socket.socket(socket.AF_UNIX); c.connect('sock'); c.send(b'hello')
        told = [s.accept()[0].recv(9).decode(), stat.S_ISSOCK(os.stat('sock').st_mode)]
        os.unlink('sock')
        result = told
    """) == ["hello", True]
    cell.end()


@everywhere
def what_cannot_be_committed_is_said_at_commit(way):
    way.shell("mkfifo pipe; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"; echo x > file")
    code, told = committed()
    assert read("file") == "x\n" and "pipe" in told and "sock" in told, (code, told)
    assert sorted(os.listdir(DOCS)) == ["file"], os.listdir(DOCS)


@everywhere
def a_file_without_a_name_can_be_given_one(way):
    cell = way.cell()
    assert cell("""
        import os
        f = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o644)
        os.write(f, b'unnamed')
        before = os.listdir('.')
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        # AT_FDCWD and AT_SYMLINK_FOLLOW, as programs without privilege do it.
        if libc.linkat(-100, b'/proc/self/fd/%d' % f, -100, b'named', 0x400): raise OSError(ctypes.get_errno(), 'linkat')
        result = [before, open('named').read()]
    """) == [[], "unnamed"]
    cell.end()
    chaperone("commit", last_session())
    assert read("named") == "unnamed"


@everywhere
def two_names_are_exchanged_at_once(way):
    write("theirs", "theirs")
    cell = way.cell()
    assert cell("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        open('mine', 'w').write('mine')
        if libc.renameat2(-100, b'mine', -100, b'theirs', 2): raise OSError(ctypes.get_errno(), 'exchange')
        result = [open('mine').read(), open('theirs').read()]
    """) == ["theirs", "mine"]
    cell.end()
    chaperone("commit", last_session())
    assert (read("mine"), read("theirs")) == ("theirs", "mine")


@everywhere
def a_local_clone_works(way):
    repository(os.path.join(DOCS, "origin"))
    way.shell("git clone -q origin copy; git -C copy status --short; git -C copy log --oneline | grep first")


@everywhere
def git_works_over_a_whole_day(way):
    repository()
    way.shell("""
        git config user.name Agent 2>/dev/null || export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
        export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
        git switch -qc work; echo two > two; git add .; git commit -qm two; git switch -q main; echo three > three; git add .; git commit -qm three
        git rebase -q main work; git stash -q || true; git gc -q; git fsck --no-progress; git log --oneline | wc -l | grep -qx 3
    """)
    code, told = committed()
    assert code == 0, told
    assert "two" in git("log", "--oneline", "work"), git("log", "--oneline", "--all")


@everywhere
def nothing_at_a_link_that_leads_out_is_reached(way):
    outside = os.path.join(os.path.dirname(DOCS), "outside.txt")
    with open(outside, "w") as f:
        f.write("outside")
    os.symlink(outside, os.path.join(DOCS, "out"))
    cell = way.cell()
    refused(cell, "open('out').read()")
    refused(cell, "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\nif libc.linkat(-100, b'out', -100, b'in', 0x400): raise OSError(ctypes.get_errno(), 'linkat')")
    cell.end()
