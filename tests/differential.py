"""The product beside the oracle: the same call through a functor, a region or a kernel, compared bit for bit."""

from __future__ import annotations

import importlib.util
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

import hpacml
from tests import oracle
from tests.strategies import (
    INTEGERS,
    KERNEL_DTYPES,
    Binding,
    New,
    Program,
    arrays_of,
    lay,
    new,
    reproducer,
    tensor_layout,
    tensor_of,
)

NO_MISFIT = "64 bits", "no memory", "cannot show that"
"""In messages about numbers that the definition has no limit for, and machines have."""

JAXTYPING = {name: f"{'UInt' if name[0] == 'u' else 'Int'}{name[1:]}" for name in INTEGERS}
JAXTYPING |= {"bool": "Bool", "f32": "Float32", "f64": "Float64"}


@dataclass
class Call:
    """A call of the product, and what came of it: the tensor that was gathered, if any."""

    program: Program
    names: dict[str, Any]
    tensor: Any = None
    out: Any = None
    gathered: Any = None


Way = Callable[[Call], None]
"""Runs a call."""


class Placement:
    """Where the arrays of calls are: here on the host."""

    target: str | None = None
    """Of functors, regions and kernels."""

    def there(self, array: Any) -> Any:
        """An array with the same elements and strides, for the product to work on."""
        return array

    def host(self, array: Any) -> Any:
        """The elements of such an array, or of a tensor that the product has made, in memory of the host."""
        return array


placement = Placement()
"""Tests put another one here."""


def by_functor(call: Call) -> None:
    f = functor(call.program.functor, placement.target)
    if call.program.direction == "to":
        call.gathered = f.gather(call.program.targets, **call.names)
    else:
        f.scatter(call.tensor, call.program.targets, **call.names)


def by_functor_out(call: Call) -> None:
    f = functor(call.program.functor, placement.target)
    call.gathered = f.gather(call.program.targets, out=call.out, **call.names)
    assert call.gathered is call.out


def by_functor_unchecked(call: Call) -> None:
    f = functor(call.program.functor, placement.target)
    if call.program.direction == "to":
        call.gathered = f.gather(call.program.targets, unchecked=True, **call.names)
    else:
        f.scatter(call.tensor, call.program.targets, unchecked=True, **call.names)


@lru_cache(64)
def functor(text: str, target: Any) -> Any:
    return hpacml.functor(f"f: {text}", target=target)


class Recorder:
    """A model that keeps its input, and returns what it is told."""

    def __init__(self, output: Any):
        self.input: Any = None
        self.output = output

    def __call__(self, x: torch.Tensor) -> Any:
        self.input = x.clone()
        return torch.as_tensor(self.output).to(x.device)


def clauses(way: str, program: Program) -> str:
    """The ml directive in which the map of the program is the input, the output or both."""
    mapped = f"f({program.targets})"
    match way:
        case "collect":
            return f'ml(collect) in({mapped}) out(spare(o[0:1])) database(net) label("r")'
        case "inout":
            return f"ml(infer) inout({mapped}) model(net)"
        case _ if program.direction == "to":
            return f"ml(infer) in({mapped}) out(spare(o[0:1])) model(net)"
        case _:
            return f"ml(infer) in(spare(o[0:1])) out({mapped}) model(net)"


@lru_cache(256)
def region(program: Program, names: tuple[str, ...], way: str, target: str | None) -> Any:
    directives = f"tensor functor(f: {program.functor})\ntensor functor(spare: [i] = ([i]))\n{clauses(way, program)}"
    scope: dict[str, Any] = {"hpacml": hpacml}
    exec(f"@hpacml.region({directives!r}, target={target!r})\ndef marked({', '.join(names)}, o, net): pass", scope)
    return scope["marked"]


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="hpacml-kernels-"))


numbered = count()


@lru_cache(256)
def kernel(
    program: Program, names: tuple[str, ...], ranks: tuple[int | None, ...], way: str, target: str | None
) -> Any:
    """A kernel in a file of its own, since kernels are compiled from their source."""
    dtypes = dict(program.dtypes)

    def annotation(name: str, rank: int | None) -> str:
        return "int" if rank is None else f'{JAXTYPING[dtypes[name]]}[np.ndarray, "{" ".join(["_"] * rank)}"]'

    parameters = [f"{name}: {annotation(name, rank)}" for name, rank in zip(names, ranks, strict=True)]
    path = folder() / f"kernel_{next(numbered)}.py"
    path.write_text(
        "from typing import Any\n"
        "import numpy as np\n"
        f"from jaxtyping import {', '.join(JAXTYPING.values())}\n"
        "import hpacml\n"
        "from hpacml import approx\n\n"
        f"@hpacml.kernel{'' if target is None else f'(target={target!r})'}\n"
        f'def marked({", ".join(parameters)}, o: Float32[np.ndarray, "_"], net: Any):\n'
        f"    approx({f'tensor functor(f: {program.functor})'!r})\n"
        '    approx("tensor functor(spare: [i] = ([i]))")\n'
        f"    with approx({clauses(way, program)!r}):\n"
        "        o[0] = 1.0\n",
        encoding="utf-8",
    )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.marked


