#!/usr/bin/env python3
"""Ordinary work, whole commands from their start to their end: native, in bubblewrap, in a mediated directory, in a staged one.

  work.py CHAPERONE DIRECTORY ROUNDS [JOB…]    medians of so many rounds, the ways turn by turn; the directory is made and left;
                                               all jobs, or those whose name has one of these words in it

The projects are those of acceptance/08-everyday, as acceptance/everyday/sources.py keeps them. Each run begins with the directory as
it was: a cell's changes stay in its stage and are discarded, a native run gets a copy anew."""
import os, shutil, statistics, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "acceptance", "everyday"))
import sources

WAYS = ("native", "bubblewrap", "mediated", "staged")
PYTHON = "/usr/bin/python3"
# Name, project, what it needs, what is done before (once, and outside), and the command.
JOBS = [
    ("git clone", "repository", "git", "", "git clone -q --no-hardlinks . copy"),
    ("git status", "repository", "git", "", "git status --porcelain"),
    ("ripgrep", "repository", "rg", "", "rg -c 'export' > counted"),
    ("tar", "repository", "tar", "tar -cf sources.tar src", "mkdir out && tar -xf sources.tar -C out"),
    ("C build (zlib)", "zlib", "make", "", "./configure && make"),
    ("cargo build (toml)", "rust", "cargo", "", "cargo build --offline -q"),
    ("npm ci (zod)", "node", "npm", "", "npm ci --offline --silent --no-audit --no-fund"),
    ("pytest (itsdangerous)", "python", PYTHON, f"{PYTHON} -m pip install -q --no-index --find-links wheelhouse --target site -r requirements.txt",
     f"PYTHONPATH=site:src {PYTHON} -m pytest -q tests"),
    ("LibreOffice to PDF", "documents", "soffice", "", "HOME=$(mktemp -d) soffice --headless --convert-to pdf --outdir pdf *.docx"),
]


def main(chaperone, place, rounds, only):
    projects = laid_out(os.path.join(place, "projects"))
    shutil.copytree(os.path.join(projects, "npm-cache"), os.path.join(os.environ["HOME"], ".npm"))
    profile("bench-work", os.path.join(os.environ["CHAPERONE_HOME"], "config", "profiles"))
    print(f"{'ordinary work, medians of ' + str(rounds):<28}" + "".join(f"{way + ' s':>13}" for way in WAYS) + f"{'mediated':>10}{'staged':>8}   (times native)")
    for name, project, need, prepared, command in JOBS:
        if only and not any(word in name for word in only):
            continue
        if not shutil.which(need):
            print(f"{name:<28} SKIPPED: {need} is not installed")
            continue
        folder = os.path.join(place, "work", project)
        if not os.path.isdir(folder):
            shutil.copytree(os.path.join(projects, project), folder)
        if prepared:
            subprocess.run(["bash", "-c", prepared], cwd=folder, check=True, capture_output=True)
        times = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                times[way].append(timed(chaperone, way, folder, command))
        tell(name, times)


def laid_out(projects):
    sources.lay_out(projects, every=True, without=("web", "notebooks", "java", "go"))
    repository = os.path.join(projects, "repository")
    shutil.copytree(os.path.join(projects, "node", "src", "v3"), os.path.join(repository, "src"))
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "Import"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    return projects


def profile(name, folder):
    """`source` where the broker serves it: the same caches, and every opening decided."""
    os.makedirs(folder, mode=0o700)
    os.chmod(os.path.dirname(folder), 0o700)
    with open(os.path.join(folder, f"{name}.toml"), "w") as f:
        f.write(f'name = "{name}"\n[[mount]]\npath = "/workspace"\n[cache]\ntools = ["cargo", "npm", "pip", "go"]\n')


def timed(chaperone, way, folder, command):
    """How long it took, or nothing where it failed."""
    at = folder
    if way in ("native", "bubblewrap"):
        at = folder + ".copy"
        shutil.rmtree(at, ignore_errors=True)
        shutil.copytree(folder, at, symlinks=True)
    run = {
        "native": [],
        "bubblewrap": ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", at, at,
                       "--bind", os.environ["HOME"], os.environ["HOME"], "--chdir", at],
        "mediated": [chaperone, "run", "--profile", "bench-work", "--ask", "deny", "--"],
        "staged": [chaperone, "run", "--profile", "source", "--ask", "deny", "--"],
    }[way]
    started = time.monotonic()
    try:
        done = subprocess.run([*run, "bash", "-c", command], cwd=at, capture_output=True, stdin=subprocess.DEVNULL, timeout=600)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    took = time.monotonic() - started
    if done.returncode != 0:
        print(f"  {way}: {command}: {done.returncode} {done.stderr[-300:].decode(errors='replace')}", file=sys.stderr)
    return took if done.returncode == 0 else None


def tell(name, times):
    medians = {way: statistics.median(t) if None not in t else None for way, t in times.items()}
    shown = "".join(f"{'-' if m is None else f'{m:.2f}':>13}" for m in medians.values())
    ratio = lambda way, width: f"{'-' if None in (medians[way], medians['native']) else format(medians[way] / medians['native'], '.2f'):>{width}}"
    print(f"{name:<28}{shown}{ratio('mediated', 10)}{ratio('staged', 8)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
