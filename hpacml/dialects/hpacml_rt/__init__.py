"""The `hpacml_rt` dialect: checks, flags and records, which the lowering adds for run time.

Without them a program that is right computes the same: they stop one that is wrong, and they measure. No frontend makes
them, and they may change with the passes; `hpacml` is the language that users, frontends and passes of others write.
"""

from xdsl.ir import Dialect

from hpacml.dialects.hpacml_rt.bad_indices import BadIndexOp, NoneBadOp, WatchOp
from hpacml.dialects.hpacml_rt.device_flags import FlagDownOp, FlagOp
from hpacml.dialects.hpacml_rt.map_checks import (
    CheckIndicesOp,
    CheckMapOp,
    DistinctOp,
    InBoundsOp,
    RefuseOp,
)
from hpacml.dialects.hpacml_rt.measurements import CopiedOp, MillisecondsOp, NowOp, RecordOp

HpacmlRt = Dialect(
    "hpacml_rt",
    [
        CheckMapOp,
        CheckIndicesOp,
        InBoundsOp,
        DistinctOp,
        WatchOp,
        BadIndexOp,
        NoneBadOp,
        RefuseOp,
        FlagOp,
        FlagDownOp,
        NowOp,
        MillisecondsOp,
        CopiedOp,
        RecordOp,
    ],
)
