"""From a script's name to its claims: build, put everything where an ordinary user can reach it, run as whoever calls and,
when that is root, once more as an ordinary user, and clear away."""
import argparse, dataclasses, importlib, json, os, pwd, shutil, signal, subprocess, sys, tempfile, time

from harness import claims

ACCEPTANCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3"
PATH = "/usr/local/bin:/usr/bin:/bin"
# Of the caller's environment these reach the claims.
PASSED = ("CI", "JOBS", "TERM", "CHAPERONE_OCI_RUNTIME", "ACCEPTANCE_SEED", "ACCEPTANCE_PROJECTS", "CHAPERONE_CASES")


@dataclasses.dataclass
class Part:
    """Claims that run together in one process of one user. Its module brings the checks, and may have `set_up()`, `before()`
    for each check, `jobs`, and `tear_down()`, whose claims come last."""
    module: str
    limit: int = 300
    # (place, user) to the command that the process is started with, for namespaces of its own.
    within: object = None
    # A file beside suite.py with what does not hold yet; see `claims.not_yet`.
    not_yet: str = ""


@dataclasses.dataclass
class Suite:
    """Each directory of claims has a suite.py with one of these as SUITE."""
    parts: list
    packages: tuple = ("chaperone",)
    binaries: tuple = ("chaperone",)
    # Programs without which nothing of it can be claimed; scripts/ci-install brings them.
    needs: tuple = ()
    # What else has to be in the place: (place), or raises Missing.
    prepare: object = None
    path: str = PATH


class Missing(Exception):
    """Something that a suite cannot do without could not be had."""


def main():
    options = arguments()
    sys.path.insert(0, os.path.join(ACCEPTANCE, options.suite))
    suite = importlib.import_module("suite").SUITE
    if options.claims:
        return make_claims(suite, options)
    if options.list:
        return list_checks(suite, options)
    # One that is told to end clears away, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    counts = dict.fromkeys(claims.COUNTS, 0)
    lacks = [tool for tool in suite.needs if not shutil.which(tool)]
    if lacks:
        claims.skip(options.suite, f"{', '.join(lacks)} missing; scripts/ci-install brings it", installable=True)
        counts.update(claims.COUNTS)
    else:
        run_suite(suite, options, counts)
        if not any(counts.values()):
            print(f"FAILED  {' or '.join(options.only)} fits no check; --list lists them")
            counts["failed"] = 1
    print(claims.closing_line(counts), flush=True)
    return counts["failed"] != 0


def arguments():
    options = argparse.ArgumentParser(prog="acceptance/…", description="Make the claims of a suite through the real binary.")
    options.add_argument("suite", help=argparse.SUPPRESS)
    options.add_argument("patterns", nargs="*", metavar="PATTERN", help="the same as --only PATTERN")
    options.add_argument("--only", action="append", default=[], metavar="PATTERN", help="only checks whose name has this in it, or begins with this number")
    options.add_argument("--list", action="store_true", help="list the checks and run none")
    options.add_argument("--jsonl", metavar="FILE", help="keep a line for each public case, as it came out for who calls (02-network)")
    options.add_argument("--all-projects", action="store_true", help="also all the real projects, with their times beside native ones (08-everyday)")
    options.add_argument("--claims", metavar="MODULE", help=argparse.SUPPRESS)
    options.add_argument("--results", metavar="FILE", help=argparse.SUPPRESS)
    options = options.parse_args()
    options.only += options.patterns
    if options.all_projects:
        os.environ["ACCEPTANCE_PROJECTS"] = "all"
    return options


# --- Started by the caller

def run_suite(suite, options, counts):
    os.umask(0o022)
    binaries = build(suite.packages)
    place = tempfile.mkdtemp(prefix="chaperone-acceptance.", dir="/tmp")
    try:
        os.chmod(place, 0o755)
        for name in suite.binaries:
            shutil.copy(os.path.join(binaries, name), place)
        if backend := os.environ.get("ACCEPTANCE_BACKEND"):
            run_behind(backend, place)
        shutil.copytree(ACCEPTANCE, os.path.join(place, "acceptance"), ignore=shutil.ignore_patterns("__pycache__"))
        os.mkdir(os.path.join(place, "results"))
        os.chmod(os.path.join(place, "results"), 0o1777)
        if suite.prepare:
            suite.prepare(place)
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        for user in users():
            print(f"--- as {user}", flush=True)
            for part in suite.parts:
                for kind, count in run_part(suite, part, place, user, options).items():
                    counts[kind] += count
        if options.jsonl:
            shutil.copy(os.path.join(place, "results", users()[0] + ".jsonl"), options.jsonl)
    except Missing as what:
        print(f"FAILED  {what}", flush=True)
        counts["failed"] += 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


