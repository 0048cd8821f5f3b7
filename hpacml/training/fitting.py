"""The training as a module of Lightning, whose loop, checkpoints, early stop, devices and loggers these are."""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast

import numpy as np
import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch.nn import functional

from hpacml.errors import ConfigError, ModelError, summary
from hpacml.training.batches import Chunk, Order, Rows, loader
from hpacml.training.config import Config
from hpacml.training.deployed import Scaled
from hpacml.training.folder import CHECKPOINT
from hpacml.training.region_table import Tensors
from hpacml.training.splits import Numbers

LOSSES = {"mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.smooth_l1_loss}
SECONDS = 2.0
"""Epochs that are shorter are not all saved: what a resumed training repeats takes no longer than that."""

FITTED = "hpacml"
"""The place of what a training came to by then in Lightning's checkpoint."""

State = dict[str, torch.Tensor]


class StuckError(ModelError):
    """A network that gives one output whatever its inputs, or no number at all."""


@dataclass(frozen=True)
class Fitted:
    """What a training came to: the weights of the best epoch, its validation loss, and all epochs.

    `attempt` is the number of times that it began anew with other weights, `ended` says why it ended; it is empty if
    it did not.
    """

    state: State | None
    validation: float
    best_epoch: int
    history: list[dict[str, float]]
    attempt: int
    ended: str


class Fit(lightning.LightningModule):
    """Trains a network on chunks of batches, with steps of its own: Lightning's for each batch take longer than it."""

    def __init__(self, scaled: Scaled, config: Config, batches: int, attempt: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.scaled, self.config, self.batches = scaled, config, batches
        self.loss = LOSSES[config.loss]
        self.best: State | None = None
        self.best_validation, self.best_epoch = math.inf, 0
        self.history: list[dict[str, float]] = []
        self.attempt = attempt
        self._sums = torch.zeros(2, dtype=torch.float64)

    def configure_optimizers(self) -> Any:
        made = torch.optim.AdamW(
            self.scaled.core.parameters(),
            lr=self.config.optimizer.lr,
            weight_decay=self.config.optimizer.weight_decay,
            fused=True,
        )
        return made if (schedule := self._schedule(made)) is None else ([made], [schedule])

    def _schedule(self, made: torch.optim.Optimizer) -> Any:
        total = self.config.epochs * self.batches
        match self.config.schedule:
            case "plateau":
                return torch.optim.lr_scheduler.ReduceLROnPlateau(made)
            case "cosine":
                return torch.optim.lr_scheduler.CosineAnnealingLR(made, total)
            case "one-cycle":
                return torch.optim.lr_scheduler.OneCycleLR(made, self.config.optimizer.lr, total_steps=total)
            case "constant":
                return None

    def on_train_epoch_start(self) -> None:
        seed(self.config.seed, self.attempt, self.current_epoch)
        self._sums.zero_()

    def training_step(self, chunk: Chunk, _: int) -> None:
        made, schedules = cast(Any, self.optimizers()), cast(Any, self.lr_schedulers())
        each_step = schedules if self.config.schedule in ("cosine", "one-cycle") else None
        parameters = list(self.scaled.core.parameters())
        x, ys = chunk
        prepared = self.scaled.prepared(x, ys[0])
        losses: list[torch.Tensor] = []
        for start in range(0, len(x[0]), self.config.batch):
            part = slice(start, start + self.config.batch)
            loss = self._loss(_cut(x, part), [_cut(y, part) for y in ys[1:]], *(_cut(each, part) for each in prepared))
            made.zero_grad()
            self.manual_backward(loss)
            if self.config.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
            made.step()
            if each_step is not None:
                each_step.step()
            losses.append(loss.detach() * len(x[0][part]))
        self._sums += torch.stack([torch.stack(losses).sum().cpu(), torch.tensor(len(x[0]))])

    def _loss(self, x: Tensors, later: Sequence[Tensors], inputs: Tensors, wanted: Tensors) -> torch.Tensor:
        """The mean loss of a call and of `later` ones, each of which begins with what the one before it gave."""
        found = self.scaled.run(inputs)
        total = self._loss_of(found, wanted)
        for y in later:
            x = self.scaled.unscaled(x, found)
            inputs, wanted = self.scaled.prepared(x, y)
            found = self.scaled.run(inputs)
            total = total + self._loss_of(found, wanted)
        return total / (1 + len(later))

    def _loss_of(self, found: Tensors, wanted: Tensors) -> torch.Tensor:
        losses = [self.loss(each, other) for each, other in zip(found, wanted, strict=True)]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def on_validation_epoch_start(self) -> None:
        self._total = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._spread: list[list[torch.Tensor]] = []

    def validation_step(self, chunk: Chunk, _: int) -> None:
        x, ys = chunk
        inputs, wanted = self.scaled.prepared(x, ys[0])
        loss = self._loss(x, ys[1:], inputs, wanted).double() * len(x[0])
        self._total += torch.stack([loss, torch.tensor(len(x[0]), device=self.device)])
        self._spread.append([*_bounds(self.scaled.run(inputs)), *_bounds(wanted)])

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        total = self._over_all(self._total, "sum")
        value = float(total[0] / total[1])
        low, high, low_wanted, high_wanted = (torch.stack(each) for each in zip(*self._spread, strict=True))
        low, low_wanted = (self._over_all(each.amin(0), "min") for each in (low, low_wanted))
        high, high_wanted = (self._over_all(each.amax(0), "max") for each in (high, high_wanted))
        is_constant = bool((high <= low).all() and (high_wanted > low_wanted).any())
        if is_constant or not math.isfinite(value):
            what = "gives one output whatever its inputs" if is_constant else f"has a validation loss of {value}"
            raise StuckError(f"after epoch {self.current_epoch} the network {what}")
        if value < self.best_validation:
            self.best_validation, self.best_epoch = value, self.current_epoch
            self.best = {name: t.detach().cpu().clone() for name, t in self.scaled.core.state_dict().items()}
        self.log("validation", value)
        self.log("log_validation", math.log(max(value, 1e-300)))

    def on_train_epoch_end(self) -> None:
        total = self._over_all(self._sums.to(self.device), "sum")
        validation = float(self.trainer.callback_metrics["validation"])
        found = {
            "training": float(total[0] / total[1]),
            "validation": validation,
            "lr": float(cast(Any, self.optimizers()).param_groups[0]["lr"]),
        }
        self.log_dict({name: value for name, value in found.items() if name != "validation"})
        self.history.append({"epoch": self.current_epoch, **found})
        if self.config.schedule == "plateau":
            cast(Any, self.lr_schedulers()).step(validation)

    def _over_all(self, tensor: torch.Tensor, how: Literal["sum", "min", "max"]) -> torch.Tensor:
        """Reduce over the processes."""
        return cast(Any, self.trainer.strategy).reduce(tensor, reduce_op=how)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[FITTED] = asdict(self.fitted())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before = Fitted(**checkpoint[FITTED])
        self.best, self.best_validation, self.best_epoch = before.state, before.validation, before.best_epoch
        self.history = before.history

    def fitted(self) -> Fitted:
        """What the training came to by now."""
        ended = "all epochs" if len(self.history) >= self.config.epochs else ""
        if not ended and self.trainer.should_stop:
            ended = "early stop" if self.config.time_limit is None or self._no_better() else "time limit"
        return Fitted(self.best, self.best_validation, self.best_epoch, self.history, self.attempt, ended)

    def _no_better(self) -> bool:
        found = self.trainer.early_stopping_callback
        return found is not None and found.stopped_epoch > 0


def _bounds(y: Tensors) -> list[torch.Tensor]:
    """The smallest and the largest of the rows, of each element of all tensors."""
    rows = torch.cat([t.detach().reshape(len(t), -1) for t in y], 1)
    return [rows.amin(0), rows.amax(0)]


def _cut(tensors: Tensors, part: slice) -> Tensors:
    return tuple(each[part] for each in tensors)


class Saved(Checkpoint):
    """Saves Lightning's checkpoint at the end of epochs, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        is_last = bool(cast(Fit, pl_module).fitted().ended)
        if trainer.strategy.broadcast(is_last or monotonic() - self._last >= SECONDS):  # all processes take part
            temporary = self.path.with_suffix(".part")
            try:
                trainer.save_checkpoint(temporary)
                if trainer.is_global_zero:
                    os.replace(temporary, self.path)
            except (OSError, RuntimeError) as error:  # Torch's writer has no errors of its own for a full disk
                raise ModelError(
                    f"cannot save the training in '{self.path}': {summary(error)}. It goes on from its last whole save "
                    "when it is started again"
                ) from error
            finally:
                if trainer.is_global_zero:
                    temporary.unlink(missing_ok=True)
            self._last = monotonic()


def fit(
    make: Callable[[int], Scaled],
    config: Config,
    training: tuple[Rows, Rows],
    starts: tuple[Numbers, Numbers],
    folder: Path,
    progress: bool,
) -> Fitted | None:
    """Train the network that `make` gives for the number of an attempt, on the first of two rows from these numbers on.

    The second are for validation. None in all processes of several but the first. Raises StuckError for a network that
    learns nothing, after as many attempts as the config allows.
    """
    checkpoint = folder / CHECKPOINT
    before = left(checkpoint)
    if before is not None and before.ended:
        return before
    attempt = before.attempt if before is not None else 0
    while True:
        try:
            with _quiet():
                return _fit(make, config, training, starts, folder, progress, attempt)
        except StuckError as error:
            checkpoint.unlink(missing_ok=True)
            attempt += 1
            if attempt > config.restarts:
                raise StuckError(
                    f"{error}, as did {attempt} attempts with other weights: use a smaller optimizer.lr, another "
                    "activation, or leave clamps to the config's 'clamp', which the training does not see"
                ) from None


def left(checkpoint: Path) -> Fitted | None:
    """What a killed training left; None for nothing that can be read, which is removed."""
    if not checkpoint.exists():
        return None
    try:
        return Fitted(**torch.load(checkpoint, map_location="cpu", weights_only=True)[FITTED])
    except Exception:  # whatever Torch raises for a file that something else has torn
        checkpoint.unlink()
        return None


def seed(*numbers: int) -> None:
    """Begin all random numbers anew, those that a network may be made of: Torch's, NumPy's and Python's."""
    drawn = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    cast(Any, torch).manual_seed(drawn)
    np.random.seed(drawn % (1 << 32))
    random.seed(drawn)


def _environment(config: Config) -> dict[str, Any]:
    """Leave out the search for launchers where there is one process: to look for MPI's would initialise MPI."""
    names = ("devices", "num_nodes", "strategy", "plugins")
    return {} if any(name in config.trainer for name in names) else {"plugins": [LightningEnvironment()]}


def _board(folder: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(folder, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise ConfigError("tensorboard: true needs a package: pip install tensorboard") from error


def _fit(
    make: Callable[[int], Scaled],
    config: Config,
    training: tuple[Rows, Rows],
    starts: tuple[Numbers, Numbers],
    folder: Path,
    progress: bool,
    attempt: int,
) -> Fitted | None:
    checkpoint = folder / CHECKPOINT
    stop = config.early_stop
    stopping = (
        []
        if stop is None
        else [
            EarlyStopping(
                "log_validation",
                min_delta=-math.log1p(-stop.min_delta),  # relative to the loss
                patience=stop.patience,
                check_on_train_epoch_end=True,
            )
        ]
    )
    arguments: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": config.epochs,
        "max_time": None if config.time_limit is None else {"seconds": config.time_limit},
        "logger": _board(folder) if config.tensorboard else False,
        "callbacks": [*stopping, Saved(checkpoint), *([RichProgressBar()] if progress else [])],
        "enable_progress_bar": progress,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 1,
        **_environment(config),
        **config.trainer,
    }
    try:
        trainer = lightning.Trainer(**arguments)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {summary(error)}") from error
    share = (trainer.global_rank, trainer.world_size)
    row_bytes = training[0].part.table.row_bytes
    orders = [
        Order(rows, config.batch, row_bytes, seed, each.part.held is None, share)
        for each, rows, seed in zip(training, starts, (config.seed, None), strict=True)
    ]
    module = Fit(make(attempt), config, orders[0].batches, attempt)
    loaders = [loader(rows, order, config.workers) for rows, order in zip(training, orders, strict=True)]
    with _interruptible():
        trainer.fit(module, loaders[0], loaders[1], ckpt_path=str(checkpoint) if checkpoint.exists() else None)
    if module.best is None:
        raise ModelError("the time limit ended the training before its first epoch: give it more time")
    return module.fitted() if trainer.is_global_zero else None


@contextmanager
def _interruptible() -> Generator[None]:
    """Lightning ends a program that is interrupted, and has it ignore interrupts: here it is its KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler or signal.default_int_handler)
        raise KeyboardInterrupt from error


@contextmanager
def _quiet() -> Generator[None]:
    """Lightning without advertisements and advice."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
            yield
    finally:
        logger.setLevel(level)