def by_ml(kind: str, way: str) -> Way:
    """Through a region or a kernel: `way` is infer, collect or inout."""

    def run(call: Call) -> None:
        names, spare = tuple(call.names), placement.there(np.zeros(1, np.float32))
        if kind == "region":
            marked = region(call.program, names, way, placement.target)
        else:
            ranks = tuple(getattr(value, "ndim", None) for value in call.names.values())
            marked = kernel(call.program, names, ranks, way, placement.target)
        if way == "collect":
            path = folder() / f"collected_{next(numbered)}.h5"
            marked(*call.names.values(), spare, str(path))
            hpacml.flush()
            with h5py.File(path) as file:
                call.gathered = torch.from_numpy(file["r/input"][0])
            path.unlink()
            return
        net = Recorder(np.zeros(1, np.float32) if call.tensor is None else call.tensor)
        marked(*call.names.values(), spare, net)
        call.gathered = net.input if way == "inout" or call.program.direction == "to" else None

    return run


WAYS: dict[str, Way] = {
    "functor": by_functor,
    "functor out": by_functor_out,
    "functor unchecked": by_functor_unchecked,
    "region": by_ml("region", "infer"),
    "region inout": by_ml("region", "inout"),
    "region collect": by_ml("region", "collect"),
    "kernel": by_ml("kernel", "infer"),
    "kernel inout": by_ml("kernel", "inout"),
}


def applies(way: str, program: Program) -> bool:
    if way.startswith("kernel") and not all(dtype in KERNEL_DTYPES for _, dtype in program.dtypes):
        return False
    if way.endswith("unchecked") and "[r" not in program.targets and ", r" not in program.targets:
        return False
    return {"inout": "from", "collect": "to", "out": "to"}.get(way.split()[-1], program.direction) == program.direction


# -- comparing -------------------------------------------------------------------------------------

tally: Counter[str] = Counter()
"""How many calls were valid, misfits, not decided."""


def same(found: Any, expected: Any, exact: bool) -> bool:
    """Whether two arrays have the same bits; if not `exact`, any NaN equals any other."""
    a, b = oracle.raw(found), oracle.raw(expected)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if exact or a.dtype.kind != "f":
        kind = f"u{a.dtype.itemsize}"
        equal = np.ascontiguousarray(a).view(kind) == np.ascontiguousarray(b).view(kind)
        if not exact and oracle.dtype_of(expected) == "bf16":
            equal |= np.isnan(found.float().numpy()) & np.isnan(expected.float().numpy())
        return bool(equal.all())
    zeros = np.signbit(a) == np.signbit(b)
    return bool((((a == b) & zeros) | (np.isnan(a) & np.isnan(b))).all())


def expectation(call: Call) -> Call | None:
    """What the definition says, on arrays that are the oracle's own; None for a misfit."""
    program, names = call.program, call.names
    try:
        if program.direction == "to":
            dtype = None if call.out is None else oracle.dtype_of(call.out)
            call.gathered = oracle.gather(program.functor, program.targets, names, dtype)
        else:
            oracle.scatter(call.tensor, program.functor, program.targets, names)
    except oracle.Misfit:
        return None
    return call


def tensor_for(program: Program, binding: Binding, names: dict[str, Any], way: str) -> Any:
    """The tensor to be scattered; regions convert to the common dtype of the arrays first."""
    if program.direction == "to":
        return None
    try:
        shape = oracle.meaning(program.functor, program.targets, names, "from")[0]
    except oracle.Misfit:
        shape = [1]
    common = None
    if not way.startswith("functor"):
        data = {t.name for t in oracle.read_targets(program.targets, names)} if shape != [1] else set(names)
        try:
            common = oracle.promote([d for name, d in program.dtypes if name in data])
        except oracle.Misfit as error:  # there is no dtype for the tensor of such a region
            raise oracle.Unspecified from error
        if 0 in shape:  # then the model does not run, and nobody sees what it would return
            binding = replace(binding, wrong_tensor=False)
    return tensor_of(program, binding, shape, common)


