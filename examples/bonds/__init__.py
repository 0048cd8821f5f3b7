"""Fixed-rate bonds; see README.md."""
