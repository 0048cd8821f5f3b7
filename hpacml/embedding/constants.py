"""Constants in LLVM IR."""

from __future__ import annotations


def global_text(name: str, text: str) -> str:
    """LLVM IR of a constant with a text and NUL."""
    return global_bytes(name, text.encode() + b"\0")


def global_bytes(name: str, data: bytes) -> str:
    """LLVM IR of a constant with bytes."""
    written = "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}" for byte in data)
    return f'@"{name}" = internal constant [{len(data)} x i8] c"{written}", align 16'
