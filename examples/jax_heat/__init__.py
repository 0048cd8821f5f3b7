"""Fire on a plate, in JAX: collected, replaced and differentiated inside of `jax.jit`; see README.md."""
