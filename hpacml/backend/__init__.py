"""IR to code: upstream MLIR, LLVM, the cache of what they make."""
