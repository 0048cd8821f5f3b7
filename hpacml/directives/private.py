"""Names that are private to a class: in its body, `__x` stands for `_Class__x`."""

from __future__ import annotations


def class_of(qualified: str) -> str | None:
    """The innermost class around a function, by the function's qualified name; None if there is none."""
    parts = qualified.split(".")[:-1]
    while parts and parts[-1] == "<locals>":
        parts = parts[:-2]  # the function that has these locals
    return parts[-1] if parts else None


def mangled(name: str, owner: str | None) -> str:
    """The name as Python has it for code in the class `owner`."""
    stem = (owner or "").lstrip("_")
    is_private = name.startswith("__") and not name.endswith("__")
    return f"_{stem}{name}" if is_private and stem else name
