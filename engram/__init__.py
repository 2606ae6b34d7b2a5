"""The command line and the wiring: the only package that knows all the others.

Nothing is imported at first: ``python -m engram`` comes by before the path is set right, see ``__main__``.
"""

__version__: str


def __getattr__(name: str) -> str:
    """``engram.__version__``, looked up when it is asked for."""
    if name == "__version__":
        from schemas.version import software_version  # noqa: PLC0415 - see the module's docstring

        return software_version()
    raise AttributeError(name)
