"""Content inspection that people can leave switched on."""
from harness.cell import fresh_docs as before  # noqa: F401: done before each check
import agreement  # noqa: F401: they bring their claims
import names  # noqa: F401
import placeholders  # noqa: F401
import projects  # noqa: F401
