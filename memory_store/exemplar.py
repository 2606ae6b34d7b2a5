"""What operators said of events, remembered in a bank beside its items and counts, and what it covers.

An exemplar is one event that somebody called *normal* or *real*: how unusual each place was, how large what was
unusual there, at most. Nothing of it fades or adds up: it stays as it is until it is undone or expires.

**What is taken for normal.** A *thing* is a connected group of patches of a frame that lie above the worst patch of a
usual frame; its size is the box, in patches, around those that are about as irregular as its worst. One of an
exemplar's two rules must hold:

* it is *as it was*: no patch lies more than ``SAME`` above the trace at its place, and it is nowhere larger than what
  was seen there;
* it is *like it*: no patch lies more than ``SLACK`` above what the trace has within ``REACH`` patches (at scope
  ``camera`` and ``bank``: above the trace's highest anywhere), and it is no larger than the event where it was alone.
  What the edge of the image cuts may be larger than it looks, and counts ``CUT`` times.

Speed alone cannot tell a cart from a bicycle; size and place do. ``docs/memory.md`` says where the constants come from.

**What is real** is covered by nothing: neither by an exemplar that is added later (``silenced_by``) nor, whatever came
first, when a frame is read (``resembles``).

Dimensions: R x S patches of 16 pixels at half overlap, as in heat maps.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from memory_store.normality import PLACE_CELLS, Grid
from schemas.arrays import Bool, Float64, UInt8
from schemas.errors import BadMessageError
from schemas.messages import Count, DerivedId, HeatMap, Id, UtcTime
from schemas.verdicts import OperatorVerdict, Scope

HALF_AT = 4.0
"""Spreads at half of the common scale of heat maps."""
PATCH_STEP = 2
"""Cells from one patch to the next; a patch is as wide as a place."""
MAX_EXEMPLARS = 64
MAX_BYTES = 80 * 1024
"""Of all exemplars of a bank, so that it stays within 128 KiB with items and counts."""
REACH = 2
SLACK = 1.0
SAME = 0.25
CUT = 2
FULL = 254.5
"""What the highest level of the scale is taken for, which has no end."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One event that somebody has spoken about.

    Attributes:
        event_id, camera_id: of the event.
        judgement: what was said.
        scope: where the like of it is meant.
        rows, columns: of the trace.
        trace: the most unusual that each patch was, one byte each on the common scale, base64.
        extents: the largest size of what was unusual there, in patches, likewise; empty = not known.
        size: in patches, where it was alone.
        operator: who said it.
        given_at: when.
        expires_at: from then on it is to be taken out; None = never.
    """

    event_id: DerivedId
    camera_id: Id
    judgement: Literal["normal", "real"]
    scope: Scope
    rows: Annotated[int, Field(ge=1, le=4096)]
    columns: Annotated[int, Field(ge=1, le=4096)]
    trace: str
    extents: str
    size: Count
    operator: Annotated[str, Field(min_length=1, max_length=128)]
    given_at: UtcTime
    expires_at: UtcTime | None = None

    def concerns(self, camera_id: str) -> bool:
        """Whether it says something about what this camera shows."""
        return self.scope == "bank" or self.camera_id == camera_id

    def is_over(self, now: datetime) -> bool:
        """Whether it is to be taken out."""
        return self.expires_at is not None and self.expires_at <= now

    def flaw(self, grid: Grid) -> str | None:
        """What keeps it from being one of a bank of this grid; None = nothing."""
        if (self.rows, self.columns) != trace_shape(grid):
            return f"a trace must be of {trace_shape(grid)} patches, that of '{self.event_id}' is of " + str(
                (self.rows, self.columns)
            )
        wanted = self.rows * self.columns
        for what, text, may_be_empty in (("trace", self.trace, False), ("extents", self.extents, True)):
            if not (may_be_empty and not text) and _num_bytes(text) != wanted:
                return f"the {what} of '{self.event_id}' must be {wanted} bytes as base64"
        return None


_EXEMPLARS: TypeAdapter[tuple[Exemplar, ...]] = TypeAdapter(tuple[Exemplar, ...])


def exemplar_of(verdict: OperatorVerdict) -> Exemplar:
    """What a bank remembers of a verdict ``normal`` or ``real``.

    Raises:
        BadMessageError: ``bad_shape``: it does not say what the event looked like.
    """
    trace, judgement = verdict.trace, verdict.judgement
    if trace is None or judgement not in ("normal", "real"):
        raise BadMessageError("bad_shape", "a verdict 'normal' or 'real' must hold the trace of its event")
    if trace.scale != "common" or len(trace.values) != trace.rows * trace.columns or not any(trace.values):
        raise BadMessageError(
            "bad_shape", "a trace must have a value for each place, on the common scale, and not all 0"
        )
    if len(verdict.extents) not in (0, len(trace.values)):
        raise BadMessageError("bad_shape", "extents must be as many as the places of the trace, or none")
    return Exemplar(
        event_id=verdict.event_id,
        camera_id=verdict.camera_id,
        judgement=judgement,
        scope=verdict.scope,
        rows=trace.rows,
        columns=trace.columns,
        trace=_packed(trace.values),
        extents=_packed(verdict.extents),
        size=_size(verdict, trace),
        operator=verdict.operator,
        given_at=verdict.given_at,
        expires_at=verdict.expires_at,
    )


def to_bytes(exemplars: Sequence[Exemplar]) -> bytes:
    """Canonical JSON, the same for the same exemplars; nothing for none."""
    if not exemplars:
        return b""
    content = _EXEMPLARS.dump_python(tuple(exemplars), mode="json")
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def from_bytes(content: bytes) -> tuple[Exemplar, ...]:
    """Inverse of ``to_bytes``.

    Raises:
        BadMessageError: ``bad_payload``: it is not what ``to_bytes`` writes, or too much.
    """
    if not content:
        return ()
    if len(content) > MAX_BYTES:
        raise BadMessageError("bad_payload", f"exemplars must be at most {MAX_BYTES} bytes, got {len(content)}")
    try:
        found = _EXEMPLARS.validate_json(content)
    except ValidationError as error:
        raise BadMessageError("bad_payload", f"exemplars: {error.errors(include_url=False)[0]['msg']:.200}") from error
    if to_bytes(in_order(found)) != content:
        raise BadMessageError("bad_payload", "exemplars must be sorted, one of each event, and written canonically")
    if len(found) > MAX_EXEMPLARS:
        raise BadMessageError("bad_payload", f"exemplars must be at most {MAX_EXEMPLARS}, got {len(found)}")
    return found


def in_order(exemplars: Iterable[Exemplar]) -> tuple[Exemplar, ...]:
    """Sorted by event, the last of each event alone."""
    by_event = {exemplar.event_id: exemplar for exemplar in exemplars}
    return tuple(by_event[event_id] for event_id in sorted(by_event))


def trace_shape(grid: Grid) -> tuple[int, int]:
    """(R, S) of the maps of a camera with such cells."""
    rows, columns = (size - PLACE_CELLS + 1 for size in (grid.rows, grid.columns))
    return -(-rows // PATCH_STEP), -(-columns // PATCH_STEP)


def shares_of(spreads_RS: Float64) -> Float64:
    """Spreads above the worst patch of a usual frame on the common scale, [0, 1): z / (z + ``HALF_AT``), 0 below."""
    above_RS = np.maximum(spreads_RS, 0.0)
    return np.asarray(above_RS / (above_RS + HALF_AT))


def levels_of(spreads_RS: Float64) -> UInt8:
    """The same in whole numbers, 0 to 255; it never saturates."""
    return np.rint(255.0 * shares_of(spreads_RS)).astype(np.uint8)


def spreads_at(levels_RS: UInt8 | Float64) -> Float64:
    """Spreads above the worst patch of a usual frame, of levels on the common scale; 0 = there or below."""
    bounded_RS = np.minimum(levels_RS.astype(np.float64), FULL)
    return np.asarray(HALF_AT * bounded_RS / (255.0 - bounded_RS))


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A connected group of patches above the worst of a usual frame.

    Attributes:
        where_RS: its patches.
        spreads_N: theirs, in the order of ``where_RS``.
        traced_N: the same as a trace would tell it, which is rough far beyond the middle of the scale.
        size: in patches, see the module.
        is_cut: whether the edge of the image cuts it.
    """

    where_RS: Bool
    spreads_N: Float64
    traced_N: Float64
    size: int
    is_cut: bool

    @classmethod
    def of(cls, where_RS: Bool, spreads_RS: Float64, size: int, is_cut: bool) -> "Thing":
        """The thing at some patches of a map."""
        spreads_N = spreads_RS[where_RS]
        return cls(where_RS, spreads_N, spreads_at(levels_of(spreads_N)), size, is_cut)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An exemplar, ready to be held against things."""

    of: Exemplar
    trace_RS: Float64
    reach_RS: Float64
    extents_RS: UInt8

    @classmethod
    def by(cls, exemplar: Exemplar) -> "Shown":
        """Unpack one without a flaw."""
        shape = exemplar.rows, exemplar.columns
        trace_RS = spreads_at(_unpacked(exemplar.trace).reshape(shape))
        extents = _unpacked(exemplar.extents) if exemplar.extents else np.zeros(shape, np.uint8)
        wide = exemplar.scope != "place"
        reach_RS = np.full(shape, trace_RS.max()) if wide else _highest_within(trace_RS, REACH)
        return cls(exemplar, trace_RS, reach_RS, extents.reshape(shape))

    def covers(self, thing: Thing) -> bool:
        """Whether it is as this event was, or like it; see the module."""
        where_RS = thing.where_RS
        was_as_large = min(thing.size, 255) <= self.extents_RS[where_RS].min()
        if was_as_large and (thing.traced_N <= self.trace_RS[where_RS] + SAME).all():
            return True
        size = thing.size * (CUT if thing.is_cut else 1)
        return size <= self.of.size and bool((thing.spreads_N <= self.reach_RS[where_RS] + SLACK).all())

    def resembles(self, thing: Thing) -> bool:
        """Whether a thing may be this event again: about as unusual where that was, and not much smaller."""
        worst = int(thing.spreads_N.argmax())
        there = self.reach_RS[thing.where_RS][worst]
        return bool(0 < there <= thing.spreads_N[worst] + SLACK) and CUT * thing.size >= self.of.size

    def as_thing(self) -> Thing:
        """What it looked like at its worst: all patches at least half as many spreads above a usual frame."""
        where_RS = self.trace_RS >= self.trace_RS.max() / 2
        return Thing.of(where_RS, self.trace_RS, self.of.size, is_cut=False)


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What was said that concerns one camera."""

    normal: tuple[Shown, ...]
    real: tuple[Shown, ...]

    @classmethod
    def of(cls, exemplars: Iterable[Exemplar], camera_id: str, grid: Grid) -> "Taught | None":
        """None where nothing was said of it that is of its places."""
        concerning = [one for one in exemplars if one.concerns(camera_id) and one.flaw(grid) is None]
        shown = [Shown.by(exemplar) for exemplar in concerning]
        normal, real = (tuple(one for one in shown if one.of.judgement == said) for said in ("normal", "real"))
        return cls(normal, real) if shown else None

    def covers(self, thing: Thing) -> bool:
        """Whether a thing is taken for normal."""
        return any(one.covers(thing) for one in self.normal) and not self.is_real(thing)

    def is_real(self, thing: Thing) -> bool:
        """Whether a thing may be one that was called real."""
        return any(one.resembles(thing) for one in self.real)


