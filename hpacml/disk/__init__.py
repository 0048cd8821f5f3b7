"""What processes share on disk: the cache of compiled code, and files that are written whole."""
