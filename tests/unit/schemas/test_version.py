"""One home of the version."""

from importlib.metadata import version

import engram
from schemas.version import UNKNOWN, software_version


def test_the_version_is_that_of_the_installed_package() -> None:
    assert software_version("pytest") == version("pytest")
    assert engram.__version__ == software_version()


def test_a_package_that_is_not_installed_has_no_version_and_stops_nobody() -> None:
    assert software_version("no-such-distribution-of-engram") == UNKNOWN
