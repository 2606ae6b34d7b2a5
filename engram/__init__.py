"""The command line and the wiring: the only package that knows all the others."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("engram")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
