"""The `hpacml` dialect: data bridge and execution control of HPAC-ML (Fink et al., SC'24)."""

from xdsl.ir import Dialect

from hpacml.dialects.hpacml.attributes import (
    DirectionAttr,
    IndirectType,
    MappingType,
    ModeAttr,
    SliceAttr,
    TargetAttr,
)
from hpacml.dialects.hpacml.bridge import FunctorOp, MapOp
from hpacml.dialects.hpacml.checks import (
    CheckIndicesOp,
    CheckMapOp,
    DistinctOp,
    InBoundsOp,
    RefuseOp,
)
from hpacml.dialects.hpacml.clause_attributes import SampleAttr, UnitsAttr
from hpacml.dialects.hpacml.control import BodyOp, CollectOp, InferOp, MlOp, SampleOp
from hpacml.dialects.hpacml.flags import FlagDownOp, FlagOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml.packing import FusedGatherOp, FusedScatterOp, IndirectOp, PackOp, UnpackOp
from hpacml.dialects.hpacml.report import CopiedOp, NowOp, RecordOp

Hpacml = Dialect(
    "hpacml",
    [
        FunctorOp,
        MapOp,
        MlOp,
        TensorOp,
        GatherOp,
        ScatterOp,
        BodyOp,
        InferOp,
        SampleOp,
        CollectOp,
        CheckMapOp,
        CheckIndicesOp,
        InBoundsOp,
        DistinctOp,
        RefuseOp,
        FlagOp,
        FlagDownOp,
        IndirectOp,
        PackOp,
        UnpackOp,
        FusedGatherOp,
        FusedScatterOp,
        NowOp,
        CopiedOp,
        RecordOp,
    ],
    [DirectionAttr, ModeAttr, SliceAttr, TargetAttr, SampleAttr, UnitsAttr, MappingType, IndirectType],
)
