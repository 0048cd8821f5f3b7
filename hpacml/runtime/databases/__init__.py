"""Databases of collected data: the thread that writes them, and their readers."""
