"""Calls of Python in programs of XLA, whose arrays it gets as tensors of Torch over their memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hpacml.jax.call_primitive import ArrayForm, XlaCall
from hpacml.jax.gpu_template import GpuTemplate
from hpacml.jax.inferring import views_at
from hpacml.jax.operands import result_of
from hpacml.jax.templates import Record, Template
from hpacml.jax.xla_stream import Queue
from hpacml.runtime.arrays.views import ArrayView, tensor_over
from hpacml.runtime.frame import Frame
from hpacml.runtime.shim import require_stack

if TYPE_CHECKING:
    import torch


class TensorCall(XlaCall, ABC):
    """A call that makes arrays of other arrays by Torch."""

    def __init__(
        self, arguments: Sequence[ArrayForm], results: Sequence[ArrayForm], aliases: Mapping[int, int], key: object
    ) -> None:
        super().__init__([*map(result_of, results)], aliases, key)
        self._forms, self._given = (*arguments, *results), len(arguments)

    @abstractmethod
    def compute(self, given: Sequence[torch.Tensor], made: Sequence[torch.Tensor]) -> None:
        """Fill the tensors that are results, where the arguments are: on the host, or on the device of the call."""

    def frame(self) -> Frame:
        """What is known of a call while it runs."""
        return Frame()

    def make_record(self, for_gpus: bool) -> Record:
        template = (GpuTemplate if for_gpus else Template)(len(self._forms))
        for slot, form in enumerate(self._forms):
            template.array(slot, slot, *form)
        return template.record(self.digest, None, self._given, len(self.results))

    def answer(self, slots: int, status: int) -> None:
        with self.frame():
            self._compute(slots, tensor_over)

    def answer_on(self, queue: Queue, slots: int) -> None:
        queue.run(self.frame(), lambda device: self._compute(slots, device.tensor))

    def _compute(self, slots: int, tensor: Callable[[ArrayView], torch.Tensor]) -> None:
        require_stack()
        import torch

        with torch.inference_mode(False):  # in which tensors do not count what is written to them
            tensors = [*map(tensor, views_at(slots, self._forms))]
            self.compute(tensors[: self._given], tensors[self._given :])
