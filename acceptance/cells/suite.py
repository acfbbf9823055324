"""Cells in containers, and the walls that a profile is exported to."""
import glob, os, subprocess

from harness.suite import PYTHON, Missing, Part, Suite


def prepare(place):
    """What checks and what attacks: schemas of Kubernetes, mxc's own reader, and a program that makes forbidden calls."""
    tools = os.path.join(place, "tools")
    os.mkdir(tools)
    try:
        quietly("cc", "-static", "-O1", "-o", os.path.join(tools, "probe"), os.path.join(place, "acceptance/cells/probe.c"))
        quietly(PYTHON, "-m", "venv", "--copies", os.path.join(tools, "kubernetes"))
        quietly(os.path.join(tools, "kubernetes/bin/pip"), "install", "--quiet", "--disable-pip-version-check", "kubernetes-validate==1.37.0")
        quietly("npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", tools, "@microsoft/mxc-sdk@0.8.0")
    except (subprocess.CalledProcessError, OSError) as error:
        raise Missing(f"what checks the exports can be had: {error}: {getattr(error, 'stderr', '')}"[-600:])
    for program in glob.glob(os.path.join(tools, "node_modules/@microsoft/mxc-sdk/bin/x64/lxc-exec")):
        os.chmod(program, 0o755)


def quietly(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


SUITE = Suite(parts=[Part("containers"), Part("microvms", limit=600), Part("exports"), Part("walls", limit=600)], prepare=prepare, needs=("cc", "npm"))
