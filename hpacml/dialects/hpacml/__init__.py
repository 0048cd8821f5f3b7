"""The `hpacml` dialect: data bridge and execution control of HPAC-ML (Fink et al., SC'24).

It has the views of memory, too, and the packing of them. They say which elements are copied where, and not how a
processor does that, so that any pass may read, change and lower them. What only guards or measures is `hpacml_rt`.
"""

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
from hpacml.dialects.hpacml.clause_attributes import ClipAttr, GuardAttr, SampleAttr, UnitsAttr, VerifyAttr
from hpacml.dialects.hpacml.comparing import ComparePointsOp, IsComparedOp
from hpacml.dialects.hpacml.control import MlOp, YieldOp
from hpacml.dialects.hpacml.gather_scatter import GatherOp, ScatterOp, TensorOp
from hpacml.dialects.hpacml.guarding import CountPointsOp, DomainOp
from hpacml.dialects.hpacml.masks import (
    CheckBelowOp,
    CheckDistanceOp,
    CheckRangeOp,
    CheckWhereOp,
    MergeOp,
    TakePointsOp,
)
from hpacml.dialects.hpacml.networks import ImageLayerOp, LayerOp, NetworkOp
from hpacml.dialects.hpacml.original_code import BodyAsideOp, BodyWhereOp, CallPythonOp, KeepRandomOp, RequireEqualOp
from hpacml.dialects.hpacml.packing import FusedGatherOp, FusedScatterOp, IndirectOp, PackOp, UnpackOp
from hpacml.dialects.hpacml.steps import BodyOp, CollectOp, InferOnViewsOp, InferOp, SampleOp
from hpacml.dialects.hpacml.verifying import CountInferenceOp, VerifyOp

Hpacml = Dialect(
    "hpacml",
    [
        FunctorOp,
        MapOp,
        MlOp,
        YieldOp,
        TensorOp,
        GatherOp,
        ScatterOp,
        BodyOp,
        InferOnViewsOp,
        InferOp,
        SampleOp,
        CollectOp,
        CountPointsOp,
        DomainOp,
        CountInferenceOp,
        VerifyOp,
        CheckRangeOp,
        CheckDistanceOp,
        CheckWhereOp,
        CheckBelowOp,
        BodyWhereOp,
        BodyAsideOp,
        KeepRandomOp,
        IsComparedOp,
        ComparePointsOp,
        MergeOp,
        TakePointsOp,
        CallPythonOp,
        RequireEqualOp,
        IndirectOp,
        PackOp,
        UnpackOp,
        FusedGatherOp,
        FusedScatterOp,
        NetworkOp,
        LayerOp,
        ImageLayerOp,
    ],
    [
        DirectionAttr,
        ModeAttr,
        SliceAttr,
        TargetAttr,
        SampleAttr,
        UnitsAttr,
        VerifyAttr,
        GuardAttr,
        ClipAttr,
        MappingType,
        IndirectType,
    ],
)
