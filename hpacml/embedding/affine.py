"""The maps of affine operations, as upstream MLIR takes them."""

from __future__ import annotations

from xdsl.dialects.builtin import AffineMapAttr, ModuleOp
from xdsl.ir.affine import AffineExpr


def name_dimensions(module: ModuleOp) -> None:
    """Have maps of affine operations dimensions alone: xDSL's parser makes symbols of indices, which none may be."""
    for op in module.walk():
        if not op.name.startswith("affine."):
            continue
        for name, attribute in op.properties.items():
            if isinstance(attribute, AffineMapAttr) and (symbols := attribute.data.num_symbols):
                found, dims = attribute.data, attribute.data.num_dims
                names = [AffineExpr.dimension(k) for k in range(dims + symbols)]
                made = found.replace_dims_and_symbols(names[:dims], names[dims:], dims + symbols, 0)
                op.properties[name] = AffineMapAttr(made)
