"""`save_model` proves that a file computes what its module does, and leaves the module as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpacml
from hpacml.errors import ModelError
from hpacml.runtime.models import model, proof, torchscript, trust
from hpacml.runtime.models.copies import contents_kept, evaluated_copy

X = torch.linspace(-1, 1, 40).reshape(8, 5)


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0]))


class Loop(Weighted):
    """A loop over rows: a trace has as many steps as the example has rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros(len(x), 1)
        for i in range(len(x)):
            y[i] = x[i].sum() * self.w / len(x)
        return y


class UnscriptableLoop(Loop):
    def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        y = torch.zeros(len(x), 1)
        for i in range(len(x)):
            y[i] = x[i].sum() * self.w / len(x)
        return y


class Branch(Weighted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x * self.w
        return -x


class UnscriptableBranch(Weighted):
    def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return x * self.w if x.sum() > 0 else -x


class ByNumPy(Weighted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.sin(x.detach().numpy())) * self.w


class Padded(Weighted):
    """Right for the number of rows of the example, and for no other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = int(x.shape[0])
        return x * self.w + torch.tensor(float(n))


class Stateful(Weighted):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))
        self.plain = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        self.plain += 1
        self.last = x.mean().reshape(1)
        return x * self.w + self.calls


class Star(Weighted):
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] * self.w + inputs[1]


class Sized(Weighted):
    """Computes another thing from some size on, in a way that TorchScript lacks."""

    def __init__(self, size: Callable[[torch.Tensor], int], limit: int) -> None:
        super().__init__()
        self.size, self.limit = size, limit

    def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return x * self.w if self.size(x) < self.limit else -x


class Triples(Weighted):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, None, None] - x[None, :, None] + x[None, None]).square().sum((1, 2)) * self.w


def saved(module: nn.Module, path: Path, example: Any = X) -> Any:
    """What the file of a module computes."""
    return model.load(str(hpacml.save_model(module, path, example=example))).network.run


# -- other numbers of rows, other values -----------------------------------------------------------------


@pytest.mark.parametrize("module", [Loop(), Branch(), Padded()], ids=lambda m: type(m).__name__)
def test_torchscript_holds_what_depends_on_rows_or_values(module: nn.Module, tmp_path: Path) -> None:
    run = saved(module, tmp_path / "m.pt")
    for x in (X[:0], X[:1], X[:3], X.repeat(3, 1), -X, X + 1):
        torch.testing.assert_close(run(x), module(x).detach())


@pytest.mark.parametrize(
    "module", [UnscriptableLoop(), UnscriptableBranch(), ByNumPy()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_what_a_format_cannot_hold_is_refused(module: nn.Module, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"or else give the region the module itself, model\(net\)"):
        hpacml.save_model(module, tmp_path / f"m.{suffix}", example=X)
    assert not list(tmp_path.glob(f"*.{suffix}"))


@pytest.mark.parametrize(
    ("size", "limit", "example", "suffixes"),
    [
        (lambda x: x.shape[0], 50, X[:4], ["pt", "pt2"]),
        (len, 300, X[:4], ["pt", "pt2"]),
        (lambda x: x.numel(), 5000, X[:4], ["pt", "pt2"]),
        (lambda x: x.shape[1], 30, X[:4, :3, None], ["pt"]),  # a program may refuse sizes that are no rows
        (lambda x: x.shape[0], 12, torch.rand(1, 3, 128, 128), ["pt", "pt2"]),
    ],
)
def test_what_differs_for_sizes_far_from_the_example_is_refused(
    size: Any, limit: int, example: torch.Tensor, suffixes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_QUICK", 60.0)  # a loaded machine is slow
    for suffix in suffixes:
        with pytest.raises(ModelError, match=r"would not compute what it does in Python: on float32\["):
            hpacml.save_model(Sized(size, limit), tmp_path / f"m.{suffix}", example=example)


class Shared(Weighted):
    """A factor that is computed of sizes: a trace has it as a float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.w * (x.shape[0] / 10)


def test_doubles_keep_their_digits(tmp_path: Path) -> None:
    example = X.double()
    with pytest.raises(ModelError, match=r"differs in .* values"):
        hpacml.save_model(Shared().double(), tmp_path / "m.pt", example=example)
    hpacml.save_model(Shared().double(), tmp_path / "m.pt2", example=example)
    hpacml.save_model(Shared(), tmp_path / "m.pt", example=X)


def test_modules_that_take_much_of_many_rows_are_not_tried_on_more(tmp_path: Path) -> None:
    rows: list[int] = []
    module = Triples()
    module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    saved(module, tmp_path / "m.pt")
    assert 9 < max(rows) < 400


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Loop(), r"as export the Loop would not compute .*: on float32\[0, 5\], which the module takes, it fails: "),
        (Branch(), "Torch cannot write the Branch .* as export: GuardOnDataDependentSymNode"),
    ],
)
def test_the_format_that_is_recommended_is_one_that_was_tried(module: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message + ".*or format='torchscript', which holds it"):
        hpacml.save_model(module, tmp_path / "m.pt2", example=X)
    saved(module, tmp_path / "m.pt")


