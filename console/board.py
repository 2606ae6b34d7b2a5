"""All that the console knows, in bounded memory: what pages ask, and what is kept over a restart.

Filled by one thread and asked by many, under one lock. Everything handed out is frozen.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from typing import Literal

from console.banks import BankBook, Version
from console.cameras import CameraBook, CameraCard, CameraFacts, Learning, state_of
from console.events import EventCard, EventShelf, Shelved
from console.kept import Ledger, Row
from console.media import MediaBook
from console.verdicts import Said, VerdictBook
from console.words import SEVERITIES, p_value
from schemas.cameras import CameraEvent, CameraGapEvent, CameraStatus
from schemas.codec import decode_message
from schemas.errors import BadMessageError
from schemas.media import EventMedia
from schemas.messages import AnomalyEvent, BankHeader, FrameScore, utc_now
from schemas.verdicts import OperatorVerdict, VerdictOutcome

MAX_EVENTS, MAX_BYTES = 5000, 64 * 1024 * 1024
DAY = timedelta(days=1)

Part = Literal["wall", "scores", "queue", "verdicts", "memory", "media"]
Show = Literal["unseen", "open", "seen", "real", "normal", "all"]
"""unseen: nobody has said anything of it; seen: skipped; real, normal: what was said of it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, the oldest going first; and what is expected where no message says it.

    Attributes:
        learn_s: normal video that a camera's memory must rest on, where its bank has no number of its own.
        wanted_per_day: false alarms a day and camera.
    """

    max_events: int = MAX_EVENTS
    max_bytes: int = MAX_BYTES
    learn_s: float = 60.0
    wanted_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events; None = any.

    Attributes:
        camera: name or pattern (``gate*``).
        since: that were not over before.
        until: that began before.
        about: ``picture``: what a camera shows; ``trouble``: that it is not as its memory knows it.
    """

    show: Show = "unseen"
    camera: str = ""
    since: datetime | None = None
    until: datetime | None = None
    severity: str = ""
    about: Literal["", "picture", "trouble"] = ""
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """An event in a list, with what holds of it."""

    card: EventCard
    said: Said | None


@dataclass(frozen=True, slots=True)
class Unusual:
    """A camera on the wall: its worst open event, and how rare what it shows now is (0 to 1, low = unusual)."""

    camera: CameraCard
    event: EventCard
    score: float
    p: float
    is_unknown: bool
    num_open: int


@dataclass(frozen=True, slots=True)
class Wall:
    """What is unusual now, most unusual first; and how the others fare.

    Attributes:
        states: cameras by state, those left out that are unusual.
        newest_at: when the log took the newest score of all.
    """

    unusual: tuple[Unusual, ...]
    troubled: tuple[CameraCard, ...]
    states: Mapping[str, int]
    num_cameras: int
    newest_at: datetime | None


