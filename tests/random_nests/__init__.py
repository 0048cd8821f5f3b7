"""Random nests of loops with affine accesses: as data, as IR, and run in Python by a tracer of their accesses."""
