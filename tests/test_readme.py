"""A test for each promise of the README."""

from __future__ import annotations

import re
import subprocess
import sys
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


def test_saved_model_replaces_the_region_and_others_are_refused(folder: Path) -> None:
    import hpacml

    @hpacml.region("""tensor functor(f: [i, 0:1] = ([i]))
                      ml(infer) in(f(a[0:n])) out(f(b[0:n])) model("net.pt2")""")
    def double(a, b, n):
        b[:n] = 2 * a[:n]

    net = torch.nn.Linear(1, 1).double()
    hpacml.save_model(net, "net.pt2", example=torch.zeros(4, 1, dtype=torch.float64))
    a, b = np.random.rand(5), np.zeros(5)
    double(a, b, 5)
    np.testing.assert_allclose(b, net(torch.from_numpy(a)[:, None]).detach().numpy()[:, 0], rtol=1e-12)


def test_environment_names_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hpacml

    @hpacml.region("""tensor functor(f: [i, 0:1] = ([i]))
                      ml(collect) in(f(a[0:n])) out(f(b[0:n])) label("double")""")
    def double(a, b, n):
        b[:n] = 2 * a[:n]

    monkeypatch.setenv("HPAC_DB_FILE", "named.h5")
    double(np.ones(3), np.zeros(3), 3)
    hpacml.flush()
    shown = subprocess.run([BIN / "hpacml", "db", "info", "named.h5"], capture_output=True, text=True, check=True)
    assert "double" in shown.stdout


@pytest.mark.parametrize("page", re.findall(r"\]\((docs/[^)]+)\)", README))
def test_links_lead_somewhere(page: str) -> None:
    assert (ROOT / page).exists()
