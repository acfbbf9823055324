"""A name raises suspicion, and the content decides: certificates, keyrings and settings without a token are ordinary files, and a
key or token under any of these names is caught."""
import os, subprocess

from harness.cell import DOCS, chaperone, in_cell, last_session, records, shell, start, write
from harness.claims import check, claim

PROFILES = ["default", "source"]
PUBLIC = ["ca.pem", "certifi/cacert.pem", "tls/site.crt", ".docker/Dockerfile", "talk.key", "keyrings/debian-archive.gpg", "identity",
          ".npmrc", ".yarnrc.yml"]
TOKEN = "npm_7mQzR4tYcW9kLxVb2NpHs8JdGfEa5u1XoTiC"


def certificate(keep="/dev/null"):
    return shell(f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {keep} -subj /CN=ca -days 3 2>/dev/null")


def plant():
    """Ordinary files with such names, one of each kind."""
    for name in ("ca.pem", "certifi/cacert.pem", "tls/site.crt"):
        write(name, certificate())
    write(".docker/Dockerfile", "FROM debian:12\nRUN true\n")
    with open(write("talk.key", ""), "wb") as f:
        f.write(document())
    with open(write("keyrings/debian-archive.gpg", ""), "wb") as f:
        f.write(bytes([0x99, 0x02, 0x0d, 4, 0x65, 0x12, 0x34, 0x56, 1, 0x10, 0]) + b"Z" * 600)
    write("identity", "The visual identity of this project is blue.\n")
    write(".npmrc", "registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nfund=false\n")
    write(".yarnrc.yml", "nodeLinker: node-modules\nnpmAuthToken: \"${NPM_TOKEN:-}\"\n")


def document():
    """As Keynote writes one: an archive of parts."""
    made = subprocess.run(["python3", "-c", "import io,sys,zipfile\nb=io.BytesIO()\nz=zipfile.ZipFile(b,'w')\n"
                           "z.writestr('Index/Document.iwa', b'\\0\\1' * 90)\nz.writestr('Metadata/Properties.plist', '<plist/>')\nz.close()\n"
                           "sys.stdout.buffer.write(b.getvalue())"], capture_output=True, check=True)
    return made.stdout


def refused(session):
    return [r["reasons"] for r in records(session) if r.get("effect") in ("deny", "ask") and r.get("phase") != "end"]


@check("ordinary files with the names of keys are read unasked")
def _():
    plant()
    for profile in PROFILES:
        with claim(f"{profile}: all of them are read"):
            sizes = in_cell("sh", "-c", "wc -c -- " + " ".join(PUBLIC), options=("--profile", profile, "--ask", "deny"))
            for name in PUBLIC:
                assert f"{os.path.getsize(os.path.join(DOCS, name))} {name}" in sizes, (name, sizes)
        with claim(f"{profile}: nothing was asked or refused"):
            assert not refused(last_session()), refused(last_session())


@check("a key or token under such a name is caught by its content")
def _():
    plant()
    shell(f"openssl genrsa 2048 2>/dev/null > {DOCS}/ca.pem; cp {DOCS}/ca.pem {DOCS}/identity; "
          f"openssl rsa -in {DOCS}/ca.pem -outform DER -traditional -out {DOCS}/talk.key 2>/dev/null")
    write(".npmrc", f"//registry.npmjs.org/:_authToken={TOKEN}\n")
    write(".yarnrc.yml", "npmAuthToken: 7f3c9a52-6be1-4d0c-9f2e-8a41c07db35e\n")
    held = ["ca.pem", "identity", "talk.key", ".npmrc", ".yarnrc.yml"]
    for profile in PROFILES:
        with claim(f"{profile}: none of them is read"):
            told = in_cell("sh", "-c", "for f in " + " ".join(held) + "; do cat $f >/dev/null 2>&1 && echo read $f; done; true",
                           options=("--profile", profile, "--ask", "deny"))
            assert "read" not in told, told


@check("a store of credentials by construction is refused whatever is in it")
def _():
    for name in (".ssh/config", ".docker/config.json", ".netrc", "a.p12", "keys.kdbx"):
        write(name, "nothing\n")
    for profile in PROFILES:
        with claim(f"{profile}: none of them is read"):
            told = in_cell("sh", "-c", "for f in .ssh/config .docker/config.json .netrc a.p12 keys.kdbx; do cat $f 2>/dev/null; done; true",
                           options=("--profile", profile, "--ask", "deny"))
            assert "nothing" not in told, told


@check("git works in a repository with certificates")
def _():
    plant()
    git = f"git -C {DOCS} -c user.name=a -c user.email=a@example.org"
    shell(f"git -C {DOCS} init -q -b main . && {git} add -A && {git} commit -qm one && {git} checkout -qb other && "
          f"openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=b -days 3 -out {DOCS}/ca.pem 2>/dev/null && {git} commit -qam two")
    for profile in PROFILES:
        options = ("--profile", profile, "--ask", "deny")
        with claim(f"{profile}: status is clean, and checkout and clone work"):
            told = in_cell("sh", "-c", "git status --porcelain && git checkout -q main && git checkout -q other && git status --porcelain && "
                           "git clone -q . /tmp/clone && cmp ca.pem /tmp/clone/ca.pem && echo whole", options=options)
            assert told == "whole\n", told
        with claim(f"{profile}: nothing was asked or refused"):
            assert not refused(last_session()), refused(last_session())


@check("a virtual environment is made unasked")
def _():
    for profile in PROFILES:
        with claim(f"{profile}: python3 -m venv works with pip in it"):
            told = in_cell("sh", "-c", "python3 -m venv env >&2 && env/bin/python -c 'import pip._vendor.certifi as c; print(len(open(c.where()).read()) > 9000)'",
                           options=("--profile", profile, "--ask", "deny"))
            assert told == "True\n", told
        with claim(f"{profile}: nothing was asked or refused"):
            assert not refused(last_session()), refused(last_session())
        chaperone("discard", last_session())


@check("what is likely and was read unasked is told at the end")
def _():
    token = "q7Gd81bK20sXz4PmN3vR"
    write("settings.py", f'api_key = "{token}"\n')
    write("copy.py", f'api_key = "{token}"\n')
    write("plain.txt", "nothing\n")
    cell = start("cat settings.py copy.py plain.txt >/dev/null", "--ask", "deny")
    _, told = cell.communicate(timeout=60)
    with claim("kinds and how many, in one line, each value once"):
        assert cell.returncode == 0 and "read unasked, and likely confidential: 1 generic_secret in /workspace/settings.py\n" in told, told
    with claim("`why` lists them, and neither has the value"):
        why = chaperone("why", last_session())
        assert "likely_remembered" in why and "1 generic_secret" in why and "no denials" not in why, why
        assert token not in why + told
    write("settings.py", f'api_key = "{token}"\nwebhook = "AKIAZ7QRPDLBIVNHUXEM"\n')
    cell = start("cat settings.py; true", "--ask", "deny")
    _, told = cell.communicate(timeout=60)
    with claim("what was refused was not read"):
        assert cell.returncode == 0 and "likely" not in told and "likely" not in chaperone("why", last_session()), told
    os.remove(os.path.join(DOCS, "settings.py"))
    os.remove(os.path.join(DOCS, "copy.py"))
    cell = start("cat plain.txt >/dev/null", "--ask", "deny")
    _, told = cell.communicate(timeout=60)
    with claim("nothing is said where there is nothing"):
        assert cell.returncode == 0 and "likely" not in told and "no denials" in chaperone("why", last_session()), told
