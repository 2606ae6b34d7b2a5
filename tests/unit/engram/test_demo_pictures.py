"""What the demo shows beside its events: the truth in time, frames with their scores and states, and its last lines."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers.annotate import Cloud
from consumers.timeline import Span
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.cli.app import app
from engram.demo import show
from engram.demo.clouds import FrameKeeper
from engram.demo.comparison import Comparison, Finding
from engram.demo.show import DemoRequest, DemoResult, _Record, run_demo
from engram.run.embedded import Outcome
from producers.synthetic import Box, InjectedAnomaly
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent
from schemas.settings import WatchSettings
from tests.unit.consumers.samples import at, event, score
from workers.output import Tally
from workers.worker import WorkerSnapshot


def anomaly(first: int, last: int, kind: str = "cyclist") -> InjectedAnomaly:
    return InjectedAnomaly(kind, first, last, (Box(0, 0, 5, 5),) * (last - first + 1))


def test_the_truth_is_drawn_at_the_times_of_its_frames_and_per_camera() -> None:
    scores = [score(index, camera_id="a") for index in range(30)]
    scores += [score(index, camera_id="b", captured_at=at(index) + timedelta(hours=1)) for index in range(30)]
    truth = {"a": (anomaly(5, 9), anomaly(20, 29)), "b": (anomaly(5, 9),)}
    hour = timedelta(hours=1)
    assert show._truth_spans(truth, scores) == (
        Span("a", at(5), at(9)),
        Span("a", at(20), at(29)),
        Span("b", at(5) + hour, at(9) + hour),
    )


def test_an_anomaly_beyond_the_last_frame_is_not_drawn() -> None:
    """As when the demo was stopped."""
    assert show._truth_spans({"a": (anomaly(5, 9),)}, [score(index, camera_id="a") for index in range(9)]) == ()


STATES = [
    event(5, 5).data,
    event(5, 12, "update", 1).data,
    event(5, 18, "end", 2).data,
    event(30, 30).data,
    event(30, 33, "end", 1).data,
]


@pytest.mark.parametrize(
    ("frame_index", "first", "last"),
    [(5, 5, 5), (6, 5, 5), (11, 5, 5), (12, 5, 12), (17, 5, 12), (18, 5, 18), (30, 30, 30), (33, 30, 33)],
)
def test_a_frame_shows_the_state_that_was_told_by_then(frame_index: int, first: int, last: int) -> None:
    state = show._state_at(STATES, frame_index)
    assert state is not None
    assert (state.frames.first, state.frames.last) == (first, last)


@pytest.mark.parametrize("frame_index", [0, 4, 19, 29, 34])
def test_a_frame_outside_of_all_events_shows_none(frame_index: int) -> None:
    assert show._state_at(STATES, frame_index) is None


def test_an_event_that_began_before_it_was_told_shows_its_first_state() -> None:
    """A minimum length is told late: its first message covers frames of before."""
    late = [event(5, 9).data, event(5, 12, "end", 1).data]
    state = show._state_at(late, 6)
    assert state is not None
    assert state.frames.last == 9


def test_frames_of_one_camera_get_its_own_scores_and_events() -> None:
    record = _Record(lambda _: None)
    record.on_scores([score(0, camera_id="a"), score(1, 0.5, camera_id="a"), score(0, 0.9, camera_id="b")])
    record.on_event(event(1, 1, camera_id="a"))
    record.on_event(event(0, 0, camera_id="b"))
    here, there = Cloud(event(1, 1).data.heat_map), Cloud(event(2, 2).data.heat_map)
    seen = {("a", 1): here, ("b", 0): there}
    frames = list(show._scored_frames("synthetic://walkway?seed=1&seconds=1", "a", record, seen))
    assert [frame.cloud for frame in frames] == [None, here]
    assert [(frame.score.camera_id, frame.score.frame_index) for frame in frames] == [("a", 0), ("a", 1)]
    assert [frame.event and frame.event.camera_id for frame in frames] == [None, "a"]
    assert frames[0].image.shape == (240, 320, 3)


def test_every_event_is_told_as_it_comes_and_kept() -> None:
    told: list[AnomalyEvent] = []
    record = _Record(told.append)
    record.on_event(event(1, 1))
    record.on_event(event(1, 4, "end", 1))
    assert told == record.events == [event(1, 1), event(1, 4, "end", 1)]


def test_a_scene_is_named_by_its_seed_length_and_rate() -> None:
    assert show._address(7, 12.5, 5.0) == "synthetic://walkway?seed=7&seconds=12.5&fps=5&anomalies=1"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The run itself is left out: what it was given, and a listener that hears nothing."""
    given: list[Any] = []

    class Silent:
        def __init__(self, *parts: Any, companion: FrameKeeper) -> None:
            given.append(parts)

        def run(self, stop: threading.Event) -> None:
            given.append(stop)

    monkeypatch.setattr(show, "Embedded", Silent)
    monkeypatch.setattr(show, "load_engine", lambda section: section.bundle)
    monkeypatch.setattr(show, "clouds", lambda *parts: {})
    yield given


