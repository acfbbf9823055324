"""The two arms: a make-believe world, the same attempt with and without a cell, and what the log says of it."""
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
# Nothing of this may hang: longer than any attempt needs on a slow machine.
LIMIT = 60

# A person's home with something worth taking in every well-known place. CANARY is replaced by a fresh word.
HOME_FILES = {
    ".aws/credentials": "[default]\naws_secret_access_key = CANARY\n",
    ".config/gcloud/application_default_credentials.json": '{"refresh_token": "CANARY"}\n',
    ".git-credentials": "https://me:CANARY@example.com\n",
    ".bash_history": "mysql -pCANARY\n",
    ".ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARY\n-----END OPENSSH PRIVATE KEY-----\n",
    ".kube/config": "users: [{user: {token: CANARY}}]\n",
    ".mozilla/firefox/default/logins.json": '{"logins": ["CANARY"]}\n',
    ".mozilla/firefox/default/cookies.sqlite": "session=CANARY\n",
    ".config/google-chrome/Default/Login Data": "CANARY\n",
    ".config/google-chrome/Default/Cookies": "CANARY\n",
    ".password-store/index.gpg": "CANARY\n",
    ".local/share/keyrings/login.keyring": "CANARY\n",
    ".config/gh/hosts.yml": "github.com: {oauth_token: CANARY}\n",
    ".docker/config.json": '{"auths": {"x": {"auth": "CANARY"}}}\n',
    "private.txt": "CANARY\n",
    ".local/state/chaperone/audit/log": "a record\n",
}
KEY_LINES = (
    "MIIEpAIBAAKCAQEA575YX8XM5mSLFy5UBIHEYeD7p4Zdl/AK6j0KgodkDINzNlxI\n"
    "CAbaG8wy1JZirLnqB0PRfMBH7+WY5YQ1xOy1bAimCaXyMFSb4hBqlxJJLafBvv6Q\n"
    "9RxXTndfYUZx9K1GNNEgeyg1+lWIQd9JjbaCIi05fHFWkvQLuR5qREC8tnECJ9In\n"
    "oRJJ5vFQrtK8J1D/BwwBJKLOg1qx647KDnL9CdO/+gBvmSZVr4/epzgZ3ZbxcoaR\n"
)
WORKSPACE_FILES = {
    "notes.txt": "an ordinary note\n", "old.ssh/.SSH/ID_RSA": "CANARY\n", ".env": "COLOUR=CANARY\n", "cards.csv": "CANARY,card\nA,4111111111111111\n",
    # Public by their names.
    "certs/ca.pem": "subject=CANARY\n-----BEGIN RSA PRIVATE KEY-----\n" + KEY_LINES + "-----END RSA PRIVATE KEY-----\n",
    "identity": "CANARY\n-----BEGIN PRIVATE KEY-----\n" + KEY_LINES + "-----END PRIVATE KEY-----\n",
    # Held by what its name makes of a likely secret.
    "talk.key": "password = hunter2Xk9PqLm33\n",
    ".npmrc": "; CANARY\n//registry.npmjs.org/:_authToken=7f3c9a52-6be1-4d0c-9f2e-8a41c07db35e\n",
}
ETC_FILES = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nperson:x:1000:1000:person:/:/bin/sh\n",
    "group": "root:x:0:\nperson:x:1000:\n",
    "shadow": "root:$6$CANARY:19000:0:99999:7:::\n",
    "hosts": "127.0.0.1 localhost\n",
}