def run_behind(backend, place):
    """Let the suite's `chaperone run` use this backend, where it does not name one itself."""
    own, behind = os.path.join(place, "chaperone"), os.path.join(place, "behind")
    os.mkdir(behind)
    shutil.move(own, behind)
    with open(own, "w") as f:
        f.write(f"""#!/bin/sh
case "$1 $*" in
"run "*" --backend "*) ;;
"run "*) shift; set -- run --backend {backend} "$@" ;;
esac
exec "{behind}/chaperone" "$@"
""")
    os.chmod(own, 0o755)


def build(packages):
    """The directory with the binaries; ACCEPTANCE_BIN names one to use instead of building them."""
    if given := os.environ.get("ACCEPTANCE_BIN"):
        return given
    root = os.path.dirname(ACCEPTANCE)
    profile = os.environ.get("CHAPERONE_ACCEPTANCE_PROFILE", "release")
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(root, "target")
    chosen = [option for package in packages for option in ("-p", package)]
    subprocess.run(["cargo", "build", "--quiet", "--profile", profile, "--locked", *chosen], cwd=root, env={**os.environ, "CARGO_TARGET_DIR": target}, check=True)
    return os.path.join(root, target, "debug" if profile == "dev" else profile)


def users():
    """Whoever calls, and for root an ordinary user, too."""
    caller = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() != 0:
        return [caller]
    other = os.environ.get("CHAPERONE_TEST_USER", "chaperone-test")
    try:
        pwd.getpwnam(other)
    except KeyError:
        subprocess.run(["useradd", "--create-home", other], check=True)
    return [caller, other]


def as_user(user):
    if user == pwd.getpwuid(os.geteuid()).pw_name:
        return []
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]


def run_part(suite, part, place, user, options):
    """The counts of one part, run in a work directory of its own that goes away with all that runs in it."""
    account = pwd.getpwnam(user)
    work = tempfile.mkdtemp(prefix="chaperone-work.", dir="/tmp")
    for folder in (work, os.path.join(work, "home"), os.path.join(work, "person")):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chown(folder, account.pw_uid, account.pw_gid)
    environment = {
        **{name: os.environ[name] for name in PASSED if name in os.environ}, "PATH": suite.path, "LANG": "C.UTF-8",
        "HOME": os.path.join(work, "person"), "CHAPERONE_HOME": os.path.join(work, "home"),
        "ACCEPTANCE_PLACE": place, "ACCEPTANCE_WORK": work, "ACCEPTANCE_USER": user,
    }
    results = os.path.join(place, "results", f"{user}.{part.module}")
    inner = [PYTHON, "-B", os.path.join(place, "acceptance", "harness"), options.suite, "--claims", part.module, "--results", results]
    inner += [word for pattern in options.only for word in ("--only", pattern)]
    command = part.within(place, user, inner) if part.within else [*as_user(user), *inner]
    try:
        subprocess.run(["timeout", "--kill-after", "10", str(part.limit), *command], env=environment, cwd=work)
        with open(results) as f:
            return json.load(f)
    except FileNotFoundError:
        print(f"FAILED  {part.module}: it ended before all its claims were made, after {part.limit} s at most", flush=True)
        return {"failed": 1}
    finally:
        end_broker(place, work, environment, user)
        shutil.rmtree(work, ignore_errors=True)


def end_broker(place, work, environment, user):
    """Everything of a run ends with its broker, which takes its vault and cells along."""
    if not os.path.exists(os.path.join(work, "home", "run", "broker.sock")):
        return
    told = subprocess.run([*as_user(user), os.path.join(place, "chaperone"), "sessions", "--json"], env=environment, cwd="/", capture_output=True, text=True)
    if told.returncode == 0:
        try:
            os.kill(json.loads(told.stdout)["broker"]["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass


# --- Started as the user whom the claims are about

def make_claims(suite, options):
    started = time.monotonic()
    module = importlib.import_module(options.claims)
    checks = claims.chosen(options.only)
    not_yet = next(part.not_yet for part in suite.parts if part.module == options.claims)
    if not_yet:
        with open(os.path.join(ACCEPTANCE, options.suite, not_yet)) as f:
            claims.not_yet(f.read(), os.environ["ACCEPTANCE_USER"], checks)
    if checks:
        try:
            getattr(module, "set_up", lambda: None)()
            claims.run(checks, before=getattr(module, "before", None), jobs=getattr(module, "jobs", 1))
        finally:
            getattr(module, "tear_down", lambda: None)()
    claims.end(options.results, started)


def list_checks(suite, options):
    """The names as they are where everything is there; a module that wants a place gets one with nothing in it."""
    with tempfile.TemporaryDirectory() as nowhere:
        for name in ("ACCEPTANCE_PLACE", "ACCEPTANCE_WORK", "CHAPERONE_HOME"):
            os.environ[name] = nowhere
        os.environ["ACCEPTANCE_USER"] = users()[0]
        for part in suite.parts:
            importlib.import_module(part.module)
        for name in claims.chosen(options.only):
            print(name)
    return 0
