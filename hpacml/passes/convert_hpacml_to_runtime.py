"""`convert-hpacml-to-runtime`: inference, collection, map errors and records become calls of the runtime's C ABI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects import arith, func, llvm, memref, scf
from xdsl.dialects.builtin import (
    IndexType,
    IntegerAttr,
    MemRefType,
    ModuleOp,
    StringAttr,
    f64,
    i1,
    i8,
    i32,
    i64,
)
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import AttrSizedOperandSegments
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint
from xdsl.traits import SymbolTable

from hpacml.abi.guard_records import ComparisonSite, DomainSite, PointsSite, VerifySite
from hpacml.abi.records import (
    CollectSite,
    FlagSite,
    InferSite,
    MapSite,
    RecordSite,
    RefuseSite,
    SampleSite,
    Site,
    SizeSite,
    Source,
    ViewsSite,
    strings,
)
from hpacml.abi.symbols import SYMBOLS, VERSION
from hpacml.dialects.hpacml.attributes import dtype_name
from hpacml.dialects.hpacml.comparing import ComparePointsOp, IsComparedOp
from hpacml.dialects.hpacml.guarding import CountPointsOp, DomainOp
from hpacml.dialects.hpacml.original_code import CallPythonOp, KeepRandomOp, RequireEqualOp
from hpacml.dialects.hpacml.steps import BodyOp, CollectOp, InferOnViewsOp, InferOp, SampleOp
from hpacml.dialects.hpacml.verifying import CheckedInference, CountInferenceOp, VerifyOp
from hpacml.dialects.hpacml_rt.device_flags import FlagDownOp, FlagOp
from hpacml.dialects.hpacml_rt.map_checks import CheckMapOp, RefuseOp
from hpacml.dialects.hpacml_rt.measurements import CopiedOp, MillisecondsOp, NowOp, RecordOp
from hpacml.dtypes import SIZES
from hpacml.passes.common.addresses import descriptor, descriptors, kept, load, memory_at, pointers, stack, words
from hpacml.passes.common.bodies import ORIGIN, modules
from hpacml.passes.common.leftovers import require_nothing_left
from hpacml.passes.common.located import Builder, Rewriter
from hpacml.passes.common.plain_elements import plain_elements
from hpacml.passes.common.runtime_calls import POINTER, declare, results
from hpacml.passes.common.site_fields import content, place_of, source_of, tensor_type, tensor_types, texts
from hpacml.passes.hpacml_resolve_slices import MAY_ALIAS

OTHER_VERSION = (
    f"was compiled for version {VERSION} of hpacml's runtime ABI, and has met a runtime of another: compile it by the "
    "hpacml that the runtime is of"
)


@dataclass(frozen=True)
class ConvertHpacmlToRuntimePass(ModulePass):
    """
    Each call passes a constant JSON text that describes the call site, and memref descriptors.

    ```mlir
    hpacml.infer "r" model "m.pt2" ins(%x : memref<?x5xf32>) outs(%y : memref<?x1xf32>)
    ```
    becomes
    ```mlir
    llvm.mlir.global private constant @hpacml_site_0("{\\22kind\\22: \\22infer\\22, ...}\\00")
    ...
    %site = llvm.mlir.addressof @hpacml_site_0 : !llvm.ptr
    ...                                              // %tensors: pointers to the descriptors of %x, %y
    %status = func.call @hpacml_infer(%site, %tensors) : (!llvm.ptr, !llvm.ptr) -> i32
    ```
    The original code of a region is called, and timed where the time is recorded. Nothing of hpacml is left behind:
    what this pass does not know is an error.

    With `plain` the text of a site is strings in place of JSON, and what decides in doubt whether a map fits is not
    called: such a map is refused. That is for runtimes of others, which then need no parser, and no arithmetic of
    maps. Public functions begin by comparing the version of the ABI with that of the runtime.
    """

    name = "convert-hpacml-to-runtime"

    plain: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for module in modules(op):
            self._convert(module)
        require_nothing_left(op)
        plain_elements(op)

    def _convert(self, module: ModuleOp) -> None:
        calls = _Calls(module, self.plain)
        for each in list(module.walk()):
            each.attributes.pop(MAY_ALIAS, None)
            match each:
                case BodyOp():
                    calls.body(each)
                case InferOp():
                    calls.infer(each)
                case InferOnViewsOp():
                    calls.infer_on_views(each)
                case SampleOp():
                    calls.sample(each)
                case CollectOp():
                    calls.collect(each)
                case CountPointsOp():
                    calls.count_points(each)
                case DomainOp():
                    calls.domain(each)
                case CountInferenceOp():
                    calls.count_inference(each)
                case VerifyOp():
                    calls.verify(each)
                case IsComparedOp():
                    calls.ask(each, _comparison_site(each), "hpacml_is_compared", each.mask)
                case ComparePointsOp():
                    calls.compare_points(each)
                case CheckMapOp():
                    calls.check_map(each)
                case RefuseOp():
                    calls.refuse(each)
                case CallPythonOp():
                    calls.call_python(each)
                case KeepRandomOp():
                    calls.keep_random(each)
                case RequireEqualOp():
                    calls.require_equal(each)
                case FlagOp():
                    calls.flag(each)
                case FlagDownOp():
                    calls.flag_down(each)
                case NowOp():
                    calls.clock(each, "hpacml_time_ns")
                case MillisecondsOp():
                    calls.clock(each, "hpacml_time_ms")
                case CopiedOp():
                    _count_copied(each)
                case RecordOp():
                    calls.record(each)
                case func.FuncOp():
                    each.attributes.pop(ORIGIN, None)
                case _:
                    pass
        if self.plain:
            calls.make_plain()


class _Calls:
    def __init__(self, module: ModuleOp, plain: bool):
        self.module, self.plain = module, plain
        self.sites: dict[str, str] = {}

    def body(self, op: BodyOp) -> None:
        builder = Builder(InsertPoint.before(op))
        call = func.CallOp(op.callee, op.arguments, [])
        if op.milliseconds.uses:
            declare(self.module, "hpacml_time_ms", builder)
            start = builder.insert(func.CallOp("hpacml_time_ms", [], [f64])).results[0]
            builder.insert(call)
            stop = builder.insert(func.CallOp("hpacml_time_ms", [], [f64])).results[0]
            op.milliseconds.replace_all_uses_with(builder.insert(arith.SubfOp(stop, start)).result)
        else:
            builder.insert(call)
        Rewriter.erase_op(op)

    def infer(self, op: InferOp) -> None:
        inputs, outputs = tensor_types(op.inputs), tensor_types(op.outputs)
        site = InferSite(**_given(op, InferSite), inputs=inputs, outputs=outputs)
        builder = Builder(InsertPoint.before(op))
        tensors = descriptors([*op.inputs, *op.outputs], op, builder)
        (status,) = self._call(site, [tensors], builder)
        if op.done.uses:
            op.done.replace_all_uses_with(_is_set(status, builder))
        Rewriter.erase_op(op)

    def infer_on_views(self, op: InferOnViewsOp) -> None:
        if self.plain:  # a runtime of others computes tensors alone
            Rewriter.replace_op(op, arith.ConstantOp(IntegerAttr(0, i1)))
            return
        inputs, outputs = ((tensor_type(type),) for type in op.tensors)
        site = InferSite(**_given(op, InferSite, "tensors"), inputs=inputs, outputs=outputs)
        views = ViewsSite(op.sweep, tensor_types(op.inputs), tensor_types(op.outputs))
        builder = Builder(InsertPoint.before(op))
        memory = descriptors([*op.inputs, *op.outputs], op, builder)
        declare(self.module, views.symbol, builder)
        texts = [self._address(each, builder) for each in (site, views)]
        (status,) = builder.insert(func.CallOp(views.symbol, [*texts, memory], results(views.symbol))).results
        Rewriter.replace_op(op, [], [_is_set(status, builder)])

    def sample(self, op: SampleOp) -> None:
        site = SampleSite(**_given(op, SampleSite))
        builder = Builder(InsertPoint.before(op))
        (status,) = self._call(site, [], builder)
        op.sampled.replace_all_uses_with(_is_set(status, builder))
        Rewriter.erase_op(op)

    def collect(self, op: CollectOp) -> None:
        reasons = [] if op.reasons is None else [op.reasons]
        inputs, outputs, why = map(tensor_types, (op.inputs, op.outputs, reasons))
        site = CollectSite(**_given(op, CollectSite), inputs=inputs, outputs=outputs, reasons=next(iter(why), None))
        builder = Builder(InsertPoint.before(op))
        rooms = [descriptor(each, op, builder) for each in (*op.inputs, *op.outputs, *reasons)]
        rooms += [kept(number, op, builder) for number in op.numbers]
        self._call(site, [pointers(rooms, op, builder), op.milliseconds], builder)
        Rewriter.erase_op(op)

    def count_points(self, op: CountPointsOp) -> None:
        mask = tensor_type(cast(MemRefType, op.mask.type))
        site = PointsSite(op.label.data, mask, op.positions is not None, op.again is not None, place=place_of(op))
        builder = Builder(InsertPoint.before(op))
        found = stack(op, i64, 1)
        tensors = [op.mask] if op.positions is None else [op.mask, op.positions]
        self._call(site, [descriptors(tensors, op, builder), found], builder)
        Rewriter.replace_op(op, arith.IndexCastOp(load(found, 0, i64, builder), IndexType()))

    def ask(self, op: CheckedInference | IsComparedOp, site: Site, symbol: str, *tensors: SSAValue) -> None:
        builder = Builder(InsertPoint.before(op))
        memory = [descriptors(tensors, op, builder)] if tensors else []
        (status,) = self._call(site, memory, builder, symbol)
        Rewriter.replace_op(op, [], [_is_set(status, builder)])

    def count_inference(self, op: CountInferenceOp) -> None:
        builder = Builder(InsertPoint.before(op))
        found = stack(op, i64, 1)
        self._call(_verify_site(op), [found], builder, "hpacml_count_inference")
        bits = load(found, 0, i64, builder)
        Rewriter.replace_op(op, [], [_has_bit(bits, bit, builder) for bit in (1, 2)])

    def verify(self, op: VerifyOp) -> None:
        mask = [] if op.mask is None else [op.mask]
        site = replace(_verify_site(op), outputs=tensor_types(op.outputs), mask=next(iter(tensor_types(mask)), None))
        builder = Builder(InsertPoint.before(op))
        (status,) = self._call(site, [descriptors([*op.outputs, *op.truths, *mask], op, builder)], builder)
        Rewriter.replace_op(op, [], [_is_set(status, builder)])

    def compare_points(self, op: ComparePointsOp) -> None:
        features, types = tuple(map(tuple, op.features_of_each)), tensor_types(op.tensors)
        site = replace(_comparison_site(op), maps=texts(op.maps), outputs=types, features=features)
        builder = Builder(InsertPoint.before(op))
        self._call(site, [descriptors([*op.tensors, *op.whole, op.mask], op, builder)], builder)
        Rewriter.erase_op(op)

    def domain(self, op: DomainOp) -> None:
        site = DomainSite(
            op.label.data,
            source_of(op.model),
            tuple(dtype_name(cast(MemRefType, low.type).element_type) for low in op.ranges[::2]),
            0.0 if op.margin is None else op.margin.value.data,
            bool(op.distance),
            None if op.on_error is None else op.on_error.data,
            place=place_of(op),
        )
        builder = Builder(InsertPoint.before(op))
        (status,) = self._call(site, [descriptors([*op.ranges, *op.distance], op, builder)], builder)
        Rewriter.replace_op(op, [], [_is_set(status, builder)])

    def check_map(self, op: CheckMapOp) -> None:
        site = MapSite(
            op.direction.data.value,
            op.functor.data,
            texts(op.parameters),
            texts(op.names),
            tuple(target.data for target in op.targets),
            tensor_types(op.arrays),
            op.sharing is not None,
            None if op.text is None else op.text.data,
            op.indices is not None,
            place=place_of(op),
        )
        builder = Builder(InsertPoint.before(op))
        true = builder.insert(arith.ConstantOp(IntegerAttr(-1, i1))).result
        fails = builder.insert(arith.XOrIOp(op.fits, true)).result
        doubtful = Block()
        inner = Builder(InsertPoint.at_end(doubtful), op)
        if self.plain:
            self._call(RefuseSite(f"in the map '{op.map_text}': {site.doubt}", place=place_of(op)), [], inner)
        else:
            values = (*op.sizes, *op.bounds, *op.params)
            numbers = [inner.insert(arith.IndexCastOp(value, i64)).result for value in values]
            self._call(site, [words(numbers, op, inner), descriptors(op.arrays, op, inner)], inner)
        inner.insert(scf.YieldOp())
        builder.insert(scf.IfOp(fails, [], Region(doubtful)))
        Rewriter.erase_op(op)

    def refuse(self, op: RefuseOp) -> None:
        self._call(RefuseSite(op.text.data, place=place_of(op)), [], Builder(InsertPoint.before(op)))
        Rewriter.erase_op(op)

    def call_python(self, op: CallPythonOp) -> None:
        builder = Builder(InsertPoint.before(op))
        declare(self.module, "hpacml_call_body_on", builder)
        index = builder.insert(arith.ConstantOp(op.index)).result
        numbers = [builder.insert(arith.IndexCastOp(value, i64)).result for value in op.numbers]
        arguments = [index, descriptors(op.arrays, op, builder), words(numbers, op, builder)]
        builder.insert(func.CallOp("hpacml_call_body_on", arguments, []))
        Rewriter.erase_op(op)

    def keep_random(self, op: KeepRandomOp) -> None:
        builder = Builder(InsertPoint.before(op))
        declare(self.module, "hpacml_keep_random", builder)
        restores = builder.insert(arith.ConstantOp(IntegerAttr(int(op.restore is not None), i64))).result
        builder.insert(func.CallOp("hpacml_keep_random", [restores], []))
        Rewriter.erase_op(op)

    def require_equal(self, op: RequireEqualOp) -> None:
        builder = Builder(InsertPoint.before(op))
        differs = builder.insert(arith.CmpiOp(op.given, op.wanted, "ne")).result
        refused = Block()
        inner = Builder(InsertPoint.at_end(refused), op)
        sizes = [inner.insert(arith.IndexCastOp(value, i64)).result for value in (op.given, op.wanted)]
        self._call(SizeSite(op.text.data), sizes, inner)
        inner.insert(scf.YieldOp())
        builder.insert(scf.IfOp(differs, [], Region(refused)))
        Rewriter.erase_op(op)

    def flag(self, op: FlagOp) -> None:
        site = FlagSite(op.label.data, texts(op.maps))
        builder = Builder(InsertPoint.before(op))
        found = stack(op, i64, 3)
        self._call(site, [found], builder)
        flag, record, first = (load(found, position, i64, builder) for position in range(3))
        arrays = [memory_at(word, old.type, builder) for word, old in ((flag, op.flag), (record, op.record))]
        number = builder.insert(arith.TruncIOp(first, i32)).result  # MLIR would pass 64 bits to kernels as they are
        first = builder.insert(arith.IndexCastOp(number, IndexType())).result
        Rewriter.replace_op(op, [], [*arrays, first])

    def flag_down(self, op: FlagDownOp) -> None:
        builder = Builder(InsertPoint.before(op))
        declare(self.module, "hpacml_device_flag_down", builder)
        (status,) = builder.insert(func.CallOp("hpacml_device_flag_down", [], [i32])).results
        Rewriter.replace_op(op, [], [_is_set(status, builder)])

    def clock(self, op: NowOp | MillisecondsOp, symbol: str) -> None:
        declare(self.module, symbol, Builder(InsertPoint.before(op)))
        Rewriter.replace_op(op, func.CallOp(symbol, [], results(symbol)))

    def record(self, op: RecordOp) -> None:
        site = RecordSite(op.label.data, op.way.data, texts(op.stages))
        builder = Builder(InsertPoint.before(op))
        counters = builder.insert(llvm.AddressOfOp(self._counters(self._text(site), builder), POINTER)).result
        stages = builder.insert(arith.ConstantOp(IntegerAttr(len(op.stages), i64))).result
        times, bytes = (words(numbers, op, builder) for numbers in (op.times, op.bytes))
        self._call(site, [counters, stages, times, bytes], builder)
        Rewriter.erase_op(op)

    def make_plain(self) -> None:
        """Make records of front ends strings, and have functions refuse a runtime of another version."""
        for op in self.module.walk():
            if isinstance(op, func.CallOp) and (symbol := SYMBOLS.get(op.callee.root_reference.data)) is not None:
                if "site" in symbol.parameters and isinstance(address := op.arguments[0].owner, llvm.AddressOfOp):
                    _make_strings(SymbolTable.lookup_symbol(self.module, address.global_name))
        if any(isinstance(op, func.FuncOp) and op.sym_name.data in SYMBOLS for op in self.module.body.block.ops):
            self._require_version()

    def _require_version(self) -> None:
        functions = [op for op in self.module.body.block.ops if isinstance(op, func.FuncOp) and not op.is_declaration]
        for function in functions:
            if function.sym_visibility is None or function.sym_visibility.data != "private":
                builder = Builder(InsertPoint.at_start(function.body.blocks[0]), function)
                declare(self.module, "hpacml_abi_version", builder)
                (found,) = builder.insert(func.CallOp("hpacml_abi_version", [], [i32])).results
                wanted = builder.insert(arith.ConstantOp(IntegerAttr(VERSION, i32))).result
                differs = builder.insert(arith.CmpiOp(found, wanted, "ne")).result
                refused = Block()
                text = f"'{function.sym_name.data}' {OTHER_VERSION}"
                self._call(RefuseSite(text), [], inner := Builder(InsertPoint.at_end(refused), function))
                inner.insert(scf.YieldOp())
                builder.insert(scf.IfOp(differs, [], Region(refused)))

    def _call(
        self, site: Site, arguments: Sequence[SSAValue], builder: Builder, symbol: str | None = None
    ) -> Sequence[SSAValue]:
        """Call the runtime function of a site, or another one that has such sites, too; its results."""
        symbol = symbol or site.symbol
        declare(self.module, symbol, builder)
        address = self._address(site, builder)
        return builder.insert(func.CallOp(symbol, [address, *arguments], results(symbol))).results

    def _address(self, site: Site, builder: Builder) -> SSAValue:
        """The address of the record of a site."""
        return builder.insert(llvm.AddressOfOp(self._site(self._text(site), builder), POINTER)).result

    def _text(self, site: Site) -> str:
        return site.to_strings() if self.plain else site.to_json()

    def _site(self, text: str, builder: Builder) -> str:
        """The symbol of the constant that holds `text`, NUL-terminated."""
        if text not in self.sites:
            names = (f"hpacml_site_{n}" for n in count(len(self.sites)))
            self.sites[text] = next(name for name in names if SymbolTable.lookup_symbol(self.module, name) is None)
            constant = llvm.GlobalOp(
                llvm.LLVMArrayType(len(text.encode()) + 1, i8),
                self.sites[text],
                "private",
                constant=True,
                value=StringAttr(text + "\0"),
            )
            builder.insert(constant, InsertPoint.at_start(self.module.body.block))
        return self.sites[text]

    def _counters(self, text: str, builder: Builder) -> str:
        """The symbol of the word, 0 at first, where the runtime keeps the address of a site's counters."""
        name = self._site(text, builder).replace("site", "counters")
        if SymbolTable.lookup_symbol(self.module, name) is None:
            word = llvm.GlobalOp(i64, name, "internal", value=IntegerAttr(0, i64))
            builder.insert(word, InsertPoint.at_start(self.module.body.block))
        return name