class Board:
    """See the module. ``now`` is the wall clock, UTC."""

    def __init__(self, bounds: Bounds | None = None, now: Callable[[], datetime] = utc_now) -> None:
        self.bounds = bounds or Bounds()
        self.now = now
        self._lock = threading.RLock()
        self._ledger = Ledger()
        self._events = EventShelf(self._ledger, self.bounds.max_events, self.bounds.max_bytes)
        self._cameras = CameraBook(self._ledger)
        self._verdicts = VerdictBook(self._ledger)
        self._banks = BankBook(self._ledger)
        self._media = MediaBook(self._ledger, self.bounds.max_events)
        self._turns: Counter[str] = Counter()

    def take_event(self, event: AnomalyEvent, heard_at: datetime) -> None:
        """The next message of an event, with the log's time of it."""
        with self._lock:
            if self._events.take(event, heard_at):
                self._turned("wall", "queue")

    def take_score(self, score: FrameScore, heard_at: datetime) -> None:
        """The next score of a camera."""
        with self._lock:
            self._cameras.take_score(score, heard_at)
            self._turned("scores")

    def take_status(self, status: CameraStatus) -> None:
        """What a producer says of a camera."""
        with self._lock:
            self._cameras.take_status(status)
            self._turned("scores")

    def forget_camera(self, camera_id: str) -> None:
        """Its status was taken out of the topic."""
        with self._lock:
            self._cameras.forget(camera_id)
            self._turned("scores")

    def take_camera_event(self, event: CameraEvent) -> None:
        """What happened to a camera once."""
        with self._lock:
            if isinstance(event, CameraGapEvent):
                self._cameras.take_gap(event.data)
            else:
                self._cameras.take_view(event.data)
            self._turned("scores")

    def take_verdict(self, verdict: OperatorVerdict) -> None:
        """What somebody said of an event, here or elsewhere."""
        with self._lock:
            if self._verdicts.take_verdict(verdict):
                self._turned("queue", "verdicts", "wall")

    def take_outcome(self, outcome: VerdictOutcome) -> None:
        """What came of a verdict."""
        with self._lock:
            if self._verdicts.take_outcome(outcome):
                self._turned("verdicts")

    def take_bank(self, header: BankHeader, value: bytes | None) -> None:
        """A version of a bank was announced."""
        with self._lock:
            if self._banks.take(header, value):
                self._turned("memory")

    def take_media(self, media: EventMedia) -> None:
        """A picture or a clip of an event was made, or there is none to make."""
        with self._lock:
            if self._media.take(media):
                self._turned("media")

    def restore(self, rows: Sequence[Row]) -> int:
        """Take in what was kept; how many rows could not be read. Nothing of it is kept anew."""
        with self._lock:
            num_bad = sum(not self._restored(row) for row in rows)
            num_dropped = self._ledger.drops
            self._ledger.drain()
            self._ledger.drops |= num_dropped  # what found no room goes for good
            self._turned("wall", "scores", "queue", "verdicts", "memory", "media")
            return num_bad

    def drain(self) -> Ledger:
        """What is to be kept since the last call."""
        with self._lock:
            return self._ledger.drain()

    def take_back(self, ledger: Ledger) -> None:
        """It could not be written; it comes again with the next ``drain``."""
        with self._lock:
            self._ledger.take_back(ledger)

    def turns(self) -> Mapping[str, int]:
        """A number by part, which is another one when the part has changed."""
        with self._lock:
            return dict(self._turns)

    def event(self, event_id: str) -> Shelved | None:
        """One event."""
        with self._lock:
            return self._events.get(event_id)

    def said(self, event_id: str) -> tuple[list[Said], Said | None]:
        """All that was said of an event, oldest first, and what holds."""
        with self._lock:
            return self._verdicts.of(event_id), self._verdicts.holding(event_id, self.now())

    def media(self, event_id: str) -> Mapping[str, EventMedia]:
        """What was told of an event's picture and clip, by kind."""
        with self._lock:
            return self._media.of(event_id)

    def find(self, wanted: Filter) -> list[Listed]:
        """The events that are asked for: open ones and alerts first, or the newest."""
        now = self.now()
        with self._lock:
            found = [
                Listed(card, self._verdicts.holding(card.event_id, now))
                for card in self._events.cards()
                if _is_wanted(card, wanted)
            ]
        found = [listed for listed in found if _is_shown(listed, wanted.show)]
        order = _newest if wanted.newest_first else _alerts_first
        return sorted(found, key=order, reverse=True)

    def cameras(self) -> list[CameraCard]:
        """All, by name."""
        with self._lock:
            now, alarms = self.now(), self._alarms()
            return [self._card(name, now, alarms) for name in self._cameras.names()]

    def camera(self, camera_id: str) -> tuple[CameraCard, CameraFacts] | None:
        """One camera with what is known of it; None if there is none."""
        with self._lock:
            facts = self._cameras.get(camera_id)
            return None if facts is None else (self._card(camera_id, self.now(), self._alarms()), facts)

    def statuses(self) -> list[CameraStatus]:
        """What producers say, by camera."""
        with self._lock:
            facts = [self._cameras.get(name) for name in self._cameras.names()]
            return [each.status for each in facts if each is not None and each.status is not None]

    def wall(self) -> Wall:
        """What is unusual now."""
        now = self.now()
        with self._lock:
            cards = {card.camera_id: card for card in self.cameras()}
            by_camera: dict[str, list[EventCard]] = {}
            for event in self._events.open_cards():
                if event.trouble is None and self._verdicts.holding(event.event_id, now) is None:
                    by_camera.setdefault(event.camera_id, []).append(event)
            alarms = self._alarms()
            unusual = [
                _unusual(cards.get(name) or self._card(name, now, alarms), events, now)
                for name, events in by_camera.items()
            ]
            heard = [card.heard_at for card in cards.values() if card.heard_at is not None]
        troubled = [card for card in cards.values() if card.state in ("lost", "in doubt", "stale", "frozen")]
        return Wall(
            tuple(sorted(unusual, key=lambda each: (each.is_unknown, each.p, -each.event.peak))),
            tuple(troubled),
            Counter(card.state for name, card in cards.items() if name not in by_camera),
            len(cards),
            max(heard, default=None),
        )

    def banks(self) -> list[str]:
        """Names of the banks that were announced or that cameras are scored with."""
        with self._lock:
            return self._banks.names()

    def versions(self, bank_id: str) -> list[Version]:
        """Of one bank, newest first."""
        with self._lock:
            return self._banks.versions(bank_id)

    def held(self) -> Mapping[str, int]:
        """How much is held, for people."""
        with self._lock:
            return {
                "events": len(self._events),
                "bytes": self._events.num_bytes,
                "dropped": self._events.num_dropped,
                "verdicts": len(self._verdicts),
                "cameras": len(self._cameras.names()),
            }

    def _turned(self, *parts: Part) -> None:
        self._turns.update(parts)

    def _restored(self, row: Row) -> bool:
        at = datetime.fromtimestamp(row.at_ms / 1000, timezone.utc)
        try:
            if row.kind == "event":
                self._events.take(decode_message(AnomalyEvent, row.body), at)
            elif row.kind == "picture":
                self._events.put_picture(row.key, row.body)
            elif row.kind == "verdict":
                self._verdicts.take_verdict(decode_message(OperatorVerdict, row.body))
            elif row.kind == "outcome":
                self._verdicts.take_outcome(decode_message(VerdictOutcome, row.body))
            elif row.kind == "status":
                self._cameras.take_status(decode_message(CameraStatus, row.body))
            elif row.kind == "media":
                self._media.take(decode_message(EventMedia, row.body))
            else:
                self._banks.take(decode_message(BankHeader, row.body), None)
        except BadMessageError:
            return False
        return True

    def _alarms(self) -> Mapping[str, tuple[int, float | None]]:
        """By camera: events of its last day, by its own time, and how many a day were wanted."""
        counted: Counter[str] = Counter()
        wanted: dict[str, float | None] = {}
        newest: dict[str, datetime] = {}
        for card in self._events.cards():
            if card.trouble is not None:
                continue
            facts = self._cameras.get(card.camera_id)
            clock = card.last_at if facts is None or facts.score is None else facts.score.captured_at
            until = newest.setdefault(card.camera_id, max(clock, card.last_at))
            wanted.setdefault(card.camera_id, card.wanted_per_day)
            counted[card.camera_id] += until - card.started_at <= DAY
        return {name: (counted[name], wanted[name]) for name in wanted}

    def _card(self, name: str, now: datetime, alarms: Mapping[str, tuple[int, float | None]]) -> CameraCard:
        facts = self._cameras.get(name) or CameraFacts()
        score, status = facts.score, facts.status
        learning = self._learning(facts)
        state, why = state_of(facts, learning, now)
        had, wanted = alarms.get(name, (0, None))
        return CameraCard(
            camera_id=name,
            state=state,
            why=why,
            score=None if score is None else score.anomaly_score,
            recent=facts.recent(),
            spark=facts.spark(now),
            fps=facts.fps(now),
            wanted_fps=None if status is None else status.wanted_fps,
            heard_at=facts.heard_at,
            captured_at=None if score is None else score.captured_at,
            learning=learning if state == "learning" else None,
            bank_id=None if score is None else score.bank_id,
            bank_version=None if score is None else score.bank_version,
            worker_id=None if score is None else score.worker_id,
            view=None if status is None else status.view,
            lost_frames=()
            if status is None
            else tuple((loss.cause, loss.num_frames) for loss in status.frames.dropped),
            alarms=had,
            wanted=self.bounds.wanted_per_day if wanted is None else wanted,
        )

    def _learning(self, facts: CameraFacts) -> Learning | None:
        if facts.score is None or facts.score.memory_state != "learning":
            return None
        bank_id, fps = facts.score.bank_id, facts.capture_fps()
        frames, own_s = self._banks.known_frames(bank_id), self._banks.learn_s(bank_id)
        if frames is None or not fps:
            return None
        wanted_s = self.bounds.learn_s if own_s is None else own_s
        return Learning(min(frames / fps, wanted_s), wanted_s)