def test_a_demo_that_was_stopped_before_a_score_says_so_and_draws_nothing(silent: list[Any], tmp_path: Path) -> None:
    request = DemoRequest(shipped_bundle(WALKWAY), 8.0, print)
    with pytest.raises(FatalError, match="must score some frames before it is stopped, it has scored none"):
        run_demo(WatchSettings(), request, tmp_path / "out", threading.Event())
    assert not (tmp_path / "out").exists()


def test_a_demo_plays_each_scene_at_the_rate_of_its_bundle_in_a_store_of_its_own(
    silent: list[Any], tmp_path: Path
) -> None:
    own = WatchSettings.model_validate({"producer": {"fps": 9}, "store": {"url": f"sqlite:///{tmp_path}/mine.db"}})
    stop = threading.Event()
    request = DemoRequest(shipped_bundle(WALKWAY), 8.0, print, {"x": 1, "y": 2})
    with pytest.raises(FatalError):
        run_demo(own, request, tmp_path / "out", stop)
    (settings, engine, _, feeds, _), told = silent
    assert told is stop
    assert engine == settings.worker.bundle == shipped_bundle(WALKWAY)
    assert (settings.producer.pace, settings.producer.fps) == ("backfill", 5.0)
    assert [(feed.camera_id, feed.pacing.fps, feed.pacing.mode) for feed in feeds] == [
        ("x", 5.0, "backfill"),
        ("y", 5.0, "backfill"),
    ]
    assert not (tmp_path / "mine.db").exists(), "what people keep must not learn from the demo"


def result() -> DemoResult:
    hit = event(42, 60, "end", 1, "north").data
    findings = (Finding("north", anomaly(40, 58), hit), Finding("south", anomaly(7, 9, "bag"), None))
    tally = Tally(received=104, scored=96, warming=8, skipped=Counter())
    outcome = Outcome(100, WorkerSnapshot(tally, 2, 2, 0), {"shared": 3})
    return DemoResult(outcome, Comparison(findings, (hit,), 20, 5.0), Path("o/timeline.png"), Path("o/annotated.mp4"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def played(settings: WatchSettings, request: DemoRequest, out: Path, stop: threading.Event) -> DemoResult:
        calls.append(SimpleNamespace(settings=settings, request=request, out=out))
        request.tell_event(event(42, 42, camera_id="north"))
        request.tell_event(event(42, 50, "update", 1, "north"))
        request.tell_event(event(42, 60, "end", 2, "north"))
        return result()

    monkeypatch.setattr(show, "run_demo", played)
    return calls


def call(*words: object) -> str:
    wide = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    done = CliRunner(env=wide).invoke(app, ["demo", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_demo_tells_what_was_found_and_missed(asked: list[Any]) -> None:
    shown = call()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert cells == [
        ["north", "cyclist", "40-58", "found: frames 42-60, peak at 60"],
        ["south", "bag", "7-9", "missed"],
    ]
    for line in (
        "found 1 of 2 anomalies, 1 false events; events hold 4 s further than 1 s from any anomaly",
        "scored 96 of 100 frames; memory banks: shared at version 3",
        "threshold for 1440 false alarms per camera and day",
        "timeline o/timeline.png, annotated video o/annotated.mp4",
    ):
        assert line in shown.splitlines()


def test_starts_and_ends_are_told_as_they_come_and_updates_are_not(asked: list[Any]) -> None:
    lines = [line for line in call().splitlines() if " north " in line and "│" not in line]
    assert [line.split()[2] for line in lines] == ["start", "end"]


def test_the_demo_is_given_what_is_typed(asked: list[Any], tmp_path: Path) -> None:
    call("--out", tmp_path, "--seconds", 7, "--bundle", "b")
    call()
    assert [one.out for one in asked] == [tmp_path, Path("out/demo")]
    chosen, plain = (one.request for one in asked)
    assert (chosen.seconds, chosen.bundle) == (7, Path("b"))
    assert (plain.seconds, plain.bundle) == (60, shipped_bundle(WALKWAY))
    assert dict(plain.cameras) == show.CAMERAS


def test_a_demo_is_quiet_unless_it_is_asked_to_tell_more(asked: list[Any]) -> None:
    call()
    call("--log-level", "debug")
    assert [one.settings.log.level for one in asked] == ["warning", "debug"]
    assert asked[0].settings.coordinator.round_s < 10, "the memory must be seen to learn within a minute"


def test_a_demo_that_is_too_short_for_a_window_is_refused() -> None:
    done = CliRunner().invoke(app, ["demo", "--seconds", "4"])
    assert done.exit_code == 2
