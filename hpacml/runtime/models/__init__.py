"""Models: their files, and inference."""
