"""Real projects' sources, by the registries' own clients, pinned by digest in pinned/ and kept in $CHAPERONE_PROJECTS (else
~/.cache/chaperone-projects); nothing of them belongs into the repository."""
import glob, hashlib, json, os, shutil, subprocess, tempfile

PINNED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pinned")
KEPT = os.environ.get("CHAPERONE_PROJECTS") or os.path.expanduser("~/.cache/chaperone-projects")


# What the projects that run by default are made of.
BY_DEFAULT = ("zlib", "go", "node")


def lay_out(place, every, without=()):
    """The projects' sources, each as somebody has it who has just unpacked it; what could not be had is told in `missing`."""
    os.makedirs(place)
    missing = {}
    for name, lay in LAID.items():
        if (every or name in BY_DEFAULT) and name not in without:
            try:
                lay(os.path.join(place, name), every)
            except (Unavailable, OSError, subprocess.SubprocessError) as why:
                missing[name] = str(why)
    with open(os.path.join(place, "missing.json"), "w") as f:
        json.dump(missing, f)


def python(into, _):
    unpack(archive("itsdangerous"), into)
    wheelhouse("python", into)


def node(into, every):
    unpack(archive("zod"), into)
    for name in os.listdir(into):
        if name not in ("src", "LICENSE", "README.md"):
            path = os.path.join(into, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    shutil.copytree(os.path.join(PINNED, "zod"), into, dirs_exist_ok=True)
    if every:
        shutil.copytree(npm_cache("zod"), os.path.join(os.path.dirname(into), "npm-cache"))


def rust(into, _):
    unpack(archive("toml"), into)
    shutil.copytree(os.path.join(crates("toml"), "vendor"), os.path.join(into, "vendor"))
    os.makedirs(os.path.join(into, ".cargo"))
    with open(os.path.join(into, ".cargo", "config.toml"), "w") as f:
        f.write('[source.crates-io]\nreplace-with = "vendored-sources"\n\n[source.vendored-sources]\ndirectory = "vendor"\n')


def go(into, _):
    with tempfile.TemporaryDirectory() as place:
        unpack_deb(archive("golang-github-gorilla-mux-dev"), place)
        shutil.copytree(os.path.join(place, "usr/share/gocode/src/github.com/gorilla/mux"), into)


def java(into, _):
    unpack(archive("libcommons-codec-java"), into)
    with tempfile.TemporaryDirectory() as place:
        for package in ("junit4", "libhamcrest-java", "libcommons-lang3-java"):
            unpack_deb(archive(package), place)
        os.mkdir(os.path.join(into, "jars"))
        for jar in ("junit4", "hamcrest", "hamcrest-core", "commons-lang3"):
            shutil.copy(os.path.join(place, "usr/share/java", f"{jar}.jar"), os.path.join(into, "jars"))


def documents(into, _):
    with tempfile.TemporaryDirectory() as place:
        unpack(archive("python-docx"), place)
        shutil.copytree(os.path.join(place, "features/steps/test_files"), into, ignore=lambda _, names: [n for n in names if not n.startswith("blk-") and n != "doc-default.docx"])


def notebooks(into, _):
    os.makedirs(into)
    with tempfile.TemporaryDirectory() as place:
        unpack(archive("nbconvert"), place)
        for name in ("preprocessors/files/HelloWorld.ipynb", "files/notebook_tags.ipynb"):
            shutil.copy(os.path.join(place, "tests", name), into)
    wheelhouse("notebook", into)


def web(into, _):
    unpack(archive("kinto"), into)
    wheelhouse("web", into)


def wheelhouse(of, into):
    """The wheels beside the project, and the list by which it installs them."""
    shutil.copytree(wheels(of), os.path.join(into, "wheelhouse"))
    shutil.copy(os.path.join(PINNED, f"{of}.txt"), os.path.join(into, "requirements.txt"))


LAID = {
    "zlib": lambda into, _: unpack(archive("zlib"), into), "go": go, "node": node, "python": python, "rust": rust, "java": java,
    "documents": documents, "notebooks": notebooks, "web": web,
}


class Unavailable(Exception):
    """A registry did not give what is pinned."""


def pins():
    """What is pinned: name to (registry, version, digest)."""
    with open(os.path.join(PINNED, "sources.txt")) as f:
        lines = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {name: (registry, version, digest) for registry, name, version, digest in lines}


def archive(name):
    """The file of a pinned package."""
    registry, version, digest = pins()[name]
    kept = os.path.join(KEPT, digest)
    if not os.path.exists(kept):
        with tempfile.TemporaryDirectory() as into:
            came = brought(registry, name, version, into)
            found = digest_of(came)
            if found != digest:
                raise Unavailable(f"{registry} {name} {version} has the digest {found}, {digest} is pinned")
            keep(came, kept)
    return kept


def digest_of(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def keep(came, kept):
    """In one step, so that nothing is taken for whole that is not."""
    os.makedirs(KEPT, exist_ok=True)
    beside = f"{kept}.{os.getpid()}"
    shutil.move(came, beside)
    os.rename(beside, kept)


def brought(registry, name, version, into):
    if registry == "debian-source":
        return debian_source(name, version, into)
    command = {
        "npm": ["npm", "pack", "--silent", f"{name}@{version}"],
        "sdist": ["pip", "download", "-q", "--no-deps", "--no-binary", ":all:", f"{name}=={version}"],
        "crate": ["cargo", "info", "-q", f"{name}@{version}"],
        "debian": ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"{name}={version}"],
    }[registry]
    quiet(*command, cwd=into, env={**os.environ, "CARGO_HOME": os.path.join(into, "cargo")})
    found = [f for end in ("tgz", "tar.gz", "crate", "deb") for f in glob.glob(f"{into}/**/*.{end}", recursive=True)
             if os.path.basename(f).lower().replace("-", "_").startswith(name.replace("-", "_"))]
    if not found:
        raise Unavailable(f"{registry} gave no {name} {version}")
    return found[0]


def debian_source(name, version, into):
    """The original tarball, by lists of our own, so that the machine's stay as they are."""
    with open(os.path.join(into, "list"), "w") as f:
        f.write("deb-src http://deb.debian.org/debian bookworm main\n")
    os.makedirs(os.path.join(into, "lists", "partial"))
    options = [word for o in (f"Dir::Etc::sourcelist={into}/list", "Dir::Etc::sourceparts=-", f"Dir::State::lists={into}/lists",
                              "Dir::Cache::srcpkgcache=", "Dir::Cache::pkgcache=", "APT::Sandbox::User=root") for word in ("-o", o)]
    quiet("apt-get", *options, "-qq", "update", cwd=into)
    quiet("apt-get", *options, "-qq", "source", "--download-only", f"{name}={version}", cwd=into)
    return glob.glob(f"{into}/*.orig.tar.*")[0]


def wheels(of):
    """A directory with the wheels that a list with digests names."""
    listed = os.path.join(PINNED, f"{of}.txt")
    return gathered(f"wheels-{of}", listed, lambda into: quiet(
        "/usr/bin/python3", "-m", "pip", "download", "-q", "--require-hashes", "--no-deps", "-d", into, "-r", listed, cwd="/"))


def crates(crate):
    """What a crate depends on, as its own lock file pins it: the directory `vendor` for it."""
    def vendored(into):
        with tempfile.TemporaryDirectory() as place:
            unpack(archive(crate), place)
            quiet("cargo", "vendor", "-q", "--locked", os.path.join(into, "vendor"), cwd=place)

    return gathered(f"vendor-{crate}", archive(crate), vendored)


def npm_cache(of):
    """A cache of npm's with all that a lock file pins by digest."""
    lock = os.path.join(PINNED, of, "package-lock.json")

    def filled(into):
        with tempfile.TemporaryDirectory() as place:
            shutil.copytree(os.path.join(PINNED, of), place, dirs_exist_ok=True)
            quiet("npm", "ci", "--silent", "--no-audit", "--no-fund", "--cache", into, cwd=place)

    return gathered(f"npm-{of}", lock, filled)


def agents(into):
    """Command-line agents, installed by npm as a person does it."""
    def installed(place):
        shutil.copy(os.path.join(PINNED, "agents", "package.json"), place)
        quiet("npm", "install", "--silent", "--no-fund", "--no-audit", cwd=place)

    kept = gathered("agents", os.path.join(PINNED, "agents", "package.json"), installed)
    copy = ["cp", "--recursive", "--no-dereference", "--preserve=mode", kept, into]
    try:
        quiet(*copy, "--link", cwd="/")
    except Unavailable:
        # On another file system.
        shutil.rmtree(into, ignore_errors=True)
        quiet(*copy, "--reflink=auto", cwd="/")


def gathered(name, pinned, fill):
    """A directory that is filled once for what the pinned file says."""
    kept = os.path.join(KEPT, f"{name}-{digest_of(pinned)[:16]}")
    if not os.path.isdir(kept):
        beside = f"{kept}.{os.getpid()}"
        os.makedirs(beside)
        fill(beside)
        try:
            os.rename(beside, kept)
        except OSError:
            # Another run was first.
            shutil.rmtree(beside)
    return kept


def unpack(tarball, into):
    """A tarball without the directory that all of it lies in."""
    os.makedirs(into, exist_ok=True)
    quiet("tar", "-xf", tarball, "--strip-components=1", "--no-same-owner", "-C", into, cwd="/")


def unpack_deb(package, into):
    quiet("dpkg-deb", "-x", package, into, cwd="/")


def quiet(*command, cwd, env=None):
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)[:200]}: {(done.stdout + done.stderr).strip()[-600:]}")
    return done.stdout
