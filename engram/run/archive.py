"""What ``engram archive run`` does: the events topic into a SQLite file, until told to stop."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from consumers.archive import Archive
from consumers.archiving import Archiver
from consumers.reader import followed
from engram.build.paths import data_file
from engram.observe.consumer import Follower, SeenConsumer, Tries, skips
from engram.observe.desk import Desk
from engram.run.process import connected
from messaging.ports import Bus, Reader
from schemas.messages import utc_now

log = logging.getLogger(__name__)

TO_END_S = 600.0


def default_archive_path() -> Path:
    """``events.db`` in ``$ENGRAM_HOME``, or in the user's data folder when that is not set."""
    return data_file("events.db")


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What is archived where.

    Attributes:
        topic: of events, with prefix.
        file: the archive.
        keep: events that were over for longer are deleted; None = none.
        once: leave at the end of the topic as it is then.
    """

    topic: str
    file: Path
    keep: timedelta | None
    once: bool


def run_archive(bus: Bus, request: ArchiveRequest, stop: threading.Event, desk: Desk) -> None:
    """Archive until ``stop`` is set. Broker away, file locked, disk full: said, waited for, and nothing passed over.

    Args:
        bus: where events are.
        request: what is archived where.
        stop: asks for the end.
        desk: shows how it fares.

    Raises:
        FatalError: the file is no archive or may not be written, or the topic is missing or was grown.
        TransientError: with ``once``, what else would be waited for.
    """
    desk.wait_for("the archive must open")
    opened = partial(Archive, request.file, "write")
    made = opened() if request.once else connected(opened, stop)
    if made is None:
        return
    with closing(made) as archive:
        desk.wait_for("the log must answer")
        reader = connected(lambda: bus.reader([request.topic], from_beginning=True), stop)
        if reader is None:
            return
        with closing(reader):
            archiver = Archiver(reader, archive, request.topic, request.keep, utc_now)
            tries = Tries()
            desk.show(SeenConsumer("archive", lambda: [_follower(archiver, reader, tries)]))
            log.info("archiving %s into %s", request.topic, request.file)
            if request.once:
                archiver.to_end(TO_END_S)
            else:
                for _ in followed(tries.of(archiver.step), stop):
                    pass
            _tell(archiver, archive.count)


def _follower(archiver: Archiver, reader: Reader, tries: Tries) -> Follower:
    counts = archiver.counts
    return Follower(
        "archive",
        counts.received,
        skips(counts),
        {"archived": counts.taken},
        tries.turned_at_s,
        reader.lag(),
        failed=tries.failed,
        waiting_s=tries.waiting_s(),
        trouble=tries.trouble,
    )


def _tell(archiver: Archiver, count: Callable[[], object]) -> None:
    counts = archiver.counts
    log.info("%d messages archived; the archive holds %s", counts.taken, count())
    if counts.bad:
        log.warning("skipped messages that could not be read: %s", counts.told_bad())
