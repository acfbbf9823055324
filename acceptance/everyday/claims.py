"""What people do all day, one module for each field of it."""
from ways import before  # noqa: F401: done before each check
import audit_log, commits, environment, foreign, limits, links, network, policies, terminal, times_and_modes, tools  # noqa: F401: they bring their claims
