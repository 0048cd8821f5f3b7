"""Heat on a plate in C: the kernel of `examples/heat2d`, compiled ahead of time; see README.md."""
