"""Models of Torch as functions to differentiate. It imports Torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hpacml.abi.records import InferSite, Source, TensorType
from hpacml.directives.syntax import Name
from hpacml.dtypes import torch_dtypes
from hpacml.errors import ModelError
from hpacml.jax.call_primitive import ArrayForm
from hpacml.jax.inferring import Inferring
from hpacml.runtime.models.inference import Inference
from hpacml.runtime.models.outputs import in_order


def site_of(common: Inferring, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]) -> InferSite:
    """The call site of a region's inference on tensors."""
    model = common.ml.model
    source = Source(argument=model.id) if isinstance(model, Name) else Source(path=model)
    given, made = (tuple(TensorType(form.dtype, len(form.shape)) for form in each) for each in (inputs, outputs))
    return InferSite(common.label, source, None, "raise", common.maps, given, made)


def function_of(
    common: Inferring, inputs: Sequence[ArrayForm], outputs: Sequence[ArrayForm]
) -> Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]:
    """The model of the current call, on tensors of the region, whose gradients Torch records. Raises ModelError."""
    site = site_of(common, inputs, outputs)
    model = Inference(site).finder.find("cpu")
    network = model.network
    anchor = network.anchor()
    batch = network.takes_batches_of([type.rank for type in site.inputs])

    def run(tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        known = network.dtypes or tuple(
            x.dtype if anchor is None or not x.is_floating_point() else anchor.dtype for x in tensors
        )
        given = [x.to(dtype) for x, dtype in zip(tensors, known, strict=True)]
        returned = in_order(network.run(*([x.unsqueeze(0) for x in given] if batch else given)))
        if returned is None or len(returned) != len(outputs):
            raise ModelError(f"the model {model.name} gives no {len(outputs)} tensors in order, as its gradient needs")
        found: list[torch.Tensor] = []
        for y, form in zip(returned, outputs, strict=True):
            sizes = [size for size in y.shape if size != 1] if isinstance(y, torch.Tensor) else None
            if not isinstance(y, torch.Tensor) or sizes != [size for size in form.shape if size != 1]:
                raise ModelError(f"the model {model.name} gives a tensor that is not of the shape {list(form.shape)}")
            found.append(y.reshape(form.shape).to(_dtype(form)))
        return found

    return run


def _dtype(form: ArrayForm) -> torch.dtype:
    return torch_dtypes()[form.dtype]
