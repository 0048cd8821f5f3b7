"""The inference of one call site: memory to tensors, the model, tensors to memory. It imports Torch."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from hpacml import environment
from hpacml.abi.records import InferSite
from hpacml.directives.map_texts import Maps
from hpacml.errors import CompileError, HpacmlError, at_place
from hpacml.runtime import checks, differentiation, frame
from hpacml.runtime.arrays.changes import require_in_place
from hpacml.runtime.arrays.views import descriptor_bytes
from hpacml.runtime.differentiation import takes_part
from hpacml.runtime.fastcall import contents
from hpacml.runtime.gpu.device_call import innermost
from hpacml.runtime.models import fallback
from hpacml.runtime.models.corrections import Corrections, Results
from hpacml.runtime.models.described import module_of
from hpacml.runtime.models.engines import Engines
from hpacml.runtime.models.evaluation import Evaluation
from hpacml.runtime.models.finding import ModelFinder
from hpacml.runtime.models.lent import Lent, Loan, copied, meet, tensor_extent
from hpacml.runtime.models.misfits import REAL, Misfits
from hpacml.runtime.models.model import Model
from hpacml.runtime.models.on_views import OnViews
from hpacml.runtime.models.outputs import by_name, fields, in_order, keys_of, names_of_outputs
from hpacml.runtime.models.traits import is_watched
from hpacml.runtime.reports import instruments

if TYPE_CHECKING:
    from hpacml.runtime.differentiation import Recorder
    from hpacml.runtime.gpu.device_call import Call

POINTS = 4096
"""How many points `batch` without a number gives to the model at once, in whole rows.

