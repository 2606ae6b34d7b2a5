"""How each camera fares: its newest score, what its producer says, what became of its picture, in one word and why."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime

from console.kept import Ledger, Row
from console.words import TROUBLES, lasting
from consumers.cameras import SILENT_BEATS
from schemas.cameras import CameraGap, CameraStatus, CameraView
from schemas.codec import encode_message
from schemas.messages import FrameScore

MAX_CAMERAS = 2000
"""Anybody can make up a camera; those not heard of for longest go."""
SPAN_S = 120
"""So far back go the scores that are kept of a camera, the highest of each second."""
RECENT_S = 10
LOST_S = 30.0
"""A camera without a score for so long is lost."""
MAX_GAPS = 20

_VIEWS = {
    "frozen": "the picture no longer changes",
    "dark": "the picture is dark",
    "covered": "nothing is to be seen in the picture",
    "blurred": "the picture is out of focus",
    "moved": "the camera looks elsewhere",
}


@dataclass(frozen=True, slots=True)
class Learning:
    """How much normal video a camera's memory rests on, of how much it needs, in seconds."""

    known_s: float
    wanted_s: float


@dataclass(frozen=True, slots=True)
class CameraCard:
    """A camera as people see it.

    Attributes:
        state: ``live``, ``learning``, ``frozen``, ``in doubt``, ``stale``, ``lost``; ``why`` says it in words.
        score: the newest, in [0, 1]; ``recent`` the highest of the last seconds; None = none yet.
        spark: the highest of each of the last ``SPAN_S`` seconds; None where there was none.
        fps: scores a second, as they came in.
        heard_at: when the log took its newest score.
        captured_at: when that frame was taken.
        lost_frames: by cause, as its producer says.
        alarms: events of the last 24 hours of its own time, but for trouble; ``wanted`` a day.
    """

    camera_id: str
    state: str
    why: str
    score: float | None
    recent: float | None
    spark: tuple[float | None, ...]
    fps: float | None
    wanted_fps: float | None
    heard_at: datetime | None
    captured_at: datetime | None
    learning: Learning | None
    bank_id: str | None
    bank_version: int | None
    worker_id: str | None
    view: str | None
    lost_frames: tuple[tuple[str, int], ...]
    alarms: int
    wanted: float | None


@dataclass(slots=True)
class _Second:
    """What came of a camera in one second of the log's time."""

    at_s: int
    highest: float | None
    num_scores: int


@dataclass(slots=True)
class CameraFacts:
    """All that is known of one camera. ``began``: index and capture time of a frame some time ago, for its rate."""

    score: FrameScore | None = None
    heard_at: datetime | None = None
    began: tuple[int, datetime] | None = None
    seconds: deque[_Second] = field(default_factory=lambda: deque(maxlen=SPAN_S))
    status: CameraStatus | None = None
    view: CameraView | None = None
    gaps: deque[CameraGap] = field(default_factory=lambda: deque(maxlen=MAX_GAPS))

    def fps(self, now: datetime) -> float | None:
        """Scores a second over the last whole seconds; None before the first."""
        until = int(now.timestamp())
        recent = [second for second in self.seconds if until - RECENT_S <= second.at_s < until]
        if not recent:
            return None if self.heard_at is None or (now - self.heard_at).total_seconds() < RECENT_S else 0.0
        span_s = until - max(recent[0].at_s, until - RECENT_S)
        return sum(second.num_scores for second in recent) / span_s

    def capture_fps(self) -> float | None:
        """Frames a second by the camera's own time, however fast a recording is read."""
        if self.status is not None:
            return self.status.wanted_fps
        if self.began is None or self.score is None:
            return None
        span_s = (self.score.captured_at - self.began[1]).total_seconds()
        return (self.score.frame_index - self.began[0]) / span_s if span_s > 0 else None

    def recent(self) -> float | None:
        """The highest score of the last seconds before the newest; a dip between two frames changes no order."""
        if self.heard_at is None:
            return None
        since = self.heard_at.timestamp() - RECENT_S
        highest = [second.highest for second in self.seconds if second.highest is not None and second.at_s >= since]
        return max(highest, default=None)

    def spark(self, now: datetime) -> tuple[float | None, ...]:
        """The highest score of each of the last seconds, oldest first."""
        until = int(now.timestamp())
        by_second = {second.at_s: second.highest for second in self.seconds}
        return tuple(by_second.get(at_s) for at_s in range(until - SPAN_S, until))


