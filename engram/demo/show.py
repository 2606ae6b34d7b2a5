"""``engram demo``: synthetic scenes with known anomalies through all of Engram in this process."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundles.bundle import load_bundle
from consumers.annotate import Cloud, ScoredFrame, annotate_video
from consumers.timeline import Span, Timeline, draw_timeline
from engram.build.adapters import open_store
from engram.build.bundles import load_engine
from engram.build.cameras import camera_feeds
from engram.demo.clouds import FrameKeeper, FrameOf, clouds
from engram.demo.comparison import Comparison, compare, newest_states
from engram.run.embedded import Embedded, Outcome
from producers.feed import CameraFeed
from producers.sources import open_source
from producers.sources.synthetic_scene import SyntheticSource
from producers.synthetic import InjectedAnomaly
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent, EventData, FrameScore
from schemas.settings import WatchSettings

CAMERAS = {"north": 101, "south": 202}
"""Camera and seed of its scene; seeds that no training used."""


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """What is shown.

    Attributes:
        bundle: folder of the bundle of the walkway.
        seconds: scene time of each camera.
        tell_event: called with each event message.
        cameras: name and seed of the scene of each; no seed that the bundle was trained on.
    """

    bundle: Path
    seconds: float
    tell_event: Callable[[AnomalyEvent], None] = lambda _: None
    cameras: Mapping[str, int] = field(default_factory=lambda: CAMERAS)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of it."""

    outcome: Outcome
    comparison: Comparison
    timeline: Path
    video: Path


@dataclass(slots=True)
class _Record:
    """Everything that was told."""

    tell_event: Callable[[AnomalyEvent], None]
    scores: list[FrameScore] = field(default_factory=list)
    events: list[AnomalyEvent] = field(default_factory=list)

    def on_scores(self, scores: Sequence[FrameScore]) -> None:
        self.scores.extend(scores)

    def on_event(self, event: AnomalyEvent) -> None:
        self.events.append(event)
        self.tell_event(event)

    def frames_of_events(self) -> set[FrameOf]:
        """The frames that an event covers."""
        states = newest_states(self.events)
        return {(one.camera_id, index) for one in states for index in range(one.frames.first, one.frames.last + 1)}


@dataclass(frozen=True, slots=True)
class Played:
    """Scenes that were watched to their end.

    Attributes:
        addresses: of the scenes, by camera.
        fps: of their frames.
        truth: what is unusual in each.
        record: what was told.
        seen: what the memory made of each frame of an event; empty unless it was asked for.
    """

    outcome: Outcome
    comparison: Comparison
    addresses: Mapping[str, str]
    fps: float
    truth: Mapping[str, tuple[InjectedAnomaly, ...]]
    record: _Record
    seen: Mapping[FrameOf, Cloud]


def run_demo(settings: WatchSettings, request: DemoRequest, out: Path, stop: threading.Event) -> DemoResult:
    """Play, watch, compare with the truth, and draw into the folder ``out``.

    Raises:
        FatalError: see ``play``.
    """
    played = play(settings, request, stop, with_clouds=True)
    record, timeline, video = played.record, out / "timeline.png", out / "annotated.mp4"
    draw_timeline(Timeline(record.scores, record.events, _truth_spans(played.truth, record.scores)), timeline)
    each = (_scored_frames(address, name, record, played.seen) for name, address in played.addresses.items())
    annotate_video(zip(*each, strict=False), video, played.fps)  # as far as all of them go, should it be stopped
    return DemoResult(played.outcome, played.comparison, timeline, video)


def play(settings: WatchSettings, request: DemoRequest, stop: threading.Event, with_clouds: bool = False) -> Played:
    """Play, watch, compare with the truth.

    Raises:
        FatalError: the bundle is not whole, or nothing was scored before ``stop``.
    """
    fps = load_bundle(request.bundle).manifest.fps
    addresses = {name: _address(seed, request.seconds, fps) for name, seed in request.cameras.items()}
    producer = settings.producer.model_copy(update={"fps": fps, "pace": "backfill"})
    settings = settings.model_copy(
        update={"producer": producer, "worker": settings.worker.model_copy(update={"bundle": request.bundle})}
    )
    feeds = camera_feeds(list(addresses.values()), list(addresses), producer)
    record = _Record(request.tell_event)
    seen: Mapping[FrameOf, Cloud] = {}
    with tempfile.TemporaryDirectory(prefix="engram-demo-") as folder:
        store = settings.store.model_copy(update={"url": f"sqlite:///{folder}/banks.db"})
        with open_store(store) as banks:
            engine, keeper = load_engine(settings.worker), FrameKeeper() if with_clouds else None
            outcome = Embedded(settings, engine, banks, feeds, record, companion=keeper).run(stop)
            if keeper is not None:
                seen = clouds(keeper.records, record.scores, record.frames_of_events(), engine, banks)
    if not any(score.anomaly_score is not None for score in record.scores):
        raise FatalError("the demo must score some frames before it is stopped, it has scored none")
    truth = {feed.camera_id: _anomalies(feed, record.scores) for feed in feeds}
    comparison = compare(truth, newest_states(record.events), fps)
    return Played(outcome, comparison, addresses, fps, truth, record, seen)


def _address(seed: int, seconds: float, fps: float) -> str:
    return f"synthetic://walkway?seed={seed}&seconds={seconds:g}&fps={fps:g}&anomalies=1"


def _anomalies(feed: CameraFeed, scores: Sequence[FrameScore]) -> tuple[InjectedAnomaly, ...]:
    """As far as the scene was played, should it be stopped."""
    assert isinstance(feed.source, SyntheticSource), "the demo plays synthetic scenes only"
    played = max((score.frame_index + 1 for score in scores if score.camera_id == feed.camera_id), default=0)
    return feed.source.scene.truth(played).anomalies


def _truth_spans(truth: Mapping[str, tuple[InjectedAnomaly, ...]], scores: Sequence[FrameScore]) -> tuple[Span, ...]:
    """Times of the anomalies' frames; both ends of an anomaly were captured, because the truth is noted by frame."""
    captured_at = {(score.camera_id, score.frame_index): score.captured_at for score in scores}
    ends = [
        (camera_id, captured_at.get((camera_id, one.first_frame)), captured_at.get((camera_id, one.last_frame)))
        for camera_id, anomalies in truth.items()
        for one in anomalies
    ]
    return tuple(Span(camera_id, first, last) for camera_id, first, last in ends if first and last)


def _scored_frames(
    address: str, camera_id: str, record: _Record, seen: Mapping[FrameOf, Cloud]
) -> Iterator[ScoredFrame]:
    """The scene once more, frame by frame with its score: it renders the same each time."""
    scores = {score.frame_index: score for score in record.scores if score.camera_id == camera_id}
    states = [event.data for event in record.events if event.data.camera_id == camera_id]
    for index, frame in enumerate(open_source(address)):
        if index in scores:
            yield ScoredFrame(frame.image, scores[index], _state_at(states, index), seen.get((camera_id, index)))


def _state_at(states: Sequence[EventData], frame_index: int) -> EventData | None:
    """The state of the event that covers a frame, as it was last told by then, or first told if not yet."""
    final = next((s for s in reversed(states) if s.frames.first <= frame_index <= s.frames.last), None)
    if final is None:
        return None
    told = [state for state in states if state.event_id == final.event_id]
    return next((state for state in reversed(told) if state.frames.last <= frame_index), told[0])
