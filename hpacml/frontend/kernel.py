"""`@hpacml.kernel`: a Python function that is compiled."""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast, overload

from hpacml.errors import CompileError, HpacmlError
from hpacml.frontend.placement import MACHINES, Machine
from hpacml.frontend.python.definition import Definition

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

    from hpacml.frontend.dispatch import Dispatcher

P = ParamSpec("P")
R = TypeVar("R")

LayoutName: TypeAlias = Literal["packed", "rows", "strided"]


class Kernel(Definition, Generic[P, R]):
    """A compiled function, made by `hpacml.kernel`. Call it as the function that it was made of.

    Arrays are NumPy arrays, Torch tensors, or anything with DLPack or an array interface, with any strides, all on the
    host or all on one GPU, where the kernel then runs; they are not copied. Numbers are converted to the types of their
    annotations. The first call with arrays of a new layout (packed, with packed rows, or with other strides) compiles,
    or takes the code from the cache on disk.

    Results are those of `py_func` to the last bit, but for what would make a kernel slow:

    - An `int` has 64 bits and wraps around; in a float's company it rounds to 53 bits first.
    - Indices are not checked: one beyond either end of an array reads or writes other memory.
    - Where Python raises for a number, such as a division by zero or the root of a negative number, the result is
      NumPy's inf, nan or, for integers, 0. A float that is made an integer which does not hold it becomes some
      integer. A range with a step of 0 is empty.
    - A variable has one type: what is an `int` on one path and a `float` on another is a `float`, and a literal on
      one path is NumPy's where the others have NumPy's (`total = 0.0` before a loop that adds float32 to it).

    Raises `CompileError` for Python that cannot be compiled, `DirectiveError` for a directive that cannot be read,
    `MapError` for arguments or maps that do not fit, `ModelError` and `DatabaseError` from its regions, `DeviceError`
    for what is wrong with a GPU, and `TypeError` for arguments that are missing or too many.
    """

    def __init__(self, function: Callable[P, R], target: Machine | None = None):
        super().__init__(function)
        self.target: Machine | None = target
        functools.update_wrapper(self, function)

    @property
    def py_func(self) -> Callable[P, R]:
        """The Python function; its directives do nothing."""
        return self.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self._dispatcher(args, kwargs))

    def ir(self, stage: str | None = None, *, layout: LayoutName = "strided") -> ModuleOp:
        """The IR as compiled from Python, or lowered to a stage of the pipeline.

        It is for arrays that are "packed" (in C order without gaps), that have "rows" (the innermost stride is 1, the
        others are any), or that are "strided" (any strides). The stages are the keys of `hpacml.pipelines.STAGES` and
        `GPU_STAGES`, or names of passes. Raises `CompileError`, `DirectiveError` and `MapError` as a call does, and
        `HpacmlError` for an unknown stage or layout.
        """
        from hpacml.pipelines import run_passes

        module = self._module(layout)
        return module if stage is None else run_passes(module, stage)

    def ptx(self, chip: str | None = None, *, layout: LayoutName = "packed") -> str:
        """The code for an NVIDIA GPU of this kernel's gathers, scatters and parallel loops, as text.

        It is for arrays of a layout as in `ir`, and for a chip such as "sm_90": by default that of this machine's GPU,
        and "sm_80" without one. Neither a GPU nor CUDA is needed. Raises as `ir` does, `CompileError` also for what a
        GPU cannot do, and `HpacmlError` for an unknown chip.
        """
        from hpacml.backend.assembly import ptx

        return ptx(self._module(layout), chip)

    def amdgcn(self, chip: str = "gfx90a", *, layout: LayoutName = "packed") -> str:
        """The same for a GPU of AMD, as assembly text."""
        from hpacml.backend.assembly import amdgcn

        return amdgcn(self._module(layout), chip)

    def _module(self, layout: LayoutName) -> ModuleOp:
        from hpacml.frontend.python.annotations import ArrayParameter
        from hpacml.frontend.python.compiler import compile_kernel
        from hpacml.runtime.arrays.views import Layout

        if layout not in (known := [*Layout]):
            raise HpacmlError(f"unknown layout {layout!r}: the layouts are {', '.join(known)}")
        arrays = sum(isinstance(parameter, ArrayParameter) for parameter in self.parameters)
        return compile_kernel(self, (Layout(layout),) * arrays).module

    @functools.cached_property
    def _dispatcher(self) -> Dispatcher:
        from hpacml.frontend.dispatch import Dispatcher

        return Dispatcher(self, self.target)

    def __repr__(self) -> str:
        return f"<hpacml.kernel {self.name}>"


@overload
def kernel(function: Callable[P, R], /) -> Kernel[P, R]: ...
@overload
def kernel(*, target: Machine) -> Callable[[Callable[P, R]], Kernel[P, R]]: ...
def kernel(
    function: Callable[P, R] | None = None, /, *, target: Machine | None = None, **options: object
) -> Kernel[P, R] | Callable[[Callable[P, R]], Kernel[P, R]]:
    """Compile a function of a subset of Python, with directives; use it as a decorator.

    Every parameter is annotated: arrays with jaxtyping (`Float32[np.ndarray, "N M"]`), numbers with `int`,
    `float`, `bool` or a NumPy type, and paths and models, which directives use by name, with `str`,
    `torch.nn.Module` or `typing.Any`. Compilation happens at the first call; what cannot be compiled
    raises `CompileError` then. docs/python.md describes the subset.

    A kernel runs where its arrays are. `@hpacml.kernel(target="gpu")` runs on the current GPU for arrays of the host
    too, which are transferred and come back; with "cpu", arrays on a GPU are an error. Raises `CompileError` at once
    for what is no function, and for an unknown target.
    """
    if options or ((function is None or target is not None) and target not in MACHINES):
        raise _misuse("a kernel has one option: write @hpacml.kernel, or @hpacml.kernel(target='gpu') or target='cpu'")
    if function is None:
        return lambda function: Kernel(function, target)
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise _misuse(f"a kernel is made of a function written with 'def', and this is {function!r}")
    return Kernel(function, target)


def _misuse(message: str) -> CompileError:
    """An error at the line that calls `kernel`."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).rstrip()
    indent = len(line) - len(line.lstrip())
    return CompileError(message, frame.f_code.co_filename, frame.f_lineno, line, indent, len(line))