def _unusual(camera: CameraCard, events: Sequence[EventCard], now: datetime) -> Unusual:
    worst = min(events, key=lambda event: (event.is_unknown(now), SEVERITIES.index(_known(event)), -event.peak))
    score = worst.current if camera.recent is None or camera.state == "lost" else camera.recent
    return Unusual(camera, worst, score, p_value(score), worst.is_unknown(now), len(events))


def _known(card: EventCard) -> str:
    """A severity that can be ordered; a newer word counts as the least."""
    return card.severity if card.severity in SEVERITIES else SEVERITIES[-1]


def _is_wanted(card: EventCard, wanted: Filter) -> bool:
    return (
        (not wanted.camera or fnmatchcase(card.camera_id, wanted.camera))
        and (wanted.since is None or card.last_at >= wanted.since)
        and (wanted.until is None or card.started_at < wanted.until)
        and (not wanted.severity or card.severity == wanted.severity)
        and (not wanted.about or (card.trouble is not None) == (wanted.about == "trouble"))
    )


def _is_shown(listed: Listed, show: Show) -> bool:
    judgement = None if listed.said is None else listed.said.verdict.judgement
    if show == "unseen":
        return judgement is None
    if show == "open":
        return listed.card.is_open
    if show == "seen":
        return judgement == "skip"
    return show == "all" or judgement == show


def _newest(listed: Listed) -> tuple[datetime, str]:
    return listed.card.started_at, listed.card.event_id


def _alerts_first(listed: Listed) -> tuple[int, bool, datetime, str]:
    card = listed.card
    return -SEVERITIES.index(_known(card)), card.is_open, card.started_at, card.event_id
