"""Calls of compiled functions: arguments go in through slots, and errors of the runtime come out as exceptions."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

from hpacml.abi.symbols import VALUES, WITHOUT_FRAME
from hpacml.backend.llvm import Library
from hpacml.backend.trampolines import is_number, results_format
from hpacml.errors import HpacmlError
from hpacml.runtime.arrays.views import ArrayView, descriptor
from hpacml.runtime.callbacks import pending
from hpacml.runtime.shim import no_stack, runtime

_NO_STACK = 3
"""What entering compiled code returns where the stack is too small for it."""


class Function:
    """A compiled function. Call it with one value per argument; it returns its result, a tuple of several or
    of the words of arrays, or None.

    A memref is passed as the address of its descriptor, which the caller keeps alive; other values are Python
    numbers. The function runs without the GIL. A call raises what a handler raised on the way, and HpacmlError for
    a number that does not fit its type. `enter` runs the function elsewhere than on the host.
    """

    __slots__ = ("_address", "_enter", "_is_number", "_library", "_pack", "_slots", "_unpack", "name", "slots")

    def __init__(
        self,
        name: str,
        library: Library,
        symbol: str,
        argument_types: Sequence[str],
        result_types: Sequence[str],
        enter: Callable[[int, Any], int] | None = None,
    ):
        arguments = struct.Struct("=" + "".join(VALUES[kind].slot for kind in argument_types))
        result = struct.Struct(results_format(result_types)) if result_types else None
        self.name = name
        self.slots = len(argument_types)
        """The number of the slots that hold arguments."""
        self._library = library
        self._enter = enter or runtime().enter
        self._address = library.addresses[symbol]
        self._slots = ctypes.c_int64 * (
            len(argument_types) + (result.size + 7) // 8 if result else len(argument_types) + 1
        )
        self._pack = arguments.pack_into
        self._is_number = is_number(result_types)
        self._unpack = functools.partial(result.unpack_from, offset=arguments.size) if result else None

    @property
    def address(self) -> int:
        """Where the code is, which takes the address of slots."""
        return self._address

    @property
    def is_leaf(self) -> bool:
        """Whether the code calls nothing of the runtime, so that it cannot fail."""
        return not self._library.imports

    @property
    def needs_frame(self) -> bool:
        """Whether the code calls what must know the arguments or the paths of its call."""
        return bool((self._library.imports & runtime().symbols.keys()) - WITHOUT_FRAME)

    def settle(self, status: int) -> None:
        """Raise what the code has raised that was entered natively, with this status, if anything."""
        if status or pending.errors:
            error = self._pending_error(status)
            raise error.with_traceback(None) if isinstance(error, HpacmlError) else error

    def run(self, slots: int) -> None:
        """Run the function with arguments that are in slots at an address, behind which its results go."""
        self.settle(self._enter(self._address, slots))

    def __call__(self, *values: object) -> Any:
        slots = self._slots()
        try:
            self._pack(slots, 0, *values)
        except (struct.error, OverflowError) as error:
            raise HpacmlError(f"{self.name}: cannot pass the arguments {values}: {error}") from None
        # A callback that was interrupted outside its try block returns any status, even that of success.
        if (status := self._enter(self._address, slots)) or pending.errors:
            error = self._pending_error(status)
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        if self._unpack is None:
            return None
        words = self._unpack(slots)
        return words[0] if self._is_number else words

    def _pending_error(self, status: int) -> BaseException:
        """What has unwound the code."""
        pending.sizes.clear()  # of an array, between two of which an interrupt may have come
        pending.numbers.clear()
        if pending.errors:
            return pending.errors.pop()
        if status == _NO_STACK:
            return no_stack()
        return HpacmlError(f"{self.name} was stopped by an error that left no trace, such as an interrupt")


def call(function: Callable[..., object], views: Sequence[ArrayView], *scalars: float) -> None:
    """Call a compiled function whose arguments are arrays, then numbers."""
    descriptors = [descriptor(view) for view in views]  # must outlive the call
    function(*map(ctypes.addressof, descriptors), *scalars)
