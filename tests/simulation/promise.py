"""What the simulation is about."""


class BrokenPromiseError(AssertionError):
    """A promise was broken."""
