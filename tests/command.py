"""The command `hpacml`, run in this process."""

from __future__ import annotations

import sys

import pytest

from hpacml.tools import cli


def run_hpacml(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """The exit status, the output and the errors."""
    monkeypatch.setattr(sys, "argv", ["hpacml", *arguments])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    captured = capsys.readouterr()
    return int(exit.value.code or 0), captured.out, captured.err
