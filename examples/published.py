"""Networks as the paper's programs save them: names of their configurations, and numbers that scale their data."""

import torch
from torch import nn

TOLD = {"class", "structure", "trainable_params", "input_features", "output_features"}
"""What a configuration may say of its network that follows from the rest."""


def read(family, config, aliases):
    """The values of all hyper-parameters of a `Family`, of a configuration that may have them by their `aliases`.

    Raises ModelError for names that the family does not have, for one that is given twice, and for wrong values.
    """
    given = {}
    for name, value in config.items():
        known = aliases.get(name, name)
        if known in given:
            raise family.error(f"has {known} twice: leave out {name}")
        if known not in TOLD:
            given[known] = value
    return family.read(given)


class Published(nn.Module):
    """A network in evaluation form, whose buffers scale its data; `buffers` has their values before any are loaded.

    Files have the buffers as [n] and as [1, n]: both load.
    """

    def __init__(self, buffers):
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.register_load_state_dict_pre_hook(_reshaped)

    def sealed(self):
        """This network, which is not trained any more."""
        return self.eval().requires_grad_(False)


def _reshaped(module, state, prefix, *_):
    for name, buffer in module.named_buffers(recurse=False):
        loaded = state.get(prefix + name)
        if isinstance(loaded, torch.Tensor) and loaded.numel() == buffer.numel():
            state[prefix + name] = loaded.reshape(buffer.shape)