def test_a_trace_with_a_fixed_number_of_rows_is_found_by_running_it(tmp_path: Path) -> None:
    with torchscript.jit() as jit, pytest.warns(torch.jit.TracerWarning):  # pyright: ignore[reportPrivateImportUsage]
        traced = jit.trace(Loop(), X)
    assert hpacml.save_model(traced, tmp_path / "m.pt", example=X)  # it is what it is, also as a module
    with pytest.raises(ModelError, match=r"cannot write|would not compute"):
        hpacml.save_model(UnscriptableLoop(), tmp_path / "n.pt", example=X[:1])


def test_a_module_that_fails_on_its_example_says_so(tmp_path: Path) -> None:
    mixed = nn.Sequential(nn.Linear(5, 5).double(), nn.Linear(5, 1))
    for suffix in ("pt", "pt2", "safetensors"):
        with pytest.raises(ModelError, match=r"same dtype, .*'0\.weight' is float64, '1\.weight' is float32"):
            hpacml.save_model(mixed, tmp_path / f"m.{suffix}", example=X)


def test_random_numbers_of_a_module_are_compared_from_one_seed(tmp_path: Path) -> None:
    class Noisy(Weighted):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w + torch.randn_like(x)

    state = torch.random.get_rng_state()
    saved(Noisy(), tmp_path / "m.pt")
    assert torch.equal(torch.random.get_rng_state(), state)


# -- the module stays, the file has its state ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_state_is_that_of_the_call_in_module_and_file(suffix: str, tmp_path: Path) -> None:
    module = Stateful()
    module(X)
    run = saved(module, tmp_path / f"m.{suffix}")
    assert (float(module.calls), float(module.plain), type(module.last)) == (1, 1, torch.Tensor)
    torch.testing.assert_close(module.last, X.mean().reshape(1))
    torch.testing.assert_close(run(X), module(X).detach())  # the second call of both


def test_a_copy_shares_what_cannot_be_copied(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(5, 1))
    module.lock = threading.Lock()
    module.ratio = module[0].weight.sum()  # which has a gradient function
    copy = evaluated_copy(module)
    assert copy.lock is module.lock
    assert copy[0].weight is not module[0].weight
    assert (copy.training, module.training) == (False, True)
    saved(module, tmp_path / "m.safetensors")


def test_contents_are_put_back() -> None:
    module = Stateful()
    with contents_kept(module):
        module(X)
    assert float(module.calls) == float(module.plain) == 0


# -- modules around modules ------------------------------------------------------------------------------


