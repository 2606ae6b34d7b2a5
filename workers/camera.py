"""All that a worker knows of one camera, and the part of it that the next owner inherits.

The window of images is rebuilt from the log; ``CameraState`` travels through the compacted topic ``camera-states``, in
the same transaction as the scores it led to, so both always tell the same story.

Whoever can write that topic must not be able to silence a camera. Where workers have keys, a state has a MAC. Without
one it is believed only as far as it is harmless: ids, times and numbers are checked, a state from the future or about
records far beyond those that were handled is refused (``checked_state``), and what a cursor takes for a repeat or for
over is so only for frames that are not newer than it, nor than the hand-over (``skip_reason``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from inference.fit import Rate
from inference.recognition import Recognition
from inference.scoring import Smoothing
from inference.standard import Standard
from schemas.errors import BadMessageError
from schemas.messages import READING, Count, FrameHeader, Id, UtcTime, ViewState
from workers.continuity import Position, follows, position_of
from workers.output import Tally
from workers.proposals import Block, Draft
from workers.tracker import Happening
from workers.windows import Window

SkipReason = Literal["duplicate", "old_session", "twin_session", "stale", "replayed"]
"""``twin_session``: two senders of one name; the session that began later is scored, the other is not."""

REMEMBERED_SESSIONS = 8
REVIVAL = timedelta(seconds=30)
"""A session that was taken for over goes on if its frames are newer by so much than all that came after it."""
MAX_AHEAD = 10_000
"""Records, more than one commit holds, that a state may account for beyond the position that was committed with it."""
CLOCK_SLACK = timedelta(minutes=5)
"""So far ahead of ours a camera's clock may be."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a camera stands in its stream.

    Attributes:
        last_frame: highest index seen in the session.
        last_at: its capture time; None in states of an older Engram.
        began_at: capture time of the first frame of the session, likewise.
        closed_sessions: are over; what still comes of them is skipped.
    """

    session_id: Id
    last_frame: Count
    fps: Annotated[float, Field(gt=0, le=1000)]
    closed_sessions: tuple[Id, ...] = ()
    last_at: UtcTime | None = None
    began_at: UtcTime | None = None


@dataclass(frozen=True, slots=True)
class CameraState:
    """What the next owner of a camera must know besides the images.

    Attributes:
        last: the newest frame that entered the window, which the next one continues or not.
        offset: in the log of frames, of the newest record that this state accounts for.
        counts: what became of the camera's records so far, whoever handled them.
        recognition: whether it is the camera its memory knows.
        trouble: the event about that, if there is one.
        window_from: offset, in the log of frames, of the oldest record from which the window is to be filled again;
            behind ``offset`` where it was empty. None in states of an older Engram.
    """

    cursor: Cursor
    smoothing: Smoothing | None = None
    happening: Happening | None = None
    last: Position | None = None
    offset: Count | None = None
    counts: Tally = field(default_factory=Tally)
    recognition: Recognition | None = None
    trouble: Happening | None = None
    window_from: Count | None = None
    schema_version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Lesson:
    """A bank's learning of its camera, as the camera's worker sees it.

    Attributes:
        epoch: of the bank; None = not known.
        began_at: capture time of the first frame that it knew too little for.
        is_in_vain: whether it was said that it learns nothing.
    """

    epoch: str | None
    began_at: datetime
    is_in_vain: bool = False


@dataclass(slots=True)
class Camera:
    """One camera under one claim.

    Attributes:
        seen_at_s: when its newest record was handled, on the worker's clock.
        is_silent: whether it was noticed that nothing comes any more.
        replayed: sessions of the frames that an earlier owner handled and that were read again, until the first that is
            handled here.
        refill_from: offset from which the window is filled with them, as the earlier owner said; None = it did not say,
            or there is no more to come of them.
        is_overlooked: whether the log deleted records, perhaps of it, before they were read, since its newest one.
        twin_told_at_s: when it was last said that two send under its name.
        rate: at which its frames come.
        block: highest level in the present block of time; one that changes hands is not counted.
        lesson: while its bank knows too little to judge it by; None = it is known, or nothing is learned.
        standard: what its newest frame was judged by.
        wanted_s: normal video that this is to rest on, in seconds; None where nothing is learned.
        view: what its producer makes of the newest picture; None = nothing.
    """

    camera_id: str
    window: Window
    cursor: Cursor | None = None
    smoothing: Smoothing | None = None
    happening: Happening | None = None
    last: Position | None = None
    offset: int | None = None
    counts: Tally = field(default_factory=Tally)
    recognition: Recognition | None = None
    trouble: Happening | None = None
    draft: Draft | None = None
    seen_at_s: float = 0.0
    is_silent: bool = False
    replayed: set[str] = field(default_factory=set)
    refill_from: int | None = None
    is_overlooked: bool = False
    twin_told_at_s: float = float("-inf")
    rate: Rate | None = None
    block: Block | None = None
    lesson: Lesson | None = None
    standard: Standard | None = None
    wanted_s: float | None = None
    view: ViewState | None = None

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """What is going on, about what it shows and about itself."""
        return tuple(one for one in (self.happening, self.trouble) if one is not None)

    @property
    def is_blind(self) -> bool:
        """Whether its scores mean too little for an event to open."""
        return self.recognition is not None and self.recognition.is_blind

    @property
    def distrust(self) -> str | None:
        """Why its newest frame must not be remembered as normal, as far as the camera is concerned; None = it may be.

        A camera that was tampered with is seen by its producer, one that is another by what the memory knows of it.
        """
        if self.view not in (None, "clear"):
            return f"view_{self.view}"
        if self.recognition is None or self.recognition.teaches:
            return None
        return self.recognition.state if self.recognition.is_trouble else "blind"

    @property
    def teaches(self) -> bool:
        """Whether there is no such reason."""
        return self.distrust is None

    def clear_window(self) -> None:
        """Start anew: nothing that came before is to be in a clip, whoever cuts it."""
        self.window.clear()
        self.refill_from = None

    def was_in_window(self, header: FrameHeader, offset: int) -> bool:
        """Whether a frame that is read again was in the window that an earlier owner had, after those that are in it.

        Not those which that owner passed over, nor what came before it let go of its window.
        """
        if self.cursor is not None and self.cursor.session_id != header.session_id:
            return False
        frames = self.window.frames
        if self.refill_from is None:  # of an older Engram it is known only that it skipped what came once more
            return not frames or header.frame_index > frames[-1].position.frame_index
        return offset >= self.refill_from and (not frames or follows(frames[-1].position, position_of(header)))

    def _window_from(self) -> int | None:
        needed_from = self.window.needed_from()
        if needed_from is not None:
            return needed_from
        if self.refill_from is not None:  # it is yet to be filled
            return self.refill_from
        return None if self.offset is None else self.offset + 1

    def state(self) -> CameraState | None:
        """What to hand on; None before the first frame."""
        if self.cursor is None:
            return None
        return CameraState(
            self.cursor,
            self.smoothing,
            self.happening,
            self.last,
            self.offset,
            self.counts,
            self.recognition,
            self.trouble,
            self._window_from(),
        )


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera as others may see it.

    Attributes:
        partition: whose camera it is.
        session_id: None before its first frame.
        last_at: capture time of its newest frame; None before its first.
        counts: scored, warming and skipped frames, and dead letters, whoever handled them.
        event_since: when its open event began, by its frames; None = none is open.
        known_s: normal video that it is judged by, in seconds; None before its first score.
        wanted_s: normal video that it is to be judged by; None before its first score, and where nothing is learned.
    """

    camera_id: str
    partition: int
    session_id: str | None
    last_at: datetime | None
    counts: dict[str, int]
    is_silent: bool
    event_since: datetime | None
    known_s: float | None
    wanted_s: float | None = None


