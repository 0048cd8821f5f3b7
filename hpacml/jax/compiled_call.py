"""Calls of compiled code in programs of XLA."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from hpacml.errors import CompileError
from hpacml.jax.call_primitive import XlaCall
from hpacml.jax.templates import Record, Template
from hpacml.runtime.entry import Function
from hpacml.runtime.shim import runtime


class CompiledCall(XlaCall, ABC):
    """A call that enters compiled code. It does so without Python where that code needs to know nothing of the call."""

    def __init__(self, results: Sequence[Any], aliases: Mapping[int, int], key: object, arguments: int) -> None:
        super().__init__(results, aliases, key)
        self._arguments = arguments

    @cached_property
    @abstractmethod
    def function(self) -> Function:
        """The code, which is compiled before the first run."""

    @abstractmethod
    def fill(self, template: Template) -> None:
        """Tell what the slots of the code have."""

    def frame(self, slots: int) -> AbstractContextManager[object]:
        """What the code knows of a call, whose slots are at an address, while it runs."""
        return nullcontext()

    def make_record(self) -> Record:
        function = self.function
        template = Template(function.slots + self._result_words)
        self.fill(template)
        address = None if function.needs_frame else function.address
        return template.record(self.digest, address, self._arguments, len(self.results))

    _result_words = 1
    """The words behind the arguments of the code that it writes its results to."""

    def answer(self, slots: int, status: int) -> None:
        function = self.function
        if status < 0:
            with self.frame(slots):
                status = runtime().enter(function.address, slots)
                function.settle(status)
            return
        function.settle(status)
        raise CompileError(f"{self.what} was stopped, and nothing says why")
