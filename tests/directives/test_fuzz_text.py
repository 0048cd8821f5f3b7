"""A short run of `fuzz_text`; run that for a longer one."""

from __future__ import annotations

import fuzz_text
import pytest


@pytest.mark.slow
def test_only_our_errors_come_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert fuzz_text.main(examples=5000, seed=20) == 0, capfd.readouterr().err
