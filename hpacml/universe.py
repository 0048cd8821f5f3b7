"""What `xdsl-opt`, `xdsl-gui` and `hpacml-opt` find through the `xdsl.universe` entry point."""

from xdsl.universe import Universe

from hpacml.dialects import get_all_dialects
from hpacml.passes import get_all_passes

HPACML_UNIVERSE = Universe(all_dialects=get_all_dialects(), all_passes=get_all_passes())
