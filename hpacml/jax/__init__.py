"""Regions and kernels in functions of JAX: inside and outside of `jax.jit`. It needs the extra `jax`.

`hpacml.jax.region` makes a region of a pure function, `hpacml.jax.call` a pure function of a kernel.
"""

from importlib.util import find_spec

from hpacml.errors import MissingExtra

if find_spec("jax") is None or find_spec("jaxlib") is None:
    raise MissingExtra("hpacml.jax needs JAX, which is not installed: pip install 'hpacml[jax]'")

from hpacml.jax.pure_kernel import call
from hpacml.jax.pure_region import region

__all__ = ["call", "region"]
