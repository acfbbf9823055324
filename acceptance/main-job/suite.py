"""The main job, driven through the real binary."""
from harness.suite import Part, Suite

SUITE = Suite(
    parts=[Part("claims", limit=600)],
    packages=("chaperone", "spreadsheet-example"),
    binaries=("chaperone", "spreadsheet-agent", "rogue-agent", "generate-reports"),
)
