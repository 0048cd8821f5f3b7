"""Random small networks through all formats of files and all doors, against the module itself in evaluation mode.

`python -m tests.fuzz --examples 500 --seed 1 models`. Each difference is printed as a script. Each example depends on the
seed and its own number alone: `--only` runs one again.
"""

from __future__ import annotations

import copy
import importlib.util
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import nn

import hpacml
from hpacml import approx
from hpacml.runtime.models import torchscript, trust
from tests import fuzz_networks

ROWS = (0, 1, 2, 17)
FEATURES = ("float64", "float64", "float32", "uint8", "int32", "int64")
INDICES = ("uint8", "int32", "int64")
ENOUGH = 10
"""Differences after which a search ends."""

Arrays = dict[str, np.ndarray[Any, Any]]


# -- doors -----------------------------------------------------------------------------------------------

FUNCTORS = """tensor functor(one: [i] = ([i]))
              tensor functor(three: [i, 0:3] = ([i, 0:3]))
              tensor functor(four: [i, 0:4] = ([i, 0:4]))
              tensor functor(pair: [i, 0:2] = ([i, 0:2]))
              tensor functor(image: [i, 0:1, 0:6, 0:6] = ([i, 0:36]))
              """
MAPS = {
    "rows": "in(four(x[0:n, 0:4])) out(three(y[0:n, 0:3]))",
    "two": "in(four(x[0:n, 0:4]), one(ids[0:n])) out(three(y[0:n, 0:3]), one(z[0:n]))",
    "graph": "in(four(x[0:n, 0:4]), pair(edges[0:m, 0:2])) out(three(y[0:n, 0:3]))",
    "image": "in(image(x[0:n, 0:36])) out(three(y[0:n, 0:3]))",
    "ids": "in(one(ids[0:n])) out(three(y[0:n, 0:3]))",
}
PARAMETERS = {
    "rows": "x, y, n",
    "two": "x, ids, y, z, n",
    "graph": "x, edges, y, n, m",
    "image": "x, y, n",
    "ids": "ids, y, n",
}
_regions: dict[tuple[str, str], Callable[..., None]] = {}


def region(signature: str, clause: str) -> Callable[..., None]:
    """The region with these maps and this clause."""
    if (found := _regions.get((signature, clause))) is None:
        bodies: dict[str, Any] = {}
        exec(f"def {signature}({PARAMETERS[signature]}, net): raise AssertionError('the body ran')", bodies)
        text = f"{FUNCTORS}ml(infer) {MAPS[signature]} model(net) {clause}"
        found = _regions[signature, clause] = hpacml.region(text)(bodies[signature])
    return found


Rows = Float64[np.ndarray, "N F"]
Results = Float64[np.ndarray, "N G"]
Numbers = Float64[np.ndarray, "N"]
Indices = Int64[np.ndarray, "N"]


@hpacml.kernel
def rows_kernel(x: Rows, y: Results, n: int, net: Any):
    approx("tensor functor(three: [i, 0:3] = ([i, 0:3]))")
    approx("tensor functor(four: [i, 0:4] = ([i, 0:4]))")
    with approx("ml(infer) in(four(x[0:n, 0:4])) out(three(y[0:n, 0:3])) model(net)"):
        y[0, 0] = 0.0


@hpacml.kernel
def two_kernel(x: Rows, ids: Indices, y: Results, z: Numbers, n: int, net: Any):
    approx("tensor functor(one: [i] = ([i]))")
    approx("tensor functor(three: [i, 0:3] = ([i, 0:3]))")
    approx("tensor functor(four: [i, 0:4] = ([i, 0:4]))")
    with approx("ml(infer) in(four(x[0:n, 0:4]), one(ids[0:n])) out(three(y[0:n, 0:3]), one(z[0:n])) model(net)"):
        y[0, 0] = 0.0


