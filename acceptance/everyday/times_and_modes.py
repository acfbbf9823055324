"""Times, owners, modes, holes, names and attributes of files."""
import os

from harness.cell import DOCS, Refused, chaperone, last_session, write
from policies import over, policy
from ways import everywhere


@everywhere
def times_of_a_link_are_its_own(way):
    cell = way.cell()
    assert cell("""
        import os
        os.symlink('nowhere', 'link')
        os.utime('link', (100000000, 200000000), follow_symlinks=False)
        result = int(os.lstat('link').st_mtime)
    """) == 200000000
    cell.end()


@everywhere
def a_link_may_be_given_the_owner_that_it_has(way):
    cell = way.cell()
    assert cell("""
        import os
        os.symlink('nowhere', 'link')
        os.chown('link', os.getuid(), os.getgid(), follow_symlinks=False)
        result = os.lstat('link').st_uid == os.getuid()
    """)
    cell.end()


@everywhere
def a_new_link_is_dated_today(way):
    cell = way.cell()
    assert cell("import os, time; os.symlink('nowhere', 'link'); result = abs(os.lstat('link').st_mtime - time.time()) < 100")
    cell.end()


@everywhere
def tar_cp_and_copytree_take_links_along(way):
    write("from/file", "content")
    os.symlink("file", os.path.join(DOCS, "from/link"))
    os.symlink("nowhere", os.path.join(DOCS, "from/dangling"))
    os.utime(os.path.join(DOCS, "from/link"), (100000000, 200000000), follow_symlinks=False)
    os.utime(os.path.join(DOCS, "from"), (100000000, 200000000))
    assert way.shell("""
        tar cf a.tar from && mkdir out && tar xf a.tar -C out && cp -a from copied
        python3 -c "import shutil; shutil.copytree('from', 'tree', symlinks=True)"
        stat -c %Y out/from/link copied/link tree/link out/from copied tree
    """) == "200000000\n" * 6


@everywhere
def times_of_a_directory_are_kept_and_move_with_what_is_in_it(way):
    os.makedirs(os.path.join(DOCS, "theirs"))
    cell = way.cell()
    assert cell("""
        import os, time
        told = []
        os.mkdir('mine')
        for name in ('mine', 'theirs'):
            os.utime(name, (100000000, 200000000))
            told.append(int(os.stat(name).st_mtime))
            open(name + '/file', 'w').close()
            told.append(abs(os.stat(name).st_mtime - time.time()) < 100)
        result = told
    """) == [200000000, True] * 2
    cell.end()


@everywhere
def holes_stay_holes(way):
    with open(os.path.join(DOCS, "theirs"), "w") as f:
        f.write("x")
        f.truncate(64 << 20)
    cell = way.cell()
    assert cell("""
        import os
        with open('theirs', 'r+') as f: f.write('y')
        with open('mine', 'w') as f: f.write('x'); f.truncate(64 << 20)
        result = [os.stat(n).st_blocks < 4096 for n in ('mine', 'theirs')]
    """) == [True, True]
    cell.end()
    chaperone("commit", last_session())
    assert all(os.stat(os.path.join(DOCS, name)).st_blocks < 4096 for name in ("mine", "theirs"))


@everywhere
def modes_without_a_right_of_the_owner_hold(way):
    cell = way.cell()
    assert cell("""
        import os, stat
        told = []
        def fails(what):
            try: what(); told.append('done')
            except PermissionError: told.append('refused')
        open('none', 'w').write('x'); os.chmod('none', 0)
        fails(lambda: open('none').read())
        os.mkdir('closed'); open('closed/file', 'w').close(); os.chmod('closed', 0o500)
        fails(lambda: open('closed/other', 'w'))
        fails(lambda: os.unlink('closed/file'))
        told.append([oct(stat.S_IMODE(os.stat(n).st_mode)) for n in ('none', 'closed')])
        os.chmod('none', 0o600); os.chmod('closed', 0o700)
        told.append(open('none').read())
        result = told
    """) == ["refused", "refused", "refused", ["0o0", "0o500"], "x"]
    cell.end()