def wrapped() -> list[nn.Module]:
    inner = nn.Sequential(nn.Linear(5, 1))
    called = nn.Sequential(nn.Linear(5, 1))
    called.compile()
    return [
        torch.optim.swa_utils.AveragedModel(inner),
        nn.DataParallel(inner),
        torch.compile(inner),  # pyright: ignore[reportArgumentType]
        nn.Sequential(torch.compile(nn.Linear(5, 1))),  # pyright: ignore[reportArgumentType]
        called,
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("suffix", ["pt2", "pt", "safetensors"])
def test_wrappers_are_saved_as_what_they_wrap(number: int, suffix: str, tmp_path: Path) -> None:
    module = wrapped()[number]
    run = saved(module, tmp_path / f"m.{suffix}")
    inner = evaluated_copy(module)
    for rows in (0, 1, 3):
        torch.testing.assert_close(run(X[:rows]), inner(X[:rows]).detach())


@pytest.mark.parametrize("suffix", ["pt2", "pt"])
def test_a_module_of_any_number_of_inputs(suffix: str, tmp_path: Path) -> None:
    run = saved(Star(), tmp_path / f"m.{suffix}", (X, X + 1))
    torch.testing.assert_close(run(X[:3], X[3:6]), Star()(X[:3], X[3:6]).detach())


class Potential(nn.Module):
    """An energy, and forces by its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(3, 2)
        self.energy = nn.Sequential(nn.Linear(7, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: torch.Tensor, kinds: torch.Tensor) -> dict[str, torch.Tensor]:
        x = x.requires_grad_()
        energy = self.energy(torch.cat([x, self.kinds(kinds)], -1))
        return {"energy": energy.detach(), "force": -torch.autograd.grad(energy.sum(), x)[0]}


@pytest.mark.parametrize("rows", [1, 8])
def test_a_gradient_in_a_module_is_held_by_an_export(rows: int, tmp_path: Path) -> None:
    net, kinds = Potential(), torch.arange(8) % 3
    run = saved(net, tmp_path / "m.pt2", (X[:rows], kinds[:rows]))
    with torch.no_grad():
        found = run(X[:5], kinds[:5])
    wanted = net(X[:5].clone(), kinds[:5])
    for name in ("energy", "force"):
        torch.testing.assert_close(found[name], wanted[name])


# -- dtypes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pt2", "pt", "safetensors"])
def test_statistics_may_be_wider_than_the_network(suffix: str, tmp_path: Path) -> None:
    ends = [hpacml.Normalize(np.ones(5), np.full(5, 2.0)), hpacml.Normalize(np.float64(1), np.float64(3), inverse=True)]
    net = nn.Sequential(ends[0], nn.Linear(5, 1), ends[1])
    run = saved(net, tmp_path / f"m.{suffix}")
    assert net[0](X).dtype is torch.float32
    plain = nn.Sequential(ends[0].float(), net[1], ends[1])
    torch.testing.assert_close(run(X), plain(X).detach())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per")
def test_a_network_without_float_weights(tmp_path: Path, infer: Any) -> None:
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(5, 3)), {nn.Linear}, dtype=torch.qint8)
    path = hpacml.save_model(net, tmp_path / "m.pt", example=X.double())
    with torchscript.jit() as jit:
        jit.save(jit.trace(net, X), tmp_path / "foreign.pt")
    trust.trust(tmp_path / "foreign.pt")
    x, y = X.double().numpy(), np.zeros((8, 3))
    for given in (str(path), str(tmp_path / "foreign.pt")):
        for _ in range(2):
            y[:] = 0
            infer([x], [y], model={"path": given})
            np.testing.assert_allclose(y, net(X).numpy(), rtol=1e-6)


def test_a_failure_of_torchscript_shows_its_cause(tmp_path: Path, infer: Any) -> None:
    path = hpacml.save_model(nn.Sequential(nn.Linear(5, 1)), tmp_path / "m.pt", example=X)
    with pytest.raises(ModelError, match=r"inputs float32\[8, 4\]: RuntimeError: mat1 and mat2 shapes cannot be"):
        infer([np.zeros((8, 4))], [np.zeros((8, 1))], model={"path": str(path)})


# -- training mode that cannot be left --------------------------------------------------------------------

IN_TRAINING: list[nn.Module] = [
    nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5)),
    nn.Sequential(nn.BatchNorm1d(5)),
    nn.Sequential(nn.AlphaDropout(0.5), nn.Tanh()),
    nn.Sequential(nn.RReLU()),
]


@pytest.mark.parametrize("number", range(len(IN_TRAINING)))
def test_a_trace_or_program_in_training_mode_is_refused(number: int, tmp_path: Path, infer: Any) -> None:
    module = IN_TRAINING[number]
    with torchscript.jit() as jit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = jit.trace(module, X, check_trace=False)
        jit.save(traced, tmp_path / "m.pt")
    program = torch.export.export(module, (X,))
    torch.export.save(program, tmp_path / "m.pt2")
    for name in ("m.pt", "m.pt2"):
        trust.trust(tmp_path / name)
        with pytest.raises(
            ModelError, match=rf"{name}' cannot be evaluated: it was traced or exported in training mode"
        ):
            infer([X.numpy()], [np.zeros((8, 5))], model={"path": str(tmp_path / name)})
    for passed in (traced, program.module(), nn.Sequential(traced)):
        with pytest.raises(ModelError, match=r"cannot be evaluated: .* do it again after module\.eval\(\)"):
            model.passed(passed)
    with pytest.raises(ModelError, match="in training mode"):
        hpacml.save_model(traced, tmp_path / "again.pt", example=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposed = program.run_decompositions().module()
    with pytest.raises(ModelError, match="in training mode"):
        model.passed(decomposed)


def test_what_looks_like_training_and_is_not() -> None:
    same = nn.Sequential(nn.BatchNorm1d(5, track_running_stats=False), nn.Dropout(0.5), nn.Tanh()).eval()
    with torchscript.jit() as jit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (jit.trace(same, X), jit.script(nn.Sequential(nn.Dropout(0.5)).train())):
            assert model.passed(module).network.run(X).shape == X.shape
    program = torch.export.export(same, (X,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposed = program.run_decompositions()
    for module in (program.module(), decomposed.module()):
        assert model.passed(module).network.run(X).shape == X.shape


# -- the place -------------------------------------------------------------------------------------------


def test_a_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot write the model '.*/file/m\.safetensors': Not a directory"):
        hpacml.save_model(nn.Linear(5, 1), tmp_path / "file" / "m.safetensors", example=X)
