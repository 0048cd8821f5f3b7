"""Calls of compiled code in programs of XLA."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpacml.errors import CompileError
from hpacml.jax.call_primitive import XlaCall
from hpacml.jax.gpu_template import GpuTemplate
from hpacml.jax.templates import Record, Template
from hpacml.jax.xla_stream import Queue, chip_here
from hpacml.runtime.entry import Function
from hpacml.runtime.frame import Frame

if TYPE_CHECKING:
    from hpacml.runtime.gpu.devices import Device


class CompiledCall(XlaCall, ABC):
    """A call that enters compiled code. It does so without Python where that code needs to know nothing of the call."""

    def __init__(self, results: Sequence[Any], aliases: Mapping[int, int], key: object, arguments: int) -> None:
        super().__init__(results, aliases, key)
        self._arguments = arguments
        self._codes: dict[str, Function] = {}

    @abstractmethod
    def compile(self, chip: str | None) -> Function:
        """The code for the host, or for a chip."""

    @cached_property
    def function(self) -> Function:
        """The code for the host, which is compiled before the first run."""
        return self.compile(None)

    def function_on(self, chip: str) -> Function:
        """The code for a chip. That of this machine is compiled before the first run."""
        if (found := self._codes.get(chip)) is None:
            found = self._codes[chip] = self.compile(chip)
        return found

    @abstractmethod
    def fill(self, template: Template) -> None:
        """Tell what the slots of the code have."""

    def frame(self, slots: int) -> Frame:
        """What the code knows of a call, whose slots are at an address, while it runs."""
        return Frame()

    def note_start(self, slots: int) -> None:
        """See to what depends on when the code starts, whose slots are at an address."""

    def make_record(self, for_gpus: bool) -> Record:
        if for_gpus:
            template = self._gpu_template
            return template.record(self.digest, None, self._arguments, len(self.results))
        function = self.function
        template = Template(function.slots, self._result_words)
        self.fill(template)
        address = None if function.needs_frame else function.address
        return template.record(self.digest, address, self._arguments, len(self.results))

    @cached_property
    def _gpu_template(self) -> GpuTemplate:
        template = GpuTemplate(self.function_on(chip_here()).slots, self._result_words)
        self.fill(template)
        return template

    timed_by_host = False
    """Whether its code collects other code, in which the time of that is a number of its own."""

    _result_words = 1
    """The words behind the arguments of the code that it writes its results to."""

    def answer(self, slots: int, status: int) -> None:
        if status < 0:
            with self.frame(slots):
                self.note_start(slots)
                self.function.run(slots)
            return
        self.function.settle(status)
        raise CompileError(f"{self.what} was stopped, and nothing says why")

    def answer_on(self, queue: Queue, slots: int) -> None:
        def work(device: Device) -> None:
            self._gpu_template.fetch(device, slots)
            self.note_start(slots)
            self.function_on(device.chip).run(slots)
            self._gpu_template.store(device, slots)

        queue.run(self.frame(slots), work, self.timed_by_host)