def view_of(camera: Camera, partition: int) -> CameraView:
    """How a camera looks now. It may be another thread's: nothing is gone through that may grow meanwhile."""
    cursor, counts, happening = camera.cursor, camera.counts, camera.happening
    dead, skipped = sum(list(counts.dead_lettered.values())), sum(list(counts.skipped.values()))
    return CameraView(
        camera.camera_id,
        partition,
        cursor.session_id if cursor else None,
        cursor.last_at if cursor else None,
        {"scored": counts.scored, "warming": counts.warming, "skipped": skipped, "dead_lettered": dead},
        camera.is_silent,
        happening.started_at if happening is not None and happening.is_open else None,
        None if camera.standard is None else camera.standard.seconds_seen,
        camera.wanted_s,
    )


def has_passed(cursor: Cursor | None, header: FrameHeader) -> bool:
    """Whether a camera came by ``header``, by sessions and indices alone.

    No reason to skip a frame that is not known to have come before: a forged cursor knows any session.
    """
    if cursor is None:
        return False
    is_of_session = header.session_id == cursor.session_id
    return header.session_id in cursor.closed_sessions or (is_of_session and header.frame_index <= cursor.last_frame)


def skip_reason(cursor: Cursor | None, header: FrameHeader, revival: timedelta = REVIVAL) -> SkipReason | None:
    """Why a record must not be handled (again), if so.

    A repeat has the capture time of its first coming, so a frame that is newer than the cursor is none, whatever its
    index; and a session that was closed, but still sends when nothing else has for a while (``revival``), goes on.
    """
    if cursor is None or not has_passed(cursor, header):
        return None
    newest = cursor.last_at or header.captured_at
    if header.session_id in cursor.closed_sessions:
        if header.captured_at > newest + revival:
            return None
        is_ours = header.session_id == cursor.session_id  # ended by its own end record
        began = cursor.began_at or header.captured_at
        return "twin_session" if not is_ours and header.captured_at > began else "old_session"
    return None if header.captured_at > newest else "duplicate"


def revival_of(camera: Camera, session_id: str) -> timedelta:
    """How much newer the frames of a session must be than the cursor that calls it over.

    A camera whose last frames are of that session alone is in it: a state that calls it over is forged, or the frames
    were the first in a while. What remains is that they must be newer.
    """
    closed = camera.cursor.closed_sessions if camera.cursor is not None else ()
    is_alone = session_id in camera.replayed and camera.replayed.issubset(closed)
    return timedelta(0) if is_alone else REVIVAL


