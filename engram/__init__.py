"""The command line and the wiring: the only package that knows all the others."""

from schemas.version import software_version

__version__ = software_version()
