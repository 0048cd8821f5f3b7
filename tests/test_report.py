"""Reports: counts, bytes and times of regions, ranges for profilers, and that none of it is there while it is off."""

import gc
import logging
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from xdsl.dialects.builtin import ModuleOp

import hpacml
from hpacml import approx, version
from hpacml.frontend import compile
from hpacml.runtime import handlers
from hpacml.runtime.reports import instruments, ranges

Array = Float64[np.ndarray, "N"]

DIRECTIVES = """tensor functor(two: [i, 0:2] = ([i], [i+1]))
                tensor functor(one: [i, 0:1] = ([i]))
                ml(predicated: infer) in(two(a[0:n])) out(one(c[0:n])) model(net) database(base) if(on) label("{}")"""


@hpacml.region(DIRECTIVES.format("region"), on_error="accurate")
def region(a, c, n, infer, on, net, base):
    c[:n] = a[:n] + a[1 : n + 1]


@hpacml.kernel
def kernel(a: Array, c: Float64[np.ndarray, "M"], n: int, infer: bool, on: bool, net: Any, base: Any):
    approx("tensor functor(two: [i, 0:2] = ([i], [i+1]))")
    approx("tensor functor(one: [i, 0:1] = ([i]))")
    with approx(
        "ml(predicated: infer) in(two(a[0:n])) out(one(c[0:n])) model(net) database(base) if(on) label('kernel')",
        on_error="accurate",
    ):
        for i in range(n):
            c[i] = a[i] + a[i + 1]


DOORS = {"region": region, "kernel": kernel}


def total(x):
    return x.sum(1, keepdim=True)


def failing(x):
    raise ValueError("no such weather")


@pytest.fixture(autouse=True)
def measured() -> Iterator[None]:
    hpacml.timing()
    hpacml.report(reset=True)
    yield
    hpacml.timing(False)
    hpacml.ranges(None)


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    return np.arange(11.0), np.zeros(10)


@pytest.mark.parametrize("door", DOORS)
def test_counts_by_mode(door: str, arrays, tmp_path: Path) -> None:
    run, base = DOORS[door], str(tmp_path / "d.h5")
    for infer, on in [(True, True)] * 3 + [(False, True)] * 2 + [(True, False)] * 4 + [(False, False)]:
        run(*arrays, 10, infer, on, total, base)
    (label,) = report = hpacml.report()
    assert label == door
    result = report[door]
    assert result.calls == {"infer": 3, "collect": 2, "body": 5}
    assert result.fallbacks == 0
    assert {name: event.count for name, event in result.events.items()} == {
        "To Tensor": 5,
        "Wrap output Memory": 3,
        "Inference": 3,
        "Forward Pass": 3,
        "From Tensor": 3,
        "Body": 7,
        "Output To Tensor": 2,
        "Enqueue": 2,
        "Region (infer)": 3,
        "Region (collect)": 2,
        "Region (body)": 5,
    }
    assert all(event.total_ms >= 0 for event in result.events.values())
    assert result.events["Inference"].total_ms > result.events["Forward Pass"].total_ms > 0
    whole = sum(result.events[f"Region ({way})"].total_ms for way in result.calls)
    stages = ("To Tensor", "Wrap output Memory", "Inference", "From Tensor", "Body", "Output To Tensor", "Enqueue")
    assert whole == pytest.approx(sum(result.events[name].total_ms for name in stages))


@pytest.mark.parametrize("door", DOORS)
def test_times_are_those_of_the_stages(door: str, arrays, tmp_path: Path) -> None:
    def slow(x):
        threading.Event().wait(0.02)
        return total(x)

    for _ in range(2):
        DOORS[door](*arrays, 10, True, True, slow, str(tmp_path / "d.h5"))
    events = hpacml.report()[door].events
    for name in ("Inference", "Forward Pass", "Region (infer)"):
        assert 40 <= events[name].total_ms < 2000
        assert events[name].mean_ms == events[name].total_ms / 2
    assert events["To Tensor"].total_ms < 20


@pytest.mark.parametrize("door", DOORS)
def test_bytes_are_those_of_the_tensors(door: str, arrays, tmp_path: Path) -> None:
    run, base = DOORS[door], str(tmp_path / "d.h5")
    a, packed = arrays
    strided = np.zeros(20)[::2]
    wide = 10 * 2 * 8
    for c, scattered in ((packed, 0), (strided, 80)):
        hpacml.report(reset=True)
        run(a, c, 10, True, True, total, base)
        run(a, c, 10, True, True, total, base)
        result = hpacml.report()[door]
        assert (result.gathered, result.scattered) == (2 * wide, 2 * scattered)
        assert result.events["From Tensor"].bytes == 2 * scattered
        assert result.events["Region (infer)"].bytes == 2 * (wide + scattered)
        hpacml.report(reset=True)
        run(a, c, 10, False, True, total, base)
        result = hpacml.report()[door]
        assert (result.gathered, result.scattered) == (wide + scattered, 0)
        assert result.events["Output To Tensor"].bytes == scattered


