"""The commands `hpacml` and `hpacml-opt`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpacml
from hpacml.runtime.databases import writer
from hpacml.runtime.models import torchscript, trust
from hpacml.tools import hpacml_opt
from hpacml.version import version
from tests.command import run_hpacml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run(*arguments)` gives the exit status, the output and the errors of a command."""
    monkeypatch.setenv("HPACML_TRUST_FILE", str(tmp_path / "trusted"))
    monkeypatch.delenv("HPACML_TRUST_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_hpacml(monkeypatch, capsys, *arguments)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    path = tmp_path / "heat.pt"
    path.write_bytes(torchscript.write(torch.nn.Linear(5, 1).double().eval(), [torch.zeros(2, 5).double()]))
    return path


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    path = tmp_path / "heat.h5"
    schema = writer.Schema(("to: f: [i] = ([i]) | f(t[0:N])", "from: g | g(t)"), ("f32",), ("bf16",))
    for step in range(3):
        writer.append(str(path), "heat", schema, [np.zeros((4, 5), np.float32), np.zeros(4, np.float32)], step)
    writer.flush()
    return path


def test_version(run: Run):
    assert run("--version") == (0, f"hpacml {version()}\n", "")


def test_without_a_command_it_shows_its_help(run: Run):
    for arguments in ([], ["model"], ["db"]):
        _, out, err = run(*arguments)
        assert "Usage: hpacml" in out + err


def test_model_trust_and_ls(run: Run, model: Path):
    digest = trust.digest(model.read_bytes())
    assert run("model", "ls")[1].startswith(f"trusted in {trust.trust_file()}: 0\n")
    assert run("model", "trust", "heat.pt") == (0, f"trusted the TorchScript model heat.pt, SHA-256 {digest}\n", "")
    status, out, _ = run("model", "ls")
    assert status == 0
    (line,) = (line for line in out.splitlines() if digest in line)
    assert str(model) in line


def test_model_info(run: Run, model: Path):
    status, out, _ = run("model", "info", "heat.pt")
    assert status == 0
    for text in ("TorchScript", trust.digest(model.read_bytes()), f"{model.stat().st_size} bytes"):
        assert text in out
    assert "no; to trust it: hpacml model trust heat.pt" in out
    assert "computes in" not in out
    run("model", "trust", "heat.pt")
    assert "torch.float64 on cpu" in run("model", "info", "heat.pt")[1]


def test_a_state_dict_needs_no_trust(run: Run, tmp_path: Path):
    torch = pytest.importorskip("torch")
    hpacml.save_model(torch.nn.Linear(5, 1), "m.safetensors", example=torch.zeros(2, 5), metadata={"maps": "0abc"})
    assert "which runs no code and needs no trust" in run("model", "trust", "m.safetensors")[1]
    assert run("model", "ls")[1].startswith(f"trusted in {trust.trust_file()}: 0\n")
    out = run("model", "info", "m.safetensors")[1]
    for text in ("needs no trust: it is data", "torch.float32 on cpu", "float32[2, 5]", "maps", "0abc"):
        assert text in out


def test_model_verify(run: Run, model: Path, tmp_path: Path):
    torch = pytest.importorskip("torch")
    assert run("model", "verify") == (0, "", "")
    for name in ("a.pt", "b.pt", "c.safetensors"):
        hpacml.save_model(torch.nn.Linear(5, 1), name, example=torch.zeros(2, 5))
    assert run("model", "verify")[:2] == (
        0,
        "".join(f"{tmp_path}/{name}.pt: TorchScript, loads and runs\n" for name in "ab"),
    )
    (tmp_path / "b.pt").write_bytes(model.read_bytes())
    (tmp_path / "a.pt").unlink()
    status, out, _ = run("model", "verify")
    assert status == 1
    assert f"{tmp_path}/a.pt: WRONG: the model '{tmp_path}/a.pt' does not exist" in out
    assert f"{tmp_path}/b.pt: WRONG: the model '{tmp_path}/b.pt' is not trusted" in out
    assert run("model", "verify", "c.safetensors")[:2] == (0, "c.safetensors: state dict, loads and runs\n")
    run("model", "trust", "heat.pt")
    assert run("model", "verify", "heat.pt")[:2] == (0, "heat.pt: TorchScript, loads\n")


def test_only_models_are_trusted(run: Run, tmp_path: Path):
    (tmp_path / "m.pt").write_text("no model")
    for command in ("trust", "info"):
        status, out, err = run("model", command, "m.pt")
        assert (status, out) == (1, "")
        assert err.startswith("error: 'm.pt' is no model that hpacml can read: ")
        assert "Traceback" not in err
    assert run("model", "trust", "none.pt")[2].startswith(f"error: the model '{tmp_path}/none.pt' does not exist")


def test_db_ls(run: Run, collected: Path):
    status, out, _ = run("db", "ls", "heat.h5")
    assert status == 0
    assert out.startswith("regions in heat.h5: 1\n")
    assert [cell.strip() for cell in out.splitlines()[4].split("│")[1:-1]] == ["heat", "3", "1", "1", "1 ms"]


def test_db_info(run: Run, collected: Path):
    import h5py

    with h5py.File(collected, "a") as file:
        file["other/input"] = np.zeros((2, 3))
    status, out, _ = run("db", "info", "heat.h5")
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert rows == [
        ["input", "3 x 4 x 5", "float32"],
        ["output", "3 x 4", "float32"],
        ["runtime", "3", "float32"],
        ["input", "2 x 3", "float64"],
    ]
    assert (
        f"(f32) -> (bf16), by hpacml {version()}, of the maps\n  to: f: [i] = ([i]) | f(t[0:N])\n  from: g | g(t)\n"
        in out
    )
    assert "heat, calls: 3" in out
    assert "not written by hpacml: it does not tell its maps" in out


def test_db_errors(run: Run, tmp_path: Path):
    (tmp_path / "m.h5").write_text("no database")
    for command in ("ls", "info"):
        assert run("db", command, "m.h5") == (
            1,
            "",
            f"error: cannot open the database '{tmp_path}/m.h5': it is no HDF5 file; name a database\n",
        )
        assert run("db", command, "none.h5")[2] == f"error: the database '{tmp_path}/none.h5' does not exist\n"


def test_damaged_files(run: Run, model: Path, collected: Path):
    for path in (model, collected):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    for arguments, message in {
        (
            "model",
            "trust",
            "heat.pt",
        ): "error: the model 'heat.pt' is damaged or not complete: copy or write it again\n",
        ("model", "info", "heat.pt"): "error: the model 'heat.pt' is damaged or not complete: copy or write it again\n",
        ("db", "ls", "heat.h5"): f"error: cannot open the database '{collected}': ",
        ("db", "info", "heat.h5"): f"error: cannot open the database '{collected}': ",
    }.items():
        status, out, err = run(*arguments)
        assert (status, out) == (1, "")
        assert err.startswith(message)
        assert len(err.splitlines()) == 1


def test_a_wrong_command_line(run: Run):
    assert run("model", "trust")[0] == 2
    assert run("train")[0] == 2


def test_as_a_program(tmp_path: Path, collected: Any):
    code = "from hpacml.tools.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, "db", "ls", str(collected)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "heat" in result.stdout


# -- hpacml-opt --------------------------------------------------------------------------------------


@pytest.fixture
def opt_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`opt_error(*arguments)` gives the one or two lines with which `hpacml-opt` ends; Python writes them to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def opt_error(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["hpacml-opt", *arguments])
        with pytest.raises(SystemExit) as exit:
            hpacml_opt.main()
        assert isinstance(exit.value.code, str)
        assert capsys.readouterr() == ("", "")
        assert len(exit.value.code.splitlines()) <= 2
        return exit.value.code

    return opt_error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nosuch", ""),
        ("hpacml-expand-m", "; did you mean 'hpacml-expand-ml'?"),
        ("canonicalise", "; did you mean 'canonicalize'?"),
        ("fuse", "; did you mean 'hpacml-fuse-gather-concat'?"),
    ],
)
def test_opt_tells_the_passes_there_are(opt_error, name: str, hint: str):
    first, second = opt_error("x.mlir", "-p", f"hpacml-expand-ml,{name}").splitlines()
    assert first == f"hpacml-opt: there is no pass '{name}'{hint}"
    assert "hpacml-infer-maps, hpacml-expand-ml" in second