class World:
    """One make-believe person: a home, a folder of documents, an /etc, a neighbour process."""

    def __init__(self, base):
        self.base = Path(base)
        self.canary = "canary" + secrets.token_hex(12)
        self.person = self.base / "person"
        self.workspace = self.base / "documents"
        # By what name the person calls the home.
        self.home = self.person
        self.shared = self.base / "shared"
        self.etc = self.base / "etc"
        for folder in (self.person, self.workspace, self.shared, self.etc):
            folder.mkdir(parents=True)
        for folder, files in ((self.person, HOME_FILES), (self.workspace, WORKSPACE_FILES), (self.etc, ETC_FILES)):
            for name, text in files.items():
                self.put(folder / name, text)
        self.put(self.person / "linked.txt", "outside\n")
        os.link(self.person / "linked.txt", self.workspace / "hard.txt")
        (self.workspace / "link.txt").symlink_to(self.person / "private.txt")

    def put(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("CANARY", self.canary))

    def environment(self):
        """What the person's shell has, canary and all."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "xterm", "HOME": str(self.home),
            "SECRET_TOKEN": self.canary, "SSH_AUTH_SOCK": str(self.shared / "agent.sock"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.shared}/bus", "CANARY": self.canary,
        }


class Outcome:
    """What came of an attempt; `guard` is None in the arm without one."""

    def __init__(self, text, world, records=(), session="", guard=None):
        self.text, self.world, self.records, self.session, self.guard = text, world, list(records), session, guard
        self.neighbour_lives = self.guards_live = True

    def says(self, word):
        return word in self.text


def program(case, world, neighbour, more):
    """The attempt as Python source, the same for both arms."""
    known = {"PERSON": str(world.person), "SHARED": str(world.shared), "NEIGHBOUR": neighbour, **more}
    head = "".join(f"{name} = {value!r}\n" for name, value in known.items())
    return head + (HERE / "prelude.py").read_text() + case.attack


def unprotected(case, root):
    """The attempt in a disposable namespace: the world lies at the same paths, nothing of the host's is writable."""
    world = World(root / "bare")
    pid = 2
    if case.program:
        case.program(world, "")
    source = program(case, world, pid, {"GUARDS": [], "ARM": "bare", "LOG": str(world.person / ".local/state/chaperone")})
    # The neighbour is there before the attempt, and both are the same person.
    start = (
        "import os,sys,subprocess\n"
        f"n=subprocess.Popen([{PYTHON!r},{str(HERE / 'neighbour.py')!r},{str(world.shared)!r}],stdout=subprocess.PIPE)\n"
        "n.stdout.readline()\n"
        f"os.environ.pop('CANARY')\n"
        "src=sys.stdin.read().replace('NEIGHBOUR = 2\\n','NEIGHBOUR = %d\\n'%n.pid,1)\n"
        f"os.execv({PYTHON!r},[{PYTHON!r},'-c',src])\n"
    )
    shell = ["bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
             "--ro-bind", "/usr", "/usr", "--bind", str(world.base), str(world.base),
             "--ro-bind", str(HERE), str(HERE), "--bind", str(world.workspace), "/workspace",
             "--bind", str(world.etc), "/etc", "--dir", "/run", "--chdir", "/workspace"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink("/" + name):
            shell += ["--symlink", os.readlink("/" + name), "/" + name]
    shell += [a.format(shared=world.shared, person=world.person) for a in case.bwrap]
    done = subprocess.run(shell + [PYTHON, "-c", start], input=source, env=world.environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, errors="replace",
                          preexec_fn=keyring(world))
    return Outcome(done.stdout, world)


def keyring(world):
    """A session key ring with a key in it, that children inherit; it goes away with the last of them."""
    import ctypes
    libc = ctypes.CDLL(None)

    def join():
        libc.syscall(250, 1, None)
        libc.syscall(248, b"user", b"person-token", world.canary.encode(), len(world.canary), -3)

    return join


class Protected:
    """The product with a home of its own; one broker for all cases."""

    def __init__(self, chaperone, root):
        self.chaperone, self.root = chaperone, root
        self.home = root / "chaperone-home"
        self.home.mkdir(mode=0o700)

    def env(self, world=None):
        env = world.environment() if world else {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "LANG": "C.UTF-8"}
        env.pop("CANARY", None)
        return {**env, "CHAPERONE_HOME": str(self.home)}

    def command(self, *args, world=None, limit=LIMIT):
        return subprocess.run([self.chaperone, *args], env=self.env(world), text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, errors="replace")

    def processes(self):
        told = json.loads(self.command("sessions", "--json").stdout)
        return [told["broker"]["pid"], told["vault"]["pid"]]

    def records(self, session):
        done = subprocess.run([self.chaperone, "audit", "query", "--json", "--session", session], env=self.env(),
                              text=True, stdout=subprocess.PIPE, check=True, timeout=LIMIT)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def run(self, case, root):
        """The attempt in a cell over the person's folder, then what the person would commit."""
        world = World(root / "cell")
        neighbour = subprocess.Popen([PYTHON, str(HERE / "neighbour.py"), str(world.shared)],
                                     env=world.environment(), stdout=subprocess.PIPE, text=True)
        try:
            neighbour.stdout.readline()
            guards = self.processes()
            source = program(case, world, neighbour.pid, {"GUARDS": guards, "ARM": "cell", "LOG": str(self.home / "state")})
            command = case.program(world, source) if case.program else [PYTHON, "-c", source]
            status = world.base / "status"
            with case.beside(self, world) if case.beside else nullcontext():
                done = subprocess.run(
                    [self.chaperone, "run", "--workspace", str(world.workspace), "--status-file", str(status),
                     *(case.options or ("--ask", "deny")), "--", *command],
                    env=self.env(world), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, timeout=LIMIT, errors="replace", preexec_fn=keyring(world))
            session = json.loads(status.read_text()).get("session", "") if status.exists() else ""
            committed = self.command("commit", session, world=world).stdout if session else ""
            outcome = Outcome(done.stdout + committed, world, self.records(session) if session else [], session, self)
            outcome.neighbour_lives = neighbour.poll() is None
            outcome.guards_live = self.processes() == guards
            return outcome
        finally:
            neighbour.kill()
            neighbour.wait()
            neighbour.stdout.close()

    def stop(self):
        """The broker takes its vault and its cells along."""
        try:
            broker = self.processes()[0]
            os.kill(broker, signal.SIGKILL)
            # Gone when nobody listens any more; a dying process may still.
            for _ in range(2000):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.home / "run" / "broker.sock"))
                time.sleep(0.005)
        except (KeyError, ValueError, ProcessLookupError, ConnectionError, FileNotFoundError):
            pass
