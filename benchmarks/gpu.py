"""`python -m benchmarks.gpu`: a GPU against copies, views and the bare launch; writes results/gpu-<device>.json."""

import ctypes
import json
import os
import re
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

import hpacml
from hpacml.runtime.gpu import devices, driver

from . import machine, show

RESULTS = Path(__file__).parent / "results"
OURS, COPY = "hpacml", "copy of equal bytes"
CAT, STACK, VIEWS = "torch.cat of views", "torch.stack", "a copy for each view"

AIMS = {"of a copy": 0.85, "x views": 3.0, "eager": 25e-6, "replayed": 15e-6}
"""At least this share of the bandwidth of a copy, and this many times the speed of views; at most these seconds of the
host beyond the launch itself."""

STENCIL = "stencil: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2])"
CHANNELS = "channels: [0:5, i, j] = ([i-1, j], [i+1, j], [i, j-1:j+2])"
COLUMNS = "columns: [i, 0:5] = ([i], [i], [i], [i], [i])"
REGION = """
    tensor functor(stencil: [i, j, 0:5] = ([i-1, j], [i+1, j], [i, j-1:j+2]))
    tensor functor(point: [i, j, 0:1] = ([i, j]))
    ml(infer) in(stencil(t[1:n-1, 1:n-1])) out(point(new[1:n-1, 1:n-1])) model(net)
"""
EMPTY = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry empty()\n{\n\tret;\n}\n"


@dataclass(frozen=True)
class Sizes:
    """How large things are, and how often they are measured."""

    stencils: tuple[int, ...] = (1026, 8194)
    columns: tuple[int, ...] = (1 << 20, 1 << 25)
    regions: tuple[int, ...] = (66, 514, 2050)
    repeats: int = 50
    calls: int = 20


class Cuda:
    """A GPU, and how to take times on it."""

    busy = 2_000_000
    """Cycles for which the device waits at first, so that the host is ahead: then times are those of the device."""

    def __init__(self):
        self.device = devices.current_device()
        self._others = torch.empty(256 << 20, dtype=torch.uint8, device=self.device.torch)
        """More than the caches hold: to write it is to have nothing else in them."""

    def place(self, tensor):
        """A tensor on the device, for Torch and for hpacml."""
        there = tensor.to(self.device.torch)
        return there, there

    def device_seconds(self, calls, repeats, each=1, cold=True, around=None):
        """The median seconds of each named call on the device, where they take turns; `each` of them at once.

        If `cold`, nothing that they read is in a cache, and the host is ahead. Some have a context `around` them.
        """
        times = {name: [] for name in calls}
        for _ in range(repeats):
            for name, call in calls.items():
                start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                if cold:
                    torch.cuda._sleep(self.busy)
                    self._others.zero_()
                with (around or {}).get(name, nullcontext()):
                    start.record()
                    for _ in range(each):
                        call()
                    stop.record()
                stop.synchronize()
                times[name].append(start.elapsed_time(stop) / 1e3 / each)
        return {name: median(measured) for name, measured in times.items()}

    def host_seconds(self, calls, repeats):
        """The median seconds until each named call returns, on an idle device."""
        times = {name: [] for name in calls}
        for _ in range(repeats):
            for name, call in calls.items():
                self.synchronize()
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
        return {name: median(measured) for name, measured in times.items()}

    def synchronize(self):
        torch.cuda.synchronize()

    def graph(self, call):
        """A graph of a call, made by Torch alone."""
        graph = torch.cuda.CUDAGraph()
        call()
        with torch.cuda.graph(graph):
            call()
        return graph.replay

    def describe(self):
        properties = torch.cuda.get_device_properties(self.device.index)
        cuda = driver.bindings()
        status, version = cuda.cuDriverGetVersion()
        attributes = cuda.CUdevice_attribute
        asked = attributes.CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, attributes.CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH
        kilohertz, bits = (cuda.cuDeviceGetAttribute(each, self.device.index)[1] for each in asked)
        module = Path("/proc/driver/nvidia/version")
        return {
            "device": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory": properties.total_memory,
            "peak": 2 * 1e3 * kilohertz * bits / 8,  # bytes in a second: two transfers in a cycle
            "chip": self.device.chip,
            "CUDA of the driver": None if status else version,
            "driver": module.read_text().splitlines()[0] if module.exists() else None,
            "CUDA of Torch": torch.version.cuda,
        }


