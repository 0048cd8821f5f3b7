"""JAX as objects of any type: much of what is used here it does not annotate."""

from importlib import import_module
from typing import Any

jax: Any = import_module("jax")
jnp: Any = import_module("jax.numpy")
lax: Any = import_module("jax.lax")
ad: Any = import_module("jax.interpreters.ad")
batching: Any = import_module("jax.interpreters.batching")
core: Any = import_module("jax._src.core")
effects: Any = import_module("jax._src.effects")
mlir: Any = import_module("jax.interpreters.mlir")
io_callback: Any = import_module("jax.experimental").io_callback
ShapeDtypeStruct: Any = jax.ShapeDtypeStruct
Primitive: Any = import_module("jax.extend.core").Primitive


def is_traced(value: object) -> bool:
    """Whether a value is known only when a program of JAX runs."""
    return isinstance(value, jax.core.Tracer)
