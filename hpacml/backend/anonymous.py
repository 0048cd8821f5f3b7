"""Takes what does not change the code out of a lowered module: texts of call sites, names of functions and values.

What is left is the same for all regions of one shape, whatever their labels and paths are, so that their code is
compiled once. No name of a function can clash with one that a library, MLIR or LLVM knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp, StringAttr, SymbolRefAttr, i8
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from hpacml.pipelines import generic_text

ENTRY = "hpacml_entry"
"""The name that `forget_names` gives the function that is called from Python."""


def without_names(module: ModuleOp, entry: str) -> tuple[str, dict[str, bytes]]:
    """The generic text of a lowered module, whose main function becomes `ENTRY`, and the texts that it declares."""
    texts = take_texts(module)
    forget_names(module, entry)
    return generic_text(module), texts


def take_texts(module: ModuleOp) -> dict[str, bytes]:
    """Take the texts out of a module, which from then on declares their symbols; they are returned by symbol."""
    texts: dict[str, bytes] = {}
    for op in module.body.block.ops:
        if isinstance(op, llvm.GlobalOp) and op.constant is not None and isinstance(op.value, StringAttr):
            texts[op.sym_name.data] = op.value.data.encode()
            op.linkage, op.value, op.global_type = llvm.LinkageAttr("external"), None, llvm.LLVMArrayType(0, i8)
    return texts


def forget_names(module: ModuleOp, entry: str) -> None:
    """Give functions and values of a module names that only depend on their order, and its main function `ENTRY`."""
    names: dict[str, str] = {}
    for op in module.body.block.ops:
        if isinstance(op, FuncOp) and not op.is_declaration:
            name = op.sym_name.data
            names[name] = ENTRY if name == entry else f"hpacml_function_{len(names)}"
            op.sym_name = StringAttr(names[name])
    for op in module.walk():
        for attributes in (op.properties, op.attributes):
            attributes.update({key: _renamed(value, names) for key, value in attributes.items()})
        _forget_hints(op)


def _renamed(attribute: Attribute, names: Mapping[str, str]) -> Attribute:
    if not isinstance(attribute, SymbolRefAttr):
        return attribute
    root = attribute.root_reference.data
    return SymbolRefAttr(names.get(root, root), attribute.nested_references)


def _forget_hints(op: Operation) -> None:
    arguments = [argument for region in op.regions for block in region.blocks for argument in block.args]
    for value in (*op.results, *arguments):
        value.name_hint = None
