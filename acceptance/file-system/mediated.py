"""Claims about the mediated file system, checked with a real kernel on both sides of it."""
import os, time

from harness.cell import DOCS, PERSONAL, WORK, Cell, asked, chaperone, read, records, refused, until, write
from harness.claims import claim


@claim
def a_redaction_has_its_own_size_and_its_own_pages():
    write("personal.csv", PERSONAL)
    cell = Cell("--ask", "redact")
    size, text, again = cell("""
        import os
        size = os.stat('personal.csv').st_size
        text = open('personal.csv').read()
        result = [size, text, os.stat('personal.csv').st_size]
    """)
    assert "536-22-8145" not in text and "4111" not in text, text
    assert text.startswith("name,ssn,card\n") and len(text.splitlines()) == 3, text
    assert again == len(text.encode()), (again, text)
    mapped = cell("""
        import mmap
        with open('personal.csv', 'rb') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            result = m[:].decode()
    """)
    assert mapped == text
    cell.end()


@claim
def two_versions_of_a_file_never_mix_in_the_page_cache():
    block = "a" * 4096
    write("versions.txt", block * 64)
    cell = Cell("--ask", "deny")
    assert cell("f = open('versions.txt', 'rb', buffering=0); result = f.read(4096).decode()") == block
    other = "b" * 4096
    write("versions.txt.new", other * 64)
    os.rename(os.path.join(DOCS, "versions.txt.new"), os.path.join(DOCS, "versions.txt"))
    # The old handle goes on with the old version, a new one has the new one, whatever the kernel cached.
    first, second = cell("""
        g = open('versions.txt', 'rb', buffering=0)
        new, old = g.read(), f.read()
        f.seek(0); whole = f.read()
        result = [sorted(set(new.decode())), sorted(set((old + whole).decode()))]
    """)
    assert first == ["b"] and second == ["a"], (first, second)
    cell.end()


@claim
def a_smaller_or_larger_file_from_outside_is_seen_whole_at_the_next_opening():
    write("grows.txt", "one\n")
    cell = Cell("--ask", "deny")
    for text in ["one\n", "one\ntwo\nthree\n", "o\n", "x" * 70000]:
        write("grows.txt", text)
        assert cell("result = open('grows.txt').read()") == text
    cell.end()


@claim
def names_that_come_and_go_outside_are_seen_promptly_by_those_who_looked_before():
    folder = os.path.dirname(write("listed/first", "1"))
    write("listed/second", "2")
    cell = Cell("--ask", "deny")
    # Only of a directory that has not changed for a while may the kernel keep the names.
    assert until(lambda: time.time() - os.stat(folder).st_ctime > 2.2, 10)
    look = "import os; result = [sorted(os.listdir('listed')), os.path.exists('listed/third')]"
    for _ in range(3):
        assert cell(look) == [["first", "second"], False]
    write("listed/third", "3")
    os.unlink(os.path.join(folder, "first"))
    assert until(lambda: cell(look) == [["second", "third"], True], 3), cell(look)
    # What the agent does shows at once, whatever was kept.
    assert cell("open('listed/mine', 'w').close(); os.unlink('listed/second'); " + look) == [["mine", "third"], True]
    cell.end()


@claim
def a_listing_says_what_its_names_are_when_they_are_asked_for():
    write("fresh/f", "x" * 5)
    cell = Cell("--ask", "deny")
    # Opened before something changes, read after it.
    assert cell("""
        import os
        listed = os.scandir('fresh')
        with open('fresh/f', 'w') as f: f.write('y' * 100)
        names = [e.name for e in listed]
        result = [names, os.stat('fresh/f').st_size, open('fresh/f').read()]
    """) == [["f"], 100, "y" * 100]
    assert cell("""
        listed = os.scandir('fresh')
        os.unlink('fresh/f')
        names = [e.name for e in listed]
        with open('fresh/f', 'x') as f: f.write('again')
        result = [names, open('fresh/f').read()]
    """) == [["f"], "again"]
    # What another looks at all the time is whole for whoever reads it at once, and can be made again.
    assert cell("""
        import threading
        os.makedirs('busy', exist_ok=True)
        over = threading.Event()
        def look():
            while not over.is_set():
                for entry in os.scandir('busy'):
                    try: entry.stat()
                    except FileNotFoundError: pass
        looking = threading.Thread(target=look); looking.start()
        short = lost = 0
        for n in range(1500):
            name = f'busy/f{n % 7}'
            try:
                with open(name, 'wb', buffering=0) as f:
                    for _ in range(4): f.write(b'z' * 3000)
                short += os.stat(name).st_size != 12000 or len(open(name, 'rb').read()) != 12000
                os.unlink(name)
            except FileNotFoundError: lost += 1
        over.set(); looking.join()
        result = [short, lost]
    """) == [0, 0]
    cell.end()


@claim
def what_vanished_outside_can_be_made_at_once():
    folder = os.path.dirname(write("vanishing/f", "theirs"))
    cell = Cell("--ask", "deny")
    assert cell("import os; result = os.path.exists('vanishing/f')")
    os.unlink(os.path.join(folder, "f"))
    # The kernel still believes in it.
    assert cell("f = open('vanishing/f', 'a+'); f.write('mine'); f.close(); result = open('vanishing/f').read()") == "mine"
    cell.end()


@claim
def a_reader_sees_what_a_writer_of_the_same_file_writes():
    write("shared.txt", "before")
    cell = Cell("--ask", "deny")
    assert cell("""
        r = open('shared.txt', 'rb', buffering=0); r.read()
        w = open('shared.txt', 'r+b', buffering=0); w.write(b'AFTER!')
        r.seek(0)
        result = [r.read().decode(), open('shared.txt').read()]
    """) == ["AFTER!", "AFTER!"]
    assert cell("""
        open('shared.txt', 'w').write('shorter')
        r.seek(0)
        result = r.read().decode()
    """) == "shorter"
    assert read("shared.txt") == "before"
    cell.end()


@claim
def an_open_file_outlives_its_name():
    write("gone.txt", "old content")
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        f = open('gone.txt', 'r+b', buffering=0)
        os.unlink('gone.txt')
        open('gone.txt', 'w').write('another file')
        held = os.fstat(f.fileno())
        f.seek(0); first = f.read().decode()
        f.truncate(3); f.seek(0)
        result = [first, held.st_size, held.st_nlink, f.read().decode(), open('gone.txt').read(), os.stat('gone.txt').st_size]
    """) == ["old content", 11, 0, "old", "another file", 12]
    cell.end()


@claim
def a_rename_over_an_open_file_leaves_its_reader_alone():
    write("target.txt", "old target")
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        f = open('target.txt', 'rb', buffering=0)
        open('new.tmp', 'w').write('new target, longer')
        os.rename('new.tmp', 'target.txt')
        result = [f.read().decode(), os.fstat(f.fileno()).st_size, open('target.txt').read(), os.path.exists('new.tmp')]
    """) == ["old target", 10, "new target, longer", False]
    session = cell.end()
    assert "+new target, longer" in chaperone("changes", session)
    chaperone("commit", session)
    assert read("target.txt") == "new target, longer"


