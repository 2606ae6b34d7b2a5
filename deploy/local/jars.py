"""The jars of Apache Kafka: downloaded by Maven once, kept in the user's cache."""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from deploy.local.requirements import find_maven
from schemas.errors import FatalError, TransientError

_POM = Path(__file__).with_name("pom.xml")
# In full, because looking up the short name hides why Maven cannot reach its repository. The version stands in the POM.
_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
_DOWNLOAD_TIMEOUT_S = 600.0


def kafka_jars() -> Path:
    """The folder of jars in the user's cache, downloaded now if it is not there yet.

    Raises:
        FatalError: Maven is missing.
        TransientError: Maven could not download.
    """
    return jars_in(user_cache_path("engram"))


def jars_in(cache: Path) -> Path:
    """As ``kafka_jars``, in a cache of the caller's. The folder's name follows from ``pom.xml``."""
    folder = cache / f"kafka-jars-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache):
            if not folder.is_dir():  # otherwise another process was first
                _download(folder)
    return folder


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One download at a time: Maven's own store is not safe for two. The lock falls with the process that holds it."""
    with (cache / "kafka-jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(folder: Path) -> None:
    """Download next to ``folder``, then rename: a folder of that name is always complete."""
    partial = Path(tempfile.mkdtemp(prefix="kafka-jars-partial-", dir=folder.parent))
    try:
        _run_maven(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _run_maven(output: Path) -> None:
    command = [str(find_maven()), "-q", "-B", "-Dstyle.color=never", "-f", str(_POM), _GOAL]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={output}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"Maven did not download Kafka within {_DOWNLOAD_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise TransientError(f"Maven could not download Kafka (exit code {done.returncode}). It said:\n{tail}")
    if not any(output.glob("kafka_*.jar")):
        raise FatalError(f"Maven said it was done, but left no kafka_*.jar in {output}; see {_POM}")