KERNELS: dict[str, Any] = {"rows": rows_kernel, "two": two_kernel}
DOORS = ("region", "batch", "batch(2)", "kernel", "threads", "kept", "again")
WAYS = ("passed", "passed TorchScript", "passed program", "pt", "pt2", "safetensors", "foreign TorchScript")


# -- one call --------------------------------------------------------------------------------------------


def arrays(signature: str, rows: int, features: str, indices: str, seed: int) -> Arrays:
    """The arrays of a call, in order, with room for the outputs."""
    rng = np.random.default_rng(seed * 100 + rows)
    wide = 36 if signature == "image" else 4
    floats = features.startswith("float")
    x = (rng.standard_normal((rows, wide)) if floats else rng.integers(0, 9, (rows, wide))).astype(features)
    made: Arrays = {"x": x} if signature != "ids" else {}
    if signature in ("two", "ids"):
        made["ids"] = rng.integers(0, 10, rows).astype(indices)
    if signature == "graph":
        made["edges"] = rng.integers(0, max(1, rows), (2 * rows, 2)).astype(indices)
    made["y"] = np.full((rows, 3), -7.0, features if floats else "float64")
    if signature == "two":
        made["z"] = np.full(rows, -7.0, features if floats else "float64")
    return made


def inputs(signature: str, made: Arrays, net: nn.Module) -> list[torch.Tensor]:
    """The inputs as the module itself takes them."""
    floating = next(p.dtype for p in net.parameters() if p.is_floating_point())
    found = [torch.from_numpy(made[name]) for name in ("x", "ids", "edges") if name in made]
    if signature == "image":
        found[0] = found[0].reshape(-1, 1, 6, 6)
    return [x.to(floating if n == 0 and signature != "ids" else torch.int64) for n, x in enumerate(found)]


def expected(net: nn.Module, signature: str, made: Arrays) -> dict[str, tuple[torch.Tensor, float]]:
    """What the module gives in evaluation mode, by the names of the outputs, and how far these are rounding."""
    exact = copy.deepcopy(net).double()
    precise = computed(exact, signature, made)
    found = computed(net, signature, made)
    return {name: (y, float((y - precise[name]).abs().nan_to_num(0).max())) for name, y in found.items()}


def computed(net: nn.Module, signature: str, made: Arrays) -> dict[str, torch.Tensor]:
    """What a copy of the module gives in evaluation mode, by the names of the outputs."""
    with torch.no_grad():
        returned: Any = copy.deepcopy(net).eval()(*inputs(signature, made, net))
    if hasattr(returned, "y"):
        named = {name: getattr(returned, name) for name in ("y", "z") if hasattr(returned, name)}
    elif isinstance(returned, dict):
        named = cast("dict[str, torch.Tensor]", returned)
    else:
        sequence = (returned,) if isinstance(returned, torch.Tensor) else returned
        named = dict(zip("yz", sequence, strict=False))
    return {name: named[name].reshape(made[name].shape) for name in ("y", "z") if name in made}


def call(door: str, signature: str, made: Arrays, network: Any) -> None:
    """One call through a region or a kernel."""
    given = list(made.values())
    count = len(made.get("x", made.get("ids", ())))
    numbers = [count, *([len(made["edges"])] if signature == "graph" else [])]
    clause = door if door.startswith("batch") else ""
    entered = KERNELS[signature] if door == "kernel" else region(signature, clause)
    entered(*given, *numbers, network)


def compare(found: Arrays, wanted: dict[str, tuple[torch.Tensor, float]], what: str) -> None:
    """Raise AssertionError for outputs that differ by more than rounding."""
    for name, (values, rounding) in wanted.items():
        y, w = torch.from_numpy(found[name]).double(), values.double()
        tolerance = 1e-9 if found[name].dtype == np.float64 and values.dtype == torch.float64 else 2e-4
        scale = float(w[w.isfinite()].abs().max()) if w.isfinite().any() else 1.0
        if not torch.allclose(y, w, rtol=tolerance, atol=tolerance * scale + 16 * rounding, equal_nan=True):
            raise AssertionError(f"{what}: {name} is\n{y}\ninstead of\n{w}")


