"""The dialects, passes and targets that `xdsl-opt`, `xdsl-gui` and `hpacml-opt` get by the entry point."""

import sys
from pathlib import Path

from xdsl.universe import Universe
from xdsl.utils.target import Target

from hpacml.dialects import get_all_dialects
from hpacml.passes import get_all_passes


def _ptx() -> type[Target]:
    from hpacml.tools.assembly_targets import PtxTarget

    return PtxTarget


def _amdgcn() -> type[Target]:
    from hpacml.tools.assembly_targets import AmdgcnTarget

    return AmdgcnTarget


HPACML_UNIVERSE = Universe(
    all_dialects=get_all_dialects(),
    all_passes=get_all_passes(),
    all_targets={"ptx": _ptx, "amdgcn": _amdgcn},
)

if Path(sys.argv[0]).name == "xdsl-opt":
    from hpacml.tools.errors_of_xdsl_opt import place_operations, shorten_errors

    shorten_errors()
    place_operations()