def _make_strings(site: Operation | None) -> None:
    if isinstance(site, llvm.GlobalOp) and isinstance(site.value, StringAttr) and site.value.data.startswith("{"):
        text = strings(json.loads(site.value.data.rstrip("\0"))) + "\0"
        site.value, site.global_type = StringAttr(text), llvm.LLVMArrayType(len(text.encode()), i8)


def _is_set(status: SSAValue, builder: Builder) -> SSAValue:
    zero = builder.insert(arith.ConstantOp(IntegerAttr(0, i32))).result
    return builder.insert(arith.CmpiOp(status, zero, "ne")).result


def _has_bit(bits: SSAValue, bit: int, builder: Builder) -> SSAValue:
    wanted, none = (builder.insert(arith.ConstantOp(IntegerAttr(n, i64))).result for n in (bit, 0))
    return builder.insert(arith.CmpiOp(builder.insert(arith.AndIOp(bits, wanted)).result, none, "ne")).result


def _given(op: InferOp | InferOnViewsOp | SampleOp | CollectOp, kind: type[Site], *besides: str) -> dict[str, Any]:
    """The label, the clauses and the maps of an operation, which it has `besides` others, as fields of its record."""
    sources = [field.name for field in fields(kind) if field.type == Source.__name__]
    others = op.properties.keys() - {*sources, *besides, AttrSizedOperandSegments.attribute_name}
    given = {name: source_of(op.properties.get(name)) for name in sources}
    return given | {name: content(op.properties[name]) for name in others} | {"place": place_of(op)}


