"""A model is run again for its derivatives, so it must be the same as before. It imports Torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from hpacml.errors import ModelError


@contextmanager
def repeatable(module: nn.Module | None, what: str) -> Generator[None]:
    """Raise ModelError if the model of `what` has drawn random numbers of Torch, or changed a buffer or a parameter.

    Random numbers are given back; `module` is that of the model, where it has one.
    """
    random = torch.get_rng_state()
    before = {} if module is None else dict(_state(module))
    yield
    if not torch.equal(random, torch.get_rng_state()):
        torch.set_rng_state(random)
        raise ModelError(
            f"the model of {what} draws random numbers, and runs again for its derivatives, which would be those of "
            "other ones: pass it random numbers as an input"
        )
    after = {} if module is None else dict(_state(module))
    for name, (tensor, version) in before.items():
        now, count = after.get(name, (tensor, version))
        is_other = count != version if now is tensor else now.shape == tensor.shape and not torch.equal(now, tensor)
        if is_other:
            raise ModelError(
                f"the model of {what} changes its '{name}' when it runs, and runs again for its derivatives, which "
                "would be those of a later state: pass the state as an input"
            )


def _state(module: nn.Module) -> Iterator[tuple[str, tuple[torch.Tensor, int]]]:
    """The parameters and buffers of a module, and how often each was written."""
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if not tensor.is_inference():  # whose versions are not counted
            yield name, (tensor, tensor._version)
