"""Every number of the threat list: an attempt, the issue that brings it, or why it is not run."""
from attempts_credentials import ATTEMPTS as CREDENTIALS
from attempts_escape import ATTEMPTS as ESCAPE
from attempts_files import ATTEMPTS as FILES
from attempts_git import ATTEMPTS as GIT
from attempts_guard import ATTEMPTS as GUARD
from attempts_launch import ATTEMPTS as LAUNCH
from attempts_names import ATTEMPTS as NAMES
from attempts_network import ATTEMPTS as NETWORK
from attempts_persistence import ATTEMPTS as PERSISTENCE
from attempts_pieces import ATTEMPTS as PIECES
from attempts_questions import ATTEMPTS as QUESTIONS
from attempts_review import ATTEMPTS as REVIEW
from attempts_servers import ATTEMPTS as SERVERS
from attempts_starving import ATTEMPTS as STARVING

CASES = [*NETWORK, *PIECES, *SERVERS, *CREDENTIALS, *LAUNCH, *FILES, *ESCAPE, *PERSISTENCE, *GIT, *NAMES, *GUARD, *QUESTIONS, *REVIEW, *STARVING]

PLUGINS = "the issue of plugins; until then there are none"
LATER = {
    17: ("clipboard", "the issue of desktop cells; a cell has no display"),
    18: ("screen", "the issue of desktop cells; a cell has no display"),
    45: ("reflected credential", "the issue of the vault; nothing is injected before"),
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
