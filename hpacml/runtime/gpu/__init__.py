"""Kernels on GPUs of NVIDIA: devices through Torch, and the CUDA driver where Torch has no function."""