@everywhere
def the_modes_of_directories_of_the_user_can_be_changed(way):
    os.makedirs(os.path.join(DOCS, "theirs"), mode=0o755)
    cell = way.cell()
    assert cell("import os, stat; os.chmod('theirs', 0o700); result = stat.S_IMODE(os.stat('theirs').st_mode)") == 0o700
    cell.end()


@everywhere
def setgid_and_sticky_are_kept(way):
    cell = way.cell()
    assert cell("""
        import os, stat
        os.mkdir('shared'); os.chmod('shared', 0o2775)
        os.mkdir('sticky'); os.chmod('sticky', 0o1777)
        result = [oct(stat.S_IMODE(os.stat(n).st_mode)) for n in ('shared', 'sticky')]
    """) == ["0o2775", "0o1777"]
    cell.end()


@everywhere
def names_that_are_not_utf8_are_carried_byte_for_byte(way):
    odd = os.path.join(os.fsencode(DOCS), b"caf\xe9.txt")
    with open(odd, "w") as f:
        f.write("theirs\n")
    cell = way.cell()
    assert cell(r"""
        import os
        names = sorted(os.listdir(b'.'))
        with open(b'caf\xe9.txt', 'a') as f: f.write('more\n')
        with open(b'\xff\xfe.txt', 'w') as f: f.write('mine\n')
        result = [n.hex() for n in names]
    """) == [b"caf\xe9.txt".hex()]
    cell.end()
    chaperone("changes", last_session())
    chaperone("commit", last_session())
    with open(odd) as f:
        assert f.read() == "theirs\nmore\n"
    with open(os.path.join(os.fsencode(DOCS), b"\xff\xfe.txt")) as f:
        assert f.read() == "mine\n"


@everywhere
def a_name_that_is_not_utf8_does_not_change_how_a_directory_is_served(way):
    look = "result = next(l.split(' - ')[1].split()[0] for l in open('/proc/self/mountinfo') if l.split()[4] == '/workspace')"
    cell = way.cell()
    plain = cell(look)
    cell.end()
    with open(os.path.join(os.fsencode(DOCS), b"caf\xe9.txt"), "w") as f:
        f.write("theirs\n")
    cell = way.cell()
    assert cell(look) == plain
    cell.end()


@everywhere
def attributes_of_the_user_namespace_are_kept(way):
    write("theirs", "x")
    os.setxattr(os.path.join(DOCS, "theirs"), "user.origin", b"here")
    cell = way.cell()
    assert cell("""
        import os
        open('mine', 'w').write('x')
        os.setxattr('mine', 'user.note', b'mine'); os.setxattr('theirs', 'user.note', b'mine')
        open('theirs', 'a').write('y')
        told = [sorted(os.listxattr(n)) for n in ('mine', 'theirs')] + [os.getxattr('theirs', 'user.origin').decode()]
        os.removexattr('mine', 'user.note')
        result = told + [os.listxattr('mine')]
    """) == [["user.note"], ["user.note", "user.origin"], "here", []]
    cell.end()


@everywhere
def attributes_that_grant_rights_cannot_be_set(way):
    cell = way.cell()
    for name in ("security.capability", "trusted.x", "system.posix_acl_access"):
        try:
            cell(f"import os; open('mine', 'w').close(); os.setxattr('mine', {name!r}, bytes.fromhex('0100000200040000000000000000000000000000'))")
        except Refused:
            continue
        raise AssertionError(name)
    cell.end()


@everywhere
def locks_hold_between_the_processes_of_a_cell(way):
    cell = way.cell()
    assert cell("""
        import fcntl, subprocess, sys
        f = open('lock', 'w'); told = []
        for call in ('fcntl.flock', 'fcntl.lockf'):
            exec(call + '(f, fcntl.LOCK_EX)')
            other = 'import fcntl\\nf = open("lock", "w")\\ntry: %s(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print("got")\\nexcept OSError: print("held")' % call
            told.append(subprocess.run([sys.executable, '-c', other], capture_output=True, text=True).stdout.strip())
            exec(call + '(f, fcntl.LOCK_UN)')
            told.append(subprocess.run([sys.executable, '-c', other], capture_output=True, text=True).stdout.strip())
        result = told
    """) == ["held", "got"] * 2
    cell.end()


