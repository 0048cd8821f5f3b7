"""The primitive of JAX behind all calls of hpacml in programs: traced, lowered, batched and differentiated."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from hpacml.errors import DeviceError, HpacmlError
from hpacml.jax.collecting_effect import EFFECT
from hpacml.jax.eager import settled
from hpacml.jax.libraries import Primitive, ad, batching, jax, lax, mlir
from hpacml.jax.shards import results_in, together
from hpacml.jax.templates import Record
from hpacml.jax.xla_handler import TARGET, Hold, publish
from hpacml.jax.xla_stream import Queue

Call = TypeVar("Call", bound="XlaCall")
_MOST_PARTS = 64


class ArrayForm(NamedTuple):
    """The element type of an array, by its name in `hpacml.dtypes`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


class XlaCall(ABC):
    """A call in programs of XLA, for arrays of given forms.

    `results` are what it makes, `aliases` the arguments whose memory results take over, by number.
    """

    what: str
    """The name for messages, as in 'the region heat'."""
    has_effect = False
    """Whether it does more than to make results, so that it must run just as often as the program says."""

    def __init__(self, results: Sequence[Any], aliases: Mapping[int, int], key: object) -> None:
        self.results = tuple(results)
        self.aliases = dict(aliases)
        self.digest = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little", signed=True)

    @abstractmethod
    def make_record(self, for_gpus: bool) -> Record:
        """The record of the call, whose digest is `digest`. It is made when the first program is compiled."""

    @abstractmethod
    def answer(self, slots: int, status: int) -> None: ...

    @abstractmethod
    def answer_on(self, queue: Queue, slots: int) -> None: ...

    @abstractmethod
    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        """The tangents of the results. Raises HpacmlError where there are none."""

    def transpose(self, cotangents: Sequence[Any], arguments: Sequence[Any]) -> Sequence[Any]:
        """The cotangents of the arguments that are `None`, in which the call is linear, and None for others."""
        raise HpacmlError(f"{self.what} is not linear, so it has no transpose")

    def batch(
        self, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        """The results for batched arguments, whose first dimension is that of the batch, and which of them have it.

        By default it is one call after the other.
        """
        batched = [x for x, is_batched in zip(arguments, are_batched, strict=True) if is_batched]

        def one(given: Sequence[Any]) -> Sequence[Any]:
            rest = iter(given)
            chosen = [next(rest) if each else x for x, each in zip(arguments, are_batched, strict=True)]
            return self(*chosen)

        return lax.map(one, batched), [True] * len(self.results)

    def part(self, key: object, make: Callable[[], Call]) -> Call:
        """A call that stands for this one in derivatives or batches, and lives as long: JAX may forget a program, with
        what that keeps, while it runs."""
        if (found := self._parts.get(key)) is None:
            if len(self._parts) >= _MOST_PARTS:
                self._parts.clear()
            found = self._parts[key] = make()
        return found

    @cached_property
    def _parts(self) -> dict[object, Any]:
        return {}

    @cached_property
    def record(self) -> Record:
        return self.make_record(False)

    @cached_property
    def number(self) -> int:
        return publish(self, self.record)

    @cached_property
    def record_for_gpus(self) -> Record:
        return self.make_record(True)

    @cached_property
    def number_for_gpus(self) -> int:
        return publish(self, self.record_for_gpus, for_gpus=True)

    @cached_property
    def program(self) -> Any:
        """The program of this call alone."""
        return jax.jit(partial(primitive.bind, call=self))

    def __call__(self, *arguments: Any) -> Sequence[Any]:
        return primitive.bind(*together(arguments), call=self)


def _abstract(*arguments: Any, call: XlaCall) -> tuple[Sequence[Any], Any]:
    return results_in(arguments, call.results), {EFFECT} if call.has_effect else set[Any]()


def _run(*arguments: Any, call: XlaCall) -> Sequence[Any]:
    with jax.disable_jit(False):  # it has no other implementation than a program
        return settled(lambda: call.program(*arguments))


def _lower(context: Any, *operands: Any, call: XlaCall) -> Sequence[Any]:
    """The call in programs for the CPU. Raises DeviceError for those of other platforms."""
    if others := sorted({*(context.platforms or context.module_context.platforms)} - {"cpu"}):
        raise DeviceError(
            f"{call.what} runs in programs of JAX for the CPU and for GPUs of NVIDIA, and this one is for "
            f"{', '.join(others)}: place its arrays on jax.devices('cpu')[0], or call it outside of jit with arrays of "
            "NumPy"
        )
    return _lowered(context, operands, call, lambda: call.number)


def _lower_for_gpus(context: Any, *operands: Any, call: XlaCall) -> Sequence[Any]:
    """The call in programs for GPUs of NVIDIA."""
    return _lowered(context, operands, call, lambda: call.number_for_gpus)


def _lowered(context: Any, operands: Sequence[Any], call: XlaCall, number: Callable[[], int]) -> Sequence[Any]:
    _require_one_device(context.module_context, call)
    found = number()
    context.module_context.add_keepalive(Hold(call, found))
    rule = jax.ffi.ffi_lowering(TARGET, has_side_effect=call.has_effect, operand_output_aliases=call.aliases)
    return rule(context, *operands, digest=np.int64(call.digest), site=np.int64(found))


def _require_one_device(module: Any, call: XlaCall) -> None:
    """Raise DeviceError for programs that several devices share."""
    axes = module.axis_context
    devices = getattr(axes, "num_devices", 1)
    mesh = getattr(axes, "mesh", None)
    if mesh is not None and set(mesh.axis_names) - set(axes.manual_axes):
        devices = mesh.size
    if devices != 1:
        raise DeviceError(
            f"{call.what} is in a program for {devices} devices, among which JAX would part or repeat its arrays: call "
            "it inside of jax.shard_map over all axes of the mesh, where each shard is a call of its own"
        )


def _batched(
    arguments: Sequence[Any], dims: Sequence[Any], *, call: XlaCall
) -> tuple[Sequence[Any], Sequence[int | None]]:
    are_batched = [dim is not None for dim in dims]
    (size,) = {x.shape[dim] for x, dim in zip(arguments, dims, strict=True) if dim is not None}
    in_front = [
        jax.numpy.moveaxis(x, dim, 0) if is_batched else x
        for x, dim, is_batched in zip(arguments, dims, are_batched, strict=True)
    ]
    results, have_it = settled(lambda: call.batch(size, in_front, are_batched))
    return results, [0 if each else None for each in have_it]


def _differentiated(
    primals: Sequence[Any], tangents: Sequence[Any], *, call: XlaCall
) -> tuple[Sequence[Any], Sequence[Any]]:
    try:
        results = call(*primals)
        return results, call.differentiate(primals, list(map(ad.instantiate_zeros, tangents)), results)
    except HpacmlError as error:
        raise error.with_traceback(None)  # noqa: B904 (the same error, without the frames of tracing)


def _transposed(cotangents: Sequence[Any], *arguments: Any, call: XlaCall) -> Sequence[Any]:
    known = [None if ad.is_undefined_primal(x) else x for x in arguments]
    return call.transpose(list(map(ad.instantiate_zeros, cotangents)), known)


primitive = Primitive("hpacml_call")
primitive.multiple_results = True
primitive.def_impl(_run)
primitive.def_effectful_abstract_eval(_abstract)
mlir.register_lowering(primitive, _lower)
mlir.register_lowering(primitive, _lower_for_gpus, platform="cuda")
batching.primitive_batchers[primitive] = _batched
ad.primitive_jvps[primitive] = _differentiated
ad.primitive_transposes[primitive] = _transposed
