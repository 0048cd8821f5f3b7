"""What is wrong with a kernel."""


class PtxError(Exception):
    """A kernel that cannot be read, or that does what no kernel may."""


class RaceError(PtxError):
    """Two threads that touch the same byte, with nothing to say who is first."""
