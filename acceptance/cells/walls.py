"""Exports against attacks, each in two arms: what happens without the export, and behind it. Containers are run as root here."""
import contextlib, http.client, json, os, shutil, socket, subprocess, time

import exported as module
from docker_client import asked_of_docker
from exported import PROBE, checker, exported, only, ran, written
from harness.cell import CHAPERONE, DOCS, LIMIT, ROOT, WORK, profile
from harness.claims import Skipped, claim, expect

before = module.before
REFUSED = {1, 38, 97}
# Enough that every attack of the probe succeeds where no filter stands.
PRIVILEGES = ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SETPCAP", "CAP_SETUID", "CAP_SETGID"]
# Kernels are built without these: without a filter, too, there is no such family.
WITHOUT = {"socket_alg"}
# A cell of ours, a unit and podman's own defaults need more than a bare runtime; this machine has hybrid groups and may not raise limits.
PURE_GROUPS = 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
CONTAINERS = '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
IMAGE = "localhost/chaperone-probe:latest"


def as_root():
    if not ROOT:
        raise Skipped("containers are run as root here")


def bundle(name, filter=None, capabilities=()):
    """A bundle for runtimes that runs the probe; with and without a filter it is the same but for that."""
    place = os.path.join(WORK, name)
    shutil.rmtree(place, ignore_errors=True)
    for directory in ("proc", "dev", "sys", "tmp", "scratch"):
        os.makedirs(os.path.join(place, "rootfs", directory))
    shutil.copy(PROBE, os.path.join(place, "rootfs/probe"))
    done = ran(checker("runc", "runc"), "spec", "-b", place)
    assert done.returncode == 0, done
    with open(os.path.join(place, "config.json")) as f:
        config = json.load(f)
    process = config["process"]
    process.update(terminal=False, args=["/probe"], rlimits=[])
    process["capabilities"] = {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")}
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    if filter:
        config["linux"]["seccomp"] = filter
    with open(os.path.join(place, "config.json"), "w") as f:
        json.dump(config, f)
    return place


def probed(runtime, place):
    name = f"chaperone-{os.getpid()}-{os.path.basename(place)}"
    command = {"runc": ["runc", "run", "-b", place, name],
               "crun": ["unshare", "-m", "sh", "-c", PURE_GROUPS, "sh", "crun", "--cgroup-manager=disabled", "run", "-b", place, name]}[runtime]
    return answers(ran(*command, env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}))


def answers(done):
    pairs = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert len(pairs) > 20, done
    return {name: int(errno) if errno.isdigit() else errno for name, errno in pairs}


def filter_of(profile):
    return json.loads(only(exported("seccomp", profile=profile), ".json"))


@claim
def attacks_by_system_call_succeed_without_the_filter_and_end_at_it_in_two_runtimes():
    as_root()
    for runtime in ("runc", "crun"):
        checker(runtime, runtime)
        bare = probed(runtime, bundle("bare", capabilities=PRIVILEGES))
        walled = probed(runtime, bundle("walled", filter_of("spreadsheet"), PRIVILEGES))
        attacks = [name for name in bare if not name.startswith("allow_")]
        # A terminal that is none says 25 once the call has reached it.
        assert all(bare[name] in (0, 25) for name in attacks if name not in WITHOUT), (runtime, bare)
        assert all(walled[name] in REFUSED for name in attacks), (runtime, walled)
        # And ordinary work goes on.
        ordinary = [name for name in bare if name.startswith("allow_")]
        assert ordinary and all(bare[name] == walled[name] == 0 for name in ordinary), (runtime, walled)


@claim
def the_filter_answers_as_a_cell_does():
    as_root()
    walled = probed("runc", bundle("as-a-cell", filter_of("default")))
    shutil.copy(PROBE, os.path.join(DOCS, "probe"))
    os.chmod(os.path.join(DOCS, "probe"), 0o755)
    cell = answers(ran(CHAPERONE, "run", "--workspace", DOCS, "--", "/workspace/probe"))
    assert {n: e in REFUSED for n, e in walled.items()} == {n: e in REFUSED for n, e in cell.items()}, (walled, cell)


