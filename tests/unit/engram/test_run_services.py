"""The processes of a fleet over a log in memory and a real store: what they do first, and how they end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bundles.bundle import load_bundle, load_initial_bank
from engram.build import shipped
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.build.topics import topic_specs
from engram.run import fleet, watch
from engram.run.embedded import _Patience
from engram.run.fleet import run_coordinator, run_worker
from engram.run.process import Crew
from engram.run.watch import WatchRequest, run_watch
from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord
from producers.naming import default_camera_names
from schemas.codec import decode_message, encode_header
from schemas.errors import EngramError, FatalError, SettingsError, TransientError
from schemas.messages import FrameScore
from schemas.settings import CoordinatorSettings, Loaded, WatchSettings, WorkerSettings
from tests.small_bundle import jpeg
from tests.unit.consumers.samples import event, score
from tests.unit.workers.arriving import header


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessBus]:
    made = InProcessBus()

    @contextmanager
    def opened(_: object) -> Iterator[InProcessBus]:
        yield made

    monkeypatch.setattr(fleet, "open_bus", opened)
    yield made
    made.close()


def values(tmp_path: Path) -> dict[str, Any]:
    return {
        "store": {"url": f"sqlite:///{tmp_path / 'banks.db'}"},
        "worker": {"bundle": str(shipped_bundle(WALKWAY)), "device": "cpu", "threads": 1},
    }


class Seen(threading.Event):
    """A stop that comes when something has been seen, and is looked for at each wait."""

    def __init__(self, look: Callable[[], bool]) -> None:
        super().__init__()
        self._look = look

    def is_set(self) -> bool:
        """See ``threading.Event``."""
        if not super().is_set() and self._look():
            self.set()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """See ``threading.Event``."""
        return super().wait(0.01) or self.is_set()


def bank_of(tmp_path: Path) -> Any:
    store = SqliteStore(tmp_path / "banks.db")
    try:
        return store.read("shared")
    finally:
        store.close()


def test_a_coordinator_leads_under_its_name_and_gives_the_lead_back(
    bus: InProcessBus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one leads at once, without waiting for the lease to end."""
    caplog.set_level("INFO")

    def leaders() -> list[str]:
        told = [record.getMessage() for record in caplog.records]
        return [text.partition("-")[0] for text in told if " leads with token " in text]

    for number, name in enumerate(("c1", "c2"), 1):
        own = {"coordinator": {"writer_id": name, "lease_s": 600}}
        settings = CoordinatorSettings.model_validate(values(tmp_path) | own)
        bus.create_topics(topic_specs(settings.kafka, settings.worker.max_frame_bytes))
        run_coordinator(settings, Seen(lambda number=number: len(leaders()) == number))  # type: ignore[misc]
    assert leaders() == ["c1", "c2"]


def test_a_network_without_a_memory_needs_no_coordinator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus: InProcessBus
) -> None:
    known = load_initial_bank(shipped_bundle(WALKWAY))
    empty = replace(known, model="mpn", items_MC=known.items_MC[:0, :0])
    monkeypatch.setattr(fleet, "load_initial_bank", lambda _: empty)
    with pytest.raises(FatalError, match=r"the network 'mpn' keeps what it knows in its weights.*need no coordinator"):
        run_coordinator(CoordinatorSettings.model_validate(values(tmp_path)), threading.Event())
    assert not (tmp_path / "banks.db").exists()


@pytest.mark.parametrize("run", [run_coordinator, run_worker])
def test_no_process_starts_where_the_package_has_no_bundle(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "files", lambda _: Path("/nowhere"))
    with pytest.raises(SettingsError, match="name another with --bundle DIR"):
        run(CoordinatorSettings() if run is run_coordinator else WorkerSettings(), threading.Event())


