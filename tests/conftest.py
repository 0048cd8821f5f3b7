"""Tests leave the user's caches and trust alone, and get interrupts also where a shell runs them in the background."""

from __future__ import annotations

import gc
import os
import signal
import tempfile

_home = tempfile.mkdtemp(prefix="hpacml-tests-")
os.environ["HPACML_CACHE_DIR"] = os.path.join(_home, "cache")
os.environ["HPACML_TRUST_FILE"] = os.path.join(_home, "trusted")
for _name in ("HPACML_TRUST_MODELS", "SURROGATE_MODEL", "HPAC_DB_FILE"):
    os.environ.pop(_name, None)

# A shell has what it runs in the background ignore interrupts, and so do the programs that tests start from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Collections of garbage do not go through what all modules of tests have imported, which takes half a second."""
    gc.freeze()
