"""Kernels on GPUs of NVIDIA: devices as Torch sees them, and the CUDA driver for what it has no name for."""
