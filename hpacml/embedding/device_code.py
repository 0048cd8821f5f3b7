"""The host's part of functions for GPUs in LLVM IR, with their kernels as PTX and, by `ptxas`, as machine code."""

from __future__ import annotations

import re

from hpacml.backend import launchers, ptxas
from hpacml.backend.host_and_device import device_and_host
from hpacml.backend.ptx_and_amdgcn import NARROW, DeviceCode
from hpacml.embedding.constants import global_bytes, global_text
from hpacml.frontend.compile import Lowered
from hpacml.runtime.gpu.kernels import MOST_DEVICES

_KERNELS = re.compile(rf"@{launchers.KERNELS}\b")


def host_and_kernels(lowered: Lowered, chip: str, symbol: str, code: str) -> str:
    """LLVM IR of lowered code for a GPU, in which `symbol` is the record of its kernels and of the function `code`.

    Raises `CompileError` for what no kernel can do, and `HpacmlError` for an unknown chip.
    """
    device, host = device_and_host(lowered.text, chip)
    host = host.replace(f"@{launchers.KERNELS} = external global i64\n", "")
    return _KERNELS.sub(f'@"{symbol}"', host) + _record(device, chip, symbol, code)


def _record(device: DeviceCode, chip: str, symbol: str, code: str) -> str:
    """What `struct program` of gpu.c is."""
    cubin = ptxas.assemble(device.text, chip) if device.kernels else None
    pairs = [(name, name + NARROW if each.narrow else name) for name, each in device.kernels.items()]
    names = [name for pair in pairs for name in pair]
    texts = [global_text(f"{symbol}.kernel{k}", name) for k, name in enumerate(names)]
    list_of_names = ", ".join(f'ptr @"{symbol}.kernel{k}"' for k in range(len(names)))
    fields = {
        f"[{MOST_DEVICES} x ptr]": "zeroinitializer",
        "code": f'@"{code}"',
        "chip": f'@"{symbol}.chip"',
        "cubin": "null" if cubin is None else f'@"{symbol}.cubin"',
        "ptx": f'@"{symbol}.ptx"',
    }
    values = ", ".join(f"{kind if kind[0] == '[' else 'ptr'} {value}" for kind, value in fields.items())
    return "\n".join(
        [
            *texts,
            global_text(f"{symbol}.chip", chip),
            global_text(f"{symbol}.ptx", device.text),
            *([] if cubin is None else [global_bytes(f"{symbol}.cubin", cubin)]),
            f'@"{symbol}.names" = internal constant [{len(names)} x ptr] [{list_of_names}]',
            f'@"{symbol}" = hidden global {{ [{MOST_DEVICES} x ptr], ptr, ptr, ptr, ptr, i64, ptr }} '
            f'{{ {values}, i64 {len(pairs)}, ptr @"{symbol}.names" }}',
            "",
        ]
    )
