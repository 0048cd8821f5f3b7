"""Heat on a plate in Fortran: the kernel of `examples/heat2d`, compiled ahead of time; see README.md."""
