"""What runs below a compiled kernel: machine code, the C-ABI entry points, memory, models, databases."""