def _comparison_site(op: IsComparedOp | ComparePointsOp) -> ComparisonSite:
    return ComparisonSite(op.label.data, tensor_type(cast(MemRefType, op.mask.type)), place=place_of(op))


def _verify_site(op: CheckedInference) -> VerifySite:
    return VerifySite(op.label.data, op.settings.data, texts(op.maps), place=place_of(op))


def _count_copied(op: CopiedOp) -> None:
    """Replace the operation by the tensor's size in bytes, or 0 where the tensor is the memory of one of the arrays."""
    builder = Builder(InsertPoint.before(op))
    tensor_type = cast(MemRefType, op.tensor.type)

    def memory(array: SSAValue) -> SSAValue:
        return builder.insert(memref.ExtractAlignedPointerAsIndexOp.get(array)).aligned_pointer

    size = builder.index(SIZES[dtype_name(tensor_type.element_type)])
    for d in range(tensor_type.get_num_dims()):
        size = builder.insert(
            arith.MuliOp(size, builder.insert(memref.DimOp(op.tensor, builder.index(d))).result)
        ).result
    for array in op.arrays:
        shared = builder.insert(arith.CmpiOp(memory(op.tensor), memory(array), "eq")).result
        size = builder.insert(arith.SelectOp(shared, builder.index(0), size)).result
    Rewriter.replace_op(op, arith.IndexCastOp(size, i64))
