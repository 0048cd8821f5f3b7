"""Typical mistakes, and all that is said about each: the files in `mistakes/`.

A file holds what was written, a line `---`, and the message: directives in `directives/`, and Python that uses
`hpacml` and `np` in `calls/`. With HPACML_UPDATE_MISTAKES=1 in the environment the messages are written anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import hpacml
from hpacml.directives.parser import parse_many
from hpacml.directives.syntax import FunctorDirective

FILES = sorted(Path(__file__).with_name("mistakes").rglob("*.txt"))
UPDATE = os.environ.get("HPACML_UPDATE_MISTAKES") == "1"


def make(kind: str, text: str) -> None:
    """Make the mistake."""
    if kind == "calls":
        exec(text, {"hpacml": hpacml, "np": np})
        return
    for directive in parse_many(text):
        if isinstance(directive, FunctorDirective):
            directive.functor()


@pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}/{file.stem}" for file in FILES])
def test_says(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, _, message = file.read_text(encoding="utf-8").partition("\n---\n")
    with pytest.raises(hpacml.HpacmlError) as caught:
        make(file.parent.name, text)
    said = f"{type(caught.value).__name__}: {caught.value}"
    if UPDATE:
        file.write_text(f"{text}\n---\n{said}\n", encoding="utf-8")
    else:
        assert said == message.removesuffix("\n")
