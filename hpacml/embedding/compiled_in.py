"""A model that is compiled into a library: its code for the regions that use it, and its weights. It imports Torch."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from xdsl.dialects import memref
from xdsl.dialects.builtin import FunctionType, IntegerAttr, MemRefType, ModuleOp, StringAttr, SymbolRefAttr, UnitAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from hpacml.abi.records import InferSite, Source, TensorType
from hpacml.abi.symbols import SYMBOLS
from hpacml.backend import caches
from hpacml.backend.llvm import Part, Processor
from hpacml.backend.mlir import portable
from hpacml.dialects.hpacml.attributes import dtype_name, strides_of
from hpacml.dialects.hpacml.networks import NetworkOp
from hpacml.dialects.hpacml.steps import InferOp
from hpacml.embedding.native_runtime import ANSWERED
from hpacml.embedding.native_texts import native
from hpacml.errors import CompileError
from hpacml.frontend.compile import Lowered, lower_by
from hpacml.passes.common.located import place
from hpacml.passes.hpacml_call_networks import INPUTS, NETWORK, SWEEP
from hpacml.pipelines import generic_text, lower_networks, run_passes
from hpacml.runtime.models.described import NotDescribed
from hpacml.runtime.models.inference import Inference
from hpacml.runtime.models.model import Model, load
from hpacml.runtime.models.network_code import FLOATS, Views, ViewType, rows, vector_bytes, weight_types
from hpacml.runtime.models.packed_network import PackedNetwork

if TYPE_CHECKING:
    import torch


class CompiledIn:
    """The model of a file, for the regions of a library that is built for a kind of processors.

    Raises `ModelError` for a file that is no model, and `CompileError` for a model of which no code is made.
    """

    def __init__(self, path: str, processor: Processor) -> None:
        self._path = os.path.realpath(path)
        self._features = processor.features
        self._model = load(os.path.abspath(path))
        self._network = self._compilable(self._model)
        self._functions: dict[str, FuncOp] = {}
        """The functions that regions call, by name, as they declare them."""

    def lower(self, make: Callable[[], ModuleOp], name: str, paths: Mapping[str, str]) -> Lowered:
        """Lower a function of a module, whose regions find models under the names of `paths`, or name their files.

        Raises `CompileError` for what needs Python and for another model, and `ModelError` for regions that it does not
        fit.
        """

        def passes(module: ModuleOp) -> ModuleOp:
            run_passes(module, "fuse", alone=True)
            for op in module.walk():
                if isinstance(op, InferOp):
                    self._require_fit(op, paths)
            lowered = run_passes(module, alone=True, stream=caches.beyond())
            self._take_functions(lowered)
            return lowered

        lowered = lower_by(passes, make, name)
        return lowered._replace(texts={symbol: native(text) for symbol, text in lowered.texts.items()})

    def part(self) -> Part:
        """The module of the network's functions, with its weights."""
        module = ModuleOp([])
        types = weight_types(self._network.layers, self._network.element)
        names = [f"hpacml_weights_{n}" for n in range(len(types))]
        block = module.body.block
        for name, type in zip(names, types, strict=True):
            block.add_op(memref.GlobalOp.get(StringAttr(name), type, UnitAttr(), sym_visibility=StringAttr("private")))
        for name, declaration in self._functions.items():
            block.add_op(self._function(name, declaration, names, types))
        lower_networks(module, vector_bytes(self._features), rows(self._features))
        weights = dict(zip(names, self._network.packed, strict=True))
        return Part(portable(generic_text(module), lambda text: _with_weights(text, weights)), self._functions.keys())

    # -- the model ------------------------------------------------------------------------------------

    def _compilable(self, model: Model) -> PackedNetwork:
        try:
            if model.network.module is None:
                raise NotDescribed("it is no module of layers, and no file that describes them")
            network = PackedNetwork(model.network.module(), model.network.inputs, self._features)
            if network.rank:
                raise NotDescribed("it is one of images, whose sizes calls have")
        except NotDescribed as reason:
            raise CompileError(f"the model {model.name} cannot be compiled into a library: {reason}") from None
        return network

    def _require_fit(self, op: InferOp, paths: Mapping[str, str]) -> None:
        """Raise `CompileError` for a region of another model, or that this one does not fit."""
        region, where = f"the region '{op.label.data}'", place(op)
        self._require_same(op, region, paths)
        if op.engine is not None and op.engine.data == "torch":
            raise CompileError(f"{where}{region} wants Torch to compute its model: leave out engine(torch)")
        inputs, outputs = (_tensors(values) for values in (op.inputs, op.outputs))
        maps = () if op.maps is None else tuple(text.data for text in op.maps)
        site = InferSite(op.label.data, Source(self._path), maps=maps, inputs=inputs, outputs=outputs)
        if Inference(site).fit(self._model).batch:
            raise CompileError(f"{where}the model {self._model.name} takes a batch of what {region} has")
        try:
            self._network.require_rank(inputs[0].rank)
        except NotDescribed as reason:
            text = f"{where}the model {self._model.name} cannot be compiled into {region}: {reason}"
            raise CompileError(text) from None

    def _require_same(self, op: InferOp, region: str, paths: Mapping[str, str]) -> None:
        match op.model:
            case StringAttr(data=path):
                named = path
            case SymbolRefAttr() as argument:
                name = argument.root_reference.data
                if name not in paths:
                    return  # a call could name another one, and is refused if it names any
                named = paths[name]
            case _:
                return
        if os.path.realpath(named) != self._path:
            raise CompileError(
                f"{place(op)}{region} has the model '{named}', and '{self._path}' is compiled in: build a library of "
                "its own for each model"
            )

    # -- functions ------------------------------------------------------------------------------------

    def _take_functions(self, module: ModuleOp) -> None:
        """Take the functions that a module declares, and see that it calls nothing that needs Python."""
        for op in module.body.block.ops:
            if not isinstance(op, FuncOp) or not op.is_declaration:
                continue
            name = op.sym_name.data
            if name.startswith(NETWORK):
                self._functions.setdefault(name, op.clone())
                del op.attributes[SWEEP], op.attributes[INPUTS]
            elif name in SYMBOLS and name not in ANSWERED:
                raise CompileError(f"code that stands alone cannot call {name}(), which needs Python")

    def _function(self, name: str, declaration: FuncOp, weights: Sequence[str], types: Sequence[MemRefType]) -> FuncOp:
        sweep, inputs = (cast(IntegerAttr, declaration.attributes[key]).value.data for key in (SWEEP, INPUTS))
        views = [cast(MemRefType, type) for type in declaration.function_type.inputs]
        kinds = [_view(view, sweep) for view in views]
        try:
            self._network.require_features(Views(sweep, tuple(kinds[:inputs]), tuple(kinds[inputs:])))
        except NotDescribed as reason:
            raise CompileError(f"the model {self._model.name} cannot be compiled into its regions: {reason}") from None
        block = Block(arg_types=views)
        own = [memref.GetGlobalOp(each, type) for each, type in zip(weights, types, strict=True)]
        element = FLOATS[self._network.element]
        given = [each.memref for each in own]
        network = NetworkOp(self._network.layers, element, sweep, given, block.args[:inputs], block.args[inputs:])
        block.add_ops([*own, network, ReturnOp()])
        return FuncOp(name, FunctionType.from_lists(views, []), Region(block))


