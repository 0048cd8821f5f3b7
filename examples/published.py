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


class Perceptron(Published):
    """One or two hidden layers, from float[n, m features] to float[n, m], scaled by the least and greatest numbers.

    `given` has the values of a `Family`: `multiplier`, which is m, sizes of hidden layers by row of it, and `dropout`.
    """

    def __init__(self, given, features):
        m = given["multiplier"]
        inputs, first, second = (m * size for size in (features, given["hidden1_features"], given["hidden2_features"]))
        zeros, ones = torch.zeros, torch.ones
        super().__init__({"ipt_min": zeros(inputs), "ipt_max": ones(inputs), "opt_min": zeros(m), "opt_max": ones(m)})
        layers = [nn.Linear(inputs, first), nn.LeakyReLU()]
        if second:
            layers += [nn.Linear(first, second), nn.Dropout(given["dropout"]), nn.LeakyReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(second or first, m))

    def forward(self, x):
        scaled = (x.to(self.ipt_min.dtype) - self.ipt_min) / (self.ipt_max - self.ipt_min)
        return self.layers(scaled).clamp(min=0) * (self.opt_max - self.opt_min) + self.opt_min