def measure(gpu, sizes):
    """All results."""
    torch.manual_seed(0)
    gathers = [stencil(gpu, size, sizes) for size in sizes.stencils]
    gathers += [channels(gpu, sizes.stencils[-1], sizes)]
    gathers += [columns(gpu, count, sizes) for count in sizes.columns]
    scatters = [points(gpu, size, sizes) for size in sizes.stencils]
    scatters += [scattered_columns(gpu, count, sizes) for count in sizes.columns]
    return {
        "machine": {**machine(), **gpu.describe()},
        "aims": AIMS,
        "gather": gathers,
        "scatter": scatters,
        "region": [region(gpu, size, sizes) for size in sizes.regions],
        "dispatch": dispatch(gpu, sizes),
    }


# -- maps --------------------------------------------------------------------------------------------


def sides(t):
    """The five neighbours of the inner points, as views."""
    return [t[:-2, 1:-1], t[2:, 1:-1], t[1:-1, :-2], t[1:-1, 1:-1], t[1:-1, 2:]]


def stencil(gpu, size, sizes):
    t, array = gpu.place(torch.rand(size, size))
    inner, row = size - 2, (size, 1, 1)
    # The views that HPAC-ML makes: one for each slice of the functor, with its features last.
    views = [t.as_strided((inner, inner, w), row, at) for at, w in ((1, 1), (2 * size + 1, 1), (size, 3))]
    others = {CAT: lambda out: torch.cat(views, -1, out=out), STACK: lambda out: torch.stack(sides(t), -1, out=out)}
    ours, what = gather(STENCIL, "t[1:n-1, 1:n-1]", t=array, n=size), f"5-point stencil, {size} x {size}, float32"
    return compare_gathers(gpu, what, (inner, inner, 5), t.nbytes, ours, others, sizes)


def channels(gpu, size, sizes):
    t, array = gpu.place(torch.rand(size, size))
    others = {
        CAT: lambda out: torch.cat([side[None] for side in sides(t)], 0, out=out),
        STACK: lambda out: torch.stack(sides(t), 0, out=out),
    }
    what = f"the same with channels first, {size} x {size}, float32"
    ours = gather(CHANNELS, "t[1:n-1, 1:n-1]", t=array, n=size)
    return compare_gathers(gpu, what, (5, size - 2, size - 2), t.nbytes, ours, others, sizes)


def columns(gpu, count, sizes):
    placed = [gpu.place(torch.rand(count)) for _ in range(5)]
    tensors = [tensor for tensor, _ in placed]
    others = {
        CAT: lambda out: torch.cat([tensor[:, None] for tensor in tensors], 1, out=out),
        STACK: lambda out: torch.stack(tensors, 1, out=out),
    }
    names = dict(zip("abcde", (array for _, array in placed), strict=True))
    ours = gather(COLUMNS, ", ".join(f"{name}[0:n]" for name in names), n=count, **names)
    read = sum(tensor.nbytes for tensor in tensors)
    return compare_gathers(gpu, f"5 arrays of {count}, float32", (count, 5), read, ours, others, sizes)


def gather(declaration, targets, **names):
    functor = hpacml.functor(declaration)
    return lambda out: functor.gather(targets, out=out, **names)


def compare_gathers(gpu, what, shape, read, ours, others, sizes):
    """`read` are the bytes of the arrays, which have to be read once."""
    expected = next(iter(others.values()))(None)
    out, array = gpu.place(torch.zeros(shape))
    ours(array)
    assert torch.equal(out, expected)
    source = torch.empty_like(out)
    calls = {OURS: lambda: ours(array)}
    calls |= {name: lambda way=way: way(out) for name, way in others.items()}
    return row(gpu, what, out.nbytes, read, {**calls, COPY: lambda: out.copy_(source)}, sizes)


def points(gpu, size, sizes):
    (t, array), (x, tensor) = (gpu.place(torch.rand(shape)) for shape in ((size, size), (size - 2, size - 2, 1)))
    ours = scatter("point: [i, j, 0:1] = ([i, j])", tensor, "t[1:n-1, 1:n-1]", t=array, n=size)
    what = f"inner points, {size} x {size}, float32"
    return compare_scatters(gpu, what, x, ours, [(t[1:-1, 1:-1], x[..., 0])], sizes)


