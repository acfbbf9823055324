"""Real clients and real command-line agents over the one network exit, and the public cases of what agents send."""
import os, shutil, subprocess

from harness.suite import ACCEPTANCE, PYTHON, Missing, Part, Suite, as_user

HERE = os.path.join(ACCEPTANCE, "network")
# Names of servers that are here, for these processes alone. $0 is the place.
NAMED = 'mount --bind "$0/hosts" /etc/hosts && cd / && exec "$@"'
# The public cases get a network of their own: every address is this machine, whoever it is may open every port, and the
# resolver is the runner's.
ALONE = f"""{{ ip link set lo up && ip route add local default dev lo && {{ ip -6 route add local default dev lo || true; }}; }} 2>/dev/null &&
    echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start &&
    mount --bind "$0/resolv.conf" /etc/resolv.conf && mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf && {NAMED}"""


def prepare(place):
    """Clients that are no part of a distribution, or that every cell needs a copy of; files of /etc for these processes."""
    tools = os.path.join(place, "tools")
    os.mkdir(tools)
    python, go = os.path.join(place, "python"), os.path.join(place, "go")
    quietly(PYTHON, "-m", "venv", python)
    quietly(os.path.join(python, "bin", "pip"), "install", "-q", "--disable-pip-version-check", "--no-compile", "--target", os.path.join(tools, "site"),
            "pip==25.3", "requests==2.32.5", "websockets==15.0.1")
    cargo = subprocess.run(["rustup", "which", "cargo"], capture_output=True, text=True).stdout.strip() if shutil.which("rustup") else shutil.which("cargo")
    if cargo:
        shutil.copy(cargo, os.path.join(tools, "cargo"))
    if shutil.which("go"):
        quietly("go", "build", "-o", os.path.join(tools, "get-go"), os.path.join(HERE, "get.go"), env={**os.environ, "GO111MODULE": "off", "GOCACHE": go, "CGO_ENABLED": "0"})
    if shutil.which("javac"):
        quietly("javac", "-d", tools, os.path.join(HERE, "Get.java"))
    if shutil.which("npm"):
        quietly("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", os.path.join(place, "agents"),
                "@openai/codex@0.169.0", "@anthropic-ai/claude-code@2.1.330")
    for folder in (python, go):
        shutil.rmtree(folder, ignore_errors=True)
    with open("/etc/hosts") as f:
        hosts = f.read()
    files = {
        "hosts": hosts + "127.0.0.1 seen.chaperone.test plain.chaperone.test other.chaperone.test\n",
        "resolv.conf": "nameserver 127.0.0.1\n",
        "nsswitch.conf": "hosts: files dns\n",
    }
    for name, text in files.items():
        with open(os.path.join(place, name), "w") as f:
            f.write(text)
    cases = os.path.join(os.environ.get("CHAPERONE_CASES") or os.path.join(ACCEPTANCE, "../../shared/cases"), "egress")
    if os.path.isdir(cases):
        shutil.copytree(cases, os.path.join(place, "cases"))


def quietly(*command, **how):
    done = subprocess.run(command, capture_output=True, text=True, **how)
    if done.returncode != 0:
        raise Missing(f"{command[0]} brings a client: " + (done.stdout + done.stderr)[-600:])


def spaces(way, *options):
    """Starts a command in namespaces with these options, prepared in this way."""
    def within(place, user, command):
        if os.geteuid() == 0:
            return ["unshare", "--mount", *options, "sh", "-c", way, place, *as_user(user), *command]
        return ["unshare", "--user", "--map-current-user", "--mount", *options, "--keep-caps", "sh", "-c", way, place,
                "setpriv", "--inh-caps=-all", "--ambient-caps=-all", *command]

    return within


SUITE = Suite(
    parts=[Part("claims", limit=300, within=spaces(NAMED)), Part("egress_cases", limit=180, within=spaces(ALONE, "--net"))],
    prepare=prepare,
)
