"""Every number of the threat list: an attempt, the issue that brings it, or why it is not run."""
from attempts_credentials import ATTEMPTS as CREDENTIALS
from attempts_escape import ATTEMPTS as ESCAPE
from attempts_guard import ATTEMPTS as GUARD
from attempts_persistence import ATTEMPTS as PERSISTENCE
from attempts_questions import ATTEMPTS as QUESTIONS

CASES = [*CREDENTIALS, *ESCAPE, *PERSISTENCE, *GUARD, *QUESTIONS]

NETWORK = "issue 3, the network exit; until then a cell has no network at all"
PLUGINS = "the issue of plugins; until then there are none"
LATER = {
    **{n: (name, NETWORK) for n, name in {
        1: "POST", 2: "curl, wget", 3: "plain HTTP, FTP", 4: "SSH", 5: "data in DNS names", 6: "cloud storage",
        7: "webhook", 8: "small chunks", 9: "web protocol", 10: "DNS protocol", 11: "tunnel, DoH", 12: "proxy chain",
        13: "domain fronting", 14: "raw, ICMP", 15: "odd ports", 16: "encodings", 19: "through an allowed tool",
        20: "cloud metadata address", 21: "DNS rebinding", 22: "request smuggling", 23: "Fast Open, MPTCP, UDP",
        24: "NUL in a SOCKS host", 25: "relay inside the cell", 26: "push to a multi-tenant host",
        28: "Markdown image", 33: "metadata service", 50: "SSH to other hosts", 52: "scan",
    }.items()},
    17: ("clipboard", "the issue of desktop cells; a cell has no display"),
    18: ("screen", "the issue of desktop cells; a cell has no display"),
    45: ("reflected credential", "the issues of the vault and the network exit; nothing is injected before"),
    **{n: (name, PLUGINS) for n, name in {
        75: "changed binary", 76: "tool description poisoning", 77: "rug pull", 78: "tool shadowing",
        79: "fuel and memory bomb", 80: "pre-open symlink", 81: "forged permission", 82: "typosquat",
        83: "asks for more after consent",
    }.items()},
    94: ("policy bundle rollback", "the issue of signed policy bundles; policies are the person's own files so far"),
}
NOT_RUN = {
    47: ("swap, /proc/kcore, /dev/mem", "reads the memory of the machine itself; needs an emulated guest"),
    53: ("kernel bug", "needs an emulated guest; the native cell shares the kernel (docs/threat-model.md)"),
    55: ("core_pattern, release_agent", "is set for the whole machine; needs an emulated guest"),
    86: ("clock change", "changes the clock of the machine; needs an emulated guest"),
}