The points of a row are its feature vectors, of which the last dimension holds one each.
"""

_set_grad_enabled: Callable[[bool], None] = cast(Any, torch)._C._set_grad_enabled

_ORDINARY = frozenset((torch.Tensor, torch.nn.Parameter))

UNCERTAINTY = frozenset(("uncertainty",))
"""The name of the output by which a model tells how far it is to be trusted, where it gives outputs by names."""

KNOWN_MEMORIES = 64
"""How many sets of tensors a call site remembers: programs swap buffers, and allocate where they freed."""


@dataclass(slots=True)
class _Use:
    """A model that a call on a device has run. A graph of the call is valid as long as it `holds`."""

    finder: ModelFinder
    model: Model
    device: str
    traits: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return self.finder.label

    def holds(self) -> bool:
        return self.finder.find(self.device) is self.model and self.model.network.addresses() == self.traits

    def remember(self) -> None:
        self.traits = self.model.network.addresses()

    def give_up(self) -> None:
        self.model.replayable = False


class Fitting(NamedTuple):
    """A model that a call site may run, and whether it is given a batch of one: what the region has, and a dimension
    before."""

    model: Model
    batch: bool


class Inference:
    """Runs the inferences of one call site, and keeps what they have in common."""

    def __init__(self, site: InferSite) -> None:
        self._site = site
        self.misfits = Misfits(site)
        self.label = site.label
        self._types = (*site.inputs, *site.outputs)
        self._pointer_array = ctypes.c_size_t * len(self._types)
        self._memory = contents([descriptor_bytes(type.rank) for type in self._types])
        self._known: dict[object, Lent] = {}
        """The tensors of earlier calls, by their memory. A call takes them out, so that no two have the same."""
        self._evaluation = Evaluation(site, self.misfits)
        self._engines = Engines(site.label, site.engine)
        self._corrections = Corrections(site) if site.clip or site.project is not None else None
        self.on_views = OnViews(partial(self._fitting_model, "cpu"), self._engines, self._corrections is None)
        self.finder = ModelFinder(site.label, site.model)
        self._fitting: Fitting | None = None
        """The last model that was found to be trained for the maps of the site."""

    def run(self, pointers: int) -> bool:
        """Fill the destinations with what the model makes of the inputs; `pointers` is what `hpacml_infer` gets.

        The model computes in its own floating dtype, and in evaluation mode; a passed module that was in
        training mode is so again afterwards. The cast to a destination's dtype is that of `Tensor.copy_`.
        What the model keeps of its inputs stays what it was.
        Raises ModelError, or returns False where the original code is to run instead; then nothing is written.
        """
        try:
            if torch.is_inference_mode_enabled():  # in which tensors do not count what is written to them
                with torch.inference_mode(False):
                    self._run(pointers)
            else:
                self._run(pointers)
        except HpacmlError as error:
            at_place(error, self._site.place)
            if (call := innermost()) is not None:
                call.on_host = True
                if call.capturing:
                    raise
            if isinstance(error, CompileError) or not fallback.takes_over(self._site.label, self._site.on_error, error):
                raise
            return False
        return True

    def _run(self, pointers: int) -> None:
        """Lend the memory of this call to the model, by the same tensors as before where nobody keeps those."""
        call = innermost()
        fitting = self._fitting_model("cpu" if call is None else call.device.name)
        memory = call and call.device, fitting.batch, self._memory(pointers)
        if (lent := self._known.pop(memory, None)) is None:
            addresses = self._pointer_array.from_address(pointers)
            lent = Lent(addresses, self._types, len(self._site.inputs), fitting.batch)
        seen = True
        try:
            seen = self._infer(call, fitting, lent)
        finally:
            if seen and lent.kept:
                lent.part()
            else:
                if len(self._known) >= KNOWN_MEMORIES:
                    self._known.clear()
                self._known[memory] = lent

    def _infer(self, call: Call | None, fitting: Fitting, lent: Lent) -> bool:
        """Run the model, and tell whether other code has seen the tensors that are lent."""
        model, batch = fitting
        if call is not None:
            self._note_use(call, model, lent.inputs, lent.nothing_to_do)
        if lent.nothing_to_do:
            return False
        if differentiation.inside is not None and (recorder := frame.recorder()) is not None:
            self._infer_recorded(recorder, model, int(batch), lent)
            return False
        is_finite = "finite" in checks.chosen()
        apart = is_finite or self._corrections is not None
        computed = self._engines.compute(model, lent, call is not None, apart)
        if computed is not None:
            if computed.apart is not None:
                results = self._corrected([(lent.targets[0], computed.apart)], lent, int(batch), call)
                if is_finite:
                    self.require_finite(model, results, int(batch))
                for target, result in results:
                    self._write(target, result)
            return False
        # Not inference mode, in which Torch's functions for derivatives give zeros. The functions behind Torch's
        # context manager take a third of its time.
        mode = torch.is_grad_enabled()
        try:
            _set_grad_enabled(False)
            code, watched = model.network.runs_code, is_watched()
            loan = lent.copies or self._loan(call, model, watched, lent)
            results = self._computed(model, loan, lent.targets, lent.extents, int(batch))
            results = self._corrected(results, lent, int(batch), call)
            if is_finite:
                if call is not None:
                    call.leave_to_host(f"{environment.CHECK.name}=finite")
                self.require_finite(model, results, int(batch))
            if (watched or code is not None) and not frame.is_in_place():
                require_in_place(*frame.arrays(), f"the model {model.name}")
            seen = loan is not lent.copies or watched
            if seen and lent.updates and lent.kept:
                lent.part()
            for target, result in results:
                self._write(target, result)
        finally:
            _set_grad_enabled(mode)
        return seen

    def _infer_recorded(self, recorder: Recorder, model: Model, dim: int, lent: Lent) -> None:
        """Run the model by Torch, of tensors of its own, and have its derivatives recorded. Raises ModelError.

        Dimension `dim` is the first one that the region has.
        """
        self._engines.leave_to_torch(model)
        own = [x.clone() for x in lent.inputs]
        inputs = recorder.inputs([x.squeeze(0) for x in own] if dim else own)
        loan = Loan([x.unsqueeze(0) for x in inputs] if dim else inputs, _as_it_is)
        results = self._computed(model, loan, lent.targets, lent.extents, dim)
        if self._corrections is not None:
            results = self._corrections.apply(results, loan.tensors, lent.targets, dim)
        if "finite" in checks.chosen():
            self.require_finite(model, results, dim)
        if model.network.runs_code is not None or is_watched():
            require_in_place(*frame.arrays(), f"the model {model.name}")
        outputs = _whole(results, len(lent.targets), dim)
        self._require_derivatives(model, inputs, outputs)
        for target, result in results:
            self._write(target, result.detach())
        recorder.returns([y.squeeze(0) for y in outputs] if dim else outputs)

    def module(self) -> torch.nn.Module | None:
        """The module of the model of the current call, if it has one. Raises ModelError."""
        return module_of(self._fitting_model("cpu").model.network)

    def outputs_of(self, tensors: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """What the model of the current call makes of tensors, in the shapes of `targets`, which stay what they are.
        Torch records derivatives. Raises ModelError."""
        call = innermost()
        model, batch = self._fitting_model("cpu" if call is None else call.device.name)
        own, ends = ([x.unsqueeze(0) for x in each] if batch else [*each] for each in (tensors, targets))
        results = self._computed(model, Loan(own, _as_it_is), ends, [], int(batch))
        outputs = _whole(results, len(ends), int(batch))
        self._require_derivatives(model, tensors, outputs)
        return [y.squeeze(0) for y in outputs] if batch else outputs

    def _computed(
        self,
        model: Model,
        loan: Loan,
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
        dim: int,
    ) -> Results:
        if self._site.batch is None:
            return self._results(model, loan, targets, extents)
        return self._batches(self._site.batch, model, loan, targets, extents, dim)

    def _corrected(self, results: Results, lent: Lent, dim: int, call: Call | None) -> Results:
        """The results within their bounds, and projected, where the site says so."""
        if self._corrections is None:
            return results
        with torch.no_grad():
            return self._corrections.apply(results, lent.inputs, lent.targets, dim, call)

    def _require_derivatives(
        self, model: Model, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]
    ) -> None:
        """Raise ModelError for a model whose derivatives are lost."""
        if any(map(takes_part, outputs)):
            return
        if any(map(takes_part, inputs)) or any(map(takes_part, _parameters(model))):
            raise self.misfits.without_derivatives(model)

    def _write(self, target: torch.Tensor, result: torch.Tensor) -> None:
        """Write a result to its target, which converts it to the dtype of that."""
        if target.dtype is result.dtype:
            target.copy_(result)
            return
        write = partial(target.copy_, result)
        instruments.current.convert(self.label, "cast_back", write, lambda: target.nbytes)

    def _loan(self, call: Call | None, model: Model, watched: bool, lent: Lent) -> Loan:
        """Lend the inputs themselves to a model, unless they are the application's and it runs code of a user.

        Code may keep even an address, as NumPy's arrays do; only temporary memory can be left to it.
        """
        code = model.network.runs_code
        sees = lent.of_application(call) and (watched or (code is not None and code()))
        return Loan(lent.inputs, copied if sees else None)

    def _note_use(self, call: Call, model: Model, inputs: Sequence[torch.Tensor], nothing_to_do: bool) -> None:
        """Tell a call on a device which model it runs, or that this cannot be repeated without the host."""
        anchor = model.network.anchor()
        elsewhere = anchor is not None and anchor.device != inputs[0].device
        call.on_host |= elsewhere or nothing_to_do or not model.replayable or bool(checks.chosen())
        call.uses.append(_Use(self.finder, model, call.device.name))

    def _fitting_model(self, device: str) -> Fitting:
        """Find the model of the current call. Raises ModelError for one of other maps, too."""
        model, fitting = self.finder.find(device), self._fitting
        if fitting is None or fitting.model is not model:
            fitting = self._fitting = self.fit(model)
        return fitting

    def fit(self, model: Model) -> Fitting:
        """See how a model fits.

        Raises ModelError for one that was trained for other maps, or elements of another kind, where both tell theirs.
        """
        network, texts = model.network, self._site.maps
        maps = Maps(texts, [type.dtype for type in self._types[: len(texts)]])
        if maps and (reason := network.differs_from(maps)) is not None:
            raise self.misfits.maps(model, reason)
        if maps.dtypes and (number := network.misfit_of_elements(maps)) is not None:
            raise self.misfits.element_type(model, number, maps)
        return Fitting(model, model.network.takes_batches_of([type.rank for type in self._site.inputs]))

    def _batches(
        self,
        rows: int,
        model: Model,
        loan: Loan,
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
        dim: int,
    ) -> Results:
        """Give the results of one model call per `rows` rows, copied: a model may reuse the memory of its last ones.

        The rows are dimension `dim` of the tensors, the first one that the region has.
        """
        tensors, count = [*loan.tensors, *targets], len(loan.tensors)
        if not all(tensor.dim() > dim and tensor.shape[dim] == tensors[0].shape[dim] for tensor in tensors):
            raise self.misfits.rows(tensors, dim)
        rows = rows or max(1, POINTS // max(1, math.prod(tensors[0].shape[dim + 1 : -1])))
        results: Results = []
        before = (slice(None),) * dim
        for start in range(0, tensors[0].shape[dim], rows):
            block = [tensor[*before, start : start + rows] for tensor in tensors]
            of_block = self._results(model, Loan(block[:count], loan.copy), block[count:], extents)
            results += [(target, output.clone()) for target, output in of_block]
        return results

    def _results(
        self,
        model: Model,
        loan: Loan,
        targets: Sequence[torch.Tensor],
        extents: Sequence[tuple[int, int]],
    ) -> Results:
        """Pair the targets with what is to be copied into them. What is written lies within `extents`."""
        returned = self._evaluation.run(model, loan)
        outputs = (returned,) if isinstance(returned, torch.Tensor) else self.in_order(model, returned)
        if outputs is None or len(outputs) != len(targets):
            raise self.misfits.outputs(model, returned, len(targets))
        results: Results = []
        for number, target in enumerate(targets):
            output = outputs[number]
            dense = _dense(output) if isinstance(output, torch.Tensor) else None
            if dense is None:
                raise self.misfits.output(model, number, output, target)
            output, memory = dense
            if output.shape != target.shape:
                output = _with_last_dimension(output, target)
            if output.shape != target.shape:
                raise self.misfits.output(model, number, output, target)
            if meet(memory, extents):
                output = output.clone()  # or it would change while the targets are written
            results.append((target, output))
        return results

    def in_order(self, model: Model, returned: object) -> Sequence[object] | None:
        """Give what a model returns in the order of the targets: by names, where it has these, else as it is.

        None stands for what has no order. Raises ModelError for other names.
        """
        outputs = in_order(returned)
        named = by_name(returned)
        names = tuple(named) if named is not None else fields(returned) or (model.network.names if outputs else ())
        if not names:
            return outputs
        wanted = self._names
        keys = keys_of(names, wanted)
        if named is not None and keys is not None:
            return [named[key] for key in keys]
        if outputs is not None and keys is not None:
            return [outputs[names.index(key)] for key in keys]
        if outputs is not None and frozenset().union(*wanted).isdisjoint(names):
            return outputs  # a named tuple has an order, too
        raise self.misfits.names(model, names, wanted)

    @cached_property
    def _names(self) -> list[frozenset[str]]:
        """The names of the outputs: those of the arrays that they write, else those of their functors.

        One more output than the region has is the model's uncertainty.
        """
        maps, count = self._site.maps[len(self._site.inputs) :], len(self._site.outputs)
        if maps and len(maps) == count - 1:
            return [*names_of_outputs(maps, len(maps)), UNCERTAINTY]
        return names_of_outputs(maps, count)

    def require_finite(self, model: Model, results: Sequence[tuple[torch.Tensor, torch.Tensor]], dim: int) -> None:
        """Raise ModelError for outputs that are not finite, as they are or in the dtype of their target.

        Dimension `dim` is the first one that the region has.
        """
        outputs = len(self._site.outputs)
        for number in range(outputs):
            count, row, first = 0, 0, ""
            for target, output in results[number::outputs]:
                bad = ~(output.isfinite() & output.to(target.dtype).isfinite())
                if found := int(bad.sum()):
                    position = cast("list[int]", cast(Any, bad.nonzero()[0]).tolist())
                    value = output[tuple(position)].item()
                    position = position[dim:]
                    first = first or f"{[row + d if n == 0 else d for n, d in enumerate(position)]}, {value}"
                    count += found
                row += target.shape[dim] if target.dim() > dim else 0
            if count:
                raise self.misfits.not_finite(model, number, count, first)


def _parameters(model: Model) -> Iterable[torch.Tensor]:
    """The parameters of the module that a model runs. Programs of files have none to learn."""
    module = module_of(model.network)
    return () if module is None else module.parameters()


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _whole(results: Results, count: int, dim: int) -> list[torch.Tensor]:
    """The outputs, `count` of which each block of rows, in dimension `dim`, has."""
    parts = [[output for _, output in results[n::count]] for n in range(count)]
    return [blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim) for blocks in parts]


def _dense(output: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]] | None:
    """Give a dense tensor of real numbers and its extent.

    None stands for an output that is none, has no memory, or less than it says.
    """
    try:
        if type(output) not in _ORDINARY:
            kind, plain = cast("tuple[Any, Any]", (type(output), torch.Tensor))
            if kind.__torch_dispatch__ is not plain.__torch_dispatch__:
                return None  # its numbers are what code of its own says
            with cast(Any, torch)._C.DisableTorchFunctionSubclass():
                output = output.as_subclass(torch.Tensor)
        if output.is_nested or output.layout is not torch.strided or output.dtype not in REAL:
            return None
        storage = output.untyped_storage()
        start, memory = storage.data_ptr(), tensor_extent(output)
    except Exception:  # tensors of other kinds, such as those of tracers, may raise anything
        return None
    low, high = memory
    return (output, memory) if (low and high <= start + storage.nbytes()) or not output.numel() else None


def _with_last_dimension(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Give an output the shape of its target where they differ by a last dimension of 1, else as it is."""
    if output.shape == (*target.shape, 1):
        return output.squeeze(-1)
    return output.unsqueeze(-1) if (*output.shape, 1) == target.shape else output
