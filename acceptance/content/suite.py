"""What content inspection does to ordinary work, and what it must not let through."""
from harness.suite import Part, Suite

SUITE = Suite(parts=[Part("claims", limit=240)], path="/usr/bin:/bin")