@everywhere
def what_the_user_edits_is_noticed_within_a_second(way):
    write("watched.txt", "before\n")
    cell = way.cell()
    cell("""
        import ctypes, os, select, struct
        libc = ctypes.CDLL(None, use_errno=True)
        w = libc.inotify_init1(0)
        assert libc.inotify_add_watch(w, b'.', 0x2 | 0x4 | 0x8 | 0x100 | 0x80 | 0x200) >= 0
        open('watched.txt').read()
        while select.select([w], [], [], 0)[0]: os.read(w, 65536)
    """)
    write("watched.txt", "after, and longer\n")
    assert cell("result = bool(select.select([w], [], [], 2)[0])"), "nothing was told"
    cell.end()


@everywhere
def editors_and_bundlers_hear_of_what_the_user_does(way):
    write("src/a.txt", "before\n")
    write("src/gone.txt", "before\n")
    cell = way.cell()
    cell("""
        import ctypes, os, select, struct
        libc = ctypes.CDLL(None, use_errno=True)
        w = libc.inotify_init1(0)
        assert libc.inotify_add_watch(w, b'src', 0x2 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200) >= 0
        assert libc.inotify_add_watch(w, b'src/a.txt', 0x2) >= 0
        open('src/a.txt').read(); open('src/gone.txt').read()
        def heard(seconds=2):
            told = set()
            while select.select([w], [], [], seconds)[0]:
                data, at = os.read(w, 65536), 0
                while at < len(data):
                    wd, mask, _, size = struct.unpack_from('iIII', data, at)
                    told.add((data[at + 16:at + 16 + size].rstrip(bytes(1)).decode(), mask & 0xfff)); at += 16 + size
                seconds = 0.5
            return sorted(told)
        heard(0)
    """)
    write("src/a.txt", "after, and longer\n")
    told = cell("result = (heard(), open('src/a.txt').read())")
    assert [list(t) for t in told[0]] == [["", 2], ["a.txt", 2], ["a.txt", 8]] and told[1] == "after, and longer\n", told
    write("src/new.txt", "new\n")
    told = cell("result = (heard(), open('src/new.txt').read())")
    assert ["new.txt", 0x100] in [list(t) for t in told[0]] and told[1] == "new\n", told
    os.makedirs(os.path.join(DOCS, "src/folder"))
    told = cell("result = heard()")
    assert [list(t) for t in told] == [["folder", 0x100]], told
    os.unlink(os.path.join(DOCS, "src/gone.txt"))
    told = cell("result = (heard(), os.path.exists('src/gone.txt'))")
    assert [list(t) for t in told[0]] == [["gone.txt", 0x200]] and not told[1], told
    cell("open('src/mine.txt', 'w').write('mine'); heard()")
    assert cell("result = heard(0.5)") == [], "what the agent did came back"
    cell.end()
    chaperone("commit", last_session(), "src/mine.txt")
    assert os.listdir(os.path.join(DOCS, "src/folder")) == []


@everywhere
def a_rule_holds_for_names_that_are_not_utf8(way):
    names = (b"in/a\xff", b"in/a\\xff", b"out\xff", b"out\\xff")
    os.makedirs(os.path.join(DOCS, "in"))
    for name in names:
        with open(os.path.join(os.fsencode(DOCS), name), "w") as f:
            f.write("x\n")
    read = r"""
        told = []
        for name in (b'in/a\xff', b'in/a\\xff', b'out\xff', b'out\\xff'):
            try: told.append(open(name).read())
            except OSError: told.append('refused')
        result = told
    """
    cell = way.cell()
    assert cell(read) == ["x\n"] * 4
    cell.end()
    path = policy("odd.rego", """package chaperone.odd
import rego.v1
decision := {"effect": "deny", "reasons": ["mine"]} if startswith(input.path, "/workspace/in/")
decision := {"effect": "deny", "reasons": ["mine"]} if input.path == "/workspace/out\\\\xff"
""")
    try:
        chaperone("policy", "reload")
        cell = way.cell()
        assert cell(read) == ["refused", "refused", "refused", "x\n"]
        cell.end()
    finally:
        over(path)
