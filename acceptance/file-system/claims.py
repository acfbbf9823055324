"""What programs rely on of a mounted directory."""
from harness.cell import fresh_docs as before  # noqa: F401: done before each check
import known, mediated, staged  # noqa: F401: they bring their claims
