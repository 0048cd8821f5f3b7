"""What a training is made of: the rows of a region in parts, the numbers of these, and the network."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from hpacml.errors import ConfigError, HpacmlError, ModelError, summary
from hpacml.runtime.databases.reader import Region
from hpacml.runtime.models.domain import Domain
from hpacml.runtime.models.moments import Moments
from hpacml.runtime.models.saving import require_savable
from hpacml.runtime.models.survey import Survey
from hpacml.training.batches import Rows, chains
from hpacml.training.config import Config
from hpacml.training.continued import Earlier
from hpacml.training.deployed import Scaled, Scaling, base, deployed, require_residual, scalings
from hpacml.training.finite import require_finite
from hpacml.training.fitting import seed
from hpacml.training.region_table import Part, Shape, Tensors, table
from hpacml.training.repeated import Repeated
from hpacml.training.splits import PARTS, Numbers, split
from hpacml.training.statistics import Digest

Factory = Callable[[Mapping[str, Any], Sequence[Shape], Sequence[Shape]], nn.Module]

COARSE = 0.01
"""Which part of the deviation of numbers the steps between those of a dtype may be before this is said."""

VERSIONS = ("hpacml", "torch", "pytorch-lightning", "numpy")


class Study:
    """One training before it begins. Raises ConfigError, DatabaseError, and ModelError for a network that misfits."""

    def __init__(
        self,
        region: Region,
        config: Config,
        factory: Factory,
        name: str,
        target: Path,
        earlier: Earlier | None = None,
    ) -> None:
        self.region, self.config, self.factory, self.name, self.target = region, config, factory, name, target
        self.earlier = earlier
        self._begins_with: Earlier | None = None
        self.table = table(region, config.rows)
        self.ends = [len(self.table.counts)] if earlier is None else earlier.ends(self.table.counts)
        self.splits = split(config.split, self.table.counts, config.seed, self.ends)
        self.parts = {part: Part(self.table, getattr(self.splits, part)) for part in PARTS}
        self._hold()
        self.inputs, self.outputs = self.parts["train"].inputs, self.parts["train"].outputs
        if earlier is not None:
            earlier.require_fits(name, config, region.maps, (self.inputs, self.outputs))
        require_residual(config.residual, self.inputs, self.outputs)
        self._require_rollout()
        self.moments = [Moments(shape) for shape in (*self.inputs, *self.outputs)]
        self.repeated = Repeated()
        self.survey = Survey([(1, *shape) for shape in self.inputs], self.table.swept)
        self.sha256 = self._read()
        self._require_outputs()
        self._joins_last = False
        self._try()
        if earlier is not None:
            self._begins_with = earlier
            self.make(0)

    def _hold(self) -> None:
        """Read the parts that fit into memory once, those first that are read most often."""
        left = self.config.memory * (1 << 30)
        for name, part in self.parts.items():
            if part.nbytes <= left:
                self.parts[name] = part.in_memory()
                left -= part.nbytes

    def _require_rollout(self) -> None:
        fits = (
            self.table.kind == "calls" and self.table.same == ((0, 0),) and len(self.inputs) == len(self.outputs) == 1
        )
        if self.config.rollout > 1 and not fits:
            raise ConfigError(
                f"rollout: {self.config.rollout} feeds a network with what it gave, which takes rows: calls, of one "
                "input and one output that are the same map of the same array (inout)"
            )

    def _read(self) -> str:
        """Read all rows once: the numbers of those for training, and the digest of all."""
        digest: Digest | None = None
        for name, part in self.parts.items():
            start = 0
            for x, y in part.blocks():
                for names, tensors in zip(part.names, (x, y), strict=True):
                    require_finite(names, tensors, part.place, start)
                digest = digest or Digest((*x, *y))
                digest.update((*x, *y))
                self.repeated.update(name, (*x, *y))
                if name == "train":
                    self._survey(x)
                    for moments, each in zip(self.moments, (*x, *self._targets(x, y)), strict=True):
                        moments.update(each)
                start += len(x[0])
        return "" if digest is None else digest.hexdigest()

    def _survey(self, x: Tensors) -> None:
        if self.survey.is_possible:
            self.survey.update(x)

    def _require_outputs(self) -> None:
        """Raise ConfigError for outputs that no network can give, or that the clamp leaves nothing of."""
        for name, tensor in zip(self.table.names[1], self.table.outputs, strict=True):
            if tensor.dtype == np.bool_:
                raise ConfigError(f"'{name}' has truth values, and networks give numbers: collect 0.0 and 1.0")
        clamp, targets = self.config.clamp, self.moments[len(self.inputs) :]
        if self.config.residual is False and targets:
            low = min(float(each.min.min()) for each in targets)
            high = max(float(each.max.max()) for each in targets)
            if (clamp.min is not None and clamp.min >= high) or (clamp.max is not None and clamp.max <= low):
                raise ConfigError(f"clamp: {clamp} makes one number of all outputs, which are {low:g} to {high:g}")

    def remarks(self) -> list[str]:
        """Say what of the data makes a model worse than its errors tell, or its errors better than it is."""
        whole = [
            f"'{name}' has whole numbers, to which the region cuts what the model gives, as these errors tell: give it "
            "an array of floats"
            for name, tensor in zip(self.table.names[1], self.table.outputs, strict=True)
            if tensor.dtype.kind in "iu"
        ]
        return [*whole, *self._edited(), *self._tested_before(), *self.repeated.remarks(), *self.coarse()]

    def _tested_before(self) -> Iterator[str]:
        """Say where the model that a training goes on from may have been trained with rows of the test."""
        if self.earlier is not None and (self.config.split.shuffle or not self.splits.by_calls):
            yield (
                "rows of the test may be some that the model before was trained with, since they are drawn anew, so "
                "that its errors are milder than they are: split by calls one after the other, or by ranges"
            )

    def _edited(self) -> Iterator[str]:
        """Say which functions had several codes while their calls were collected."""
        versions: dict[tuple[str, str], set[str]] = {}
        for shard in self.region.shards:
            if shard.schema is not None and (origin := shard.schema.origin) is not None:
                for source in origin.sources:
                    versions.setdefault((origin.function, source.bytecode), set()).add(source.digest)
        for function in dict.fromkeys(function for function, _ in versions):
            count = max(len(digests) for (each, _), digests in versions.items() if each == function)
            if count > 1:
                yield (
                    f"rows come from {count} versions of {function}, whose code was edited between calls: if they "
                    "compute different things, collect anew into another file, or label the versions apart"
                )

    def _targets(self, x: Tensors, y: Tensors) -> Tensors:
        under = base(tuple(each.double() for each in x), self.config.residual)
        return y if under is None else (y[0].double() - under,)

    def make(self, attempt: int) -> Scaled:
        """Make the network of an attempt, with weights of its own. Raises ModelError for what is no network."""
        seed(self.config.seed, attempt)
        try:
            made = cast(object, self.factory(self.config.network, self.inputs, self.outputs))
        except HpacmlError:
            raise
        except Exception as error:
            raise ModelError(f"the factory {self.name} fails: {summary(error)}") from error
        if not isinstance(made, nn.Module):
            raise ModelError(f"the factory {self.name} gives a {type(made).__name__}, which is no torch.nn.Module")
        if self._joins_last:
            made = nn.Sequential(*(made if type(made) is nn.Sequential else [made]), nn.Flatten(-2, -1))
        inputs, targets = self._scalings()
        width = self.inputs[0][-1] if self.inputs[0] else 1
        train, deploy = (getattr(torch, each) for each in (self.config.dtype.train, self.config.dtype.deploy))
        scaled = Scaled(made, inputs, targets, self.config.residual, width, train, deploy).train()
        if self._begins_with is not None:
            self._begins_with.fill(scaled.core)
        return scaled

    def _scalings(self) -> tuple[list[Scaling | None], list[Scaling | None]]:
        """Those of the rows, or of the model that the training goes on from: its weights are for these."""
        count = len(self.inputs)
        if self.earlier is None:
            return scalings(self.moments, self.config.normalize, count)
        known = copy.deepcopy(self.earlier.scalings)
        return known[:count], known[count:]

    def _try(self) -> None:
        """Run a new network on two rows. Raises ModelError if it does not give what the region's outputs are."""
        scaled = self.make(0).eval()
        self.network = str(scaled.core)
        numbers = self.parts["train"].numbers[:2]
        x, y = self.table.take(numbers)
        inputs, wanted = scaled.prepared(x, y)
        shapes = ", ".join(str(list(each.shape)) for each in inputs)
        try:
            with torch.no_grad():
                found = scaled.run(inputs)
        except Exception as error:
            raise ModelError(
                f"the network of {self.name} does not take inputs of {shapes}: {summary(error)}"
            ) from error
        given, needed = ([list(each.shape) for each in side] for side in (found, wanted))
        if given == [[len(numbers), 1]] and needed == [[len(numbers)]]:  # one number a row, as of Linear(8, 1)
            self._joins_last = True
            return self._try()
        if given != needed:
            rows = ", ".join(str(list(each)) for each in self.outputs)
            fix = f"its last layer has to give {rows} for a row"
            if any(has == [*wants, 1] for has, wants in zip(given, needed, strict=False)):
                fix += ", without a last dimension of 1: return y.squeeze(-1) of such an output y"
            raise ModelError(
                f"the network of {self.name} gives {given} for inputs of {shapes}, and the outputs of the region are "
                f"{needed}: {fix}"
            )
        require_savable(deployed(scaled, self.config, self.inputs), self.target, self.example)

    @property
    def example(self) -> Tensors:
        """Inputs as the model takes them: floats, since of integers it would be a module that computes with these."""
        dtype: torch.dtype = getattr(torch, self.config.dtype.deploy)
        return tuple(each.to(dtype) for each in self.table.example)

    def coarse(self) -> list[str]:
        """Say which numbers vary so little beside their size that the dtype of the model does not hold how."""
        names = (*self.table.names[0], *self.table.names[1])
        said: list[str] = []
        step = torch.finfo(getattr(torch, self.config.dtype.deploy)).eps
        tensors = (*self.table.inputs, *self.table.outputs)
        for name, tensor, moments in zip(names, tensors, self.moments, strict=True):
            largest, deviation = torch.maximum(moments.min.abs(), moments.max.abs()), moments.deviation()[1].flatten()
            bad = (step * largest > COARSE * deviation) & (deviation > 0)
            if tensor.dtype.itemsize > 2 and tensor.dtype != np.float32 and bad.any():
                k = int(bad.nonzero()[0])
                said.append(
                    f"'{name}' has numbers of {float(largest[k]):.3g} that vary by {float(deviation[k]):.1g}, and "
                    f"{self.config.dtype.deploy} has steps of {step * float(largest[k]):.1g} there: use dtype: "
                    "{deploy: float64}"
                )
        return said

    def rows(self) -> tuple[tuple[Rows, Rows], tuple[Numbers, Numbers]]:
        """The rows for training and validation, and the numbers of those to begin with.

        Raises ConfigError where no calls follow one another as a rollout needs them.
        """
        steps = self.config.rollout
        found: list[tuple[Rows, Numbers]] = []
        for name in ("train", "validation"):
            part = self.parts[name]
            starts = chains(part, steps)
            if not len(starts):
                raise ConfigError(
                    f"of the {len(part)} calls for '{name}' no {steps} follow one another so that each begins with "
                    "what the one before it gave, which rollout needs"
                )
            found.append((Rows(part, steps), starts))
        (training, first), (validation, second) = found
        return (training, validation), (first, second)

    def fingerprint(self) -> str:
        """Digest what decides a training: settings, data, network and the file of its factory, versions."""
        source = inspect.getsourcefile(inspect.unwrap(self.factory)) if inspect.isfunction(self.factory) else None
        code = Path(source).read_text() if source is not None and Path(source).exists() else ""
        network = [self.name, self.network, code]
        before = None if self.earlier is None else self.earlier.digest
        told = [self.config.model_dump(mode="json"), self.sha256, self.splits.text, network, self.versions(), before]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def grid(self) -> tuple[int, int] | None:
        """The sizes of a sweep of two dimensions, whose points are drawn as a field; None for other rows."""
        sizes = self.table.sweep
        return (sizes[0], sizes[1]) if len(sizes) == 2 and self.splits.by_calls else None

    def versions(self) -> dict[str, str]:
        """The versions of the packages that train."""
        return {name: metadata.version(name) for name in VERSIONS}

    def statistics(self) -> dict[str, Any]:
        """The numbers of the training rows, of inputs and targets."""
        told = [moments.told() for moments in self.moments]
        return {"inputs": told[: len(self.inputs)], "targets": told[len(self.inputs) :]}

    def domain(self) -> Domain | None:
        """Where the inputs of the training rows lie, for guards, with those of the model before, if there is one.

        None if points have too many features for that. Raises ConfigError where the model has a domain of others.
        """
        if not self.survey.is_possible:
            return None
        before = None if self.earlier is None else self.earlier.domain
        try:
            return self.survey.measured((x for x, _ in self.parts["train"].blocks()), before)
        except ValueError as error:
            raise ConfigError(f"the domain of the model before is not one of these rows: {error}") from error