@pytest.mark.parametrize(
    ("clauses", "gathered", "scattered"),
    [
        ("inout(f(x[0:6]))", 0, 0),
        ("inout(f(x[0:12:2]))", 48, 48),
        ("in(f(x[0:6])) out(f(x[6:12]))", 0, 0),
        ("in(f(x[i[0:6]])) out(f(x[6:12]))", 48, 0),
        ("in(f(x[6:12])) out(f(x[i[0:6]]))", 0, 48),
        ("in(f(h[0:6]), f(x[0:12:2])) out(f(h[0:12:2]), f(x[0:6]))", 48, 24),
    ],
)
def test_bytes_of_maps_of_all_kinds(clauses: str, gathered: int, scattered: int) -> None:
    @hpacml.region(f"tensor functor(f: [i] = ([i]))\nml(infer) {clauses} model(net) label('r')")
    def body(x, h, i, net):
        raise AssertionError

    x, h, i = np.arange(12.0), np.arange(12, dtype=np.float32), np.array([5, 0, 3, 1, 2, 4])
    body(x, h, i, lambda *tensors: tensors if len(tensors) > 1 else tensors[0])
    result = hpacml.report()["r"]
    assert (result.gathered, result.scattered) == (gathered, scattered)


def test_inputs_that_are_collected_are_always_copied(tmp_path: Path) -> None:
    @hpacml.region(f"tensor functor(f: [i] = ([i]))\nml(collect) inout(f(x[0:6])) database('{tmp_path}/d.h5')")
    def body(x):
        x += 1

    body(np.arange(6.0))
    events = hpacml.report()["body"].events
    assert (events["To Tensor"].bytes, events["Output To Tensor"].bytes) == (48, 0)


@pytest.mark.parametrize("door", DOORS)
def test_fallbacks(door: str, arrays) -> None:
    before = hpacml.fallbacks().get(door, 0)
    for _ in range(3):
        DOORS[door](*arrays, 10, True, True, failing, None)
    DOORS[door](*arrays, 10, True, True, total, None)
    result = hpacml.report()[door]
    assert result.calls == {"infer": 4, "collect": 0, "body": 0}
    assert result.fallbacks == hpacml.fallbacks()[door] - before == 3
    assert (result.events["Body"].count, result.events["From Tensor"].count) == (3, 1)
    assert "3 fallbacks" in str(hpacml.report())


def test_calls_that_raise_do_not_count(arrays) -> None:
    @hpacml.region(DIRECTIVES.format("r"), on_error="raise")
    def body(a, c, n, infer, on, net, base):
        raise LookupError

    with pytest.raises(hpacml.ModelError):
        body(*arrays, 10, True, True, failing, None)
    with pytest.raises(LookupError):
        body(*arrays, 10, True, False, failing, None)
    assert len(hpacml.report()) == 0


def test_batches_are_several_forward_passes(arrays) -> None:
    @hpacml.region("tensor functor(f: [i] = ([i]))\nml(infer) inout(f(x[0:10])) model(net) batch(4)")
    def body(x, net):
        raise AssertionError

    body(np.arange(10.0), lambda x: 2 * x)
    events = hpacml.report()["body"].events
    assert (events["Inference"].count, events["Forward Pass"].count) == (1, 3)


@pytest.mark.parametrize("door", DOORS)
def test_threads_lose_no_counts(door: str, tmp_path: Path) -> None:
    threads, calls = 8, 250
    start = threading.Barrier(threads)

    def work() -> None:
        a, c = np.arange(11.0), np.zeros(20)[::2]
        start.wait()
        for k in range(calls):
            DOORS[door](a, c, 10, k % 5 == 0, k % 5 <= 1, total, str(tmp_path / "d.h5"))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    result = hpacml.report()[door]
    fifth = threads * calls // 5
    assert result.calls == {"infer": fifth, "collect": fifth, "body": 3 * fifth}
    assert result.events["Forward Pass"].count == fifth
    assert (result.gathered, result.scattered) == (fifth * (160 + 160 + 80), fifth * 80)


