"""Two-dimensional dry compressible flow; see README.md."""