def advanced(cursor: Cursor | None, header: FrameHeader) -> Cursor:
    """The cursor after ``header``: a new session closes the one before, an end record closes its own."""
    begins = cursor is None or cursor.session_id != header.session_id
    closed = tuple(one for one in cursor.closed_sessions if one != header.session_id) if cursor else ()
    if cursor and begins and cursor.session_id not in closed:
        closed = (*closed, cursor.session_id)
    if header.kind == "end_of_session":
        closed = (*closed, header.session_id)
    began_at = header.captured_at if cursor is None or begins else cursor.began_at
    kept = closed[-REMEMBERED_SESSIONS:]
    return Cursor(header.session_id, header.frame_index, header.fps, kept, header.captured_at, began_at)


def begins_session(cursor: Cursor | None, header: FrameHeader) -> bool:
    """Whether ``header`` is the first of a session this camera was not in."""
    return cursor is not None and cursor.session_id != header.session_id


_STATE: TypeAdapter[CameraState] = TypeAdapter(CameraState)


def encode_state(state: CameraState) -> bytes:
    """JSON for the state topic."""
    return _STATE.dump_json(state)


def decode_states(
    payloads: Mapping[str, bytes], committed_offset: int, now: datetime
) -> tuple[Mapping[str, CameraState], Mapping[str, BadMessageError]]:
    """States by camera id, and what cannot be read or believed: those cameras start anew.

    Args:
        payloads: newest state by camera id.
        committed_offset: of the partition; a state accounts for records before it, or a little further (``MAX_AHEAD``).
        now: wall clock.
    """
    states: dict[str, CameraState] = {}
    unreadable: dict[str, BadMessageError] = {}
    for camera_id, payload in payloads.items():
        try:
            states[camera_id] = checked_state(
                _STATE.validate_json(payload, extra="ignore", context=READING), committed_offset, now
            )
        except (ValidationError, BadMessageError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            text = f"state of camera '{camera_id:.64}' cannot be used, it starts anew: {why}"
            unreadable[camera_id] = BadMessageError("bad_state", text)
    return states, unreadable


_HAPPENING: TypeAdapter[Happening] = TypeAdapter(Happening)
_CAMERA_ID: TypeAdapter[str] = TypeAdapter(Id)
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def left_open(camera_id: str, payload: bytes) -> Happening | None:
    """The open event that a state tells of which cannot be used otherwise, so that it can be ended; None if none."""
    try:
        _CAMERA_ID.validate_python(camera_id)
        told = _ANYTHING.validate_json(payload)
        happening = told.get("happening") if isinstance(told, dict) else None
        found = _HAPPENING.validate_python(happening, extra="ignore", context=READING)
    except ValidationError:
        return None
    return found if found.is_open and is_plausible(found) else None


def is_plausible(happening: Happening) -> bool:
    """Whether a tracker can have come to this state."""
    length = happening.last_frame - happening.first_frame + 1
    return 1 <= length < 2**52 and happening.num_scored <= length and happening.num_calm < 2**52


def checked_state(state: CameraState, committed_offset: int, now: datetime) -> CameraState:
    """The state, if a worker can have written it.

    Raises:
        BadMessageError: it cannot.
    """
    if state.offset is not None and state.offset >= committed_offset + MAX_AHEAD:
        text = f"it must be about records before offset {committed_offset + MAX_AHEAD}, it is about {state.offset}"
        raise BadMessageError("bad_state", text)
    times = [state.cursor.last_at, state.cursor.began_at]
    if state.last is not None:
        times.append(state.last.captured_at)
    for happening in (state.happening, state.trouble):
        times += [happening.started_at, happening.last_at] if happening is not None else []
        if happening is not None and not is_plausible(happening):
            raise BadMessageError("bad_state", "its event must hold the frames it counts")
    if any(time is not None and time > now + CLOCK_SLACK for time in times):
        raise BadMessageError("bad_state", f"its times must lie before {now + CLOCK_SLACK:%Y-%m-%dT%H:%MZ}")
    if len(state.cursor.closed_sessions) > REMEMBERED_SESSIONS:
        text = f"it must name at most {REMEMBERED_SESSIONS} sessions, it has {len(state.cursor.closed_sessions)}"
        raise BadMessageError("bad_state", text)
    # Nothing was handled before it was captured. States of an older Engram do not say when it was.
    last_at = min(state.cursor.last_at or now, now)
    return replace(state, cursor=replace(state.cursor, last_at=last_at))


def restored(camera_id: str, state: CameraState, window: Window, now_s: float) -> Camera:
    """The camera as its last owner left it, less the images."""
    return Camera(
        camera_id,
        window,
        state.cursor,
        state.smoothing,
        state.happening,
        state.last,
        state.offset,
        state.counts,
        state.recognition,
        state.trouble,
        seen_at_s=now_s,
        refill_from=state.window_from,
    )