def silenced_by(added: Exemplar, others: Iterable[Exemplar]) -> Exemplar | None:
    """The first event called real that would be taken for normal with one more exemplar; None = none would.

    Of two cameras, only what is meant for the whole bank can silence the other's.
    """
    if added.judgement != "normal":
        return None
    shown = Shown.by(added)
    canaries = (one for one in others if one.judgement == "real" and one.event_id != added.event_id)
    return next(
        (one for one in canaries if added.concerns(one.camera_id) and shown.covers(Shown.by(one).as_thing())), None
    )


def _highest_within(values_RS: Float64, reach: int) -> Float64:
    """The largest value within a square of ``reach`` patches around each; values are not negative."""
    for axis in (0, 1):
        widths = [(0, 0), (0, 0)]
        widths[axis] = (reach, reach)
        padded = np.pad(values_RS, widths)
        size = values_RS.shape[axis]
        values_RS = np.max([padded.take(range(at, at + size), axis) for at in range(2 * reach + 1)], axis=0)
    return values_RS


def _size(verdict: OperatorVerdict, trace: HeatMap) -> int:
    """Of an event: the least of its extents where it was at least half as unusual as at its worst.

    Where somebody came near it, both were one thing; where it was alone it has its own size. An event that was told
    without extents has that of its peak.
    """
    spreads_N = spreads_at(np.array(trace.values, np.float64))
    if verdict.extents:
        return int(np.array(verdict.extents)[spreads_N >= spreads_N.max() / 2].min())
    share = verdict.regions[0].box[2] * verdict.regions[0].box[3] if verdict.regions else 0.0
    return round(share * trace.rows * trace.columns)


def _packed(values: Sequence[int]) -> str:
    return base64.b64encode(bytes(values)).decode()


def _unpacked(text: str) -> UInt8:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def _num_bytes(text: str) -> int | None:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
