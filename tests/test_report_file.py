"""HPACML_REPORT: the file that a process leaves, alone, in parallel runs, with children, and where it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAD = """
import os, sys, subprocess, numpy as np, hpacml

@hpacml.region('''tensor functor(f: [i] = ([i]))
                  ml(infer) inout(f(x[0:9])) if(never) label("r")''')
def region(x, never):
    pass

def call(times):
    for _ in range(times):
        region(np.zeros(9), False)
"""


def run(folder: Path, code: str, report: str = "r.json", **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI_", "SLURM_"))}
    (folder / "program.py").write_text(HEAD + code)
    return subprocess.run(
        [sys.executable, folder / "program.py"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[1]), "HPACML_REPORT": report, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def bodies(folder: Path) -> dict[str, int]:
    """The files, and the calls that each counts."""

    def count(report: Any) -> int:
        return report["regions"]["r"]["calls"]["body"] if report["regions"] else 0

    return {path.name: count(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}


def test_it_is_written_at_exit_and_again_by_the_next_run(tmp_path: Path) -> None:
    for times in (2, 3):
        done = run(tmp_path, f"call({times}); os.chdir('/')", "reports.json")
        assert (done.stdout, done.stderr) == ("", "")
        assert bodies(tmp_path) == {"reports.json": times}


def test_without_calls_it_says_so(tmp_path: Path) -> None:
    run(tmp_path, "")
    assert bodies(tmp_path) == {"r.json": 0}


def test_what_is_off_or_reset_is_not_in_it(tmp_path: Path) -> None:
    run(tmp_path, "call(1); hpacml.report(reset=True); call(2); hpacml.timing(False); call(4)")
    assert bodies(tmp_path) == {"r.json": 2}


def test_a_program_that_fails_leaves_it_too(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(tmp_path, "call(1); raise LookupError('mine')")
    assert "mine" in failed.value.stderr
    assert bodies(tmp_path) == {"r.json": 1}


@pytest.mark.parametrize("variable", ["HPACML_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"])
def test_ranks(tmp_path: Path, variable: str) -> None:
    for rank in ("0", "1", "12"):
        run(tmp_path, f"call({rank} + 1)", **{variable: rank})
    assert bodies(tmp_path) == {"r.json": 1, "r.rank1.json": 2, "r.rank12.json": 13}


def test_forked_children_count_from_zero(tmp_path: Path) -> None:
    code = """
call(5)
if pid := os.fork():
    os.waitpid(pid, 0)
    print(pid)
    call(1)
else:
    call(2)
"""
    pid = run(tmp_path, code).stdout.strip()
    assert bodies(tmp_path) == {"r.json": 6, f"r.pid{pid}.json": 2}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing(tmp_path: Path, method: str) -> None:
    code = f"""
import multiprocessing
if __name__ == "__main__":
    call(5)
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=call, args=(k,)) for k in (2, 3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print(*(child.pid for child in children))
"""
    two, three = run(tmp_path, code).stdout.split()
    assert {"r.json": 5, f"r.pid{two}.json": 2, f"r.pid{three}.json": 3}.items() <= bodies(tmp_path).items()


def test_programs_that_a_program_starts(tmp_path: Path) -> None:
    code = """
if len(sys.argv) == 1:
    for _ in range(2):
        subprocess.run([sys.executable, __file__, "child"], check=True)
call(len(sys.argv))
"""
    run(tmp_path, code)
    found = bodies(tmp_path)
    assert found.pop("r.json") == 1
    assert list(found.values()) == [2, 2]
    assert all(name.startswith("r.pid") for name in found)


def test_programs_that_know_nothing_of_each_other_overwrite_nothing(tmp_path: Path) -> None:
    code = """
if len(sys.argv) == 1:
    other = {name: value for name, value in os.environ.items() if name != "HPACML_REPORT_PROCESS"}
    subprocess.run([sys.executable, __file__, "other"], env=other, check=True)
call(len(sys.argv))
print(os.getpid())
"""
    done = run(tmp_path, code)
    pid = done.stdout.split()[-1]
    assert bodies(tmp_path) == {"r.json": 2, f"r.pid{pid}.json": 1}
    assert "another process has written" in done.stderr


@pytest.mark.parametrize(
    ("report", "rank", "reason"),
    [("none/r.json", "", "No such file or directory"), (".", "", "Is a directory"), ("r.json", "1/2", "Invalid name")],
)
def test_a_file_that_cannot_be_written_is_logged_with_the_numbers(
    tmp_path: Path, report: str, rank: str, reason: str
) -> None:
    done = run(tmp_path, "call(7)", report, HPACML_RANK=rank)
    assert done.stdout == ""
    assert "cannot write the report to" in done.stderr
    assert reason in done.stderr
    assert "Region (body)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_none(tmp_path: Path) -> None:
    done = run(tmp_path, "call(1)", "/dev/stdout")
    assert json.loads(done.stdout)["regions"]["r"]["calls"]["body"] == 1


def test_it_turns_ranges_on_only_if_asked_to(tmp_path: Path) -> None:
    code = """
call(1)
assert "torch" not in sys.modules
"""
    run(tmp_path, code)
    done = run(tmp_path, "call(1); assert 'torch' in sys.modules", HPACML_RANGES="torch")
    assert done.stderr == ""


def test_the_variable_may_be_set_after_the_import(tmp_path: Path) -> None:
    head, region = HEAD.split("@hpacml.region", 1)
    code = f"{head}\nos.environ['HPACML_REPORT'] = 'later.json'\n@hpacml.region{region}\ncall(3)\n"
    (tmp_path / "program.py").write_text(code)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HPACML_REPORT")}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, tmp_path / "program.py"], cwd=tmp_path, env=environment, check=True)
    assert bodies(tmp_path) == {"later.json": 3}