def scattered_columns(gpu, count, sizes):
    placed = [gpu.place(torch.zeros(count)) for _ in range(5)]
    x, tensor = gpu.place(torch.rand(count, 5))
    names = dict(zip("abcde", (array for _, array in placed), strict=True))
    ours = scatter(COLUMNS, tensor, ", ".join(f"{name}[0:n]" for name in names), n=count, **names)
    pairs = [(target, x[:, k]) for k, (target, _) in enumerate(placed)]
    return compare_scatters(gpu, f"5 arrays of {count}, float32", x, ours, pairs, sizes)


def scatter(declaration, tensor, targets, **names):
    functor = hpacml.functor(declaration)
    return lambda: functor.scatter(tensor, targets, **names)


def compare_scatters(gpu, what, x, ours, pairs, sizes):
    """`pairs` are views of the arrays, and what of `x` is to be in them."""
    for target, _ in pairs:
        target.zero_()
    ours()
    assert all(torch.equal(target, value) for target, value in pairs)

    def views():
        for target, value in pairs:
            target.copy_(value)

    other = torch.empty_like(x)
    written = sum(value.nbytes for _, value in pairs)
    return row(gpu, what, x.nbytes, written, {OURS: ours, VIEWS: views, COPY: lambda: other.copy_(x)}, sizes)


def row(gpu, what, nbytes, arrays, calls, sizes):
    """The seconds of each way; a copy reads and writes as many bytes as the tensor has.

    The other ways have to move the bytes of the tensor and of the `arrays`: those are what they are compared to the
    peak by.
    """
    for call in calls.values():
        call()
    gpu.synchronize()
    seconds = gpu.device_seconds(calls, sizes.repeats)
    best = min(seconds[name] for name in (CAT, VIEWS) if name in seconds)
    ratios = {"of a copy": seconds[COPY] / seconds[OURS], "x views": best / seconds[OURS]}
    moved = {name: 2 * nbytes if name == COPY else nbytes + arrays for name in calls}
    return {"what": what, "bytes": nbytes, "moved": moved, "seconds": seconds, **ratios}


# -- regions -----------------------------------------------------------------------------------------


def network(gpu):
    layers = torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
    return torch.nn.Sequential(*layers).eval().to(gpu.device.torch)


def by_hand(t, new, net):
    with torch.inference_mode():
        new[1:-1, 1:-1] = net(torch.stack(sides(t), -1))[..., 0]


class Regions:
    """A region, the same by hand, and its parts, on arrays of one size."""

    def __init__(self, gpu, size):
        @hpacml.region(REGION)
        def heat(t, new, n, net):
            raise AssertionError("the model runs")

        net = network(gpu)
        (t, array), (new, target) = (gpu.place(torch.rand(size, size)) for _ in range(2))
        x, _ = gpu.place(torch.rand(size - 2, size - 2, 5))
        self.found, self.ours = new, lambda: heat(array, target, size, net)
        self.expected = torch.zeros_like(new)
        self.by_hand = lambda: by_hand(t, self.expected, net)

        def alone():
            with torch.inference_mode():
                net(x)

        self.alone = alone

    def check(self):
        self.by_hand()
        torch.testing.assert_close(self.found[1:-1, 1:-1], self.expected[1:-1, 1:-1], rtol=1e-3, atol=1e-4)


class Graphs:
    """Graphs are on or off inside of it."""

    def __init__(self, on):
        self._value = "1" if on else "0"

    def __enter__(self):
        self._before = os.environ.get("HPACML_CUDA_GRAPHS")
        os.environ["HPACML_CUDA_GRAPHS"] = self._value

    def __exit__(self, *_):
        if self._before is None:
            del os.environ["HPACML_CUDA_GRAPHS"]
        else:
            os.environ["HPACML_CUDA_GRAPHS"] = self._before


def warm(call, times=5):
    """Beyond the calls before a capture."""
    for _ in range(times):
        call()


def region(gpu, size, sizes):
    """Seconds of a call, one after the other, as a loop over time steps makes them."""
    regions = Regions(gpu, size)
    ways = {"eager": Graphs(False), "replayed": Graphs(True)}
    for way in ways.values():
        with way:
            warm(regions.ours)
            regions.check()
    others = {"by hand": regions.by_hand, "the model alone": regions.alone}
    for call in others.values():
        call()
    calls = {**dict.fromkeys(ways, regions.ours), **others}
    seconds = gpu.device_seconds(calls, sizes.repeats, sizes.calls, cold=False, around=ways)
    return {"what": f"5-32-1 on a stencil, {size} x {size}, float32", "seconds": seconds}


