"""What processes share on disk: the cache of compiled code."""
