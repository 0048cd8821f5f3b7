"""The GPUs that code is made for."""

from __future__ import annotations

from hpacml.errors import HpacmlError

NVIDIA = "nvptx64-nvidia-cuda"
AMD = "amdgcn-amd-amdhsa"

CHIPS = {
    NVIDIA: (
        *("sm_70", "sm_72", "sm_75", "sm_80", "sm_86", "sm_87", "sm_88", "sm_89", "sm_90", "sm_90a"),
        *(f"sm_{n}{features}" for n in (100, 101, 103, 110, 120, 121) for features in ("", "f", "a")),
    ),
    AMD: (
        *("gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"),
        *("gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1200", "gfx1201"),
    ),
}
"""The chips that code can be made for. LLVM takes unknown names too, but its code then suits no GPU."""

DEFAULT_CHIPS = {NVIDIA: "sm_80", AMD: "gfx90a"}
"""The chips that code is made for if none is named, and no GPU is present."""


def chip_of(major: int, minor: int) -> str:
    """The newest known chip whose code an NVIDIA GPU of this compute capability runs: it takes PTX of older chips.

    Raises `HpacmlError` for a GPU older than all known chips.
    """
    plain = [chip for chip in CHIPS[NVIDIA] if chip[-1].isdigit()]
    older = [chip for chip in plain if int(chip.removeprefix("sm_")) <= 10 * major + minor]
    if not older:
        raise HpacmlError(
            f"a GPU of compute capability {major}.{minor} is too old: code is made for {plain[0]} and newer"
        )
    return older[-1]


def require_chip(triple: str, chip: str) -> None:
    """Raise `HpacmlError` for an unknown chip."""
    if chip not in CHIPS[triple]:
        raise HpacmlError(f"unknown chip '{chip}': the chips are {', '.join(CHIPS[triple])}")
