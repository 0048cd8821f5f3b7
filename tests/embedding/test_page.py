"""docs/ahead_of_time.md: its programs are built by its commands, and do what it says."""

import os
import re
import sys
from pathlib import Path

import pytest
import torch

import hpacml
from tests.compilers import ROOT, needs_cc, needs_gfortran, run

PAGE = (ROOT / "docs" / "ahead_of_time.md").read_text()


@pytest.mark.slow
@needs_cc
@needs_gfortran
def test_the_page(tmp_path: Path) -> None:
    names = {"python": "# ", "c": "/* ", "fortran": "! "}
    for language, start in names.items():
        for text in re.findall(rf"```{language}\n({re.escape(start)}\w+\.\w+.*?)```", PAGE, re.DOTALL):
            (tmp_path / text.removeprefix(start).split()[0]).write_text(text)
    in_c, in_fortran, config, alone, on_gpu = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def bash(commands: str) -> str:
        return run("bash", "-euc", commands, cwd=tmp_path, **environment).stdout

    assert bash(in_c).startswith("0.25\n")
    assert bash(in_fortran) == "0.25\n"
    assert len(hpacml.open_database(tmp_path / "relax.h5")["relax"]) == 2
    cmake, pkg_config = bash(config).split()
    assert (Path(cmake) / "hpacml-config.cmake").exists()
    assert (Path(pkg_config) / "hpacml.pc").exists()
    hpacml.save_model(
        torch.nn.Sequential(torch.nn.Linear(4, 1).double()), tmp_path / "relax.safetensors", example=torch.zeros(2, 4)
    )
    assert bash(alone) == "done\n"
    bash(on_gpu)
    assert "void *stream);" in (tmp_path / "warm.h").read_text()
    header = (tmp_path / "relax.h").read_text()
    assert "const double *t,\n" in header
    assert "const int64_t t_strides[2]," in header
