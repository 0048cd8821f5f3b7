"""Functions of JAX as models of regions of NumPy and Torch, and files of them, made by `jax.export`.

It imports JAX when there is such a model.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from hpacml.errors import MissingExtra, ModelError, summary
from hpacml.runtime.models.network import InputType, Network

if TYPE_CHECKING:
    import torch

_MAGIC = b"hpacml-jax 1\n"
_MODULES = ("equinox", "flax")
"""The packages whose modules are functions of JAX."""


class _Inside(threading.local):
    program = False


inside = _Inside()
"""Whether this thread runs a program of JAX, which must not wait for another one."""


def _jax() -> Any:
    try:
        return import_module("jax")
    except ImportError as error:
        raise MissingExtra("a model of JAX needs JAX, which is not installed: pip install 'hpacml[jax]'") from error


# -- functions -------------------------------------------------------------------------------------


def is_jitted(network: object) -> bool:
    """Whether a callable shows that it is JAX's: a function of `jax.jit`, or a module of Equinox or Flax."""
    kind = cast("type[Any]", type(network))
    if kind.__module__.startswith(("jaxlib", "jax.")) and hasattr(network, "lower"):
        return True
    return any(each.__module__.partition(".")[0] in _MODULES for each in kind.__mro__)


def on_tensors(network: Callable[..., Any]) -> Callable[..., object]:
    """A function of JAX as one on tensors of Torch. Results have memory of their own."""
    jax = _jax()

    def run(*tensors: torch.Tensor) -> object:
        if inside.program:
            raise ModelError(
                "a program of JAX cannot run a model of JAX that it was not made with: the file was not there, or was "
                "another one, when JAX traced the region; trace it again (jax.clear_caches())"
            )
        wide = any(x.dtype.itemsize == 8 for x in tensors)
        with _numbers(jax, wide):
            given = [jax.dlpack.from_dlpack(x.detach().contiguous().clone()) for x in tensors]
            return jax.tree.map(_tensor, _in_order(jax.block_until_ready(network(*given))))

    return run


def _numbers(jax: Any, wide: bool) -> AbstractContextManager[object]:
    """Numbers of 64 bits stay what they are."""
    return jax.enable_x64(True) if wide else nullcontext()


def _in_order(returned: object) -> object:
    return tuple(cast("Sequence[object]", returned)) if isinstance(returned, list) else returned


def _tensor(array: Any) -> torch.Tensor:
    torch: Any = import_module("torch")
    return torch.utils.dlpack.from_dlpack(array).clone()  # JAX's memory must not be written


# -- files -----------------------------------------------------------------------------------------


def is_one(path: str) -> bool:
    """Tell whether a path leads to a file of `write_function`, by its first bytes."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def recognises(content: bytes, members: Collection[str]) -> bool:
    """Tell whether a file is one of `write_function`."""
    return content.startswith(_MAGIC)


def read(content: bytes, device: str) -> Network:
    """Load the function of a file. Raises ValueError, and what JAX raises."""
    program, metadata = decode(content)
    inputs = tuple(_declared(aval) for aval in program.in_avals)
    return Network(on_tensors(program.call), inputs=inputs, reads_only=True).with_metadata(metadata)


def decode(content: bytes) -> tuple[Any, Mapping[str, Any]]:
    """The `jax.export.Exported` of a file, and what stands beside it. Raises ValueError, and what JAX raises."""
    head, size = len(_MAGIC), int.from_bytes(content[len(_MAGIC) : len(_MAGIC) + 8], "little")
    if head + 8 + size > len(content):
        raise ValueError("the file is not complete")
    metadata = json.loads(content[head + 8 : head + 8 + size])
    if not isinstance(metadata, dict):
        raise ValueError("what stands beside the function is no object of JSON")
    export = _export()
    return export.deserialize(bytearray(content[head + 8 + size :])), cast("dict[str, Any]", metadata)


def write_module(module: torch.nn.Module, example: Sequence[torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Refuse a module of Torch, whose formats are others."""
    raise TypeError(f"a {type(module).__name__} of Torch is no function of JAX")


def write_function(
    function: Callable[..., Any], example: Sequence[torch.Tensor], metadata: Mapping[str, Any], name: str
) -> bytes:
    """Write the file of a function, whose inputs may have any number of rows if it can be traced so.

    Raises ModelError for a function that JAX cannot export, or that computes another thing then.
    """
    from hpacml.runtime.models.outputs import fields

    jax, export = _jax(), _export()
    wide = any(x.dtype.itemsize == 8 for x in example)
    with _numbers(jax, wide):
        arrays = [jax.dlpack.from_dlpack(x.contiguous().clone()) for x in example]

        def run(*given: Any) -> Any:  # modules of Equinox and Flax have no hash, which jax.jit asks for
            returned = function(*given)
            return tuple(returned) if fields(returned) else returned  # files have no named tuples

        program = _exported(jax, export, jax.jit(run), arrays, name)
        for given in (arrays, [jax.numpy.concatenate([x, x[:1]]) for x in arrays if x.ndim]):
            if len(given) == len(arrays) and _takes(program, given):
                _prove(jax, program, function, given, name)
        names = fields(jax.eval_shape(function, *arrays))
        text = json.dumps({**metadata, "outputs": names} if names else dict(metadata)).encode()
        return b"".join((_MAGIC, len(text).to_bytes(8, "little"), text, bytes(_serialized(program))))


def _export() -> Any:
    _jax()
    try:
        import_module("flatbuffers")
    except ImportError as error:
        raise MissingExtra("files of models of JAX need flatbuffers: pip install 'hpacml[jax]'") from error
    return import_module("jax.export")


def _exported(jax: Any, export: Any, function: Any, arrays: Sequence[Any], name: str) -> Any:
    """The program, with rows that may vary, else with those of the example."""
    (rows,) = export.symbolic_shape("rows")
    fixed = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
    varying = [jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) if x.ndim else x for x in fixed]
    try:
        return export.export(function)(*varying)
    except Exception:
        pass  # it decides by the number of rows, or makes none of them
    try:
        return export.export(function)(*fixed)
    except Exception as error:
        raise ModelError(f"JAX cannot export {name} with this example: {summary(error)}") from error


def _serialized(program: Any) -> Any:
    """The bytes of a program, with its gradient where it has one."""
    try:
        return program.serialize(vjp_order=1)
    except Exception:
        return program.serialize()


def _takes(program: Any, arrays: Sequence[Any]) -> bool:
    return all(_declared(aval).fits(x.shape) for aval, x in zip(program.in_avals, arrays, strict=True))


def _prove(jax: Any, program: Any, function: Callable[..., Any], arrays: Sequence[Any], name: str) -> None:
    """Raise ModelError unless the program computes what the function does."""
    found, wanted = (jax.tree.leaves(each(*arrays)) for each in (program.call, function))
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or not bool(jax.numpy.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)):
            raise ModelError(f"the file of {name} would not compute what it does: does it depend on anything else?")


def _declared(aval: Any) -> InputType:
    import torch

    shape = tuple(size if isinstance(size, int) else None for size in aval.shape)
    return InputType(getattr(torch, aval.dtype.name), shape)
