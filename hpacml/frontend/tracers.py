"""What traces Python meets hpacml here: Dynamo runs our calls as they are, and other tracers see operators or errors.

Compiled code writes memory of which no tracer of Torch knows. What a tracer would leave out without a word, it is
told (`hpacml.frontend.operators`) or refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

from hpacml.errors import MapError
from hpacml.runtime.fast_path import ABSENT, Conditions

F = TypeVar("F", bound=Callable[..., Any])

_doors: list[FunctionType] = []


def untraced(function: F) -> F:
    """Have `torch.compile` break its graph at calls of a function, and run these as they are, with all they call.

    It decorates our doors, and costs nothing where nothing is compiled. `torch.compiler.disable` would need Torch now,
    and a function around each call.
    """
    door = cast(Any, function)
    door._torchdynamo_disable = True
    door._torchdynamo_disable_msg = "hpacml compiles it by itself"
    _doors.append(door)
    if _torch_c is not None:
        _mark(door)
    return function


def meet() -> Any:
    """Tell Dynamo about our doors once Torch is there, and return `torch._C`; None without Torch."""
    global _torch_c, untraced_calls
    if _torch_c is None and hasattr(torch := cast(Any, sys.modules.get("torch")), "Tensor"):
        _torch_c = torch._C
        untraced_calls = Conditions(
            answers=((_torch_c._is_tracing, False), (_torch_c._len_torch_dispatch_stack, 0)),
        )
        for door in _doors:
            _mark(door)
    return _torch_c


def _mark(door: FunctionType) -> None:
    frames: Any = _torch_c._dynamo.eval_frame
    if hasattr(frames, "set_code_exec_strategy"):  # else Dynamo compiles parts of us, which is right, but slow
        skip = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.SKIP)
        frames.set_code_exec_strategy(door.__code__, skip)


_torch_c: Any = None

untraced_calls = Conditions(entries=((sys.modules, "torch", ABSENT),))
"""What holds where no tracer records. Another module must read it as `tracers.untraced_calls`."""


def tracer() -> str | None:
    """The tracer of Torch that records what this thread does, None without one."""
    if (torch_c := _torch_c or meet()) is None:
        return None
    if torch_c._is_tracing():
        return "torch.jit.trace"
    if torch_c._len_torch_dispatch_stack() and torch_c._get_dispatch_mode(torch_c._TorchDispatchModeKey.PROXY):
        return "torch.export or make_fx"
    return None


def refusal(tracer: str, what: str) -> MapError:
    """The error for a call that a tracer would leave out of what it records."""
    return MapError(
        f"{tracer} cannot record {what}, and what it makes would leave that out: call it outside of what is traced "
        "(it can record gather and scatter of an hpacml.functor)"
    )
