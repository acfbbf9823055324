"""Content inspection that people can leave switched on."""
from harness.cell import fresh_docs as before  # noqa: F401: done before each check
import names  # noqa: F401: they bring their claims
import placeholders  # noqa: F401
