"""The events that a coordinator has heard of, as far as they bear on what may be learned. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import RoundRules
from memory_store.coordinator.positions import Place


@dataclass(slots=True)
class _Remembered:
    span: EventSpan
    place: Place
    touched_at: float


class EventBook:
    """The events that bear on proposals: those that are open, and those that ended a short while ago."""

    def __init__(self, rules: RoundRules) -> None:
        self._rules = rules
        self._sessions: dict[tuple[str, str], dict[int, _Remembered]] = {}
        self._by_camera: Counter[str] = Counter()

    def note(self, span: EventSpan, now: float, place: Place) -> None:
        """A message about an event; the place of its first message is kept."""
        events = self._sessions.setdefault((span.camera_id, span.session_id), {})
        known = events.get(span.first_frame)
        events[span.first_frame] = _Remembered(span, known.place if known else place, now)
        self._by_camera[span.camera_id] += known is None
        if len(self) > self._rules.max_events:
            self._forget_one()

    def spans(self, camera_id: str, session_id: str) -> Iterator[EventSpan]:
        """Events of one session."""
        return (item.span for item in self._sessions.get((camera_id, session_id), {}).values())

    def places(self) -> Iterator[Place]:
        """Where the remembered events began."""
        return (item.place for events in self._sessions.values() for item in events.values())

    def forget_old(self, now: float) -> None:
        """Drop what no proposal that arrives at ``now`` or later can meet any more."""
        self._keep(lambda item: now - item.touched_at <= self._memory_s(item.span))

    def forget_from(self, where: Callable[[Place], bool]) -> None:
        """Drop those that began at such a place: they will be read again."""
        self._keep(lambda item: not where(item.place))

    def _memory_s(self, span: EventSpan) -> float:
        return self._rules.max_event_s if span.last_frame is None else self._rules.event_memory_s

    def _forget_one(self) -> None:
        """The oldest of the camera with the most: whoever floods the topic drives out its own."""
        ((camera_id, _),) = self._by_camera.most_common(1)
        _, key, first = min(
            (item.touched_at, key, first)
            for key, events in self._sessions.items()
            if key[0] == camera_id
            for first, item in events.items()
        )
        del self._sessions[key][first]
        self._by_camera[camera_id] -= 1
        if not self._sessions[key]:
            del self._sessions[key]

    def _keep(self, wanted: Callable[[_Remembered], bool]) -> None:
        for key, events in list(self._sessions.items()):
            kept = {first: item for first, item in events.items() if wanted(item)}
            self._by_camera[key[0]] -= len(events) - len(kept)
            if kept:
                self._sessions[key] = kept
            else:
                del self._sessions[key]
        self._by_camera = +self._by_camera

    def __len__(self) -> int:
        return self._by_camera.total()
