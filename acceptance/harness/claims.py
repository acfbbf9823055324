"""The one way to make a claim.

    @claim
    def an_open_file_outlives_its_name():           a check that is one claim, named like its function
        assert ...

    @check("the case study")
    def _():                                        a check that makes several claims, in order
        with claim("two workbooks were committed"):
            assert ...

A check runs on its own, in any order and however others came out, so it is what `--only` chooses and `--list` lists. One
that makes no claim inside is a claim itself. A claim holds when its block ends without an exception. `skip`, or raising
`Skipped`, names what cannot be claimed here, and why."""
import concurrent.futures, contextlib, json, os, sys, textwrap, threading, time, traceback

# What is told of a claim that does not hold.
MOST_LINES, MOST_COLUMNS = 30, 600
CHECKS = {}
# Claims that are known not to hold yet, with why; each has to be struck off when it holds.
NOT_YET = {}
COUNTS = {"passed": 0, "failed": 0, "skipped": 0}
LOCK = threading.Lock()
# Whether the check of this thread has claimed or skipped anything.
CURRENT = threading.local()


def check(name, function=None):
    """Register a check; also as a decorator: @check("name")."""
    if function is None:
        return lambda f: check(name, f)
    assert name not in CHECKS, f"two checks are called {name!r}"
    CHECKS[name] = function
    return function


def claim(what):
    """As a decorator, a check named like its function; as a context manager, one claim of a check."""
    if not callable(what):
        return claimed(what)
    check(what.__name__.replace("_", " "), what)
    return what


@contextlib.contextmanager
def claimed(name):
    try:
        yield
    except Skipped as why:
        skip(name, str(why), installable=why.installable)
    except Exception as error:
        failed(name, error)
    else:
        passed(name)


def holds(name, condition, *seen):
    """A claim about a value that is there already; what was seen is told where it does not hold."""
    with claim(name):
        expect(condition, *seen)
    return bool(condition)


def expect(condition, *seen):
    if not condition:
        raise Failure("\n".join(str(part).strip() for part in seen))


class Failure(AssertionError):
    """A claim that does not hold, with what was seen instead."""


def passed(name):
    if name in NOT_YET:
        report("failed", f"FAILED  {name}: it holds, so the list of what does not hold yet has to lose it")
    else:
        report("passed", f"ok      {name}")


def failed(name, error):
    """Of a claim about a value, what the value was; of any other, where it failed."""
    if name in NOT_YET:
        return report("skipped", f"NOT YET {name}: {NOT_YET[name]}")
    told = error.args[0] if isinstance(error, Failure) else "".join(traceback.format_exception(error))
    report("failed", f"FAILED  {name}", told)


class Skipped(Exception):
    """Raised inside a claim that cannot be made here."""

    def __init__(self, why, installable=False):
        super().__init__(why)
        self.installable = installable


def skip(name, why, installable=False):
    """What cannot be claimed here. What can be installed is there in CI, so it may not be missing."""
    if installable and os.environ.get("CI") == "true":
        report("failed", f"FAILED  {name}", f"skipped in CI: {why}")
    else:
        report("skipped", f"SKIPPED {name}: {why}")


def note(text):
    """Something worth knowing that is no claim."""
    with LOCK:
        print(textwrap.indent(str(text), "        "), flush=True)


def report(kind, line, *told):
    CURRENT.claimed = True
    with LOCK:
        COUNTS[kind] += 1
        print(line, flush=True)
        for text in "\n".join(map(str, told)).splitlines()[-MOST_LINES:]:
            print("        " + text[:MOST_COLUMNS], flush=True)


def chosen(patterns):
    """The checks that a pattern fits: part of their name, or the number that it begins with; all without a pattern."""
    def fits(name, pattern):
        if pattern.isdigit():
            return name.split()[0] == pattern
        return pattern.replace("_", " ").lower() in name.lower()

    return {name: f for name, f in CHECKS.items() if not patterns or any(fits(name, p) for p in patterns)}


def run(checks, before=None, jobs=1):
    """Run the checks, so many at a time, each after `before`."""
    def one(name, function):
        CURRENT.claimed = False
        try:
            if before:
                before()
            function()
            if not CURRENT.claimed:
                passed(name)
        except Skipped as why:
            skip(name, str(why), installable=why.installable)
        except Exception as error:
            failed(f"{name}: ran" if CURRENT.claimed else name, error)

    if jobs == 1:
        for name, function in checks.items():
            one(name, function)
    else:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, checks, checks.values()))


def not_yet(text, user, chosen):
    """Take up the list of what does not hold yet: lines of `claim | root, user or any | why`, for the checks that are chosen."""
    for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
        name, whom, why = (part.strip() for part in line.split("|"))
        assert whom in ("root", "user", "any") and why and name in CHECKS, f"nothing is claimed by {line!r}"
        if name in chosen and whom in ("any", "root" if user == "root" else "user"):
            NOT_YET[name] = why


def closing_line(counts):
    return "{passed} passed, {failed} failed, {skipped} skipped".format(**counts)


def end(results, started):
    """Tell the sum, keep it for who started this process, and be gone: threads that still serve hold nobody up."""
    print(f"        {closing_line(COUNTS)} in {time.monotonic() - started:.0f} s", flush=True)
    with open(results, "w") as f:
        json.dump(COUNTS, f)
    sys.stdout.flush()
    os._exit(COUNTS["failed"] != 0)