@pytest.mark.parametrize("kind", ["coordinator", "worker"])
def test_a_signal_while_the_broker_is_away_ends_it(
    kind: str, bus: InProcessBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()

    def away() -> None:
        stop.set()
        raise TransientError("away")

    monkeypatch.setattr(bus, "existing_topics", away)
    if kind == "worker":
        run_worker(WorkerSettings.model_validate(values(tmp_path)), stop)
    else:
        run_coordinator(CoordinatorSettings.model_validate(values(tmp_path)), stop)
    assert bank_of(tmp_path) is None


def scores_on(bus: InProcessBus) -> list[FrameScore]:
    records = bus.reader(["frame-scores"], from_beginning=True).read_to_end(1.0)
    return [decode_message(FrameScore, record.value) for record in records]


def test_a_worker_scores_what_there_is_and_leaves_when_told(
    bus: InProcessBus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = values(tmp_path)
    settings = WorkerSettings.model_validate(given | {"worker": given["worker"] | {"worker_id": "w7"}})
    bus.create_topics(topic_specs(settings.kafka, settings.worker.max_frame_bytes))
    for index in range(4):
        told = header(index, size=(64, 48))
        bus.publisher().publish(OutRecord("frames", "cam1", jpeg("cam1", index), encode_header(told)))
    caplog.set_level("INFO", logger="engram.run.fleet")
    run_worker(settings, Seen(lambda: len(scores_on(bus)) == 4))
    assert [one.frame_index for one in scores_on(bus)] == [0, 1, 2, 3]
    first, last = (record.getMessage() for record in caplog.records if record.name == "engram.run.fleet")
    assert first.startswith("working as w7 on bundle ")
    assert last.startswith("stopped: 4 received, 0 scored, 4 warming")
    assert thin_evidence(caplog) == ["1"], "the shipped bundle was calibrated on two minutes"


def thin_evidence(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The rates of false alarms of which it was told that nothing vouches for them."""
    told = [record.getMessage() for record in caplog.records if record.name == "engram.build.bundles"]
    return [text.partition(" false alarms a day are asked for")[0] for text in told]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ({}, ["1"]),
        ({"target_false_alarms_per_day": 1440}, ["1440"]),
        ({"target_false_alarms_per_day": 2400}, []),
        ({"enter": 0.5}, []),
    ],
)
def test_watch_says_once_that_nothing_vouches_for_so_few_false_alarms(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, events: dict[str, float], told: list[str]
) -> None:
    """592 frames at 5 a second are eleven blocks of 10 s, which support 2356 a day."""
    settings = WatchSettings.model_validate(values(tmp_path) | {"events": events})
    scene = ["synthetic://walkway?seed=1&seconds=0.2", "synthetic://walkway?seed=2&seconds=0.2"]
    run_watch(Loaded(settings, {}), WatchRequest(scene, ("a", "b"), None, print), threading.Event())
    assert thin_evidence(caplog) == told


def test_a_number_that_grows_is_progress_and_one_that_stands_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    patience = _Patience(limit_s=60.0)
    for at_s, number in ((0.0, 0), (59.0, 0), (60.0, 0), (60.0, 1), (119.0, 1), (120.0, 1)):
        now[0] = at_s
        patience.require_progress(number)
    now[0] = 120.5
    with pytest.raises(EngramError, match="the worker must go on, it has stood at 1 records for 60 s"):
        patience.require_progress(1)


def test_a_crew_whose_deadline_has_passed_asks_no_thread_for_more() -> None:
    crew, go = Crew(), threading.Event()

    def wait() -> None:
        go.wait(60)

    for name in ("one", "two"):
        crew.start(name, wait)
    assert crew.join(0.0) == ("one", "two")
    go.set()
    assert crew.join(20.0) == ()


def test_an_exit_of_a_thread_is_an_error_too() -> None:
    """``SystemExit`` ends a thread without a word."""
    crew = Crew()

    def leave() -> None:
        raise SystemExit(3)

    crew.start("leaver", leave)
    assert crew.join(20.0) == ()
    assert crew.has_failed("leaver")
    with pytest.raises(SystemExit):
        crew.raise_error()


def test_watch_gives_scores_to_the_table_and_events_to_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded run itself has tests of its own; here it only speaks."""
    told: list[object] = []

    class Speaking:
        def __init__(
            self, settings: object, engine: object, store: Any, feeds: Any, listener: Any, roster: Any, *more: object
        ) -> None:
            assert more == (None, None, True, None), (
                "neither clips nor a console nor spans were asked for; a recording is watched in step"
            )
            assert store.list_banks() == []
            assert [feed.camera_id for feed in feeds] == list(default_camera_names(1))
            self._listener = listener

        def seen(self) -> tuple[()]:
            return ()

        def run(self, stop: threading.Event) -> str:
            self._listener.on_scores([score(0, None), score(1)])
            self._listener.on_event(event(1, 1))
            return "outcome"

    monkeypatch.setattr(watch, "Embedded", Speaking)
    monkeypatch.setattr(watch, "load_engine", lambda _: SimpleNamespace(bundle=load_bundle(shipped_bundle(WALKWAY))))
    settings = WatchSettings.model_validate(values(tmp_path))
    scene = ["synthetic://walkway?seed=1&seconds=1"]
    for table in (tmp_path / "deep" / "scores.csv", None):
        found: object = run_watch(Loaded(settings, {}), WatchRequest(scene, (), table, told.append), threading.Event())
        assert found == "outcome"
    assert told == [event(1, 1)] * 2
    assert (tmp_path / "deep" / "scores.csv").read_text().count("\n") == 3


def test_watch_refuses_wrong_names_before_it_opens_anything(tmp_path: Path) -> None:
    settings = WatchSettings.model_validate(values(tmp_path))
    request = WatchRequest(["synthetic://walkway"], ("a", "b"), tmp_path / "scores.csv", print)
    with pytest.raises(SettingsError, match="got 2 for 1"):
        run_watch(Loaded(settings, {}), request, threading.Event())
    assert list(tmp_path.iterdir()) == []