# -- one check -------------------------------------------------------------------------------------------


def given_as(way: str, net: nn.Module, signature: str, example: Arrays, folder: Path) -> Any:
    """The network as it is given to a region. Raises ModelError where a format does not hold it."""
    taken = inputs(signature, example, net)
    if way == "passed":
        return net
    if way in fuzz_networks.FORMATS:
        raw = [example[name] for name in ("x", "ids", "edges") if name in example]
        raw[0] = raw[0].reshape(taken[0].shape)
        compiled = way == "aotinductor"
        path = folder / f"net.{'pt2' if compiled else way}"
        return hpacml.save_model(net, path, example=tuple(raw), format="aotinductor" if compiled else None)
    evaluated = copy.deepcopy(net).eval()
    if way == "passed program":
        shapes = tuple({0: torch.export.Dim.AUTO} for _ in taken)
        return torch.export.export(evaluated, tuple(taken), dynamic_shapes=shapes).module()
    with torchscript.jit() as jit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = jit.trace(evaluated, tuple(taken), check_trace=False)
        if way == "passed TorchScript":
            return made
        jit.save(made, folder / "foreign.pt")
    trust.trust(folder / "foreign.pt")
    return str(folder / "foreign.pt")


def check(
    make: Callable[[], nn.Module],
    signature: str,
    way: str,
    doors: Sequence[str],
    features: str,
    indices: str,
    example_rows: int,
    rows: Sequence[int],
    refusable: Sequence[str] = (),
    counts: bool = False,
) -> str:
    """Give a network in one way through some doors, and compare; "refused" where a format may refuse it, and does.

    Raises AssertionError for a difference, and whatever else comes out.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        net = make()
        before = _state(net)
        try:
            network = given_as(way, net, signature, arrays(signature, example_rows, features, indices, 1), Path(folder))
        except hpacml.ModelError:
            if way not in refusable:
                raise
            network = None
        if _state(net) != before:
            raise AssertionError(f"{way} has changed the state of the module")
        if network is None:
            return "refused"
        for door in doors:
            _through(door, net, network, signature, features, indices, rows)
        after = _state(net)
        if way != "passed" or not counts:
            if after != before:
                raise AssertionError(f"calls have changed the state of the module given as {way}")
    return "compared"


def _through(
    door: str, net: nn.Module, network: Any, signature: str, features: str, indices: str, rows: Sequence[int]
) -> None:
    made = {count: arrays(signature, count, features, indices, 2) for count in rows}
    wanted = {count: expected(net, signature, each) for count, each in made.items() if count}
    wanted |= {0: {}}

    def one(count: int, door: str = door) -> None:
        each = {name: array.copy() for name, array in made[count].items()}
        call(door, signature, each, network)
        compare(each, wanted[count], f"{door} with {count} rows")

    if door == "threads":
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [*rows, *rows, *rows], ["region"] * 3 * len(rows)))
    elif door == "kept":
        _kept(net, network, one, rows)
    elif door == "again":
        each = arrays(signature, rows[0], features, indices, 3)
        for seed in (3, 4, 4, 5):  # other values in the same memory
            for name, array in arrays(signature, rows[0], features, indices, seed).items():
                each[name][...] = array
            call("region", signature, each, network)
            compare(each, expected(net, signature, each) if rows[0] else {}, f"the same memory with values of {seed}")
    else:
        for count in rows:
            one(count)


def _kept(net: nn.Module, network: Any, one: Callable[..., None], rows: Sequence[int]) -> None:
    """Tensors that a hook keeps stay what they were."""
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    if network is not net:
        return
    hook = net.register_forward_pre_hook(lambda _, given: kept.extend((x, x.clone()) for x in given))
    try:
        for count in (*rows, *rows):
            one(count, "region")
    finally:
        hook.remove()
    for tensor, copied in kept:
        if not torch.equal(tensor, copied):
            raise AssertionError(f"a tensor that a hook keeps has become\n{tensor}\ninstead of\n{copied}")


def _state(net: nn.Module) -> tuple[object, ...]:
    training = tuple(part.training for part in net.modules())
    return training, tuple((n, tuple(t.detach().flatten().tolist())) for n, t in net.state_dict().items())


# -- the search ------------------------------------------------------------------------------------------


def load(text: str, folder: Path, number: int) -> ModuleType:
    """Import the text of a network; TorchScript reads it, too."""
    path = folder / f"network_{number}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def example(
    seed: int, number: int, folder: Path, compiled: bool = False
) -> list[tuple[str, Callable[[ModuleType], str]]]:
    """Make the checks of one example, each with its script."""
    rng = random.Random(f"{seed}:{number}")
    generated = fuzz_networks.generate(rng, rng.randrange(1 << 20))
    features, indices = rng.choice(FEATURES), rng.choice(INDICES)
    held = [way for way in WAYS if way != "safetensors" or "safetensors" not in generated.refusable]
    if generated.refusable & {"pt", "pt2"}:
        held = [way for way in held if way not in ("passed TorchScript", "passed program", "foreign TorchScript")]
    if "Data" in generated.text.rpartition("return ")[2] or "Named" in generated.text or "{'y" in generated.text:
        held = [way for way in held if way not in ("passed TorchScript", "passed program", "foreign TorchScript")]
    ways = ["passed", *rng.sample(held[1:], min(2, len(held) - 1)), *(["aotinductor"] if compiled else [])]
    doors = ["region", "kept", "again", "threads"]
    doors += (
        ["batch", "batch(2)"] if generated.rowwise and not generated.counts and generated.signature != "graph" else []
    )
    if (
        generated.signature in KERNELS
        and features == "float64"
        and (generated.signature == "rows" or indices == "int64")
    ):
        doors.append("kernel")
    checks: list[tuple[str, Callable[[ModuleType], str]]] = []
    for way in ways:
        options = {
            "signature": generated.signature,
            "way": way,
            "doors": rng.sample(doors, min(len(doors), 2)),
            "features": features,
            "indices": indices,
            "example_rows": rng.choice([1, 2, 5, 8]),
            "rows": rng.sample(ROWS, 4),
            "refusable": sorted(generated.refusable),
            "counts": generated.counts,
        }
        listed = ", ".join(f"{name}={value!r}" for name, value in options.items())
        script = f"{generated.text}\n\nif __name__ == '__main__':\n    from tests.fuzz_models import check\n\n    print(check(make, {listed}))\n"
        checks.append((script, lambda module, options=options: check(module.make, **cast(Any, options))))
    return checks


def search(
    examples: int, seed: int, trace: Path | None = None, only: int | None = None, compile_every: int = 200
) -> int:
    """Run examples, print a script for each difference, and give their number."""
    start, found = time.time(), 0
    tally = Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(examples) if only is None else [only]:
            module: ModuleType | None = None
            for script, run in example(seed, number, folder, compiled=number % compile_every == compile_every - 1):
                if trace is not None:
                    trace.write_text(script, encoding="utf-8")
                try:
                    if module is None:
                        module = load(script.partition("\n\nif __name__")[0], folder, number)
                    tally[run(module)] += 1
                except Exception:
                    found += 1
                    print(f"\n# -- seed {seed}, example {number}\n{script}\n", flush=True)
                    print("\n".join(f"# {line}" for line in traceback.format_exc().splitlines()[-25:]), flush=True)
            sys.modules.pop(f"network_{number}", None)
            if number % 100 == 99 or only is not None:
                done = ", ".join(f"{count} {what}" for what, count in sorted(tally.items()))
                print(
                    f"seed {seed}: {number + 1} networks in {time.time() - start:.0f} s, {done}, {found} differences",
                    flush=True,
                )
            if found >= ENOUGH:
                break
    return found