def test_opt_refuses_options_of_passes(opt_error):
    assert opt_error("-p", "hpacml-expand-ml{a=1}").startswith(
        "hpacml-opt: cannot read the passes 'hpacml-expand-ml{a=1}': Provided arguments"
    )


FILES = {
    "page.md": (b"# Title", "'page.md' is neither .mlir nor .py: add -f mlir or -f py"),
    "noise.mlir": (bytes(range(256)), "'noise.mlir' is not text: name a file of MLIR or Python"),
    "noise.py": (bytes(range(256)), "'noise.py' is not text: name a file of MLIR or Python"),
    "null.py": (b"\0", "cannot import null.py: SyntaxError: "),
    "syntax.py": (b"def f(:", "cannot import syntax.py: SyntaxError: invalid syntax (syntax.py, line 1)"),
    "lacks.py": (
        b"\nimport nosuch",
        "cannot import lacks.py: lacks.py:2: ModuleNotFoundError: No module named 'nosuch'",
    ),
    "empty.py": (b"", "empty.py defines no kernels: put @hpacml.kernel above"),
    "ends.py": (b"import sys\nsys.exit(0)", "cannot import ends.py: ends.py:2: SystemExit: 0"),
    "missing.mlir": (None, "cannot read 'missing.mlir' (No such file or directory): name a file"),
    "missing.py": (None, "cannot read 'missing.py' (No such file or directory): name a file"),
    ".": (None, "cannot read '.' (Is a directory): name a file"),
}


