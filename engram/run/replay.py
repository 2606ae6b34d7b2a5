"""What ``engram replay`` does: frames once more through the worker, with one bank that stays as it is.

It is the worker of a fleet that scores, over a log in memory, so the result is that of a fleet with these settings.
Nothing that depends on how fast it goes has a part in it: no camera is lost for want of frames, none is skipped as
stale, and a batch is one clip unless the settings say otherwise, so that the same inputs give the same scores.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bundles.manifest import load_manifest
from consumers.reader import EventReader, ScoreReader
from engram.build.adapters import open_store_for_worker
from engram.build.bundles import bank_cache, bundle_folder, load_engine
from engram.build.options import with_banks_for, worker_options
from engram.build.topics import topic_specs
from engram.run.process import Crew
from engram.run.replay_input import Counting, ReplayInput
from memory_store.bank import AuditEntry, Bank
from memory_store.store import Standing
from messaging.inprocess.bus import InProcessBus
from schemas.errors import EngramError, FatalError
from schemas.messages import AnomalyEvent, FrameScore, utc_now
from schemas.settings import Loaded, WatchSettings
from schemas.settings.connections import StoreSection
from schemas.topics import TopicNames
from workers.output import Tally
from workers.worker import Worker

log = logging.getLogger(__name__)

PARTITIONS = 4
POLL_S = 0.05
END_S = 60.0
STALL_S = 600.0
NEVER_S = 1e9


class PinnedBanks:
    """A store in which every bank is one version that never changes. See ``BankReader``.

    Args:
        bank: that version; None = of no bank, so that the bundle's own items are read.
    """

    def __init__(self, bank: Bank | None) -> None:
        self._bank = None if bank is None else replace(bank, frozen=True)

    def read(self, bank_id: str) -> Bank | None:  # noqa: ARG002 - all are the same
        """See ``BankReader``."""
        return self._bank

    def read_if_newer(self, known: Bank) -> Bank | None:
        """See ``BankReader``."""
        return known

    def standing(self, bank_id: str) -> Standing | None:  # noqa: ARG002
        """See ``BankReader``."""
        bank = self._bank
        return None if bank is None else Standing(bank.version, bank.epoch, bank.frozen)

    def read_version(self, bank_id: str, version: int) -> Bank | None:  # noqa: ARG002
        """See ``BankReader``."""
        return self._bank if self._bank is not None and self._bank.version == version else None

    def log(self, bank_id: str, newest: int = 1000) -> Sequence[AuditEntry]:  # noqa: ARG002
        """See ``BankReader``."""
        return ()

    def log_rows(self, bank_id: str, newest: int) -> Sequence[bytes | str]:  # noqa: ARG002
        """See ``BankReader``."""
        return ()

    def versions(self, bank_id: str) -> Sequence[int]:  # noqa: ARG002
        """See ``BankReader``."""
        return () if self._bank is None else (self._bank.version,)

    def head(self, bank_id: str) -> str | None:  # noqa: ARG002
        """See ``BankReader``."""
        return None

    def list_banks(self) -> Sequence[str]:
        """See ``BankReader``."""
        return () if self._bank is None else (self._bank.bank_id,)

    def close(self) -> None:
        """See ``BankReader``."""


class ReplayOutput(Protocol):
    """Where what comes out goes, while it runs."""

    def add_scores(self, scores: Iterable[FrameScore]) -> None:
        """Take scores, of each camera in order."""

    def add_events(self, events: Iterable[AnomalyEvent]) -> None:
        """Take messages of events, of each camera in order."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came out: all messages of events, how many scores, and what became of the records."""

    events: tuple[AnomalyEvent, ...]
    num_scores: int
    tally: Tally
    seconds: float


def replay_defaults(loaded: Loaded[WatchSettings]) -> dict[str, object]:
    """Values for settings that nobody has given: rate and size of the bundle, one clip a batch, a name for the session.

    What a replay cannot have otherwise (no updates, every frame) is set whatever was given.
    """
    manifest = load_manifest(bundle_folder(loaded.settings.worker.bundle))
    wanted: dict[str, object] = {
        "producer.fps": manifest.fps,
        "producer.session": "replay",
        "worker.worker_id": "replay",
        "worker.max_batch": 1,
    }
    given = {path: value for path, value in wanted.items() if loaded.origins[path] == "default"}
    return given | {"producer.pace": "backfill", "memory.updates": False}


