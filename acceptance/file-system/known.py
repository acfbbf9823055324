"""Claims about what is kept of an inspection: what was looked at is not looked at again, and nothing else is passed over."""
import json, mmap, os, shutil, signal

from harness.cell import DOCS, PERSONAL, PROGRAM, ROOT, WORK, asked, broker, chaperone, profile, records, run, until, write
from harness.claims import Skipped, claim
from harness import cell as product

VERDICTS = os.path.join(os.environ["CHAPERONE_HOME"], "state", "verdicts")
# As long as the other, so that size and mtime can be those of a plain file.
SECRET = PERSONAL
PLAIN = "x" * (len(SECRET) - 1) + "\n"


def start(script="true"):
    """A session over a staged directory: what its log says of the files, and its id."""
    if ROOT:
        raise Skipped("root's staged directories are served by the broker, which copies what it serves")
    name = profile("kept", 'name = "kept"\n[[mount]]\npath = "/workspace"\nmode = "staged"\n')
    out, session = run(script, "--profile", name, "--ask", "deny")
    mask = next(r for r in records(session) if r["action"] == "mask")
    return json.loads(chaperone("audit", "show", str(mask["seq"])))["payload"], out


def known(how_many):
    """Start until so many files are known: they have to rest for two seconds first."""
    answer = until(lambda: (found := start()[0])["known"] == how_many and found)
    assert answer, start()
    return answer


def masked(found):
    return [m["path"].removeprefix("/workspace/") for m in found["masked"]]


def end_broker():
    pid = broker()
    os.kill(pid, signal.SIGTERM)
    assert until(lambda: not os.path.exists(f"/proc/{pid}"))


def replaced_in_place(name, text):
    """Another content of the same length with the old mtime: only the ctime tells."""
    path = os.path.join(DOCS, name)
    before = os.stat(path)
    with open(path, "r+") as file:
        file.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(path)
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    return before.st_ctime_ns, after.st_ctime_ns


@claim
def what_was_looked_at_is_known_in_later_sessions_and_after_a_restart():
    for n in range(200):
        write(f"deep/{n % 7}/file{n}.txt", f"plain {n}")
    write("people.csv", PERSONAL)
    first = start()[0]
    assert first["known"] == 0 and masked(first) == ["people.csv"], first
    second = known(200)
    # What was masked is looked at each time, and stays masked.
    assert masked(second) == ["people.csv"], second
    end_broker()
    third = start()[0]
    assert third["known"] == 200 and masked(third) == ["people.csv"], third
    # A new name is another request; a new file is looked at.
    os.rename(os.path.join(DOCS, "deep/0/file0.txt"), os.path.join(DOCS, "deep/moved.txt"))
    write("new.csv", PERSONAL)
    fourth = start()[0]
    assert fourth["known"] == 199 and sorted(masked(fourth)) == ["new.csv", "people.csv"], fourth


@claim
def a_file_that_changed_without_showing_it_is_looked_at():
    for name in ("a.csv", "b.csv"):
        write(name, PLAIN)
    known(2)
    before, after = replaced_in_place("a.csv", SECRET)
    assert before != after
    found, out = start("cat a.csv || echo refused")
    assert found["known"] == 1 and masked(found) == ["a.csv"] and out == "refused\n", (found, out)


@claim
def what_is_written_through_a_mapping_is_looked_at():
    write("a.csv", PLAIN)
    write("b.csv", PLAIN)
    with open(os.path.join(DOCS, "a.csv"), "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[0:1] = b"y"
    # Who has it mapped for writing may go on for as long as its page is dirty, and its ctime stays.
    stamp = os.stat(os.path.join(DOCS, "a.csv")).st_ctime_ns
    found = known(1)
    assert masked(found) == [], found
    mapped[:] = SECRET.encode()
    unseen = os.stat(os.path.join(DOCS, "a.csv")).st_ctime_ns == stamp
    found, out = start("cat a.csv || echo refused")
    assert found["known"] == 1 and masked(found) == ["a.csv"] and out == "refused\n", (unseen, found, out)
    # It is closed plain, rests and is known; written through a new mapping, it is not any more.
    mapped[:] = PLAIN.encode()
    mapped.close()
    known(2)
    with open(os.path.join(DOCS, "a.csv"), "r+b") as file, mmap.mmap(file.fileno(), 0) as again:
        again[:] = SECRET.encode()
    assert masked(start()[0]) == ["a.csv"]


@claim
def a_forged_verdict_is_none():
    write("a.csv", PLAIN)
    write("b.csv", PLAIN)
    known(2)
    end_broker()
    kept = os.path.join(VERDICTS, "newer")
    assert os.stat(kept).st_mode & 0o777 == 0o600 and os.stat(VERDICTS).st_mode & 0o777 == 0o700
    with open(kept, "rb") as file:
        whole = file.read()
    assert b"csv" not in whole and PLAIN.encode()[:16] not in whole
    # The content is changed, and the verdicts of the other file and of the old version stand once more.
    replaced_in_place("a.csv", SECRET)
    for forged in (whole + whole[40:], whole[:40] + whole[56:] + whole[40:56], bytes(b ^ 1 for b in whole), whole[:-5], b"", os.urandom(400)):
        with open(kept, "wb") as file:
            file.write(forged)
        found, out = start("cat a.csv || echo refused")
        assert masked(found) == ["a.csv"] and out == "refused\n", (forged, found, out)
        end_broker()
    # And what was dropped is kept anew.
    assert masked(known(1)) == ["a.csv"]


@claim
def another_program_or_policy_looks_at_everything_again():
    write("a.txt", "plain")
    known(1)
    policies = os.path.join(product.CONFIG, "policies")
    os.makedirs(policies, mode=0o700, exist_ok=True)
    own = os.path.join(policies, "own.rego")
    with open(own, "w") as file:
        file.write('package chaperone.own\nimport rego.v1\ndecision := {"effect": "deny", "reasons": ["mine"]} if { input.action == "read"; endswith(input.path, "a.txt") }\n')
    try:
        chaperone("policy", "reload")
        found = start()[0]
        assert found["known"] == 0 and masked(found) == ["a.txt"], found
        # One that tells sessions from each other is asked in each.
        with open(own, "w") as file:
            file.write('package chaperone.own\nimport rego.v1\ndecision := {"effect": "deny", "reasons": ["mine"]} if { input.action == "read"; input.session.id == "none" }\n')
        chaperone("policy", "reload")
        assert [start()[0]["known"] for _ in range(2)] == [0, 0]
    finally:
        os.unlink(own)
        chaperone("policy", "reload")
    assert start()[0]["known"] == 1
    end_broker()
    other = shutil.copy(PROGRAM, os.path.join(WORK, "other-chaperone"))
    ours, product.CHAPERONE = product.CHAPERONE, other
    try:
        assert start()[0]["known"] == 0
        end_broker()
    finally:
        product.CHAPERONE = ours
        os.unlink(other)