def out_for(program: Program, binding: Binding, names: dict[str, Any], memory: New) -> Any:
    """The tensor to be gathered into, of a dtype to which the arrays' can be converted."""
    try:
        shape = oracle.meaning(program.functor, program.targets, names, "to")[0]
    except oracle.Misfit:
        shape = [1]
    of_floats = any(dtype in oracle.FLOATS for _, dtype in program.dtypes)
    blank = oracle.empty(
        shape, program.tensor_dtype if program.tensor_dtype in oracle.FLOATS or not of_floats else "f32"
    )
    return lay(blank, tensor_layout(program, binding, blank), memory)


def compare(program: Program, binding: Binding, way: str = "functor", memory: New = new) -> None:
    """Raises AssertionError with a script that shows it if the product does what the oracle does not."""
    ours = dict(binding.numbers) | arrays_of(program, binding)
    try:
        tensor = tensor_for(program, binding, ours, way)
        inputs = dict(binding.numbers) | arrays_of(program, binding)
        out = out_for(program, binding, ours, memory) if way.endswith(" out") else None
        expected = expectation(Call(program, ours, tensor, out))
        before = None
        if way.endswith("inout") and expected is not None:
            before = oracle.gather(program.functor, program.targets, inputs)
    except (oracle.TooLarge, oracle.Unspecified):
        tally["not decided"] += 1
        return
    if expected is None and way.endswith("unchecked"):  # then anything may happen
        return
    tally["misfit" if expected is None else "valid"] += 1

    laid = tensor
    if tensor is not None and way in ("functor", "functor unchecked"):
        laid = lay(tensor, tensor_layout(program, binding, tensor), memory)
    call = Call(program, dict(binding.numbers) | arrays_of(program, binding, memory), laid, out)
    script = f"{way}: {program}\n{binding}\n\n{reproducer(program, binding, tensor)}"
    try:
        run(call, way)
    except hpacml.HpacmlError as error:
        unchanged(call.names, inputs, script)
        if expected is not None and not any(words in str(error) for words in NO_MISFIT):
            raise AssertionError(f"valid, but: {error}\n{script}") from error
        return
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"raises {type(error).__name__}: {error}\n{script}") from error
    if expected is None:
        raise AssertionError(f"an error that was not found\n{script}")
    _same_result(call, expected, before, way, script)


def run(call: Call, way: str) -> None:
    """Run a call where the arrays are to be, and have what comes of it in its own arrays."""

    def placed(value: Any) -> Any:
        return value if value is None or isinstance(value, int) else placement.there(value)

    names = {name: placed(value) for name, value in call.names.items()}
    tensor = placed(call.tensor) if way.startswith("functor") else call.tensor  # else a model returns it
    moved = replace(call, names=names, tensor=tensor, out=placed(call.out))
    try:
        WAYS[way](moved)
    finally:
        for name, value in call.names.items():
            if not isinstance(value, int) and (found := placement.host(names[name])) is not value and _writable(value):
                value[...] = found
    call.gathered = None if moved.gathered is None else placement.host(moved.gathered)


def _writable(array: Any) -> bool:
    return not isinstance(array, np.ndarray) or array.flags.writeable


def _same_result(call: Call, expected: Call, before: Any, way: str, script: str) -> None:
    dtypes = dict(call.program.dtypes)
    if call.tensor is not None and not same(call.tensor, expected.tensor, True):
        raise AssertionError(f"the tensor has changed\n{script}")
    wanted = expected.gathered if before is None else before
    # An inference without anything to write does not run the model; HDF5 has no bfloat16.
    if wanted is not None and not (before is not None and 0 in tuple(wanted.shape)):
        if way.endswith("collect") and oracle.dtype_of(wanted) == "bf16":
            wanted = wanted.float().numpy()
        data = {dtype for name, dtype in dtypes.items() if not name.startswith("r")}  # the others hold indices
        exact = {oracle.dtype_of(wanted)} == data and not way.endswith("collect")
        if not same(call.gathered, wanted, exact):
            raise AssertionError(f"gathered\n{call.gathered}\ninstead of\n{wanted}\n{script}")
    for name, dtype in dtypes.items():
        written = call.program.direction == "from"
        exact = not written or oracle.dtype_of(call.tensor) == dtype
        if not same(call.names[name], expected.names[name], exact):
            raise AssertionError(f"'{name}' is\n{call.names[name]}\ninstead of\n{expected.names[name]}\n{script}")


def unchanged(names: dict[str, Any], before: dict[str, Any], script: str) -> None:
    for name, array in before.items():
        if not isinstance(array, int) and not same(names[name], array, True):
            raise AssertionError(f"an error, but '{name}' has changed\n{script}")
