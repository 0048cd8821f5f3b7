"""`convert-hpacml-to-gpu`: packing, unpacking and parallel loops become kernels."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import PatternRewriter, PatternRewriteWalker, RewritePattern
from xdsl.rewriter import InsertPoint

from hpacml.functors.polynomials import Poly
from hpacml.passes.common.bodies import modules
from hpacml.passes.common.branching import where
from hpacml.passes.common.index_arithmetic import IndexArithmetic
from hpacml.passes.common.located import Builder, refusal
from hpacml.passes.common.sweeps import Place, Slice, Sweep, erase_unused_views
from hpacml.passes.gpu.index_checks import guard_indirect, launch_checks
from hpacml.passes.gpu.launches import KernelNames, below, launch_points, product, require_device_memory
from hpacml.passes.gpu.parallel_loops import launch_parallel_loops
from hpacml.passes.gpu.staging import Staging


@dataclass(frozen=True)
class ConvertHpacmlToGpuPass(ModulePass):
    """
    One kernel for each operation. Threads take the points of the sweep in the order of the tensor, so that the threads
    of a warp, which differ in the innermost dimension, read and write neighbours in memory.

    ```mlir
    hpacml.fused_gather %west, %east into %x at %c0, %c1 features [0] : ... -> memref<2x?xf32>
    ```
    becomes
    ```mlir
    gpu.launch blocks(%block) in (%blocks) threads(%thread) in (%c256) {
      scf.for %tile = %block to %tiles step %blocks {
        %i = %tile * 256 + %thread
        scf.if %i < %n {
          %a = memref.load %west[%i]
          memref.store %a, %x[%c0, %i]
          %b = memref.load %east[%i]
          memref.store %b, %x[%c1, %i]
        }
      }
    }
    ```
    Where the features of a point are neighbours in the tensor, its rows go through shared memory (`staging`), or
    threads take features instead of points. A parallel loop of the original code becomes a kernel over its iterations,
    and those inside it become sequential.

    Checks of indices become kernels that raise a flag, of which the host need not know, and so do watched views where
    they are read. Kernels that follow indices look at it first, and do nothing if it is raised.

    ```mlir
    %ok = hpacml_rt.in_bounds %idx below %n : memref<?xi32>
    ```
    becomes
    ```mlir
    %flag, %record, %first = hpacml_rt.flag "f" ["f: [i] = ([i]) of t[idx[0:n]]"]     // at the start of the function
    gpu.launch ... {
      %k = memref.load %idx[%i]
      scf.if %k >= %n {
        %before = memref.atomic_rmw ori %true, %flag[%c0]
        scf.if %before == 0 {                                                      // tell why: %first, %k, %n
          memref.store ..., %record
        }
      }
    }
    %ok = hpacml_rt.flag_down %flag
    ```
    """

    name = "convert-hpacml-to-gpu"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for module in modules(op):
            self._convert(module)

    def _convert(self, module: ModuleOp) -> None:
        names = KernelNames(module)
        launch_parallel_loops(module, names)
        watches = launch_checks(module, names)
        PatternRewriteWalker(_ToKernels(names), apply_recursively=False).rewrite_module(module)
        erase_unused_views(module)
        for watch in watches:
            watch.replace()
        require_device_memory(module)


@dataclass(frozen=True)
class _ToKernels(RewritePattern):
    names: KernelNames

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        a = IndexArithmetic(Builder(InsertPoint.before(op)))
        if (sweep := Sweep.of(op, a)) is None:
            return
        if sweep.adds:
            why = "its points may meet in an element, where the threads of a GPU would add in any order"
            raise refusal(op, f"{op.name} with add cannot run on a GPU: {why}")
        name = self.names.new(op, "gather" if sweep.reads else "scatter")
        sweep.sizes = [a.settled(size) for size in sweep.sizes]
        if _innermost(sweep) and sweep.feature_count != Poly.constant(1):
            if (tile := Staging.of(sweep)) is not None:
                tile.emit(name, a)
            else:
                _by_elements(name, sweep, a)
        else:
            _by_points(name, sweep, a)
        guard_indirect(sweep, op.prev_op)
        rewriter.erase(op)


def _innermost(sweep: Sweep) -> bool:
    """Whether the features of a point are neighbours in the tensor."""
    rank = sweep.tensor_type.get_num_dims()
    return list(sweep.features) == list(range(len(sweep.dims), rank))


def _by_points(name: str, sweep: Sweep, a: IndexArithmetic) -> None:
    """Have each thread copy all features of a point."""
    launch_points(name, sweep.sizes, a, lambda point, a: sweep.copy([a.value(index) for index in point], a))


def _by_elements(name: str, sweep: Sweep, a: IndexArithmetic) -> None:
    """Have each thread copy one feature of a point: the threads of a warp then access neighbours in the tensor."""
    slices = sweep.slices
    first, count = (slices[0].first, product(slices[0].width)) if len(slices) == 1 else (Poly(()), sweep.feature_count)
    first, count = a.settled(first), a.settled(count)

    def copy(place: list[Poly], a: IndexArithmetic) -> None:
        *indices, number = place
        point = [a.value(index) for index in indices]
        feature = a.settled(number + first)

        def move(slice: Slice, a: IndexArithmetic) -> None:
            def work(place: Place, a: IndexArithmetic) -> None:
                sweep.move(place, sweep.place(point, feature, a), a)

            sweep.one(slice, point, feature - slice.first, work, a)

        def choose(left: list[Slice], a: IndexArithmetic) -> None:
            one, *others = left
            if not others:
                move(one, a)
                return
            end = others[0].first
            where(below(feature, end, a), lambda a: move(one, a), a, lambda a: choose(others, a))

        choose(slices, a)

    launch_points(name, [*sweep.sizes, count], a, copy)
