"""The dialects of hpacml, by name, imported when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect


def get_all_dialects() -> dict[str, Callable[[], Dialect]]:
    def get_hpacml() -> Dialect:
        from hpacml.dialects.hpacml import Hpacml

        return Hpacml

    def get_hpacml_rt() -> Dialect:
        from hpacml.dialects.hpacml_rt import HpacmlRt

        return HpacmlRt

    return {"hpacml": get_hpacml, "hpacml_rt": get_hpacml_rt}
