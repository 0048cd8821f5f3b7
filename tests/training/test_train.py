"""`hpacml.train` and `hpacml train`: what they write runs in regions, comes out the same again, and faults are told."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ConfigError, DatabaseError, HpacmlError, ModelError
from hpacml.runtime.models.model import load
from hpacml.training import fitting
from hpacml.training.config import Config
from hpacml.training.fitting import StuckError
from hpacml.training.region_table import Table
from tests.command import run_hpacml
from tests.warm import warm_processes

ROWS, CALLS = 64, 12
FUNCTORS = "tensor functor(f: [i, 0:3] = ([i, 0:3])) tensor functor(g: [i, 0:2] = ([i, 0:2]))"


def region(engine: str = "torch") -> Any:
    @hpacml.region(
        f"""{FUNCTORS} ml(predicated: use) in(f(x[0:n, 0:3])) out(g(y[0:n, 0:2])) model(net)
            database("data.h5") label("curve") engine({engine})"""
    )
    def curve(x: np.ndarray, y: np.ndarray, n: int, use: bool, net: object = None) -> None:
        y[:, 0], y[:, 1] = np.sin(x[:, 0]) + x[:, 1], 3 * x[:, 2] + 1

    return curve


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of twelve calls in the current directory."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    collect = region()
    for _ in range(CALLS):
        collect(rng.normal(size=(ROWS, 3)), np.zeros((ROWS, 2)), ROWS, False)
    hpacml.flush()
    return tmp_path


def small(**settings: Any) -> dict[str, Any]:
    return {"network": {"hidden": [8]}, "epochs": 2, "batch": 32, "threads": 1, "pictures": False, **settings}


@pytest.mark.parametrize(
    ("settings", "out"),
    [
        ({}, "net.pt2"),
        ({"normalize": {"inputs": "whiten", "targets": "min-max"}, "clamp": {"min": -0.5}}, "net.safetensors"),
        ({"residual": [1, 2], "network": {"hidden": [8, 4], "dropout": 0.2}}, "net.pt2"),
        ({"normalize": {"inputs": "none", "targets": "none"}, "dtype": {"deploy": "float64"}}, "net.safetensors"),
    ],
)
def test_models_run_in_both_engines(data: Path, settings: Mapping[str, Any], out: str) -> None:
    trained = hpacml.train("data.h5", config=small(**settings), out=out, quiet=True)
    x = np.random.default_rng(1).normal(size=(ROWS, 3))
    by_torch, compiled = np.zeros((ROWS, 2)), np.zeros((ROWS, 2))
    region("torch")(x, by_torch, ROWS, True, str(trained.path))
    region("compiled")(x, compiled, ROWS, True, str(trained.path))
    assert by_torch.std() > 0
    np.testing.assert_allclose(compiled, by_torch, atol=2e-5)
    if "clamp" in settings:
        assert by_torch.min() == -0.5


def test_the_file_tells_of_its_training(data: Path) -> None:
    trained = hpacml.train("data.h5", "curve", config=small(), out="net.pt2", quiet=True)
    told = load(str(trained.path)).network.metadata
    training, statistics = told["training"], told["statistics"]
    assert training["split"] == "calls one after the other: train 8, validation 2, test 2"
    assert training["config"]["network"] == {"hidden": [8]}
    assert training["rows"] == {"train": 8 * ROWS, "validation": 2 * ROWS, "test": 2 * ROWS}
    with h5py.File("data.h5") as file:
        x, y = file["curve/input"][:8].reshape(-1, 3), file["curve/output"][:8].reshape(-1, 2)
    for numbers, truth in ((statistics["inputs"][0], x), (statistics["targets"][0], y)):
        np.testing.assert_allclose(numbers["mean"], truth.mean(0), atol=1e-12)
        np.testing.assert_allclose(numbers["max"], truth.max(0))
        np.testing.assert_allclose(numbers["covariance"], np.cov(truth.T, bias=True), atol=1e-12)
    assert json.loads((trained.folder / "metrics.json").read_text())["test"] == training["test"]
    domain = load(str(trained.path)).network.domain
    assert domain is not None
    assert (domain.features, domain.points) == ((3,), 8 * ROWS)
    np.testing.assert_array_equal(domain.high[0], x.max(0))
    assert domain.distances(x).max() == pytest.approx(domain.reach)


def test_errors_are_those_of_the_deployed_model(data: Path) -> None:
    trained = hpacml.train("data.h5", config=small(), quiet=True)
    with h5py.File("data.h5") as file:
        x, y = file["curve/input"][10:], file["curve/output"][10:]
    found = np.zeros_like(y)
    for call in range(2):
        region()(x[call], found[call], ROWS, True, str(trained.path))
    assert trained.metrics["test"]["network"]["rmse"] == pytest.approx(np.sqrt(((found - y) ** 2).mean()), rel=1e-5)
    assert trained.metrics["test"]["mean"]["rmse"] > 0


def test_the_same_twice(data: Path) -> None:
    settings = small(network={"hidden": [8], "dropout": 0.1}, schedule="one-cycle")
    torch.manual_seed(5)
    first = hpacml.train("data.h5", config=settings, out="a.safetensors", quiet=True).path.read_bytes()
    torch.rand(3)
    second = hpacml.train("data.h5", config=settings, out="b.safetensors", quiet=True).path.read_bytes()
    assert first == second
    other = hpacml.train("data.h5", config=settings, changes={"seed": 1}, out="c.safetensors", quiet=True)
    assert other.path.read_bytes() != first


def test_files_are_read_like_memory(data: Path) -> None:
    """Rows that do not fit into memory come in another order, but none is lost."""
    lazy = hpacml.train("data.h5", config=small(memory=1e-9, workers=0), out="lazy.pt2", quiet=True)
    held = hpacml.train("data.h5", config=small(), out="held.pt2", quiet=True)
    assert lazy.metrics["data_sha256"] == held.metrics["data_sha256"]
    assert lazy.metrics["validation_loss"] == pytest.approx(held.metrics["validation_loss"], rel=0.3)


def test_an_epoch_after_a_resumption_is_as_it_would_have_been(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout, too, draws the same numbers."""
    settings = small(network={"hidden": [8], "dropout": 0.3}, batch=8, epochs=4)
    hpacml.train("data.h5", config=settings, out="whole.safetensors", quiet=True)
    monkeypatch.setattr(fitting, "SECONDS", 0.0)
    save = fitting.Saved.on_train_epoch_end

    def interrupted(self: Any, trainer: Any, module: Any) -> None:
        save(self, trainer, module)
        if module.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting.Saved, "on_train_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            hpacml.train("data.h5", config=settings, out="resumed.safetensors", quiet=True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    hpacml.train("data.h5", config=settings, out="resumed.safetensors", quiet=True)
    assert Path("resumed.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def train_with_many_saves(out: str) -> None:
    """Train in this process, with a save at the end of each epoch."""
    fitting.SECONDS = 0.0
    settings = small(network={"hidden": [8], "dropout": 0.1}, batch=8, epochs=40, early_stop={"patience": 30})
    hpacml.train("data.h5", config=settings, out=out, quiet=True)


def test_rows_that_fit_into_memory_are_read_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def take(self: Table, numbers: Any) -> Any:
        read.append(len(numbers))
        return original(self, numbers)

    original = Table.take
    monkeypatch.setattr(Table, "take", take)
    hpacml.train("data.h5", config=small(pictures=True), quiet=True)
    assert sum(read) == ROWS * CALLS + 2  # on which the network is tried


@pytest.mark.slow
def test_killed_at_any_time(data: Path) -> None:
    def start(out: str) -> BaseProcess:
        process = warm_processes().Process(target=train_with_many_saves, args=(out,))
        process.start()
        return process

    def finished(process: BaseProcess, seconds: float | None = None) -> bool:
        process.join(seconds)
        assert process.exitcode in (0, None)
        return process.exitcode == 0

    assert finished(start("none.safetensors"))  # which loads what the others have
    began = time.monotonic()
    assert finished(start("whole.safetensors"))
    seconds = time.monotonic() - began
    rng = np.random.default_rng(int(time.time()))
    kills = 0
    for _ in range(int(os.environ.get("HPACML_KILLS", "3"))):
        process = start("killed.safetensors")
        if finished(process, seconds * rng.uniform(0.3, 1)):
            Path("killed.safetensors").unlink()  # it came to its end: the next one begins anew
        else:
            process.kill()
            process.join()
            kills += 1
    assert finished(start("killed.safetensors"))
    assert kills
    assert Path("killed.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def test_another_config_does_not_go_on_with_what_was_killed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data / "model.train"
    folder.mkdir()
    torch.save({}, folder / "last.ckpt")
    (folder / "training.sha256").write_text("of another one")
    trained = hpacml.train("data.h5", config=small())
    assert "going on" not in capsys.readouterr().out
    assert trained.metrics["epochs"] == 2


def test_by_the_command(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("curve.toml").write_text("epochs = 3\nbatch = 32\n[network]\nhidden = [8]\n[optimizer]\nlr = 1e-2\n")
    Path("mine.py").write_text(
        "from torch import nn\ndef net(config, inputs, outputs):\n    assert config == {'hidden': [8]}, config\n"
        "    return nn.Linear(*inputs[0], *outputs[0])\n"
    )
    status, out, err = run_hpacml(
        monkeypatch, capsys, "train", "data.h5", "--region", "curve", "--model", "mine:net", "--config", "curve.toml",
        "--train", "0:6", "--validation", "6:9", "--test", "9:", "--set", "optimizer.lr=2e-2", "--out", "net.pt2",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "by calls: train 0:6, validation 6:9, test 9:" in out
    assert "least squares on all features has RMSE" in out
    assert load(str(data / "net.pt2")).network.metadata["training"]["config"]["optimizer"]["lr"] == 2e-2


def test_a_linear_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    @hpacml.region(
        """tensor functor(two: [i, 0:2] = ([i], [i])) tensor functor(one: [i, 0:1] = ([i]))
           ml(collect) in(two(rate[0:n], days[0:n])) out(one(price[0:n])) database("bonds.h5")"""
    )
    def bonds(rate: np.ndarray, days: np.ndarray, price: np.ndarray, n: int) -> None:
        price[:] = 100 * rate

    rng = np.random.default_rng(0)
    for _ in range(10):
        bonds(rng.random(50), rng.random(50), np.zeros(50), 50)
    hpacml.train("bonds.h5", config=small())
    assert "least squares on rate has RMSE" in capsys.readouterr().out.replace("\n", " ")


def test_data_that_drifts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    collect = region()
    for call in range(30):
        collect(rng.normal(size=(ROWS, 3)) + 0.3 * max(0, call - 20), np.zeros((ROWS, 2)), ROWS, False)
    hpacml.flush()
    trained = hpacml.train("data.h5", config=small(epochs=10))
    errors = {part: trained.metrics[part] for part in ("validation", "test")}
    assert errors["test"]["network"]["rmse"] > errors["validation"]["rmse"]
    assert "as where a simulation drifts" in capsys.readouterr().out


def test_rows_of_few_calls_are_drawn_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    region()(np.random.default_rng(0).normal(size=(500, 3)), np.zeros((500, 2)), 500, False)
    trained = hpacml.train("data.h5", config=small())
    assert "there is 1 call, fewer than 10" in capsys.readouterr().out
    assert trained.metrics["rows"] == {"train": 350, "validation": 75, "test": 75}


class Dead(nn.Module):
    """A clamp at the end, which is stuck where the weights begin."""

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        nn.init.constant_(self.layer.bias, begin)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).clamp(min=0)


def test_a_network_that_is_stuck_begins_anew(data: Path) -> None:
    begins = iter([1.0, -100.0, 1.0])  # one that is tried, and two that are trained
    trained = hpacml.train("data.h5", model=lambda *_: Dead(next(begins, 1.0)), config=small(), quiet=True)
    assert trained.metrics["attempt"] == 1


def test_a_network_that_stays_stuck(data: Path) -> None:
    with pytest.raises(StuckError, match="gives one output whatever its inputs, as did 3 attempts"):
        hpacml.train("data.h5", model=lambda *_: Dead(-100.0), config=small(), quiet=True)
    with pytest.raises(StuckError, match="validation loss of"):
        hpacml.train("data.h5", config=small(optimizer={"lr": 1e30}, clip=None, restarts=0), quiet=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "'epoch' is unknown; there are network, rows, split"),
        ({"optimizer": {"learning_rate": 3}}, "'optimizer.learning_rate' is unknown; there are lr, weight_decay"),
        ({"epochs": "many"}, "epochs = 'many'"),
        ({"batch": True}, "batch is true, where no truth value may be"),
        ({"optimizer": {"lr": False}}, "optimizer.lr is false, where"),
        ({"split": {"train": "0:6", "validation": "6:6", "test": "6:"}}, "leaves no calls for 'validation'"),
        ({"split": {"train": "0:8", "validation": "6:9", "test": "9:"}}, "'train' and 'validation' share 2 calls"),
        ({"split": {"train": "0:8", "validation": "8:9", "test": "9:40"}}, "beyond the 12 calls that there are"),
        ({"split": {"train": "0:8", "validation": 0.1, "test": 0.1}}, "three ranges or three fractions"),
        ({"split": {"train": 0.8, "validation": 0.2, "test": 0.2}}, "more than 1"),
        ({"residual": True}, "residual: true is for an output of the shape of its input"),
        ({"residual": [0]}, "names a feature of the input for each of the output"),
        ({"rollout": 3}, "which takes rows: calls"),
    ],
)
def test_settings_that_do_not_fit(data: Path, settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hpacml.train("data.h5", config=small(**settings), quiet=True)
    assert not (data / "model.pt2").exists()


def test_other_faults(data: Path) -> None:
    with pytest.raises(DatabaseError, match="has no region 'line'"):
        hpacml.train("data.h5", "line", quiet=True)
    with pytest.raises(ConfigError, match=r"there is no factory 'hpacml\.networks:lstm'"):
        hpacml.train("data.h5", model="hpacml.networks:lstm", quiet=True)
    with pytest.raises(ConfigError, match=r"'none\.yaml': No such file"):
        hpacml.train("data.h5", config="none.yaml", quiet=True)
    with pytest.raises(ModelError, match=r"gives \[\[2, 7\]\] for inputs of \[2, 3\]"):
        hpacml.train("data.h5", model=lambda *_: nn.Linear(3, 7), quiet=True)
    with pytest.raises(ModelError, match=r"does not take inputs of \[2, 3\]"):
        hpacml.train("data.h5", model=lambda *_: nn.Linear(4, 2), quiet=True)
    with h5py.File("data.h5", "r+") as file:
        file["curve/output"][5, 7, 1] = np.nan
    with pytest.raises(DatabaseError, match=r"y\[1\] is nan in point 7 of call 5"):
        hpacml.train("data.h5", quiet=True)


def test_without_the_extra() -> None:
    code = "import sys; sys.modules['pytorch_lightning'] = None; import hpacml; hpacml.train"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtra: training needs pytorch_lightning: pip install 'hpacml[train]'" in found.stderr


def test_the_program_keeps_its_random_numbers(data: Path) -> None:
    torch.manual_seed(3)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    hpacml.train("data.h5", config=small(), quiet=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert issubclass(ConfigError, HpacmlError)


def test_the_page_has_all_settings() -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text()
    assert not [name for name in Config.model_fields if f"| `{name}` |" not in page]


def test_bytes_and_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of bytes, of two files, read by workers, to a network that a region compiles."""
    monkeypatch.chdir(tmp_path)

    def region(file: str, engine: str = "auto") -> Any:
        @hpacml.region(
            f"""tensor functor(f: [k, i, j] = ([k, i, j])) tensor functor(g: [k, 0:2] = ([k, 0:2]))
                ml(predicated: use) in(f(video[0:n, 0:8, 0:8])) out(g(place[0:n, 0:2])) model("net.pt2")
                database("{file}") label("video") engine({engine})"""
        )
        def track(video: np.ndarray, place: np.ndarray, n: int, use: bool) -> None:
            place[:] = [np.unravel_index(frame.argmax(), frame.shape) for frame in video]

        return track

    rng = np.random.default_rng(0)
    for file in ("a.h5", "b.h5"):
        for _ in range(6):
            region(file)(rng.integers(0, 255, (20, 8, 8)).astype(np.uint8), np.zeros((20, 2)), 20, False)
    hpacml.flush()
    network = {"conv_kernel": 3, "conv_stride": 1, "pool": 2, "conv_channels": 2}
    trained = hpacml.train(
        "?.h5", model="hpacml.networks:coordinates", config=small(network=network, memory=1e-9, workers=2),
        out="net.pt2", quiet=True,
    )  # fmt: skip
    assert trained.metrics["rows"] == {"train": 160, "validation": 40, "test": 40}
    assert trained.metrics["config"]["memory"] == 1e-9
    video = rng.integers(0, 255, (20, 8, 8)).astype(np.uint8)
    by_torch, compiled = np.zeros((20, 2)), np.zeros((20, 2))
    region("a.h5", "torch")(video, by_torch, 20, True)
    region("a.h5", "compiled")(video, compiled, 20, True)
    np.testing.assert_allclose(compiled, by_torch, atol=1e-4)


def test_fields_that_a_region_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A convolution that is trained through three steps, and the region gives it batches of one."""
    monkeypatch.chdir(tmp_path)

    def region(engine: str) -> Any:
        @hpacml.region(
            f"""tensor functor(f: [v, k, i] = ([v, k, i])) ml(predicated: use) inout(f(s[0:2, 0:h, 0:w]))
                model("net.pt2") database("field.h5") label("field") engine({engine})"""
        )
        def step(s: np.ndarray, h: int, w: int, use: bool) -> None:
            s[:, 1:-1] += 0.2 * (s[:, 2:] + s[:, :-2] - 2 * s[:, 1:-1])

        return step

    rng = np.random.default_rng(0)
    for _ in range(3):
        field = rng.normal(size=(2, 8, 9))
        for _ in range(8):
            region("torch")(field, 8, 9, False)
    hpacml.flush()
    trained = hpacml.train(
        "field.h5", model="hpacml.networks:cnn", out="net.pt2", quiet=True,
        config=small(network={}, rows="calls", residual=True, rollout=3, batch=4, pictures=True),
    )  # fmt: skip
    assert trained.metrics["rows"]["train"] == 17
    assert "persistence" in trained.metrics["test"]
    assert (trained.folder / "fields.png").exists()
    by_torch = rng.normal(size=(2, 8, 9))
    compiled = by_torch.copy()
    region("torch")(by_torch, 8, 9, True)
    region("compiled")(compiled, 8, 9, True)
    np.testing.assert_allclose(compiled, by_torch, atol=1e-5)


@pytest.mark.slow
def test_two_processes(data: Path) -> None:
    code = (
        "import hpacml\nif __name__ == '__main__':\n    trained = hpacml.train('data.h5', config={'network': {'hidden': [8]},"
        " 'epochs': 2, 'threads': 1, 'trainer': {'devices': 2, 'strategy': 'ddp'}}, quiet=True)\n"
        "    print('errors', trained.metrics.get('test', {}).get('network'))\n"
    )
    Path("both.py").write_text(code)
    found = subprocess.run([sys.executable, "both.py"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert sorted(line[:12] for line in found.stdout.splitlines()) == ["errors None", "errors {'rms"]
    assert Path("model.pt2").exists()


class Own(nn.Module):
    """A network whose `forward` nothing describes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + x[..., :2].square()


def test_what_cannot_be_written_is_found_before_the_training(data: Path) -> None:
    for out, message in (("net", "cannot tell in which format"), ("net.safetensors", "Own")):
        with pytest.raises(ModelError, match=message):
            hpacml.train("data.h5", model=lambda *_: Own(), config=small(epochs=10**6), out=out, quiet=True)
    assert hpacml.train("data.h5", model=lambda *_: Own(), config=small(), out="net.pt2", quiet=True).path.exists()


def test_numbers_that_vary_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training has the digits of numbers near 1e6; a model of float32 does not, which is said."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    @hpacml.region(f"{FUNCTORS} ml(collect) in(f(x[0:n, 0:3])) out(g(y[0:n, 0:2])) database('far.h5')")
    def far(x: np.ndarray, y: np.ndarray, n: int) -> None:
        y[:] = 1e6 + 0.01 * x[:, :2]

    for _ in range(20):
        far(rng.normal(size=(200, 3)), np.zeros((200, 2)), 200)
    settings = small(network={"hidden": []}, epochs=15, schedule="one-cycle", optimizer={"lr": 3e-2})
    coarse = hpacml.train("far.h5", config=settings, quiet=True)
    assert any("steps of 0.1 there: use dtype: {deploy: float64}" in each for each in coarse.metrics["remarks"])
    fine = hpacml.train("far.h5", config={**settings, "dtype": {"deploy": "float64"}}, quiet=True)
    assert not any("steps" in each for each in fine.metrics["remarks"])
    assert fine.metrics["test"]["network"]["rmse"] < 0.0005 < coarse.metrics["test"]["network"]["rmse"]


def test_another_network_does_not_go_on_with_the_weights_of_one(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hpacml.training.train.deployed", stop)
        with pytest.raises(KeyboardInterrupt):
            hpacml.train("data.h5", config=small(), quiet=True)
    assert (data / "model.train" / "last.ckpt").exists()
    hpacml.train("data.h5", config=small(network={"hidden": [8], "activation": "tanh"}))
    assert "going on" not in capsys.readouterr().out


def test_two_trainings_in_one_folder(data: Path) -> None:
    folder = data / "model.train"
    folder.mkdir()
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=r"another process trains in .*model\.train"):
            hpacml.train("data.h5", config=small(), quiet=True)
    assert hpacml.train("data.h5", config=small(), quiet=True).path.exists()


def whole_numbers(kind: str) -> Any:
    @hpacml.region(
        """tensor functor(f: [i, 0:3] = ([i, 0:3])) tensor functor(g: [i, 0:1] = ([i]))
           ml(predicated: use) in(f(x[0:n, 0:3])) out(g(y[0:n])) model("model.pt2") database("whole.h5")"""
    )
    def whole(x: np.ndarray, y: np.ndarray, n: int, use: bool) -> None:
        y[:] = (2 * x.sum(1)).astype(kind)

    return whole


def test_outputs_of_whole_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is of what the region writes, which is cut."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    region = whole_numbers("int64")
    for _ in range(20):
        region(rng.random((100, 3)), np.zeros(100, np.int64), 100, False)
    trained = hpacml.train("whole.h5", config=small(epochs=5), quiet=True)
    assert any("'y' has whole numbers" in each for each in trained.metrics["remarks"])
    with hpacml.open_database("whole.h5") as database:
        x, y = database["whole"].inputs[0][17:], database["whole"].outputs[0][17:, :, 0]
    found = np.zeros_like(y)
    for call in range(3):
        region(x[call], found[call], 100, True)
    assert trained.metrics["test"]["network"]["rmse"] == pytest.approx(np.sqrt(((found - y) ** 2).mean()))


def test_what_is_refused_or_said_of_outputs(data: Path) -> None:
    rng = np.random.default_rng(0)
    region = whole_numbers("bool")
    for _ in range(10):
        region(rng.random((9, 3)), np.zeros(9, bool), 9, False)
    with pytest.raises(ConfigError, match="'y' has truth values"):
        hpacml.train("whole.h5", config=small(), quiet=True)
    with pytest.raises(ConfigError, match="makes one number of all outputs"):
        hpacml.train("data.h5", config=small(clamp={"min": 50}), quiet=True)
    with pytest.raises(ConfigError, match="the least is 5, and the greatest 1"):
        hpacml.train("data.h5", config=small(clamp={"min": 5, "max": 1}), quiet=True)
    with pytest.raises(ConfigError, match="'max_epochs' is set by the setting 'epochs'"):
        hpacml.train("data.h5", config=small(trainer={"max_epochs": 1}), quiet=True)
    with pytest.raises(ConfigError, match="trainer: TypeError"):
        hpacml.train("data.h5", config=small(trainer={"foo": 1}), quiet=True)
    with pytest.raises(ModelError, match="fails: KeyError: 'width'"):
        hpacml.train("data.h5", model=lambda network, *_: network["width"], config=small(), quiet=True)
    assert not list(data.glob("*.train/last.ckpt"))


def test_a_file_that_is_given_twice(data: Path) -> None:
    trained = hpacml.train(["data.h5", "data.h5"], config=small(), quiet=True)
    assert any(
        each.startswith("100% of the rows of the test are rows of the training") for each in trained.metrics["remarks"]
    )
    assert not any(
        "bit for bit" in each for each in hpacml.train("data.h5", config=small(), quiet=True).metrics["remarks"]
    )


def test_wide_integers_keep_their_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    @hpacml.region(
        """tensor functor(f: [i, 0:1] = ([i]))
           ml(collect) in(f(x[0:n])) out(f(y[0:n])) database("wide.h5")"""
    )
    def wide(x: np.ndarray, y: np.ndarray, n: int) -> None:
        y[:] = 0.1 * (x - 2**40)

    rng = np.random.default_rng(0)
    for _ in range(12):
        wide(2**40 + rng.integers(0, 60, 200), np.zeros(200), 200)
    settings = small(network={"hidden": []}, epochs=30, optimizer={"lr": 3e-2}, dtype={"deploy": "float64"})
    assert hpacml.train("wide.h5", config=settings, quiet=True).metrics["test"]["network"]["rmse"] < 0.01


@pytest.mark.slow
def test_mpi_is_left_alone(data: Path) -> None:
    """A process that has MPI is a rank, whose samples are other ones."""
    code = (
        "import sys, hpacml\nhpacml.train('data.h5', config={'network': {'hidden': [8]}, 'epochs': 1, 'pictures': False},"
        " quiet=True)\nassert 'mpi4py.MPI' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
