"""What programs rely on of a file system, over the mediated one."""
from harness.suite import Part, Suite

SUITE = Suite(parts=[Part("claims", limit=240)], path="/usr/bin:/bin")