@claim
def a_profile_that_debugs_traces_and_does_nothing_else():
    as_root()
    plain, debugging = (probed("runc", bundle(name, filter_of(name))) for name in ("default", "debug"))
    differs = {name for name in plain if plain[name] != debugging[name]}
    assert differs == {"ptrace", "process_vm_readv"} and debugging["ptrace"] == 0, (plain, debugging)


# Each line says whether it came off: what an agent must not do, and what it must be able to.
ATTACKS = """
try() { name=$1; shift; if "$@" > /dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
try write_out sh -c 'echo x > /workspace/out/x'
try write_reports sh -c 'echo x >> /workspace/reports/q1.csv'
try write_system sh -c 'echo x > /usr/x'
try reach probe reach PORT
try namespace unshare -U true
try kernel_line grep -q . /proc/cmdline
try machine sh -c 'ls /sys/class/* | grep -q .'
try secret sh -c '[ -n "$SECRET" ]'
try root sh -c '[ "$(id -u)" = 0 ]'
try capable grep -q '^CapBnd:.*[1-9a-f]' /proc/self/status
try host_file grep -q . HOSTFILE
try read_reports grep -q north /workspace/reports/q1.csv
try run_from_tmp sh -c 'echo "exit 0" > /tmp/run && chmod +x /tmp/run && sh /tmp/run'
try write_home sh -c 'echo x > "$HOME/x"'
try language sh -c '[ "$LANG" = C.UTF-8 ]'
"""
ORDINARY = {"read_reports", "run_from_tmp", "write_home", "language"}


@contextlib.contextmanager
def attacks(of_the_host=None):
    """The script, with a service of the machine's that it looks for, and a file of the machine's outside of the workspace."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        secret = written("of-the-host", "secret\n")
        os.chmod(secret, 0o644)
        yield ATTACKS.replace("PORT", str(server.getsockname()[1])).replace("HOSTFILE", of_the_host or secret)


def came_off(done):
    """What succeeded of it."""
    told = dict(line.split() for line in done.stdout.splitlines() if line.endswith((" yes", " no")))
    expect(len(told) == ATTACKS.count("\ntry "), done.stdout, done.stderr)
    return {name for name, answer in told.items() if answer == "yes"}


def podman(*words, **how):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": WORK, "LANG": "C.UTF-8", "SECRET": "x", "CONTAINERS_CONF": written("containers.conf", CONTAINERS)}
    return ran(checker("podman", "podman"), *STORE, *words, env={**environment, **how})


STORE = ["--root", os.path.join(WORK, "store"), "--runroot", os.path.join(WORK, "running")]


def image():
    """Busybox and the probe, and nothing of the machine's."""
    place = os.path.join(WORK, "image")
    if os.path.exists(place):
        return
    for directory in ("bin", "usr", "etc"):
        os.makedirs(os.path.join(place, directory))
    shutil.copy(checker("busybox", "busybox-static"), os.path.join(place, "bin/busybox"))
    shutil.copy(PROBE, os.path.join(place, "bin/probe"))
    for applet in ("sh", "ls", "chmod", "grep", "id", "unshare", "true"):
        os.symlink("busybox", os.path.join(place, "bin", applet))
    archive = os.path.join(WORK, "image.tar")
    subprocess.run(["tar", "-C", place, "-cf", archive, "."], check=True)
    done = podman("import", archive, IMAGE)
    assert done.returncode == 0, done


def bare_container(script):
    """The same image with the directory and nothing of the wall."""
    return came_off(podman("run", "--rm", *LIMITS, "--network", "host", "--cap-add", "SYS_ADMIN", "--env", "SECRET", "--env", "LANG", "--env", "HOME=/tmp",
                           "-v", f"{DOCS}:/workspace", "-v", f"{WORK}/of-the-host:{WORK}/of-the-host", IMAGE, "sh", "-c", script))


ALL = {line.split()[1] for line in ATTACKS.splitlines() if line.startswith("try ")}


