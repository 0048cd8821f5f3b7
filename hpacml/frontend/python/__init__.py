"""Compiles the Python subset of kernels from its AST to IR."""
