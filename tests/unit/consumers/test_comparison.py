"""Two runs side by side."""

from pathlib import Path

import pytest

from consumers.comparison import compare, read_events, spans_of
from consumers.replay_folder import ReplayFolder
from schemas.codec import encode_message
from schemas.errors import FatalError
from schemas.messages import AnomalyEvent, EventPhase
from tests.unit.consumers.samples import at, event, score


def messages(*spans: tuple[int, int], camera: str = "gate") -> list[AnomalyEvent]:
    phases: tuple[EventPhase, EventPhase] = ("start", "end")
    return [event(first, last, phase, n, camera) for first, last in spans for n, phase in enumerate(phases)]


def renamed(one: AnomalyEvent, session: str) -> AnomalyEvent:
    event_id = one.data.event_id.replace("s1", session)
    return one.model_copy(update={"data": one.data.model_copy(update={"session_id": session, "event_id": event_id})})


def test_the_newest_message_of_an_event_counts() -> None:
    (span,) = spans_of(reversed([event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)]))
    assert (span.first, span.last, span.end_reason) == (5, 18, "cleared")


def test_a_run_is_like_itself() -> None:
    spans = spans_of(messages((5, 10), (50, 70)))
    found = compare(spans, spans)
    assert (found.appeared, found.vanished, found.changed) == ((), (), ())
    assert len(found.same) == 2


def test_events_appear_vanish_and_change() -> None:
    before = spans_of(messages((5, 10), (50, 70), (200, 210)))
    after = spans_of(messages((5, 10), (48, 71), (300, 310)))
    found = compare(before, after)
    assert [span.first for span in found.appeared] == [300]
    assert [span.first for span in found.vanished] == [200]
    assert [(old.first, new.first) for old, new in found.changed] == [(50, 48)]
    assert [old.first for old, _ in found.same] == [5]
    assert found.facts()["num_same"] == 1


def test_what_falls_apart_is_paired_with_its_larger_part() -> None:
    found = compare(spans_of(messages((50, 100))), spans_of(messages((50, 60), (70, 100))))
    assert [(old.first, new.first) for old, new in found.changed] == [(50, 70)]
    assert [span.first for span in found.appeared] == [50]


def test_cameras_are_kept_apart() -> None:
    found = compare(spans_of(messages((5, 10))), spans_of(messages((5, 10), camera="yard")))
    assert (len(found.appeared), len(found.vanished)) == (1, 1)


def test_events_of_another_session_are_paired_by_time() -> None:
    before = spans_of(messages((5, 10), (50, 70)))
    after = spans_of([renamed(one, "s2") for one in messages((5, 10))])
    found = compare(before, after)
    assert [(old.session_id, new.session_id) for old, new in found.changed] == [("s1", "s2")]
    assert [span.first for span in found.vanished] == [50]


def test_a_folder_holds_what_a_replay_gave(tmp_path: Path) -> None:
    with ReplayFolder(tmp_path / "a") as folder:
        folder.add_events(messages((50, 70), (5, 10)))
        folder.add_scores([score(1), score(1, camera_id="cam2"), score(2)])
        folder.finish({"made": "so"})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "events.jsonl", "replay.json", "scores-cam1.jsonl", "scores-cam2.jsonl",
    ]  # fmt: skip
    read = read_events(tmp_path / "a")
    assert [one.data.frames.first for one in read] == [5, 5, 50, 50]
    assert read_events(tmp_path / "a" / "events.jsonl") == read
    assert (
        f'"scored_at":"{at(2).isoformat().replace("+00:00", "Z")}"'
        in (tmp_path / "a" / "scores-cam1.jsonl").read_text()
    )
    with pytest.raises(FatalError, match="must be a new or an empty folder"):
        ReplayFolder(tmp_path / "a")


def test_what_holds_no_events_is_told(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="is none that can be read: No such file"):
        read_events(tmp_path / "nowhere.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(encode_message(event(5, 5)) + b"\n{}\n")
    with pytest.raises(FatalError, match="must have one event a line"):
        read_events(broken)
    with pytest.raises(FatalError, match="must be a folder that we may write"):
        ReplayFolder(broken)
