"""What a replay leaves: a folder of JSON lines. The same inputs give the same files.

| file | holds |
|---|---|
| ``scores-CAMERA.jsonl`` | one score a frame, in order |
| ``events.jsonl`` | all messages of events, by camera and time |
| ``replay.json`` | what it was made of and with; written last, so it tells a whole replay |
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

from schemas.errors import FatalError
from schemas.messages import AnomalyEvent, FrameScore


def as_replayed(score: FrameScore) -> FrameScore:
    """When a score was made is no part of a replay: ``scored_at`` becomes the time of capture."""
    return score.model_copy(update={"scored_at": score.captured_at})


class ReplayFolder:
    """Writes while it runs; use it as a context manager.

    Args:
        path: must not exist, or be empty.

    Raises:
        FatalError: it is not, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, TextIO] = {}
        self._opened = ExitStack()
        self._events: list[AnomalyEvent] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            is_empty = not any(path.iterdir())
        except OSError as error:
            raise FatalError(f"'{path}' must be a folder that we may write: {error.strerror}") from error
        if not is_empty:
            raise FatalError(f"'{path}' must be a new or an empty folder, it holds something; name another")

    def add_scores(self, scores: Iterable[FrameScore]) -> None:
        """Take scores."""
        for score in scores:
            print(as_replayed(score).model_dump_json(), file=self._file(score.camera_id))

    def add_events(self, events: Iterable[AnomalyEvent]) -> None:
        """Take messages of events."""
        self._events += events

    def finish(self, facts: Mapping[str, object]) -> None:
        """Write the events and what the replay was made with."""
        order = sorted(self._events, key=lambda one: (one.data.camera_id, one.time, one.data.event_id, one.sequence))
        lines = "".join(f"{event.model_dump_json()}\n" for event in order)
        (self._path / "events.jsonl").write_text(lines, "utf-8")
        (self._path / "replay.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")

    def __enter__(self) -> "ReplayFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _file(self, camera_id: str) -> TextIO:
        if camera_id not in self._files:
            path = self._path / f"scores-{camera_id}.jsonl"
            self._files[camera_id] = self._opened.enter_context(path.open("x", encoding="utf-8"))
        return self._files[camera_id]
