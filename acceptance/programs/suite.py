"""Programs that know nothing of Chaperone, over the mediated directory, and the agent's terminal."""
import os, shutil, subprocess

from harness.suite import Missing, Part, Suite


def prepare(place):
    """Command-line agents of others, where npm puts them."""
    if shutil.which("npm"):
        done = subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", os.path.join(place, "tools"),
                               "@openai/codex@0.169.0", "@anthropic-ai/claude-code@2.1.330"], capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing("the command-line agents can be installed: " + (done.stdout + done.stderr)[-600:])


SUITE = Suite(
    parts=[Part("claims", limit=600)],
    packages=("chaperone", "spreadsheet-example"),
    binaries=("chaperone", "spreadsheet-agent", "generate-reports"),
    prepare=prepare,
)