@pytest.mark.parametrize("name", FILES)
def test_opt_refuses_files(opt_error, tmp_path: Path, name: str):
    content, message = FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert opt_error(name).startswith(f"hpacml-opt: {message}")


@pytest.mark.parametrize(
    ("ranges", "extent", "message"),
    [
        ("1 : 20", 8, "the entry 'i' of the slice [i] reaches index 19 in dimension 0 of 'a', which has 8 elements"),
        (f"1 : {10**20}", 8, f"the number {10**20} does not fit 64 bits"),
        (f"{-(10**30)} : 7", 8, f"the number {-(10**30)} does not fit 64 bits"),
        ("1 : 9", 10**20, f"the number {10**20} does not fit 64 bits"),
    ],
)
def test_an_error_of_ir_names_its_operation_and_location_in_a_line(
    opt_error, tmp_path: Path, ranges: str, extent: int, message: str
) -> None:
    many = "\n".join(f"  %c{n} = arith.constant true" for n in range(50))
    (tmp_path / "x.mlir").write_text(f"""hpacml.functor @f : [i] = ([i])
func.func @g(%a : memref<{extent}xf64>) {{
{many}
  %in = hpacml.map to @f(%a[{ranges}]) : memref<{extent}xf64> -> !hpacml.mapping<?xf64> loc("heat.py":12:3)
  func.return
}}""")
    first, second = opt_error(str(tmp_path / "x.mlir")).splitlines()
    assert first == f"hpacml-opt: heat.py:12:3: {message}"
    assert second.startswith('in the operation in @g: %in = "hpacml.map"(%a)')
    assert len(second) < 300


def test_opt_refuses_an_output_that_cannot_be_written(opt_error, tmp_path: Path):
    (tmp_path / "x.mlir").write_text("")
    assert opt_error("x.mlir", "-o", "none/y.mlir").startswith("hpacml-opt: cannot write 'none/y.mlir'")


def test_opt_as_a_program_ends_quietly_when_its_reader_leaves():
    program = [BIN / "hpacml-opt", ROOT / "examples/heat2d/heat.py", "-p", "hpacml-expand-ml,hpacml-resolve-slices"]
    for options in (["--print-between-passes"], []):
        with subprocess.Popen([*program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.wait() == 141
            assert process.stderr is not None
            assert process.stderr.read() == b""


def test_opt_as_a_program_tells_its_error_on_stderr():
    result = subprocess.run([BIN / "hpacml-opt", "-p", "nosuch"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("hpacml-opt: there is no pass 'nosuch'\n")
