"""The Python subset of kernels: its AST to IR."""
