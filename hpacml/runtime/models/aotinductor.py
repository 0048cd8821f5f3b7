"""AOTInductor packages, which are compiled for one kind of processor and one device. Loading one can run any code."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

from hpacml.runtime.models.export import COMPILED, exported
from hpacml.runtime.models.network import Network

if TYPE_CHECKING:
    import torch


def recognises(content: bytes, members: Collection[str]) -> bool:
    """Tell whether an archive is an AOTInductor package."""
    return any(member.startswith(COMPILED) for member in members)


def read(file: io.BytesIO, device: str) -> Network:
    """Load the network of a package, on the kind of device that it is made for; `device` tells which one of these."""
    import torch

    # Without it the package reads its inputs as whatever dtype and shape it was compiled for.
    os.environ.setdefault("AOTI_RUNTIME_CHECK_INPUTS", "1")
    index = torch.device(device).index if device.startswith("cuda") else None
    load = cast(Any, torch)._inductor.aoti_load_package
    run = cast("Callable[..., object]", load(file, device_index=-1 if index is None else index))
    return Network(run, reads_only=True)


def write(module: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """Compile a module in evaluation mode for this kind of processor; it needs a C++ compiler."""
    import torch

    program = exported(module, example)
    _allow_few_rows(program)
    with tempfile.TemporaryDirectory(prefix="hpacml-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Torch's compiler
        path = os.path.join(folder, "model.pt2")
        cast(Any, torch)._inductor.aoti_compile_and_package(program, package_path=path)
        with open(path, "rb") as file:
            return file.read()


def _allow_few_rows(program: torch.export.ExportedProgram) -> None:
    """Let sizes that vary be 0 and 1 too: export supposes 2 at least, and the compiled code would insist on that."""
    import torch
    from torch.utils._sympy.value_ranges import ValueRanges

    values = (node.meta.get("val") for node in program.graph.nodes)
    environments = [cast(Any, value).fake_mode.shape_env for value in values if isinstance(value, torch.Tensor)]
    for ranges in (cast(Any, program).range_constraints, *(shapes.var_to_range for shapes in environments)):
        for size, known in ranges.items():
            if known.lower == 2:
                ranges[size] = ValueRanges(0, known.upper)
