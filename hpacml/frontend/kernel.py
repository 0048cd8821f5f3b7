"""`@hpacml.kernel`: a Python function that is compiled."""

from __future__ import annotations

import functools
import inspect
import linecache
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

from hpacml.errors import CompileError, HpacmlError
from hpacml.frontend import tracers
from hpacml.frontend.decorated import Decorated, inside
from hpacml.frontend.placement import MACHINES, Machine
from hpacml.frontend.python.definition import NO_CONSTANTS, THERE, Definition
from hpacml.frontend.python.source import Source
from hpacml.runtime import differentiation
from hpacml.runtime.fast_path import Callee

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from hpacml.frontend.kernel_as_region import KernelAsRegion
    from hpacml.frontend.python.compiler import Compiled


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

LayoutName: TypeAlias = Literal["packed", "rows", "strided"]


class Kernel(Callee, Decorated, Definition, Generic[P, R]):
    """A compiled function, made by `hpacml.kernel`. It is called as the Python function is.

    Arrays are NumPy arrays, Torch tensors, or objects with DLPack or an array interface, with any strides, all on the
    host or all on one GPU, where the kernel then runs. They are not copied. Numbers are converted to the types of their
    annotations. The first call with arrays of a new layout (packed, with packed rows, or with other strides) compiles
    the kernel, or loads its code from the cache on disk.

    Results equal those of `py_func` to the last bit, except with `fastmath=True`, and where that would make a kernel
    slow:

    - An `int` has 64 bits and wraps around. In an operation with a float it is rounded to 53 bits first.
    - Indices are not checked: an index outside of an array reads or writes other memory.
    - Where Python raises an exception for a number, such as a division by zero or the root of a negative number, the
      result is NumPy's: inf, nan or, for integers, 0. A float converted to an integer type that cannot hold it becomes
      any integer. A range with a step of 0 is empty.
    - A variable has one type. If it is an `int` on one path and a `float` on another, it is a `float`. A literal takes
      NumPy's type if the other paths have it (`total = 0.0` before a loop that adds float32 to it).

    A call raises `CompileError` if the Python cannot be compiled, `DirectiveError` if a directive cannot be parsed,
    `MapError` if an argument or a map does not fit, `ModelError` and `DatabaseError` from its regions, `DeviceError`
    if a GPU cannot be used, and `TypeError` if an argument is missing or superfluous.
    """

    door = "kernel"

    def __init__(
        self,
        function: Callable[P, R],
        target: Machine | None = None,
        read: Source | CompileError | None = None,
        fastmath: bool = False,
    ):
        Decorated.__init__(self, function)
        Definition.__init__(self, function, read, fastmath)
        self.target: Machine | None = target
        tracers.meet()

    def options(self) -> dict[str, Any]:
        return {"target": self.target, "read": self.read, "fastmath": self.fastmath}

    @property
    def py_func(self) -> Callable[P, R]:
        """The Python function; its directives do nothing."""
        return self.function

    @tracers.untraced
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if differentiation.inside is not None and differentiation.is_recording():
                return self._recorded(args, kwargs, lambda: self._dispatcher(args, kwargs))
            return cast(R, self._dispatcher(args, kwargs))
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (the same error, without the compiler's frames)

    @functools.cached_property
    def _recorded(self) -> KernelAsRegion:
        from hpacml.frontend.kernel_as_region import KernelAsRegion

        return KernelAsRegion(self)

    def ir(
        self,
        stage: str | None = None,
        *,
        layout: LayoutName = "strided",
        constants: Mapping[str, object] = NO_CONSTANTS,
    ) -> ModuleOp:
        """The IR of the Python function, or the IR after a stage of the pipeline.

        The layout of the arrays is "packed" (C order without gaps), "rows" (the innermost stride is 1) or "strided"
        (any strides). A kernel that does something else for some texts, enumerations, or arguments that are None is
        compiled for each of these: `constants` has those of this IR by the names of their parameters. A stage is a key
        of `hpacml.pipelines.STAGES` or `GPU_STAGES`, or the name of a pass. Raises
        `CompileError`, `DirectiveError` and `MapError` as a call does, and `HpacmlError` if the stage or the layout is
        unknown.
        """
        from hpacml.pipelines import run_passes

        module = self._compiled(layout, constants).module
        if stage is not None:
            return self._lower(lambda: run_passes(module, stage))
        self._lower(module.verify)
        return module

    def maps(self, *, layout: LayoutName = "strided", constants: Mapping[str, object] = NO_CONSTANTS) -> str:
        """The directives of the kernel's regions that their code tells, to print and paste into the kernel.

        Each region has its functors, and `with approx("ml(...)"):` with `in`, `out` and `inout` in the place of those
        that it has; a line of Python comes first where a range needs a number that has no name there. A region
        without these clauses is compiled with the maps of this text. Layout, constants and errors are those of `ir`;
        `CompileError` also comes from code whose accesses are not affine, and names the access (docs/python.md).
        """
        from hpacml.pipelines import refusals

        compiled = self._compiled(layout, constants)

        def texts() -> str:
            with refusals():
                return "\n\n".join(region.text for region in compiled.regions)

        return self._lower(texts)

    def ptx(
        self, chip: str | None = None, *, layout: LayoutName = "packed", constants: Mapping[str, object] = NO_CONSTANTS
    ) -> str:
        """The PTX code of this kernel's gathers, scatters and parallel loops, for an NVIDIA GPU.

        The chip, such as "sm_90", is by default that of this machine's GPU, and "sm_80" without a GPU. Neither a GPU
        nor CUDA is needed. Layout, constants and errors are those of `ir`; `CompileError` also comes from code that a
        GPU cannot run, and `HpacmlError` from an unknown chip.
        """
        from hpacml.backend.assembly import ptx

        module = self._compiled(layout, constants).module
        return self._lower(lambda: ptx(module, chip))

    def amdgcn(
        self, chip: str = "gfx90a", *, layout: LayoutName = "packed", constants: Mapping[str, object] = NO_CONSTANTS
    ) -> str:
        """The assembly code of the same for an AMD GPU. hpacml cannot launch it."""
        from hpacml.backend.assembly import amdgcn

        module = self._compiled(layout, constants).module
        return self._lower(lambda: amdgcn(module, chip))

    def llvm(self, *, layout: LayoutName = "packed", constants: Mapping[str, object] = NO_CONSTANTS) -> str:
        """The optimised LLVM IR of this kernel for the processor of this machine, as the function `hpacml_entry`.

        A call on the host runs this code, behind a few instructions that take its arguments out of Python's memory;
        with a report it measures itself, too. Layout, constants and errors are those of `ir`.
        """
        from hpacml.backend.assembly import llvm_ir

        compiled = self._compiled(layout, constants)
        return self._lower(lambda: llvm_ir(compiled.module, compiled.entry))

    def asm(self, *, layout: LayoutName = "packed", constants: Mapping[str, object] = NO_CONSTANTS) -> str:
        """The assembly code of the same."""
        from hpacml.backend.assembly import asm

        compiled = self._compiled(layout, constants)
        return self._lower(lambda: asm(compiled.module, compiled.entry))

    def _compiled(self, layout: LayoutName, constants: Mapping[str, object]) -> Compiled:
        from hpacml.frontend.python.annotations import ArrayParameter, OpaqueParameter, leaves
        from hpacml.frontend.python.compiler import compile_kernel
        from hpacml.frontend.python.types import NeedsValue
        from hpacml.runtime.arrays.views import Layout

        if layout not in (known := [*Layout]):
            raise HpacmlError(f"unknown layout {layout!r}: the layouts are {', '.join(known)}")
        parameters = {parameter.name: parameter for parameter in leaves(self.parameters)}
        for name, value in constants.items():
            if name not in parameters:
                raise HpacmlError(f"{self.name}() has no parameter '{name}': it has {', '.join(parameters)}")
            if value is not None and not isinstance(parameters[name], OpaqueParameter):
                raise HpacmlError(
                    f"'{name}' of {self.name}() cannot be the constant {value!r}: constants are texts, "
                    "enumerations and None"
                )
        chosen = {name: each if isinstance(each, str | Enum | None) else THERE for name, each in constants.items()}
        given = [p for p in parameters.values() if isinstance(p, ArrayParameter) and p.name not in chosen]
        try:
            return compile_kernel(self, (Layout(layout),) * len(given), chosen)
        except NeedsValue as need:
            message = (
                f"what {self.name}() does depends on the value of '{need.name}', which a call has: give it one by "
                f"constants={{'{need.name}': ...}}"
            )
            place = self.source.file, self.source.first_line
            raise (need.error(message) if need.error is not None else CompileError(message, *place)) from None
        except HpacmlError as error:
            raise error.with_traceback(None)  # noqa: B904 (as in a call)

    def _lower(self, work: Callable[[], T]) -> T:
        from hpacml.backend.stacks import on_large_stack
        from hpacml.frontend.python.nesting import shallow_enough

        with shallow_enough(self.source):
            return on_large_stack(work)

    @functools.cached_property
    def _dispatcher(self) -> Callable[[Sequence[Any], Mapping[str, Any]], object]:
        from hpacml.backend.stacks import on_large_stack

        def make() -> Callable[[Sequence[Any], Mapping[str, Any]], object]:
            from hpacml.frontend.choosing import dispatcher

            return dispatcher(self, self.target)

        return on_large_stack(make)  # which the imports of the first call may need

    def __repr__(self) -> str:
        return f"<hpacml.kernel {self.name}>"


@overload
def kernel(function: Callable[P, R], /) -> Kernel[P, R]: ...
@overload
def kernel(*, target: Machine, fastmath: bool = ...) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
@overload
def kernel(*, fastmath: bool) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
def kernel(
    function: Callable[P, R] | None = None,
    /,
    *,
    target: Machine | None = None,
    fastmath: bool | None = None,
    **options: object,
) -> Kernel[P, R] | Callable[[Callable[P, R]], Kernel[P, R]]:
    """Compile a function with directives, written in a subset of Python (docs/python.md). It is a decorator.

    Every parameter is annotated: arrays with jaxtyping (`Float32[np.ndarray, "N M"]`), numbers with `int`,
    `float`, `bool` or a NumPy type, and paths and models, which directives use by name, with `str`,
    `torch.nn.Module` or `typing.Any`. The first call compiles the function, and raises `CompileError` if it cannot be
    compiled.

    A kernel runs where its arrays are. `@hpacml.kernel(target="gpu")` runs on the current GPU also for arrays of the
    host, which it transfers there and back; with "cpu" arrays on a GPU are an error.

    With `fastmath=True` floats are computed in the order, and with the fused operations, that are fastest: results
    equal those of `py_func` but for rounding. NaN and infinity stay what they are; the sign of a zero may differ. It
    holds for the kernel's own code and the plain functions in it; kernels that it calls have their own.

    Raises `CompileError` at once if the argument is not a function, if the target is unknown, and for other options.
    """
    wrong = options or (target is not None and target not in MACHINES) or fastmath not in (None, True, False)
    if wrong or (function is None and target is None and fastmath is None):
        raise _misuse(
            "a kernel has two options: write @hpacml.kernel, or @hpacml.kernel(...) with target='gpu' or target='cpu', "
            "and with fastmath=True"
        )

    def decorate(function: Any) -> Any:
        return inside(function, lambda function: _made(function, target, bool(fastmath)))

    return decorate if function is None else decorate(function)


def _made(function: Any, target: Machine | None, fastmath: bool) -> Any:
    function = _undecorated(function)
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise _misuse(f"a kernel is made of a function written with 'def', and this is {function!r}")
    return Kernel(function, target, fastmath=fastmath)


def _undecorated(function: Any) -> Any:
    """The function below a decorator of jaxtyping, whose checks a kernel makes itself."""
    while getattr(function, "__globals__", {}).get("__name__") == "jaxtyping._decorator":
        function = function.__wrapped__
    if inspect.isfunction(function) and hasattr(function, "__wrapped__"):
        code = function.__code__
        raise _misuse(
            f"'{function.__name__}' is decorated below the kernel, by {code.co_qualname} "
            f"({code.co_filename}:{code.co_firstlineno}): a kernel is compiled from the text of its function, without "
            "what a decorator does. Put @hpacml.kernel right above the 'def', and the decorator above that"
        )
    return function


def _misuse(message: str) -> CompileError:
    """An error that shows the line that uses the decorator."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while os.path.dirname(frame.f_code.co_filename) == os.path.dirname(__file__) and frame.f_back is not None:
        frame = frame.f_back
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
    indent = len(line) - len(line.lstrip())
    return CompileError(message, frame.f_code.co_filename, frame.f_lineno, line, indent, len(line))
