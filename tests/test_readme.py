"""A test for each promise of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run(code: str, name: str, folder: Path) -> dict[str, object]:
    """Run a block of the README as a file of its own, as a reader would, and give its names."""
    path = folder / f"{name}.py"
    path.write_text(code)
    namespace: dict[str, object] = {"__name__": name}
    exec(compile(code, str(path), "exec"), namespace)
    return namespace


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_example_collects_and_infers(folder: Path) -> None:
    import hpacml

    names = run(BLOCKS[0], "first", folder)
    t, new, net = names["t"], names["new"], names["net"]
    assert isinstance(t, np.ndarray)
    assert isinstance(new, np.ndarray)
    assert isinstance(net, torch.nn.Module)
    sides = np.stack([t[:-2], t[2:]], axis=-1)
    expected = net(torch.from_numpy(sides)).detach().numpy()[:, 0]
    np.testing.assert_array_equal(new[1:-1], expected)
    hpacml.flush()
    with h5py.File("smooth.h5") as file:
        np.testing.assert_array_equal(file["smooth/input"][0], sides)
        np.testing.assert_array_equal(file["smooth/output"][0, :, 0], 0.5 * (t[:-2] + t[2:]))
        assert file["smooth/runtime"].shape == (1,)


def test_first_example_is_short() -> None:
    assert len(BLOCKS[0].strip().splitlines()) <= 17


def test_kernel_example_equals_python_and_shows_its_ir(folder: Path) -> None:
    # Kernels need their source in a file.
    (folder / "kernel_example.py").write_text(BLOCKS[1])
    sys.path.insert(0, str(folder))
    try:
        from kernel_example import heat
    finally:
        sys.path.remove(str(folder))
    t = np.random.default_rng(0).random((20, 30), np.float32)
    compiled, plain = t.copy(), t.copy()
    heat(t, compiled, False)
    heat.py_func(t, plain, False)
    np.testing.assert_array_equal(compiled, plain)
    assert "hpacml.ml predicated" in str(heat.ir())
    assert "hpacml.fused_gather" in str(heat.ir(stage="fuse"))


def test_functor_gathers_and_scatters() -> None:
    import hpacml

    t = np.random.rand(1000)
    x = hpacml.functor("f: [i, 0:2] = ([i - 1], [i + 1])").gather("t[1:n-1]", t=t, n=1000)
    np.testing.assert_array_equal(x.numpy(), np.stack([t[:-2], t[2:]], axis=-1))
    hpacml.functor("p: [i, 0:1] = ([i])").scatter(x[:, :1], "t[1:n-1]", t=t, n=1000)
    np.testing.assert_array_equal(t[1:-1], x[:, 0].numpy())


def test_hpacml_opt_command_prints_every_stage() -> None:
    command = re.search(r"```\n(hpacml-opt .*?)```", README, re.DOTALL)
    assert command is not None
    words = command[1].replace("\\\n", " ").split()
    result = subprocess.run([BIN / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("hpacml.infer", "hpacml.pack", "hpacml.fused_gather", "scf.parallel", "@hpacml_infer"):
        assert name in result.stdout


def double(mode: str, clauses: str = "") -> Callable[..., object]:
    """A region that doubles numbers."""
    import hpacml

    @hpacml.region(f"""tensor functor(f: [i, 0:1] = ([i]))
                       ml({mode}) in(f(a[0:n])) out(f(b[0:n])) {clauses}""")
    def double(a, b, n):
        b[:n] = 2 * a[:n]

    return double


@pytest.fixture
def net() -> torch.nn.Module:
    return torch.nn.Linear(1, 1).double()


@pytest.fixture
def copied(folder: Path, net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model file that somebody else wrote."""
    import hpacml

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("HPACML_TRUST_FILE", str(folder / "trusted elsewhere"))
        hpacml.save_model(net, "written.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    Path("written.pt2").rename("copied.pt2")
    return "copied.pt2"


def require_inference(region: Callable[..., object], net: torch.nn.Module) -> None:
    a, b = np.random.rand(5), np.zeros(5)
    region(a, b, 5)
    np.testing.assert_allclose(b, net(torch.from_numpy(a)[:, None]).detach().numpy()[:, 0], rtol=1e-12)


def require_refusal(region: Callable[..., object], file: str) -> None:
    import hpacml

    b = np.zeros(5)
    with pytest.raises(hpacml.ModelError, match=rf"'.*{file}' is not trusted[^$]*hpacml model trust .*{file}"):
        region(np.ones(5), b, 5)
    np.testing.assert_array_equal(b, 0)


def hpacml_command(*words: str) -> str:
    return subprocess.run([BIN / "hpacml", *words], capture_output=True, text=True, check=True).stdout


def test_saved_model_replaces_the_region_and_others_are_refused(copied: str) -> None:
    import hpacml

    own = torch.nn.Linear(1, 1).double()
    hpacml.save_model(own, "heat.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    require_inference(double("infer", 'model("heat.pt2")'), own)
    require_refusal(double("infer", f'model("{copied}")'), copied)


def test_a_command_trusts_a_model(net: torch.nn.Module, copied: str) -> None:
    region = double("infer", f'model("{copied}")')
    require_refusal(region, copied)
    hpacml_command("model", "trust", copied)
    require_inference(region, net)


def test_the_environment_turns_the_check_off(
    net: torch.nn.Module, copied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = double("infer", f'model("{copied}")')
    monkeypatch.setenv("HPACML_TRUST_MODELS", "yes")
    require_refusal(region, copied)
    monkeypatch.setenv("HPACML_TRUST_MODELS", "all")
    require_inference(region, net)


def test_the_environment_names_the_model(folder: Path, net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    import hpacml

    region = double("infer")
    with pytest.raises(hpacml.ModelError, match="SURROGATE_MODEL"):
        region(np.ones(5), np.zeros(5), 5)
    hpacml.save_model(net, "named.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    monkeypatch.setenv("SURROGATE_MODEL", "named.pt2")
    require_inference(region, net)


READER = """
import h5py
with h5py.File("named.h5") as file:
    group = file["heat"]
    print(sorted(group), group["input"].shape, group["output"].shape, group["output"][-1].ravel(), group["runtime"].shape)
    print(*group.attrs["maps"], sep="\\n")
"""


def test_the_environment_names_the_database_and_flush_makes_it_readable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hpacml

    region = double("collect", "label('heat')")
    with pytest.raises(hpacml.DatabaseError, match="HPAC_DB_FILE"):
        region(np.ones(3), np.zeros(3), 3)
    monkeypatch.setenv("HPAC_DB_FILE", "named.h5")
    for calls in (1, 2):
        region(np.full(3, calls), np.zeros(3), 3)
        hpacml.flush()
        read = subprocess.run([sys.executable, "-c", READER], capture_output=True, text=True, check=True).stdout
        first, *maps = read.splitlines()
        values = f"[{2 * calls}. {2 * calls}. {2 * calls}.]"
        assert first == f"['input', 'output', 'runs', 'runtime'] ({calls}, 3, 1) ({calls}, 3, 1) {values} ({calls},)"
        assert maps == [
            "to: f: [i, 0:1] = ([i]) | f(a[0:n])",
            "from: f: [i, 0:1] = ([i]) | f(b[0:n])",
        ]


def test_a_command_shows_a_database(folder: Path) -> None:
    import hpacml

    double("collect", "database('d.h5') label('heat')")(np.ones(3), np.zeros(3), 3)
    hpacml.flush()
    shown = hpacml_command("db", "info", "d.h5")
    for text in ("heat, calls: 1", "input", "1 x 3 x 1", "float64", "runtime", "f: [i, 0:1] = ([i]) | f(a[0:n])"):
        assert text in shown


def test_make_installs_nothing_over_the_checkout() -> None:
    installs = re.findall(r"pip install.*'\.\[.*", (ROOT / "Makefile").read_text())
    assert len(installs) == 2
    assert all("--editable" in install for install in installs)


@pytest.mark.parametrize("page", re.findall(r"\]\((docs/[^)]+)\)", README))
def test_links_lead_somewhere(page: str) -> None:
    assert (ROOT / page).exists()
