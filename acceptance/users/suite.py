"""What people suffer from elsewhere and must not here."""
from harness.suite import Part, Suite

SUITE = Suite(parts=[Part("claims")], path="/usr/bin:/bin")
