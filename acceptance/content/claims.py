"""Content inspection that people can leave switched on."""
from harness.cell import fresh_docs as before  # noqa: F401: done before each check
import placeholders  # noqa: F401: it brings its claims
