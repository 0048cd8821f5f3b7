"""`hpacml.ir`: a builder of functors, maps and regions, for compilers that make their IR in xDSL."""

from hpacml.clauses import Guard, Sampling, Verification
from hpacml.ir.builder import Builder
from hpacml.ir.integers import Index
from hpacml.ir.region_clauses import Clauses
from hpacml.ir.slices import Symbolic, symbols
from hpacml.ir.targets_of_values import Target, target

__all__ = [
    "Builder",
    "Clauses",
    "Guard",
    "Index",
    "Sampling",
    "Symbolic",
    "Target",
    "Verification",
    "symbols",
    "target",
]
