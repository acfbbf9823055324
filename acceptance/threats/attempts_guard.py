"""Attempts on the guard itself."""
ATTEMPTS = []
