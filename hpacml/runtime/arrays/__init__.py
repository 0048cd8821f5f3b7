"""Application memory as strided views."""