def _tensors(values: Sequence[SSAValue]) -> tuple[TensorType, ...]:
    types = [cast(MemRefType, value.type) for value in values]
    return tuple(TensorType(dtype_name(type.element_type), type.get_num_dims()) for type in types)


def _view(type: MemRefType, sweep: int) -> ViewType:
    return ViewType(dtype_name(type.element_type), tuple(type.get_shape()[sweep:]), tuple(strides_of(type)))


# -- weights -------------------------------------------------------------------------------------------

_UNDEFINED = re.compile(r"^@(\w+) = private global (\[\d+ x (float|double)\]) undef$", re.MULTILINE)


def _with_weights(ir_text: str, weights: Mapping[str, torch.Tensor]) -> str:
    """A module in LLVM IR with the weights that it has room for. They are constants, so that processes share them."""

    def defined(found: re.Match[str]) -> str:
        name, type, kind = found.groups()
        data = weights[name].contiguous().numpy().tobytes()
        return f"@{name} = private constant {type} {_array(data, kind)}, align 64"

    text, count = _UNDEFINED.subn(defined, ir_text)
    if count != len(weights):
        raise CompileError(f"MLIR has left room for the weights of {count} layers, and there are {len(weights)}")
    return text


def _array(data: bytes, kind: str) -> str:
    """The numbers of an array in LLVM IR, exactly."""
    import numpy as np

    numbers = np.frombuffer(data, np.float32 if kind == "float" else np.float64).astype(np.float64)
    bits = numbers.view(np.uint64).tolist()  # LLVM writes a float as the double of its value
    return f"[{', '.join(f'{kind} 0x{word:016X}' for word in bits)}]"
