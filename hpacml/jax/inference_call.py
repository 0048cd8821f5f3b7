"""Inferences by models of files and of Torch in programs of XLA."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hpacml.errors import HpacmlError
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.compiled_call import CompiledCall
from hpacml.jax.inferring import Inferring
from hpacml.jax.libraries import jnp
from hpacml.jax.model_derivatives import derivative, model_of
from hpacml.jax.operands import result_of
from hpacml.jax.templates import Template
from hpacml.runtime.arrays.views import Layout
from hpacml.runtime.entry import Function
from hpacml.runtime.frame import Frame

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp


class FailingCall(CompiledCall):
    """A call whose model may fail, so that the original code is to run: the last result tells whether it did."""

    what_is_common: Inferring
    tells: bool
    """Whether there is that result, behind the others."""
    _slots: int
    """The arguments of the code."""

    def frame(self, slots: int) -> Frame:
        flag = ctypes.c_int64.from_address(slots + 8 * self._slots)

        def body() -> None:
            if not self.tells:
                raise HpacmlError(
                    f"the model of {self.what} has failed, and HPACML_ON_ERROR was not 'accurate' when JAX traced it: "
                    "the original code is not in this program"
                )
            flag.value = 1

        return self.what_is_common.frame(body)


class RegionInference(FailingCall):
    """The inference of a region: from the arrays that its maps read to those that they write.

    `operands` are the arrays that it takes, `written` those that it makes anew; a written array that is not taken is
    covered by the maps.
    """

    def __init__(
        self,
        common: Inferring,
        forms: Mapping[str, ArrayForm],
        operands: Sequence[str],
        written: Sequence[str],
        numbers: Sequence[int],
        tells: bool,
        code: Callable[[str | None], Function],
        rules: Rules,
    ) -> None:
        self.what_is_common, self.what, self.tells = common, common.what, tells
        self.forms, self.operands, self._written = dict(forms), list(operands), list(written)
        self._numbers, self._code, self._rules = list(numbers), code, rules
        self._slots = len(forms) + len(numbers)
        self.kept: list[object] = []
        """What records of other code than the region's need, as long as there is this call."""
        results = [result_of(forms[name]) for name in written]
        if tells:
            results.append(result_of(ArrayForm("bool", ())))
        aliases = {operands.index(name): k for k, name in enumerate(written) if name in operands}
        key = common.label, common.function, common.maps, self.forms, self._numbers, str(common.ml.model)
        super().__init__(results, aliases, key, len(operands))

    def compile(self, chip: str | None) -> Function:
        return self._code(chip)

    def buffer(self, name: str) -> int:
        """The number of the buffer that an array has while the call runs."""
        if name in self._written:
            return len(self.operands) + self._written.index(name)
        return self.operands.index(name)

    def answer(self, slots: int, status: int) -> None:
        if status < 0 and not self.tells:
            self._rules.answer(self, lambda: super(RegionInference, self).answer(slots, status), slots)
        else:
            super().answer(slots, status)

    def fill(self, template: Template) -> None:
        slot = 0
        for slot, (name, form) in enumerate(self.forms.items()):
            template.array(slot, self.buffer(name), *form)
        for number in self._numbers:
            slot += 1
            template.put(slot, "index", number)
        if self.tells:
            template.give(self._slots, self._arguments + len(self.results) - 1, 1)

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        return self._rules.differentiate(self, primals, tangents, results)

    def batch(
        self, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        batched = self._rules.batch(self, size, arguments, are_batched)
        return super().batch(size, arguments, are_batched) if batched is None else batched


class Rules(Protocol):
    """How the inferences of a region are run, batched and differentiated."""

    def answer(self, call: RegionInference, run: Callable[[], None], slots: int) -> None: ...
    def differentiate(
        self, call: RegionInference, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]
    ) -> Sequence[Any]: ...
    def batch(
        self, call: RegionInference, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]] | None: ...


class TensorInference(FailingCall):
    """The model of a region alone, from dense tensors to dense tensors."""

    tells = False

    def __init__(self, common: Inferring, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]) -> None:
        self.what_is_common, self.what = common, common.what
        self._inputs, self._outputs = list(inputs), list(outputs)
        self._slots = len(inputs) + len(outputs)
        key = common.label, common.function, common.maps, self._inputs, self._outputs, str(common.ml.model)
        super().__init__([result_of(form) for form in outputs], {}, key, len(inputs))

    def compile(self, chip: str | None) -> Function:
        from hpacml.frontend.compile import compile

        return compile(self._module, "infer", chip=chip)

    def fill(self, template: Template) -> None:
        for slot, form in enumerate((*self._inputs, *self._outputs)):
            template.array(slot, slot, *form)

    def _module(self) -> ModuleOp:
        """A module of one function of the tensors."""
        from xdsl.dialects.builtin import ArrayAttr, StringAttr
        from xdsl.ir import Block, Region

        from hpacml.dialects.hpacml.steps import InferOp
        from hpacml.frontend.ml import ml_op
        from hpacml.frontend.wrapper import ArrayType, Wrapper

        common, wrapper = self.what_is_common, Wrapper("infer")
        tensors = [
            wrapper.hidden(f"t{k}", ArrayType(form.dtype, len(form.shape), Layout.PACKED).memref)
            for k, form in enumerate((*self._inputs, *self._outputs))
        ]
        count = len(self._inputs)
        clauses = ml_op(common.ml, common.function, [], None, None, [], Region(Block()), "raise").clauses_for(InferOp)
        texts = ArrayAttr(map(StringAttr, common.maps))
        wrapper.builder.insert(InferOp(clauses, texts, tensors[:count], tensors[count:]))
        return wrapper.finish()

    def batch(
        self, size: int, arguments: Sequence[Any], are_batched: Sequence[bool]
    ) -> tuple[Sequence[Any], Sequence[bool]]:
        """One call for the rows of all, if the region says that rows are independent."""
        forms = (*self._inputs, *self._outputs)
        if self.what_is_common.ml.batch is None or not all(form.shape for form in forms):
            return super().batch(size, arguments, are_batched)
        inputs, outputs = ([_longer(form, size) for form in each] for each in (self._inputs, self._outputs))
        call = self.part(("batch", size), lambda: TensorInference(self.what_is_common, inputs, outputs))
        given = [
            (x if is_batched else jnp.broadcast_to(x, (size, *x.shape))).reshape(form.shape)
            for x, is_batched, form in zip(arguments, are_batched, inputs, strict=True)
        ]
        made = zip(call(*given), self._outputs, strict=True)
        return [y.reshape(size, *form.shape) for y, form in made], [True] * len(outputs)

    def differentiate(self, primals: Sequence[Any], tangents: Sequence[Any], results: Sequence[Any]) -> Sequence[Any]:
        model = model_of(self.what_is_common, self._inputs, self._outputs)
        return derivative(self, model, primals, tangents)


def _longer(form: ArrayForm, size: int) -> ArrayForm:
    rows, *others = form.shape
    return ArrayForm(form.dtype, (rows * size, *others))
