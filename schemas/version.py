"""The version of the installed package, told in one way by everything that tells it."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "0+unknown"
"""Of a checkout that was never installed."""


def software_version(distribution: str = "engram") -> str:
    """Version of an installed distribution, or ``UNKNOWN``."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN
