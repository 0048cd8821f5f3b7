"""Tests leave the user's caches and trust alone."""

from __future__ import annotations

import os
import tempfile

_home = tempfile.mkdtemp(prefix="hpacml-tests-")
os.environ["HPACML_CACHE_DIR"] = os.path.join(_home, "cache")
os.environ["HPACML_TRUST_FILE"] = os.path.join(_home, "trusted")
for _name in ("HPACML_TRUST_MODELS", "SURROGATE_MODEL", "HPAC_DB_FILE"):
    os.environ.pop(_name, None)