def dispatch(gpu, sizes):
    """Seconds of the host until a call returns, those of the bare launches in it, and the difference."""
    regions = Regions(gpu, sizes.regions[0])
    _, array = gpu.place(torch.rand(66, 66))
    _, out = gpu.place(torch.zeros(64, 64, 5))
    gathered = gather(STENCIL, "t[1:n-1, 1:n-1]", t=array, n=66)
    launch = bare_launch(gpu)
    rows = [beyond(gpu, "gather", "eager", lambda: gathered(out), {"a launch": launch}, sizes)]
    parts = {"a launch": launch, "another launch": launch, "the model alone": regions.alone}
    with Graphs(False):
        rows.append(beyond(gpu, "region", "eager", regions.ours, parts, sizes))
    with Graphs(True):
        parts = {"the replay of a graph by hand": gpu.graph(regions.by_hand)}
        rows.append(beyond(gpu, "region", "replayed", regions.ours, parts, sizes))
    return rows


def beyond(gpu, what, way, call, parts, sizes):
    warm(call)
    for part in parts.values():
        part()
    seconds = gpu.host_seconds({"the call": call, **parts}, 4 * sizes.repeats)
    return {"what": what, "way": way, "seconds": seconds, "beyond": 2 * seconds["the call"] - sum(seconds.values())}


def bare_launch(gpu):
    """A launch of a kernel that does nothing, by the driver alone: by its function, as compiled code does it."""
    device = gpu.device
    with device.active():
        (kernel,) = device.load(EMPTY, ["empty"])
    sizes = [ctypes.c_uint(each) for each in (1, 1, 1, 32, 1, 1, 0)]
    stream, parameters, extra = ctypes.c_size_t(device.stream), (ctypes.c_void_p * 1)(), ctypes.c_void_p()
    arguments = [ctypes.c_size_t(int(kernel)), *sizes, stream, parameters, extra]
    launch = ctypes.CFUNCTYPE(ctypes.c_int, *map(type, arguments))(device.launcher)
    assert launch(*arguments) == 0
    return lambda: launch(*arguments)


# -- showing it --------------------------------------------------------------------------------------


def tables(results):
    """The results as tables, and whether the aims are met."""
    for kind in "gather", "scatter":
        table = Table(kind, "", title="device time, with nothing in the caches; bandwidth is of what has to be moved")
        for column in ("time", "GB/s", "of the peak", "of a copy", "x views"):
            table.add_column(column, justify="right")
        for row in results[kind]:
            for k, (name, seconds) in enumerate(row["seconds"].items()):
                ratios = (verdict(aim, row[aim], row[aim] >= AIMS[aim]) for aim in ("of a copy", "x views"))
                rate = row["moved"][name] / seconds
                told = show(seconds), f"{rate / 1e9:.0f}", f"{rate / results['machine']['peak']:.2f}"
                table.add_row("" if k else row["what"], name, *told, *(ratios if k == 0 else ()))
            table.add_section()
        yield table
    table = Table("region", "", "time of a call")
    for row in results["region"]:
        for k, (name, seconds) in enumerate(row["seconds"].items()):
            table.add_row("" if k else row["what"], name, show(seconds))
        table.add_section()
    yield table
    table = Table("dispatch on the host", "", "time of a call", "beyond its launches")
    for row in results["dispatch"]:
        told = verdict(row["way"], row["beyond"], row["beyond"] <= AIMS[row["way"]], show)
        table.add_row(row["what"], row["way"], show(row["seconds"]["the call"]), told)
    yield table


def verdict(aim, value, met, text="{:.2f}".format):
    return f"{text(value)} ({'aim' if met else 'misses the aim'} {text(AIMS[aim])})"


def file_name(device):
    """Such as gpu-nvidia-h100-80gb-hbm3.json."""
    return f"gpu-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.json"


def write(results, folder=RESULTS):
    folder.mkdir(exist_ok=True)
    path = folder / file_name(results["machine"]["device"])
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path


def main():
    console = Console()
    try:
        gpu = Cuda()
    except hpacml.DeviceError as error:
        raise SystemExit(f"these benchmarks need a GPU of NVIDIA, and a Torch with CUDA: {error}") from None
    results = measure(gpu, Sizes())
    console.print(", ".join(f"{name} {value}" for name, value in results["machine"].items()), highlight=False)
    for table in tables(results):
        console.print(table)
    console.print(f"medians in seconds: {write(results)}")


if __name__ == "__main__":
    main()