class CameraBook:
    """Facts by camera, bounded. Not thread-safe.

    Args:
        ledger: told what is to be kept: statuses, as the topic keeps the newest alone.
    """

    def __init__(self, ledger: Ledger, max_cameras: int = MAX_CAMERAS) -> None:
        self._ledger = ledger
        self._max_cameras = max_cameras
        self._facts: OrderedDict[str, CameraFacts] = OrderedDict()

    def take_score(self, score: FrameScore, heard_at: datetime) -> None:
        """The next score of a camera."""
        facts = self._of(score.camera_id)
        newest = facts.score
        if newest is None or newest.session_id != score.session_id:
            facts.began = (score.frame_index, score.captured_at)
        facts.score, facts.heard_at = score, heard_at
        at_s = int(heard_at.timestamp())
        if not facts.seconds or facts.seconds[-1].at_s < at_s:
            facts.seconds.append(_Second(at_s, None, 0))
        second = facts.seconds[-1]
        second.num_scores += 1
        if score.anomaly_score is not None:
            second.highest = max(score.anomaly_score, second.highest or 0.0)

    def take_status(self, status: CameraStatus) -> None:
        """The newest word of a producer. Who waits says so beside the one that sends, and must not hide it."""
        facts = self._of(status.camera_id)
        if status.state == "waiting" and facts.status is not None:
            return
        facts.status = status
        at_ms = int(status.reported_at.timestamp() * 1000)
        self._ledger.put(Row("status", status.camera_id, at_ms, encode_message(status)))

    def take_view(self, view: CameraView) -> None:
        """What became of a camera's picture."""
        self._of(view.camera_id).view = view

    def take_gap(self, gap: CameraGap) -> None:
        """Frames of a camera are lost for good."""
        self._of(gap.camera_id).gaps.append(gap)

    def forget(self, camera_id: str) -> None:
        """Its status was taken out of the topic."""
        if self._facts.pop(camera_id, None) is not None:
            self._ledger.drop("status", camera_id)

    def get(self, camera_id: str) -> CameraFacts | None:
        """One camera."""
        return self._facts.get(camera_id)

    def names(self) -> list[str]:
        """All cameras, sorted."""
        return sorted(self._facts)

    def _of(self, camera_id: str) -> CameraFacts:
        facts = self._facts.setdefault(camera_id, CameraFacts())
        self._facts.move_to_end(camera_id)
        if len(self._facts) > self._max_cameras:
            oldest, _ = self._facts.popitem(last=False)
            self._ledger.drop("status", oldest)
        return facts


def state_of(facts: CameraFacts, learning: Learning | None, now: datetime) -> tuple[str, str]:
    """In one word, and why: what is worst comes first."""
    return (
        _lost(facts, now)
        or _producer_trouble(facts)
        or _doubt(facts)
        or _memory_trouble(facts, learning)
        or ("live", "frames are scored with the newest memory" if facts.score is not None else "frames come")
    )


def _lost(facts: CameraFacts, now: datetime) -> tuple[str, str] | None:
    status = facts.status
    if status is not None and status.state == "offline":
        return "lost", f"not connected: {status.why}"
    if status is not None and (now - status.reported_at).total_seconds() > SILENT_BEATS * status.heartbeat_s:
        return "lost", f"its producer was last heard of {lasting((now - status.reported_at).total_seconds())} ago"
    if facts.heard_at is not None and (now - facts.heard_at).total_seconds() > LOST_S:
        return "lost", f"no score for {lasting((now - facts.heard_at).total_seconds())}"
    return None


def _producer_trouble(facts: CameraFacts) -> tuple[str, str] | None:
    status = facts.status
    if status is None:
        return None
    if status.state in ("stale", "waiting"):
        return "stale", f"connected, but no frame comes: {status.why}"
    if status.view == "frozen":
        return "frozen", _VIEWS["frozen"]
    if status.view != "clear":
        return "in doubt", _VIEWS.get(status.view, f"the picture is {status.view}")
    return None


def _doubt(facts: CameraFacts) -> tuple[str, str] | None:
    recognition = None if facts.score is None else facts.score.recognition
    if recognition == "differs":
        return "in doubt", f"{TROUBLES['picture']}; no event opens"
    if recognition == "disturbed":
        return "in doubt", "it shakes, its light changes, or its picture is noisy"
    return None


def _memory_trouble(facts: CameraFacts, learning: Learning | None) -> tuple[str, str] | None:
    state = None if facts.score is None else facts.score.memory_state
    if state == "learning":
        if learning is None:
            return "learning", "its memory has not seen enough yet; no event opens"
        return "learning", f"{learning.known_s:.0f} of {learning.wanted_s:.0f} s of normal video; no event opens"
    if state == "stale":
        return "stale", "the memory's store is away; scored with the last good copy"
    if state == "frozen":
        return "frozen", "its memory is frozen: it is scored, and learns nothing"
    return None