def test_compiled_threads_lose_no_counts() -> None:
    """Without the GIL: each thread counts from a loop in compiled code."""

    @hpacml.kernel
    def loop(a: Array, count: int, never: bool):
        approx("tensor functor(one: [i, 0:1] = ([i]))")
        for _k in range(count):
            with approx("ml(infer) inout(one(a[0:1])) if(never) label('loop')"):
                a[0] = a[0] + 1.0

    loop(np.zeros(1), 1, False)
    workers = [threading.Thread(target=loop, args=(np.zeros(1), 100_000, False)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert hpacml.report()["loop"].calls["body"] == 800_001


@pytest.mark.parametrize("door", DOORS)
def test_on_and_off_at_the_next_call(door: str, arrays) -> None:
    def call() -> None:
        DOORS[door](*arrays, 10, True, True, total, None)

    for on in (False, True, True, False, True, False):
        hpacml.timing(on)
        call()
    assert hpacml.report()[door].calls["infer"] == 3
    assert hpacml.report()[door].events["Forward Pass"].count == 3
    assert hpacml.report(reset=True)[door].calls["infer"] == 3
    assert dict(hpacml.report()) == {}
    hpacml.timing()
    call()
    assert hpacml.report()[door].calls["infer"] == 1


def test_all_code_for_a_label_counts_together(arrays) -> None:
    a, c = arrays
    for each in (a, np.arange(22.0)[::2]):  # compiled for each
        kernel(each, c, 10, True, False, None, None)
    again = hpacml.region(DIRECTIVES.format("kernel"))(region.py_func)
    again(a, c, 10, True, False, None, None)
    del again
    gc.collect()
    assert hpacml.report()["kernel"].calls["body"] == 3


def test_nested_regions(arrays, tmp_path: Path) -> None:
    @hpacml.region(f"tensor functor(f: [i] = ([i]))\nml(collect) inout(f(x[0:9])) database('{tmp_path}/d.h5')")
    def outer(x):
        for _ in range(3):
            region(*arrays, 10, True, True, total, None)

    outer(np.zeros(9))
    report = hpacml.report()
    assert (report["outer"].calls["collect"], report["region"].calls["infer"]) == (1, 3)
    assert report["outer"].events["Body"].total_ms > report["region"].events["Region (infer)"].total_ms


@pytest.mark.parametrize("door", DOORS)
def test_off_is_the_code_there_was(door: str, arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: dict[bool, str] = {}
    lower = compile.run_passes

    def run_passes(module: ModuleOp, report: bool, gpu: bool, stream: int) -> ModuleOp:
        without = module.clone()
        texts[report] = str(lower(module, report=report))
        assert report or texts[report] == str(lower(without))
        return module

    monkeypatch.setattr(compile, "run_passes", run_passes)
    monkeypatch.setattr(version, "made_by", lambda: None)
    makers: dict[str, Callable[[], Any]] = {
        "region": lambda: hpacml.region(DIRECTIVES.format("r"))(region.py_func),
        "kernel": lambda: hpacml.kernel(kernel.py_func),
    }
    run = makers[door]()
    for on in (False, True):
        hpacml.timing(on)
        run(*arrays, 10, True, False, total, None)
    assert "hpacml_record" not in texts[False]
    assert "hpacml_time_ns" not in texts[False]
    assert texts[True].count("func.call @hpacml_record") == 4
    assert texts[False].count("hpacml_time_ms") == texts[True].count("hpacml_time_ms")


def test_ir_is_that_without_timing() -> None:
    assert "hpacml_rt.record" not in str(kernel.ir(stage="expand"))


def test_the_table_and_the_numbers(arrays) -> None:
    assert "hpacml.timing(True)" in str(hpacml.report())

    strange = hpacml.region(DIRECTIVES.format("[red]x :smile:"))(region.py_func)
    strange(*arrays, 10, True, True, total, None)
    report = hpacml.report()
    assert repr(report) == str(report)
    for text in ("[red]x :smile:", "To Tensor", "Forward Pass", "Region (infer)", "100.0", "mean µs"):
        assert text in str(report)
    assert "Body" not in str(report)
    from rich.console import Console

    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report)
    assert "Forward Pass" in console.export_html()
    console.file.close()
    with pytest.raises(KeyError):
        report["y"]


def test_saving(arrays, tmp_path: Path) -> None:
    import json

    region(*arrays, 10, True, True, total, None)
    report = hpacml.report()
    report.save(tmp_path / "r.json")
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved == report.as_dict()
    assert saved["format"] == 1
    assert saved["regions"]["region"]["calls"] == {"infer": 1, "collect": 0, "body": 0}
    event = saved["regions"]["region"]["events"]["To Tensor"]
    assert (event["count"], event["bytes"], event["mean_ms"]) == (1, 160, event["total_ms"])
    for key in ("hpacml", "torch", "command", "host", "process", "rank"):
        assert key in saved
    with pytest.raises(hpacml.HpacmlError, match=r"cannot write the report to .*No such file or directory"):
        report.save(tmp_path / "none" / "r.json")


# -- ranges ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of the profiler itself
def test_ranges_of_torch(arrays, tmp_path: Path) -> None:
    hpacml.ranges("torch")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for run in DOORS.values():
            for infer in (True, False):
                run(*arrays, 10, infer, True, total, str(tmp_path / "d.h5"))
        hpacml.ranges(None)
        region(*arrays, 10, True, True, total, None)
    counts = {event.key: event.count for event in profile.key_averages() if event.key.startswith("hpacml.")}
    assert counts == {
        "hpacml.region region": 2,
        "hpacml.infer region": 1,
        "hpacml.forward region": 1,
        "hpacml.body": 1,
        "hpacml.collect region": 1,
        "hpacml.kernel kernel": 2,
        "hpacml.infer kernel": 1,
        "hpacml.forward kernel": 1,
        "hpacml.collect kernel": 1,
    }
    assert hpacml.report()["region"].calls["infer"] == 2


def test_ranges_of_nvtx_by_torch(arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Nvtx:
        def mark(self, name: str) -> None: ...
        def range_push(self, name: str) -> None:
            calls.append(name)

        def range_pop(self) -> None:
            calls.append("pop")

    monkeypatch.setitem(sys.modules, "nvtx", None)
    monkeypatch.setattr(ranges, "_torch_nvtx", Nvtx)
    ranges._opener.cache_clear()
    hpacml.ranges("nvtx")
    fresh = hpacml.region(DIRECTIVES.format("r"), on_error="accurate")(region.py_func)
    fresh(*arrays, 10, True, True, failing, None)
    ranges._opener.cache_clear()
    inside = ["hpacml.infer r", "hpacml.forward r", "pop", "pop", "hpacml.body", "pop"]
    assert calls == ["hpacml.region region", *inside, "pop"]


@pytest.mark.skipif(torch.version.cuda is not None, reason="this Torch has CUDA")
def test_ranges_that_are_not_to_be_had(arrays, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    before = instruments.current
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with pytest.raises(hpacml.HpacmlError, match=r"no NVTX ranges: this Torch is built without CUDA.*pip install nvtx"):
        hpacml.ranges("nvtx")
    monkeypatch.setitem(sys.modules, "nvtx", math)  # a module of the program that has this name
    with pytest.raises(hpacml.HpacmlError, match="there is no package nvtx"):
        hpacml.ranges("nvtx")
    with pytest.raises(hpacml.HpacmlError, match="ranges are for 'nvtx', 'torch' or None, and this is 'vtune'"):
        hpacml.ranges("vtune")  # type: ignore[arg-type]
    assert instruments.current is before
    ranges._opener.cache_clear()
    for wanted, told in (("nvtx", "no NVTX ranges"), ("vtune", "HPACML_RANGES is 'vtune': set it to nvtx or torch")):
        caplog.clear()
        monkeypatch.setattr(instruments, "current", instruments._choice(True, wanted))  # as from the environment
        handlers.install()
        fresh = hpacml.region(DIRECTIVES.format("r"))(region.py_func)
        with caplog.at_level(logging.DEBUG, "hpacml"):
            for _ in range(2):
                fresh(*arrays, 10, True, True, total, None)
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("hpacml", "ERROR")
        assert told in record.getMessage()


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(
    ("kind", "dtype"), [(np.uint8, torch.float32), (np.float64, torch.float32), (np.float32, None)]
)
def test_casts_are_events(kind: type[Any], dtype: torch.dtype | None, step: int) -> None:
    @hpacml.region("""
        tensor functor(f: [i, 0:2] = ([i, 0:2]))
        tensor functor(g: [i, 0:1] = ([i]))
        ml(infer) in(f(a[0:n, 0:2])) out(g(c[0:n])) model(net) engine(torch) label("cast")
    """)
    def cast(a, c, n, net):
        raise AssertionError

    net = torch.nn.Linear(2, 1, dtype=dtype)
    a, c = np.arange(20, dtype=kind).reshape(10, 2)[::step], np.zeros(20, np.float64)[::step]
    n = len(a)
    for _ in range(3):
        cast(a, c, n, net)
    with torch.no_grad():
        expected = net(torch.from_numpy(a.astype(np.float32)))[:, 0]
    np.testing.assert_array_equal(c[:n], expected.double().numpy())
    events = hpacml.report()["cast"].events
    casts = {name: (event.count, event.bytes) for name, event in events.items() if "Cast" in name}
    assert casts == {"Output Cast": (3, 3 * n * 8)} | ({"Input Cast": (3, 3 * n * 8)} if dtype else {})
    parts = sum(events[name].total_ms for name in (*casts, "Forward Pass"))
    assert 0 < parts <= events["Inference"].total_ms
