"""Looks for what the local servers need from the system, and says what to type when it is not there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import FatalError

OLDEST_JAVA = 17

_APT_PACKAGES = {"java": "default-jre-headless", "mvn": "maven", "redis-server": "redis-server"}
_BREW_PACKAGES = {"java": "openjdk", "mvn": "maven", "redis-server": "redis"}
_PROBE_TIMEOUT_S = 30.0


def find_java() -> Path:
    """The Java to use: of ``JAVA_HOME`` if set, else of ``PATH``.

    Raises:
        FatalError: there is none, or it is older than Java 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None or not Path(found).is_file():
        where = f"JAVA_HOME={home}" if home else "PATH"
        raise FatalError(f"Kafka needs Java {OLDEST_JAVA} or later; none found in {where}. {_advice('java')}")
    version = _java_version(found)
    if version < OLDEST_JAVA:
        raise FatalError(f"Kafka needs Java {OLDEST_JAVA} or later; {found} is Java {version}. {_advice('java')}")
    return Path(found)


def find_maven() -> Path:
    """The ``mvn`` on ``PATH``; needed once, to download Kafka.

    Raises:
        FatalError: there is none.
    """
    return _find("mvn", "Maven (mvn) downloads Kafka")


def find_redis_server() -> Path:
    """The ``redis-server`` on ``PATH``.

    Raises:
        FatalError: there is none.
    """
    return _find("redis-server", "the memory store of the stack is redis-server")


def _find(command: str, purpose: str) -> Path:
    found = shutil.which(command)
    if found is None:
        raise FatalError(f"{purpose}; it was not found in PATH. {_advice(command)}")
    return Path(found)


def _java_version(java: str) -> int:
    """Major version; 8 for the old style ``1.8.0``.

    Raises:
        FatalError: the command does not answer with a version.
    """
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FatalError(f"{java} -version could not be run: {error}. {_advice('java')}") from error
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if match is None:
        raise FatalError(f"{java} -version named no version: {answer.stderr.strip()[:200]!r}. {_advice('java')}")
    return int(match.group(1))


def _advice(command: str) -> str:
    return f"Install it: {_install_line([command])}"


def _install_line(commands: Sequence[str]) -> str:
    if sys.platform == "darwin":
        return "brew install " + " ".join(_BREW_PACKAGES[command] for command in commands)
    return "sudo apt-get install -y " + " ".join(_APT_PACKAGES[command] for command in commands)
