"""Collection in programs of XLA: a time stamp before the original code, and the call's record behind it."""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
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

    @cached_property
    def function(self) -> Function:  # pyright: ignore[reportIncompatibleVariableOverride]
        from hpacml.frontend.compile import compile

        return compile(_stamp, "stamp", ("jax stamp",))

    def fill(self, template: Template) -> None:
        spare = self.function.slots
        template.array(0, self._arguments + 1, "i64", (1,))
        template.take(spare, 0, FLAG.dtype, "i1")
        template.give(spare, self._arguments, 1)

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

    @cached_property
    def function(self) -> Function:  # pyright: ignore[reportIncompatibleVariableOverride]
        from hpacml.frontend.compile import compile
        from hpacml.runtime.databases import writer

        if _wait not in writer.before_flush:
            writer.before_flush.append(_wait)
            writer.prepare()  # first: what is registered later is called earlier when the process ends
            atexit.register(_wait)
        return compile(self._module, "collect", None, instruments.current)

    def fill(self, template: Template) -> None:
        template.take(0, 0, FLAG.dtype, "i1")
        template.array(1, 1, "i64", (1,))
        slot = 2
        for form in (*self._forms.values(), *self._meta, *(self._forms[name] for name in self._common.written)):
            template.array(slot, slot, *form)
            slot += 1
        for number in (*self._numbers.values(), *self._params.values()):
            template.put(slot, "index", number)
            slot += 1

    def frame(self, slots: int) -> AbstractContextManager[object]:
        return Frame(self._common.arguments, paths=self._common.paths)

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        raise HpacmlError(f"collection of {self.what} has no gradient")

    def _module(self) -> ModuleOp:
        """A module of one function of the arguments, then the open numbers of the maps and their parameters."""
        from xdsl.builder import Builder
        from xdsl.dialects import arith, memref, scf
        from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, MemRefType, f64, i1, i64
        from xdsl.ir import Block, Region
        from xdsl.rewriter import InsertPoint

        from hpacml.dialects.hpacml_rt.measurements import NowOp
        from hpacml.frontend.wrapper import ArrayType, Wrapper

        common, wrapper = self._common, Wrapper("collect")
        wanted = wrapper.hidden("wanted", i1)
        begun = wrapper.hidden("begun", MemRefType(i64, [1]))

        def memory(form: ArrayForm) -> MemRefType:
            return ArrayType(form.dtype, len(form.shape), Layout.PACKED).memref

        for name, form in self._forms.items():
            wrapper.argument(name, memory(form))
        meta = [wrapper.hidden(f"meta{k}", memory(form)) for k, form in enumerate(self._meta)]
        made = {name: wrapper.hidden(name, memory(self._forms[name])) for name in common.written}
        numbers = {number: wrapper.hidden(f"n{k}", IndexType()) for k, number in enumerate(self._numbers)}
        for param in self._params:
            wrapper.argument(param, IndexType())
        then, outside = Region(Block()), wrapper.builder
        inside = Builder(InsertPoint.at_end(then.block))
        now = inside.insert(NowOp()).nanoseconds
        zero = inside.insert(arith.ConstantOp(IntegerAttr(0, IndexType()))).result
        start = inside.insert(memref.LoadOp.get(begun, [zero])).res
        passed = inside.insert(arith.SubiOp(now, start)).result
        milliseconds = inside.insert(arith.SIToFPOp(passed, f64)).result
        scale = inside.insert(arith.ConstantOp(FloatAttr(1e-6, f64))).result
        milliseconds = inside.insert(arith.MulfOp(milliseconds, scale)).result
        values = [inside.insert(memref.LoadOp.get(each, [])).res for each in meta]
        wrapper.builder = inside
        self._record(wrapper, made, numbers, values, milliseconds)
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


def _wait() -> None:
    """Wait for the programs under way that collect."""
    jax.effects_barrier()


def _stamp() -> ModuleOp:
    """A module of one function that stores the time, in nanoseconds."""
    from xdsl.dialects import arith, memref
    from xdsl.dialects.builtin import IndexType, IntegerAttr, MemRefType, i64

    from hpacml.dialects.hpacml_rt.measurements import NowOp
    from hpacml.frontend.wrapper import Wrapper

    wrapper = Wrapper("stamp")
    begun = wrapper.hidden("begun", MemRefType(i64, [1]))
    now = wrapper.builder.insert(NowOp()).nanoseconds
    zero = wrapper.builder.insert(arith.ConstantOp(IntegerAttr(0, IndexType()))).result
    wrapper.builder.insert(memref.StoreOp.get(now, begun, [zero]))
    return wrapper.finish()
