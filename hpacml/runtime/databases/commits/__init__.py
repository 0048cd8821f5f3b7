"""Changes of files that are whole or not at all."""
