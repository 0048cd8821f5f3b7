"""What processes exchange with each other in the original code of a region, which a model in its place would skip."""

from __future__ import annotations

from xdsl.dialects import func
from xdsl.ir import Operation

from hpacml.dialects.hpacml.attributes import Mode
from hpacml.dialects.hpacml.control import MlOp
from hpacml.passes.common.located import refusal

_LOCAL = frozenset(
    f"mpi.{each}"
    for each in (
        "allocate",
        "comm.rank",
        "comm.size",
        "get_dtype",
        "request_null",
        "status.get",
        "unwrap_memref",
        "vector_get",
    )
)
"""Operations of `mpi` for which no other process waits. By name: kernels do not load these dialects."""


def is_exchange(op: Operation) -> bool:
    """Whether other processes wait for an operation. Behind `lower-mpi` it is a call of MPI."""
    if isinstance(op, func.CallOp):
        return op.callee.root_reference.data.startswith("MPI_")
    return op.name == "dmp.swap" or (op.name.startswith("mpi.") and op.name not in _LOCAL)


def require_no_exchange(region: MlOp) -> None:
    """Raise `PassFailedException` for a region that a model may replace and that exchanges data with processes."""
    if region.mode.data is Mode.Collect:
        return
    for op in region.body.walk():
        if is_exchange(op):
            raise refusal(
                op,
                f"{op.name} is in the region '{region.label.data}', and a model in its place would skip what other "
                "processes wait for: put it before or behind the region (hpacml-hoist-exchanges does so at its ends)",
            )
