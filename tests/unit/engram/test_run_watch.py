"""What ``watch`` chooses where nobody has chosen, and the embedded run with its counters."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundles.bundle import load_bundle, save_bundle
from deploy.local.wait import wait_until
from engram.build.adapters import open_store
from engram.build.bundles import load_engine
from engram.build.cameras import camera_feeds
from engram.run.embedded import Embedded
from engram.run.watch import watch_defaults
from schemas.messages import AnomalyEvent, FrameScore
from schemas.settings import WatchSettings, load_settings, load_with_origins
from schemas.settings.layers import Given
from tests.kept_spans import KeptSpans, parent_of_span, traceparent_of_span
from tests.small_bundle import small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(path, small_bundle())
    return path


def test_recordings_are_taken_whole_and_cameras_live(bundle: Path) -> None:
    loaded = load_with_origins(WatchSettings, None, {"worker.bundle": bundle}, {})
    recorded, mixed = (
        {path: given.value for path, given in watch_defaults(loaded, sources).items() if isinstance(given, Given)}
        for sources in (["synthetic://walkway", "a.mp4"], ["a.mp4", "rtsp://camera/1"])
    )
    assert recorded["producer.pace"] == "backfill"
    assert recorded["producer.fps"] == 10
    assert load_bundle(bundle).digest[:12] in str(recorded["store.url"])
    assert mixed["producer.pace"] == "live"


def test_what_was_chosen_is_left_alone(bundle: Path) -> None:
    overrides = {"worker.bundle": bundle, "producer.fps": 3, "producer.pace": "live", "store.url": "sqlite:///x.db"}
    loaded = load_with_origins(WatchSettings, None, overrides, {})
    assert watch_defaults(loaded, ["a.mp4"]) == {}


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.scores: list[FrameScore] = []
        self.events: list[AnomalyEvent] = []

    def on_scores(self, scores: Sequence[FrameScore]) -> None:
        self.scores.extend(scores)

    def on_event(self, event: AnomalyEvent) -> None:
        self.events.append(event)


def settings(bundle: Path, folder: Path, **more: object) -> WatchSettings:
    given = {"worker.bundle": bundle, "worker.threads": 1, "producer.pace": "backfill"}
    return load_settings(WatchSettings, None, {**given, "store.url": f"sqlite:///{folder}/banks.db", **more})


def test_everything_sent_is_scored_told_and_counted(bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, **{"events.enter": 0.0, "events.exit": 0.0})
    ear = Ear()
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=3"] * 2, ["a", "b"], chosen.producer)
    with open_store(chosen.store) as store:
        outcome = Embedded(chosen, load_engine(chosen.worker), store, feeds, ear).run(threading.Event())
    assert outcome.sent == len(ear.scores) == 60
    tally = outcome.worker.tally
    assert (tally.scored, tally.warming, tally.session_ends) == (52, 8, 2)
    assert tally.balances()
    ends = [event.data for event in ear.events if event.data.phase == "end"]
    assert sorted((end.camera_id, end.frames.last, end.end_reason) for end in ends) == [
        ("a", 29, "session_ended"),
        ("b", 29, "session_ended"),
    ]


def test_in_one_process_a_trace_leads_from_a_frame_to_its_event_too(bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, **{"events.enter": 0.0, "events.exit": 0.0})
    ear, spans = Ear(), KeptSpans()
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=3"], ["a"], chosen.producer)
    with open_store(chosen.store) as store:
        Embedded(chosen, load_engine(chosen.worker), store, feeds, ear, tracer=spans.tracer).run(threading.Event())
    assert len(spans.ended("send frame")) == len(spans.ended("process frame")) == 30
    (traceparent,) = {event.traceparent for event in ear.events}
    first = next(span for span in spans.ended("process frame") if traceparent_of_span(span) == traceparent)
    (sent,) = [one for one in spans.ended("send frame") if traceparent_of_span(one)[3:-3] == parent_of_span(first)]
    assert dict(sent.attributes or {})["engram.frame"] == ear.events[0].data.frames.first


def test_without_updates_there_is_no_coordinator_and_no_bank(bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, **{"memory.updates": False})
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=1"], ["a"], chosen.producer)
    ear = Ear()
    with open_store(chosen.store) as store:
        outcome = Embedded(chosen, load_engine(chosen.worker), store, feeds, ear).run(threading.Event())
    assert outcome.versions == {}
    assert {score.memory_state for score in ear.scores} == {"initial"}
    assert not any(score.proposed for score in ear.scores)


@pytest.mark.parametrize("model", ["mpn", "memae"])
def test_a_network_without_a_bank_is_watched_without_a_coordinator(model: str, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", small_bundle(model=model, gate_threshold=1e9))
    chosen = settings(tmp_path / "bundle", tmp_path)
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=2"], ["a"], chosen.producer)
    ear = Ear()
    with open_store(chosen.store) as store:
        outcome = Embedded(chosen, load_engine(chosen.worker), store, feeds, ear).run(threading.Event())
    assert outcome.versions == {}
    warming = outcome.worker.tally.warming
    assert (warming, outcome.worker.tally.scored) == ((4, 16) if model == "mpn" else (3, 17))
    assert {score.memory_state for score in ear.scores} == {"none"}
    assert all(0 <= (score.anomaly_score or 0) < 1 for score in ear.scores)
    assert not any(score.proposed for score in ear.scores)


def test_a_stop_before_the_end_drains(bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path, **{"producer.pace": "live"})
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=0"], ["a"], chosen.producer)
    stop = threading.Event()

    class Impatient(Ear):
        def on_scores(self, scores: Sequence[FrameScore]) -> None:
            super().on_scores(scores)
            stop.set()

    ear = Impatient()
    with open_store(chosen.store) as store:
        outcome = Embedded(chosen, load_engine(chosen.worker), store, feeds, ear).run(stop)
    assert [score.frame_index for score in ear.scores] == list(range(outcome.sent))
    assert outcome.worker.tally.session_ends == 1


def test_a_listener_that_fails_ends_everything(bundle: Path, tmp_path: Path) -> None:
    chosen = settings(bundle, tmp_path)
    feeds = camera_feeds(["synthetic://walkway?seed=1&seconds=0"], ["a"], chosen.producer)

    class Deaf(Ear):
        def on_scores(self, scores: Sequence[FrameScore]) -> None:
            raise OSError("disk full")

    before = set(threading.enumerate())
    with open_store(chosen.store) as store, pytest.raises(OSError, match="disk full"):
        Embedded(chosen, load_engine(chosen.worker), store, feeds, Deaf()).run(threading.Event())
    assert wait_until(lambda: before.issuperset(threading.enumerate()), 60), (
        f"{threading.enumerate()}, before: {before}"
    )
