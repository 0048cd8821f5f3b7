"""The parts of `hpacml-infer-maps`: what the code of a region reads and writes, and maps of that."""
