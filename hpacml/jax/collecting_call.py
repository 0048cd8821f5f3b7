"""Collection in programs of XLA: a time stamp before the original code, and the call's record behind it."""

from __future__ import annotations

import atexit
import ctypes
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hpacml.directives.syntax import MlDirective
from hpacml.errors import HpacmlError
from hpacml.frontend.maps import AppliedFunctor
from hpacml.frontend.scope import Keyword
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.compiled_call import CompiledCall
from hpacml.jax.libraries import ShapeDtypeStruct, jax, jnp
from hpacml.jax.operands import result_of
from hpacml.jax.templates import Template
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.entry import Function
from hpacml.runtime.frame import Frame, Paths
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.ir import SSAValue

    from hpacml.frontend.wrapper import Wrapper

FLAG = ArrayForm("bool", ())
"""Whether a call is one to collect."""
NUMBER = ArrayForm("f64", ())
"""A number of `meta`."""


class Beginning(CompiledCall):
    """A time stamp when arguments are there. It gives its first argument, a flag, back, so that others wait for it."""

    has_effect = True

    def __init__(self, what: str, arguments: int) -> None:
        self.what = what
        super().__init__([result_of(FLAG), ShapeDtypeStruct((2,), jnp.uint32)], {}, ("beginning", what), arguments)

    def compile(self, chip: str | None) -> Function:
        """Code of the host, also for a chip: once it has the flag, what is before the original code is done."""
        from hpacml.frontend.compile import compile

        return compile(_stamp, "stamp", ("jax stamp",))

    _result_words = 2

    def fill(self, template: Template) -> None:
        spare = template.arguments + 1
        template.take(spare, 0, FLAG.dtype, "i1")
        template.give(spare, self._arguments, 1)
        template.give(template.arguments, self._arguments + 1, 8)

    def batch(
        self, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        """One time stamp for all; flags that differ are given back as they are."""
        if not are_batched[0]:
            return self(*arguments), [False, False]
        _, begun = self(arguments[0][0] if size else jnp.zeros((), bool), *arguments[1:])
        return [arguments[0], begun], [True, False]

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        raise HpacmlError(f"collection of {self.what} has no gradient")


class Collecting(NamedTuple):
    """What a region collects: its directive and maps, and what calls of it know."""

    ml: MlDirective
    function: str
    what: str
    maps: tuple[tuple[Keyword, AppliedFunctor], ...]
    texts: tuple[tuple[Keyword, str], ...]
    """The clauses of maps and their texts."""
    written: tuple[str, ...]
    arguments: Mapping[str, object]
    paths: Paths


class Collection(CompiledCall):
    """Gathers the inputs of a call from its arguments and the outputs from what was made of them, and records these.

    Its arguments are a flag, without which it does nothing, the time stamp, all arrays, the numbers of `meta`, and the
    arrays that were written.
    """

    has_effect = True
    timed_by_host = True

    def __init__(
        self,
        common: Collecting,
        forms: Mapping[str, ArrayForm],
        numbers: Mapping[Any, int],
        params: Mapping[str, int],
    ) -> None:
        self.what, self._common, self._forms = common.what, common, dict(forms)
        self._numbers, self._params = dict(numbers), dict(params)
        self._meta = [NUMBER] * len(common.ml.meta)
        key = common.function, common.texts, self._forms, [*self._numbers.values()], self._params
        arguments = 2 + len(forms) + len(self._meta) + len(common.written)
        super().__init__([], {}, key, arguments)

    def compile(self, chip: str | None) -> Function:
        from hpacml.frontend.compile import compile

        _prepare(chip is not None)
        return compile(self._module, "collect", None, instruments.current, chip)

    def fill(self, template: Template) -> None:
        template.take(0, 0, FLAG.dtype, "i1")
        template.take(1, 1, "i64", "i64")
        slot = 2
        for form in (*self._forms.values(), *self._meta, *(self._forms[name] for name in self._common.written)):
            if form is NUMBER:
                template.take(slot, slot, form.dtype, form.dtype)
            else:
                template.array(slot, slot, *form)
            slot += 1
        for number in (*self._numbers.values(), *self._params.values()):
            template.put(slot, "index", number)
            slot += 1

    def note_start(self, slots: int) -> None:
        """Put the milliseconds since the time stamp in its place."""
        place = slots + 8
        passed = time.monotonic_ns() - ctypes.c_int64.from_address(place).value
        ctypes.c_double.from_address(place).value = 1e-6 * passed

    def frame(self, slots: int) -> Frame:
        return Frame(self._common.arguments, paths=self._common.paths)

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        raise HpacmlError(f"collection of {self.what} has no gradient")

    def _module(self) -> ModuleOp:
        """A module of one function of the arguments, then the open numbers of the maps and their parameters."""
        from xdsl.builder import Builder
        from xdsl.dialects import scf
        from xdsl.dialects.builtin import IndexType, MemRefType, f64, i1
        from xdsl.ir import Block, Region
        from xdsl.rewriter import InsertPoint

        from hpacml.frontend.wrapper import ArrayType, Wrapper

        common, wrapper = self._common, Wrapper("collect")
        wanted = wrapper.hidden("wanted", i1)
        milliseconds = wrapper.hidden("milliseconds", f64)

        def memory(form: ArrayForm) -> MemRefType:
            return ArrayType(form.dtype, len(form.shape), Layout.PACKED).memref

        for name, form in self._forms.items():
            wrapper.argument(name, memory(form))
        meta = [wrapper.hidden(f"meta{k}", f64) for k in range(len(self._meta))]
        made = {name: wrapper.hidden(name, memory(self._forms[name])) for name in common.written}
        numbers = {number: wrapper.hidden(f"n{k}", IndexType()) for k, number in enumerate(self._numbers)}
        for param in self._params:
            wrapper.argument(param, IndexType())
        then, outside = Region(Block()), wrapper.builder
        inside = Builder(InsertPoint.at_end(then.block))
        wrapper.builder = inside
        self._record(wrapper, made, numbers, meta, milliseconds)
        wrapper.builder = outside
        then.block.add_op(scf.YieldOp())
        outside.insert(scf.IfOp(wanted, [], then))
        return wrapper.finish()

    def _record(
        self,
        wrapper: Wrapper,
        made: Mapping[str, SSAValue],
        numbers: Mapping[Any, SSAValue],
        values: Sequence[SSAValue],
        milliseconds: SSAValue,
    ) -> None:
        """Gather and collect, if the call is one of those that are sampled."""
        from xdsl.builder import Builder
        from xdsl.dialects import scf
        from xdsl.dialects.builtin import ArrayAttr, StringAttr
        from xdsl.ir import Block, Region
        from xdsl.rewriter import InsertPoint

        from hpacml.dialects.hpacml.attributes import Direction
        from hpacml.dialects.hpacml.gather_scatter import GatherOp, TensorOp
        from hpacml.dialects.hpacml.steps import CollectOp, SampleOp
        from hpacml.frontend.ml import ml_op

        common, builder = self._common, wrapper.builder
        op = ml_op(common.ml, common.function, [], None, None, [], Region(Block()))
        given = dict(wrapper.values)

        def gathered(keywords: Sequence[Keyword], direction: Direction) -> list[SSAValue]:
            tensors: list[SSAValue] = []
            for keyword, each in common.maps:
                if keyword in keywords:
                    mapping = wrapper.map(each, direction, [numbers[n] for n in each.open_numbers]).mapping
                    tensors.append(wrapper.builder.insert(TensorOp(mapping)).tensor)
                    wrapper.builder.insert(GatherOp(mapping, tensors[-1]))
            return tensors

        def texts(keywords: Sequence[Keyword], way: str) -> list[StringAttr]:
            return [StringAttr(f"{way}: {text}") for keyword, text in common.texts if keyword in keywords]

        sampled = None
        if op.sample is not None:
            sampled = Region(Block())
            wrapper.builder = Builder(InsertPoint.at_end(sampled.block))
        inputs = gathered(["in"], Direction.To) + gathered(["inout"], Direction.To)
        wrapper.values = {**given, **made}
        truths = gathered(["truth"], Direction.To)
        outputs = truths or gathered(["out"], Direction.From) + gathered(["inout"], Direction.From)
        maps = ArrayAttr(
            [*texts(["in"], "to"), *texts(["inout"], "to"), *texts(["out"], "from"), *texts(["inout"], "from")]
        )
        truth = ArrayAttr(texts(["truth"], "to")) if truths else None
        wrapper.builder.insert(CollectOp(op.clauses_for(CollectOp), maps, truth, inputs, outputs, values, milliseconds))
        if sampled is not None:
            wrapper.builder = builder
            sampled.block.add_op(scf.YieldOp())
            taken = builder.insert(SampleOp(op.clauses_for(SampleOp))).sampled
            builder.insert(scf.IfOp(taken, [], sampled))


def _prepare(on_device: bool) -> None:
    """Make `flush` and the end of the process wait for programs that collect, before they close databases."""
    from hpacml.runtime.databases import writer

    if on_device:
        from hpacml.runtime.gpu import collecting

        collecting.prepare()
    if _wait not in writer.before_flush:
        writer.before_flush.insert(0, _wait)
    writer.prepare()  # first: what is registered later is called earlier when the process ends
    atexit.unregister(_wait)
    atexit.register(_wait)


def _wait() -> None:
    """Wait for the programs under way that collect."""
    jax.effects_barrier()


def _stamp() -> ModuleOp:
    """A module of one function that returns the time, in nanoseconds."""
    from hpacml.dialects.hpacml_rt.measurements import NowOp
    from hpacml.frontend.wrapper import Wrapper

    wrapper = Wrapper("stamp")
    return wrapper.finish([wrapper.builder.insert(NowOp()).nanoseconds])
