"""Kafka's classes as Java has them once they are loaded and checked, in a file that the next Java maps into its memory.

Loading them is half of what formatting a node costs, and a sixth of starting one. Java itself holds the archive against
its own version and the jars, and goes on without it where they differ.
"""

import hashlib
import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
"""What of the archive does not fit is no news to whoever starts a node."""
_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


def archive_of(jars: Path, java: Path) -> Path:
    """Where the archive of the classes in ``jars`` is, for the Java that stands at ``java`` now."""
    program = java.resolve()
    known_by = f"{program} {program.stat().st_mtime_ns}"
    return jars / f"classes-{hashlib.sha256(known_by.encode()).hexdigest()[:12]}.jsa"


def with_archive(archive: Path) -> Sequence[str]:
    """Options of a Java that uses the archive; none where there is none."""
    return [f"-XX:SharedArchiveFile={archive}", *_QUIET] if archive.is_file() else []


def make_archive(archive: Path, java: Sequence[str], program: Sequence[str]) -> None:
    """Have ``java`` archive the classes that ``program`` loads, unless that was done. Failing costs time alone, later.

    Several may do so at once: each writes a file of its own, and whoever is last puts it in place of the others, whose
    users keep what they have mapped. A file that was cut off would crash every Java that maps it, so one gets its name
    only after Java has ended well.
    """
    if archive.is_file() or not os.access(archive.parent, os.W_OK):
        return
    partial = archive.with_suffix(f".{os.getpid()}.partial")
    command = [*java, f"-XX:ArchiveClassesAtExit={partial}", *_QUIET, *program]
    try:
        subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
        partial.replace(archive)
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("no archive of Kafka's classes: %s", error)
    finally:
        partial.unlink(missing_ok=True)