def chosen_bank(store: StoreSection, bank_id: str | None, version: int | None, file: Path | None) -> Bank | None:
    """The bank to replay with: of a file, a version of the store's history (or its newest), or None: the bundle's own.

    Raises:
        FatalError: there is no such bank or version.
    """
    if file is not None:
        from memory_store.bank_file import read_bank_file  # noqa: PLC0415 - needs an extra

        return read_bank_file(file).bank
    if bank_id is None:
        return None
    with open_store_for_worker(store) as banks:
        found = banks.read(bank_id) if version is None else banks.read_version(bank_id, version)
        if found is None:
            what = "none" if version is None else f"v{version} none, it keeps {list(banks.versions(bank_id))[-20:]}"
            raise FatalError(f"the store must have a bank '{bank_id}', there is of {what}; see 'engram bank list'")
        return found


def run_replay(
    settings: WatchSettings,
    given: ReplayInput,
    bank: Bank | None,
    outputs: Sequence[ReplayOutput],
    stop: threading.Event,
) -> Replayed:
    """Replay all that ``given`` has.

    Raises:
        FatalError: bundle or bank do not fit, or nothing was to be scored.
        EngramError: a part failed, or the replay was stopped.
    """
    engine = load_engine(settings.worker)
    settings = with_banks_for(settings, engine.bundle.calibration)
    options = replace(
        worker_options(settings),
        on_stop="end_events",
        camera_timeout_s=NEVER_S,
        camera_forget_s=NEVER_S,
        max_staleness_s=None,
    )
    topics = TopicNames.with_prefix(settings.kafka.topic_prefix)
    bus = InProcessBus(max_topic_bytes=settings.producer.buffer_bytes)
    kafka = settings.kafka.model_copy(update={"frames_partitions": PARTITIONS})
    bus.create_topics(topic_specs(kafka, settings.worker.max_frame_bytes))
    scores = ScoreReader(bus.reader([topics.frame_scores], from_beginning=True))
    events = EventReader(bus.reader([topics.anomaly_events], from_beginning=True))
    worker = Worker(bus, engine, bank_cache(PinnedBanks(bank), engine, settings.memory), options, utc_now)
    publisher = Counting(bus.publisher())
    began_s, crew, ending, leaving = time.monotonic(), Crew(), threading.Event(), threading.Event()
    crew.start("worker", lambda: worker.run(ending))
    crew.start("input", lambda: given.send(publisher, topics.frames, leaving))

    found: list[AnomalyEvent] = []
    num_scores = 0

    def take(of_scores: Sequence[FrameScore], of_events: Sequence[AnomalyEvent]) -> None:
        nonlocal num_scores
        num_scores += len(of_scores)
        found.extend(of_events)
        for output in outputs:
            output.add_scores(of_scores)
            output.add_events(of_events)

    try:
        _attend(crew, worker, publisher, lambda: take(scores.read(POLL_S), events.read(0.0)), stop)
    finally:
        leaving.set()
        ending.set()
        late = crew.join(END_S)
        take(scores.read_to_end(0.0), events.read_to_end(0.0))
        bus.close()
    crew.raise_error()
    if late or stop.is_set():
        raise EngramError(f"a replay must come to its end, this one was stopped: {', '.join(late) or 'by a signal'}")
    return Replayed(tuple(found), num_scores, worker.snapshot().tally, time.monotonic() - began_s)


def _attend(crew: Crew, worker: Worker, publisher: Counting, take: Callable[[], None], stop: threading.Event) -> None:
    """Take results as they come, until all that was sent is scored, or has been waited for too long."""
    received, since_s = -1, time.monotonic()
    while not (crew.has_failed("worker") or crew.has_failed("input") or stop.is_set()):
        take()
        is_all_sent, now = not crew.is_running("input"), worker.snapshot().tally.received
        if is_all_sent and now >= publisher.num_taken:
            return
        if now != received:
            received, since_s = now, time.monotonic()
        elif time.monotonic() - since_s > STALL_S:
            raise EngramError(f"the worker must go on, it has stood at {received} records for {STALL_S:.0f} s")