@claim
def append_exclusive_truncate_and_modes_are_honest():
    write("log.txt", "1\n")
    os.chmod(os.path.join(DOCS, "log.txt"), 0o640)
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        a, b = open('log.txt', 'ab', buffering=0), open('log.txt', 'ab', buffering=0)
        a.write(b'2\\n'); b.write(b'3\\n'); a.write(b'4\\n')
        try:
            os.open('log.txt', os.O_CREAT | os.O_EXCL | os.O_WRONLY); exclusive = False
        except FileExistsError:
            exclusive = True
        os.truncate('log.txt', 4)
        os.chmod('log.txt', 0o600)
        result = [open('log.txt').read(), exclusive, oct(os.stat('log.txt').st_mode & 0o777)]
    """) == ["1\n2\n", True, "0o600"]
    session = cell.end()
    chaperone("commit", session)
    assert read("log.txt") == "1\n2\n" and os.stat(os.path.join(DOCS, "log.txt")).st_mode & 0o777 == 0o600
    chaperone("undo", session)
    assert read("log.txt") == "1\n" and os.stat(os.path.join(DOCS, "log.txt")).st_mode & 0o777 == 0o640


@claim
def a_shared_mapping_reaches_the_stage_before_a_commit():
    write("mapped.bin", "." * 8192)
    cell = Cell("--ask", "deny")
    cell("""
        import mmap
        f = open('mapped.bin', 'r+b')
        m = mmap.mmap(f.fileno(), 0)
        m[4096:4101] = b'HELLO'
        f.close()
    """)
    session = cell.session()
    chaperone("commit", session, "mapped.bin", "--unseen")
    assert read("mapped.bin")[4096:4101] == "HELLO"
    # It is still mapped: what is written now is neither lost nor a conflict.
    cell("m[0:5] = b'AGAIN'; m.flush(); m.close()")
    assert cell("result = open('mapped.bin').read(5)") == "AGAIN"
    cell.end()
    chaperone("commit", session, "mapped.bin")
    assert read("mapped.bin")[:5] == "AGAIN" and read("mapped.bin")[4096:4101] == "HELLO"


@claim
def a_file_that_is_open_for_writing_stays_staged_over_a_commit():
    cell = Cell("--ask", "deny")
    cell("f = open('journal.txt', 'w'); f.write('first\\n'); f.flush()")
    session = cell.session()
    chaperone("commit", session, "--unseen")
    assert read("journal.txt") == "first\n"
    cell("f.write('second\\n'); f.close()")
    cell.end()
    chaperone("commit", session)
    assert read("journal.txt") == "first\nsecond\n"


@claim
def a_file_may_become_a_directory_and_a_directory_a_file():
    write("was-file", "content")
    write("was-folder/inner.txt", "inner")
    cell = Cell("--ask", "deny")
    cell("""
        import os
        os.unlink('was-file'); os.mkdir('was-file'); open('was-file/child', 'w').write('child')
        os.unlink('was-folder/inner.txt'); os.rmdir('was-folder'); open('was-folder', 'w').write('flat')
    """)
    assert cell("result = sorted(os.listdir('.'))").count("was-file") == 1
    session = cell.end()
    chaperone("commit", session)
    assert read("was-file/child") == "child" and read("was-folder") == "flat"
    chaperone("undo", session)
    assert read("was-file") == "content" and read("was-folder/inner.txt") == "inner"


@claim
def a_directory_of_the_users_moves_with_all_that_is_in_it():
    write("tree/a.txt", "plain a")
    write("tree/deep/er/b.txt", "plain b")
    write("tree/personal.csv", PERSONAL)
    write("tree/run.sh", "#!/bin/sh\n")
    os.chmod(os.path.join(DOCS, "tree/run.sh"), 0o755)
    os.symlink("a.txt", os.path.join(DOCS, "tree/link"))
    write("locked/.ssh/id_rsa", "not a key")
    write("locked/notes.txt", "notes")
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        open('tree/a.txt').read()
        open('tree/new.txt', 'w').write('staged')
        held = open('tree/deep/er/b.txt')
        os.mkdir('empty'); os.rename('tree', 'empty'); os.rename('empty', 'moved')
        result = [sorted(os.listdir('moved')), open('moved/a.txt').read(), open('moved/deep/er/b.txt').read(), held.read(),
                  open('moved/new.txt').read(), os.readlink('moved/link'), os.stat('moved/run.sh').st_mode & 0o777,
                  os.path.exists('tree'), os.path.exists('tree/a.txt')]
    """) == [["a.txt", "deep", "link", "new.txt", "personal.csv", "run.sh"], "plain a", "plain b", "plain b", "staged", "a.txt",
             0o755, False, False]
    # A new name changes nothing about what may be read, and nothing that policy protects moves along.
    assert "ermission" in refused(cell, "open('moved/personal.csv').read()")
    assert "ermission" in refused(cell, "os.rename('locked', 'unlocked')")
    assert cell("""
        result = [os.path.exists('unlocked'), open('locked/notes.txt').read()]
        open('moved/deep/er/b.txt', 'a').write(' and more')
    """) == [False, "notes"]
    before = os.stat(os.path.join(DOCS, "tree/a.txt"))
    session = cell.end()
    moved = os.path.join(DOCS, "moved")
    chaperone("commit", session)
    assert sorted(os.listdir(moved)) == ["a.txt", "deep", "link", "new.txt", "personal.csv", "run.sh"], os.listdir(moved)
    assert read("moved/personal.csv") == PERSONAL and os.access(os.path.join(moved, "run.sh"), os.X_OK)
    assert read("moved/deep/er/b.txt") == "plain b and more"
    after = os.stat(os.path.join(moved, "a.txt"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not os.path.exists(os.path.join(DOCS, "tree")), os.listdir(os.path.join(DOCS, "tree"))
    chaperone("undo", session)
    assert read("tree/deep/er/b.txt") == "plain b" and not os.path.exists(moved)
    assert os.path.exists(os.path.join(DOCS, "locked/.ssh/id_rsa"))


@claim
def links_stay_inside_and_special_files_do_not_exist():
    write("in/real.txt", "real")
    outside = os.path.join(WORK, "outside.txt")
    with open(outside, "w") as f:
        f.write("SECRET OUTSIDE")
    os.symlink(outside, os.path.join(DOCS, "escape"))
    os.symlink("in/real.txt", os.path.join(DOCS, "inside"))
    os.mkfifo(os.path.join(DOCS, "pipe"))
    cell = Cell("--ask", "deny")
    assert cell("result = open('inside').read()") == "real"
    assert "No such file" in refused(cell, "open('escape').read()")
    assert "No such file" in refused(cell, "open('pipe').read()")
    assert cell("""
        import os
        os.symlink('../../../../../../etc/hostname', 'in/up')
        os.symlink('/proc/self/root/etc/shadow', 'proc')
        result = [open('in/up').read().strip(), os.readlink('proc')]
    """) == ["cell", "/proc/self/root/etc/shadow"]
    os.unlink(os.path.join(DOCS, "pipe"))
    cell.end()


@claim
def a_directory_swapped_for_a_link_leads_nowhere():
    write("swap/file.txt", "mine")
    os.makedirs(os.path.join(WORK, "elsewhere"), exist_ok=True)
    with open(os.path.join(WORK, "elsewhere", "file.txt"), "w") as f:
        f.write("NOT YOURS")
    cell = Cell("--ask", "deny")
    assert cell("result = open('swap/file.txt').read()") == "mine"
    os.rename(os.path.join(DOCS, "swap"), os.path.join(DOCS, "swapped"))
    os.symlink(os.path.join(WORK, "elsewhere"), os.path.join(DOCS, "swap"))
    assert "NOT YOURS" not in cell("""
        import time
        seen = ''
        for _ in range(50):
            try: seen += open('swap/file.txt').read()
            except OSError as e: seen += str(e.errno)
        result = seen
    """)
    os.unlink(os.path.join(DOCS, "swap"))
    cell.end()


@claim
def a_file_over_four_gigabytes_is_written_and_read_at_its_end():
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        with open('huge.bin', 'wb') as f:
            f.seek(5 << 30); f.write(b'the end')
        with open('huge.bin', 'rb') as f:
            f.seek(5 << 30); end = f.read()
        result = [end.decode(), os.stat('huge.bin').st_size]
        os.unlink('huge.bin')
    """) == ["the end", (5 << 30) + 7]
    cell.end()


@claim
def thousands_of_names_and_many_open_files():
    os.makedirs(os.path.join(DOCS, "many"), exist_ok=True)
    for i in range(3000):
        write(f"many/{i:05}.txt", f"{i}\n")
    cell = Cell("--ask", "deny")
    assert cell("""
        import os
        names = sorted(os.listdir('many'))
        files = [open('many/' + n) for n in names[:600]]
        result = [len(names), names[0], names[-1], files[599].read(), sum(e.stat().st_size for e in os.scandir('many'))]
        [f.close() for f in files]
    """) == [3000, "00000.txt", "02999.txt", "599\n", sum(len(f"{i}\n") for i in range(3000))]
    cell.end()


@claim
def readers_and_writers_at_once_lose_nothing():
    cell = Cell("--ask", "deny")
    assert cell("""
        import os, threading
        def work(i):
            for j in range(100):
                with open('t%d.txt' % i, 'a') as f: f.write('%d\\n' % j)
                with open('t%d.txt' % i) as f: assert f.read().count('\\n') == j + 1
                with open('common.txt', 'ab', buffering=0) as f: f.write(b'x' * 10 + b'\\n')
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        lines = open('common.txt').read().split('\\n')
        result = [len(lines), set(lines) == {'x' * 10, ''}, sum(open('t%d.txt' % i).read().count('\\n') for i in range(8))]
    """) == [801, True, 800]
    cell.end()


@claim
def what_may_not_be_read_is_not_written_to_either_unless_all_of_it_goes():
    # With another end, another label or a part gone, it is another content: what stays of the user's might not be found in it.
    write("personal.csv", PERSONAL)
    cell = Cell("--ask", "deny")
    for how in "os.O_WRONLY | os.O_APPEND", "os.O_WRONLY":
        assert "ermission" in refused(cell, f"import os; os.open('personal.csv', {how})"), how
    assert "ermission" in refused(cell, "os.truncate('personal.csv', 20)")
    cell("open('personal.csv', 'w').write('mine')")
    assert cell("result = open('personal.csv').read()") == "mine"
    cell.end()


@claim
def refused_calls_are_refused_cleanly():
    write("plain.txt", "plain")
    cell = Cell("--ask", "deny")
    assert "not supported" in refused(cell, "import os; os.setxattr('plain.txt', 'user.x', b'1')")
    assert "not supported" in refused(cell, "os.getxattr('plain.txt', 'user.x')")
    assert "not supported" in refused(cell, "os.listxattr('plain.txt')")
    assert "(1)" in (error := refused(cell, "os.chown('plain.txt', 0, 0)")) or "(22)" in error, error
    assert "too long" in refused(cell, "open('n' * 256, 'w')")
    assert cell("f = open('plain.txt', 'a'); os.fsync(f.fileno()); result = 'synced'") == "synced"
    cell.end()


@claim
def a_waiting_opening_can_be_interrupted_and_nothing_else_waits():
    write("personal.csv", PERSONAL)
    write("other.txt", "other")
    cell = Cell("--ask-timeout", "30s")
    took, other, errno = cell("""
        import os, subprocess, sys, time
        begun = time.monotonic()
        program = '''import signal
        def late(*_): raise TimeoutError()
        signal.signal(signal.SIGALRM, late)
        signal.alarm(1)
        try: open("personal.csv").read(); print("read")
        except BaseException as e: print(type(e).__name__)'''
        program = program.replace(chr(10) + ' ' * 8, chr(10))
        waiting = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True)
        other = open('other.txt').read(); open('made.txt', 'w').write('made'); os.listdir('.')
        meanwhile = waiting.poll() is None
        said = waiting.communicate()[0].strip()
        result = [time.monotonic() - begun, [other, meanwhile], said]
    """)
    assert other == ["other", True] and errno in ("TimeoutError", "InterruptedError"), (other, errno)
    assert took < 10, took
    assert asked("approvals") == []
    cell.end()


@claim
def what_is_opened_and_closed_is_recorded_with_its_bytes():
    write("counted.txt", "c" * 5000)
    cell = Cell("--ask", "deny")
    cell("open('counted.txt').read(); f = open('made-here.txt', 'w'); f.write('12345'); f.close()")
    session = cell.end()
    logged = records(session)
    def outcome(path):
        return [r for r in logged if r.get("phase") == "outcome" and r.get("resource", r.get("path", "")).endswith(path)]
    assert outcome("counted.txt") and outcome("made-here.txt"), logged
