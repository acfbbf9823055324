"""Every threat of the threat list, in two arms."""
from harness.suite import Part, Suite

SUITE = Suite(parts=[Part("claims", limit=1500), Part("starving", limit=240)], needs=("bwrap", "openssl", "curl", "wget", "git"))
