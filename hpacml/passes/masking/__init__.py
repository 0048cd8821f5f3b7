"""How `hpacml-mask-nests` reads a nest of loops: its accesses, and which points of outputs they belong to."""
