"""An object tracked in a noisy video; see README.md."""
