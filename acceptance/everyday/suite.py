"""Ordinary work with the programs that people use."""
import os, shutil, subprocess

import sources
from harness.suite import Part, Suite, as_user

# A machine as others have it, for these processes alone: a service below /opt, and a trust store with a file of its own
# mounted over. $0 is the place.
MACHINE = """mount -t tmpfs -o mode=755 opt /opt && mkdir -p /opt/service /opt/tool/bin &&
    printf 'password = of-the-service\\n' > /opt/service/service.conf && printf '#!/bin/sh\\necho the tool\\n' > /opt/tool/bin/opt-tool &&
    chmod 755 /opt/tool/bin/opt-tool && mount --bind "$0/hosts" /etc/hosts &&
    mount --bind "$0/authority/bundle.pem" /etc/ssl/certs/ca-certificates.crt && cd / && exec "$@" """


def within(place, user, command):
    if os.geteuid() == 0:
        return ["unshare", "--mount", "sh", "-c", MACHINE, place, *as_user(user), *command]
    return ["unshare", "--user", "--map-current-user", "--mount", "--keep-caps", "sh", "-c", MACHINE, place,
            "setpriv", "--inh-caps=-all", "--ambient-caps=-all", *command]


def prepare(place):
    """An authority that this machine trusts, and a server's certificate of it; suites of others, which scripts/ci-install brings."""
    os.mkdir(os.path.join(place, "tools"))
    for name in filter(shutil.which, ("pjdfstest", "fsx")):
        shutil.copy(shutil.which(name), os.path.join(place, "tools"))
    folder = os.path.join(place, "authority")
    os.mkdir(folder)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    make = lambda *a: subprocess.run(["openssl", "req", "-x509", *key, *a], cwd=folder, check=True, capture_output=True)
    make("-subj", "/CN=Authority of this machine", "-keyout", "ca.key", "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign")
    make("-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.pem",
         "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth",
         "-addext", "subjectAltName=DNS:plain.chaperone.test")
    with open(os.path.join(folder, "bundle.pem"), "wb") as bundle:
        for name in ("/etc/ssl/certs/ca-certificates.crt", os.path.join(folder, "ca.pem")):
            with open(name, "rb") as f:
                shutil.copyfileobj(f, bundle)
    with open("/etc/hosts") as f, open(os.path.join(place, "hosts"), "w") as hosts:
        hosts.write(f.read() + "127.0.0.1 plain.chaperone.test\n")
    every = os.environ.get("ACCEPTANCE_PROJECTS") == "all"
    if every:
        sources.agents(os.path.join(place, "agents"))
    sources.lay_out(os.path.join(place, "projects"), every)


SUITE = Suite(parts=[Part("claims", limit=900, within=within, not_yet="not-yet.txt"), Part("projects", limit=5400), Part("agents", limit=900, within=within)],
              needs=("git", "node", "openssl"), prepare=prepare)