@claim
def attacks_succeed_in_a_plain_container_and_end_at_podmans_command_line():
    as_root()
    image()
    files = exported("podman", "--image", IMAGE)
    folder = os.path.join(WORK, "podman")
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    # The engine as it is, with a store of its own, and with limits that this machine can set.
    engine = os.path.join(folder, "podman")
    with open(engine, "w") as f:
        f.write(f'#!/bin/sh\nshift\nexec {checker("podman", "podman")} {" ".join(STORE)} run {" ".join(LIMITS)} "$@"\n')
    os.chmod(engine, 0o755)
    with attacks() as script:
        bare = bare_container(script)
        assert bare == ALL, ALL - bare
        before()
        [name] = [name for name in files if name.endswith(".sh")]
        environment = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": WORK, "LANG": "C.UTF-8", "SECRET": "x", "CONTAINERS_CONF": os.path.join(WORK, "containers.conf")}
        done = ran("sh", os.path.join(folder, name), "sh", "-c", script, env=environment)
        expect(came_off(done) == ORDINARY, came_off(done) ^ ORDINARY, done.stderr)
    assert os.listdir(os.path.join(DOCS, "out")) == []


class Podman(http.client.HTTPConnection):
    """Podman's interface of Docker's."""

    def __init__(self, path):
        super().__init__("docker", timeout=LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


@contextlib.contextmanager
def service():
    path = os.path.join(WORK, "podman.sock")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": WORK, "CONTAINERS_CONF": written("containers.conf", CONTAINERS)}
    served = subprocess.Popen([checker("podman", "podman"), *STORE, "system", "service", "--time", "0", f"unix://{path}"], env=environment, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.05)
        yield Podman(path)
    finally:
        served.kill()
        served.wait()


@claim
def attacks_succeed_in_a_plain_container_and_end_at_what_dockers_command_line_asks_for():
    """Docker's own client reads the export; what it asks an engine for is created by Podman, which takes a filter by its path."""
    as_root()
    image()
    with attacks() as script, service() as engine:
        bare = bare_container(script)
        assert bare == ALL, ALL - bare
        before()
        files = exported("docker", "--image", IMAGE, command=["sh", "-c", script])
        asked = asked_of_docker(files, LANG="C.UTF-8", SECRET="x")
        filter = written("filter.json", only(files, ".seccomp.json"))
        host = asked["HostConfig"]
        host["SecurityOpt"] = [f"seccomp={filter}" if option.startswith("seccomp=") else option for option in host["SecurityOpt"]]
        host["Ulimits"] = host["Ulimits"] + [{"Name": name, "Soft": 1000, "Hard": 1000} for name in ("nofile", "nproc")]
        engine.request("POST", "/v1.41/containers/create", json.dumps(asked), {"Content-Type": "application/json"})
        answer = json.loads(engine.getresponse().read())
        assert "Id" in answer, answer
        done = podman("start", "--attach", answer["Id"])
        podman("rm", answer["Id"])
        # Docker cannot be told to hide more of /proc; the export says so.
        expect(came_off(done) == ORDINARY | {"kernel_line", "machine"}, came_off(done) ^ ORDINARY, done.stderr)
        assert "what of /proc and /sys a cell hides" in only(files, ".docker.sh")
    assert os.listdir(os.path.join(DOCS, "out")) == []


# A file and a directory of the machine's are where nothing of the machine is written by an attack that succeeds.
BOOT = """
umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 9
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/lock && cp -r "$1"/. /run/systemd/system/
mount -t tmpfs tmpfs /mnt && chmod 777 /mnt && echo secret > /mnt/of-the-host
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group || exit 9
export container=chaperone-test
exec /lib/systemd/systemd --system --unit=attack.target --log-target=null --show-status=no
"""
UNITS = {
    "attack.target": "[Unit]\nDefaultDependencies=no\nWants={unit} end.service\nAfter={unit} end.service\n",
    "end.service": "[Unit]\nDefaultDependencies=no\nAfter={unit}\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -s RTMIN+4 1'\n",
    # What a system that runs has, and this one not: its basic target and its journal.
    "{unit}.d/here.conf": "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRuntimeMaxSec=infinity\nStandardOutput=file:{out}\nStandardError=file:{out}.err\n",
}


def booted(files):
    """What a unit printed, under a systemd that is process 1 of namespaces of its own."""
    checker("systemd-analyze", "systemd")
    [unit] = [name for name in files if name.endswith(".service")]
    units, out = os.path.join(WORK, "units"), os.path.join(WORK, "unit.out")
    shutil.rmtree(units, ignore_errors=True)
    for name, content in {**files, **{name.format(unit=unit): content.format(unit=unit, out=out) for name, content in UNITS.items()}}.items():
        path = os.path.join(units, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(content)
    users(units, [os.path.join(units, name) for name in files if name.endswith(".sysusers.conf")])
    for path in (out, out + ".err"):
        open(path, "w").close()
        os.chmod(path, 0o666)
    subprocess.run(["timeout", "--kill-after", "5", "60", "unshare", "-m", "-p", "-f", "--mount-proc", "-u", "-i", "-C", "sh", "-c", BOOT, "sh", units],
                   capture_output=True, timeout=90, stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SECRET": "x"})
    with open(out) as told, open(out + ".err") as errors:
        return subprocess.CompletedProcess(unit, 0, told.read(), errors.read())


def users(place, files):
    """The users of the machine, and those that an export makes, by the program that makes them."""
    made = os.path.join(WORK, "users")
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(os.path.join(made, "etc"))
    if files:
        done = ran(checker("systemd-sysusers", "systemd"), f"--root={made}", *files)
        assert done.returncode == 0, done
    for name in ("passwd", "group"):
        with open(os.path.join("/etc", name)) as f:
            text = f.read()
        own = os.path.join(made, "etc", name)
        if os.path.exists(own):
            with open(own) as f:
                text += f.read()
        with open(os.path.join(place, name), "w") as f:
            f.write(text)


@claim
def attacks_succeed_in_a_plain_unit_and_end_at_systemds():
    as_root()
    name = "chaperone-spreadsheet.service"
    with attacks(of_the_host="/mnt/of-the-host") as script:
        # The probe is nowhere in a unit: bash connects. A plain unit must not write into the machine's own /usr.
        script = script.replace("probe reach ", "bash -c ': < /dev/tcp/127.0.0.1/\"$1\"' sh ").replace("/usr/x", "/mnt/x")
        one_line = "; ".join(script.strip().splitlines())
        words = " ".join(f'"{word}"' for word in ("sh", "-c", escaped(one_line)))
        plain = f"[Service]\nExecStart=/usr/bin/env {words}\nEnvironment=HOME=/tmp LANG=C.UTF-8 SECRET=x\nTemporaryFileSystem=/srv\nBindPaths={DOCS}:/srv/workspace\n"
        told = booted({name: plain.replace("/workspace/", "/srv/workspace/")})
        if not told.stdout:
            raise Skipped("no systemd can be started in namespaces here", installable=True)
        bare = came_off(told)
        assert bare == ALL, (ALL - bare, told)
        before()
        told = booted(exported("systemd", command=["sh", "-c", one_line]))
        expect(came_off(told) == ORDINARY, came_off(told) ^ ORDINARY, told.stderr)
    assert os.listdir(os.path.join(DOCS, "out")) == []


@claim
def a_directory_of_any_name_is_shown_in_a_unit_and_nothing_of_the_machine_beside_a_cells():
    as_root()
    hostile = os.path.join(WORK, 'a b:c"d%h$e\\\\f')
    os.makedirs(hostile, exist_ok=True)
    with open(os.path.join(hostile, "file"), "w") as f:
        f.write("here\n")
    script = 'cat /workspace/file; printf "%s\\n" "100%" "$HOME" "a\nb"; ls /; ls /etc/shadow /root /home /mnt /sys; for at in / /workspace /etc /var /run /dev; do touch $at/x && echo "wrote $at"; done'
    told = booted(exported("systemd", "--workspace", hostile, profile="default", command=["sh", "-c", script]))
    lines = told.stdout.splitlines()
    expect(lines[:5] == ["here", "100%", "/tmp", "a", "b"], told.stdout, told.stderr)
    shown = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr", "var", "workspace"}
    # Places that systemd makes for what it mounts or hides, with nothing of the machine in them.
    empty = {"home", "root", "run", "sys"}
    expect(set(lines[5:]) <= shown | empty, told.stdout, told.stderr)


def escaped(word):
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
