"""What is normal at a camera, as counts that add up.

A bank of items (``proposal.py``) says what normal frames look like to a network; this says how often what was seen: how
fast things move in each row of the image, how large the prediction error is at each place, what the background looks
like, what the evidences and the level of the score were. None of it needs a gradient, and all of it is additive, so
whatever way frames were spread over workers, merging in any order gives what one process with all the frames would have
counted.

What is long ago counts less: an observation x_i at capture time t_i has, at time t, the weight 2^((t_i - t) / h), h the
half-life. Kept is the pair (t_ref, S = sum_i 2^((t_i - t_ref) / h) x_i), t_ref the newest capture time; two pairs
merge by bringing both to the later t_ref and adding (forward decay, Cormode et al., ICDE 2009). That is the monoid of
``proposal.py`` with capture time in place of similarity.

Three fields are of what frames *scored*, and the score may be another one in a later Engram. So counts say of which
form they are; where forms meet, those of the older one are left out, and the camera learns them anew in a minute.

Numbers are float64: in float32 a count stops growing at 2^24, which a week of one camera passes.

Dimensions: R rows of cells, B speed bins, P x Q places, L level bins, N numbers in all.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np

from schemas.arrays import Float64
from schemas.errors import BadMessageError
from schemas.messages import NormalityHeader

FORM = 2
"""Of the score whose ``BY_SCORE`` we count: one more whenever the same frame gives other evidences or levels."""
BY_SCORE = ("evidence", "levels", "peaks")
"""What another form's score would have counted otherwise; the other fields are of the frames alone."""
NUM_SPEED_BINS = 18
SPEED_FLOOR_PX = 0.25
"""Pixels a frame; slower cells are optical flow's noise, and are not counted."""
SPEED_BINS_PER_OCTAVE = 2
PLACE_CELLS = 4
"""A place is a square of so many cells."""
NUM_EVIDENCES = 3
NUM_LEVEL_BINS = 256
LEVEL_FROM, LEVEL_TO = -4.0, 12.0
"""In spreads of a normal frame from the mean; what lies outside counts in the outermost bin."""
FLOOR_BIN_EDGES = SPEED_FLOOR_PX * 2.0 ** (np.arange(NUM_SPEED_BINS) / SPEED_BINS_PER_OCTAVE)
"""Lower edges of the speed bins, pixels a frame: 0.25, 0.35, 0.5 ... 90; the last bin is open."""
MOMENT_SLACK = 1e-6
"""Share by which sums of squares may fall short of what the sums ask for, by rounding."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How many cells an image has; both at least ``PLACE_CELLS``.

    Attributes:
        rows, columns: of cells of ``networks.measures.CELL_PX`` pixels.
    """

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < PLACE_CELLS:
            raise ValueError(f"a grid must have at least {PLACE_CELLS} x {PLACE_CELLS} cells, got {self}")

    @property
    def places(self) -> tuple[int, int]:
        """(P, Q); cells beyond the last whole place belong to it."""
        return self.rows // PLACE_CELLS, self.columns // PLACE_CELLS

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each field, in the order in which they lie in the vector."""
        return _layout(self).shapes

    @property
    def size(self) -> int:
        """N."""
        return _layout(self).size


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the fields of a grid lie: made once, since each look at a field asks for it."""

    shapes: Mapping[str, tuple[int, ...]]
    spans: Mapping[str, slice]
    size: int


@lru_cache(maxsize=64)
def _layout(grid: Grid) -> _Layout:
    places = grid.places
    shapes: dict[str, tuple[int, ...]] = {
        "frames": (),
        "psnr": (2,),
        "speeds": (grid.rows, NUM_SPEED_BINS),
        "errors": (*places, 3),
        "background": (*places, 2),
        "evidence": (NUM_EVIDENCES, 3),
        "levels": (NUM_LEVEL_BINS,),
        "peaks": (NUM_LEVEL_BINS,),
    }
    ends = list(accumulate(math.prod(shape) for shape in shapes.values()))
    spans = {name: slice(end - math.prod(shape), end) for (name, shape), end in zip(shapes.items(), ends, strict=True)}
    return _Layout(shapes, spans, ends[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Normality:
    """Decayed counts of one camera or of many.

    Attributes:
        grid: of the image.
        at_s: capture time that the weights refer to, seconds since 1970; -inf if nothing was ever seen.
        values_N: all fields, end to end, float64.
        form: of the score that ``BY_SCORE`` were counted by.
    """

    grid: Grid
    at_s: float
    values_N: Float64
    form: int = FORM

    def __post_init__(self) -> None:
        if self.values_N.shape != (self.grid.size,):
            text = f"statistics of a grid of {self.grid.rows} x {self.grid.columns} must be {self.grid.size} numbers"
            raise BadMessageError("bad_payload", f"{text}, got shape {self.values_N.shape}")

    @classmethod
    def empty(cls, grid: Grid) -> "Normality":
        """The neutral element."""
        return cls(grid, -math.inf, np.zeros(grid.size))

    @classmethod
    def of(cls, grid: Grid, at_s: float, **fields: Float64 | float) -> "Normality":
        """From the named fields; the others are zero.

        Raises:
            BadMessageError: a field does not have its shape; KeyError: there is none of that name.
        """
        made = cls(grid, at_s, np.zeros(grid.size))
        for name, value in fields.items():
            if np.shape(value) != grid.shapes[name]:
                text = f"'{name}' must have shape {grid.shapes[name]}, got {np.shape(value)}"
                raise BadMessageError("bad_payload", text)
            made.field(name)[...] = value
        return made

    @classmethod
    def from_wire(cls, header: NormalityHeader, value: bytes) -> "Normality":
        """Inverse of ``to_wire``; read-only for good.

        Raises:
            BadMessageError: the length does not fit the header, or ``check`` fails.
        """
        grid = Grid(header.rows, header.columns)
        if len(value) != 8 * grid.size:
            text = f"counts of a grid of {grid.rows} x {grid.columns} must be {8 * grid.size} bytes, got {len(value)}"
            raise BadMessageError("bad_payload", text)
        at_s = -math.inf if header.at_s is None else header.at_s
        found = cls(grid, at_s, np.frombuffer(value, "<f8"), header.form)
        found.check()
        return found

    def to_wire(self) -> tuple[NormalityHeader, bytes]:
        """What they are of, and the numbers as float64, little-endian."""
        at_s = None if self.at_s == -math.inf else self.at_s
        header = NormalityHeader(rows=self.grid.rows, columns=self.grid.columns, at_s=at_s, form=self.form)
        return header, np.ascontiguousarray(self.values_N, "<f8").tobytes()

    def field(self, name: str) -> Float64:
        """A view of one field."""
        layout = _layout(self.grid)
        return self.values_N[layout.spans[name]].reshape(layout.shapes[name])

    @property
    def num_frames(self) -> float:
        """Frames seen, each with its weight."""
        return float(self.field("frames"))

    def at(self, at_s: float, half_life_s: float) -> "Normality":
        """The same as of another time; an earlier one would make the past weigh more, and is refused.

        Raises:
            ValueError: ``at_s`` lies before this.
        """
        if at_s < self.at_s:
            raise ValueError(f"statistics as of {self.at_s} cannot be taken back to {at_s}")
        return replace(self, at_s=at_s, values_N=self.values_N * _weight(self.at_s, at_s, half_life_s))

    def merge(self, other: "Normality", half_life_s: float) -> "Normality":
        """Both; commutative, and associative up to rounding."""
        return merge_all([self, other], half_life_s)

    def scaled(self, weight: float) -> "Normality":
        """Every count times ``weight``, as of the same time."""
        return replace(self, values_N=self.values_N * weight)

    def in_form(self, form: int = FORM) -> "Normality":
        """The same for a score of another form: what frames were stays, what they scored has to be counted anew."""
        if form == self.form:
            return self
        kept = replace(self, values_N=self.values_N.copy(), form=form)
        for name in BY_SCORE:
            kept.field(name)[...] = 0.0
        return kept

    def check(self) -> None:
        """Raise unless this can be what frames gave.

        Raises:
            BadMessageError: ``not_finite`` or ``implausible``.
        """
        if not np.isfinite(self.values_N).all() or math.isnan(self.at_s) or self.at_s == math.inf:
            raise BadMessageError("not_finite", "statistics must be finite")
        counts = ("frames", "speeds", "levels", "peaks")
        if any((self.field(name) < 0).any() for name in counts):
            raise BadMessageError("implausible", "counts must not be negative")
        frames, errors, evidence = self.field("frames"), self.field("errors"), self.field("evidence")
        moments = [
            (frames, self.field("psnr")[0], self.field("psnr")[1]),
            (errors[..., 0], errors[..., 1], errors[..., 2]),
            (evidence[..., 0], evidence[..., 1], evidence[..., 2]),
            (frames, self.field("background")[..., 0], self.field("background")[..., 1]),
        ]
        if not all(_moments_hold(*moment) for moment in moments):
            raise BadMessageError("implausible", "sums of squares must fit the sums and the counts")


def merge_all(parts: Iterable[Normality], half_life_s: float) -> Normality:
    """Merge one or more, of one grid. Of several forms the newest one's score counts.

    Args:
        parts: in any order.
        half_life_s: of an observation's weight; infinity = nothing is forgotten.

    Raises:
        ValueError: grids differ.
    """
    all_parts = list(parts)
    grid, at_s = all_parts[0].grid, max(part.at_s for part in all_parts)
    if any(part.grid != grid for part in all_parts):
        raise ValueError(f"statistics must be of one grid, got {sorted({str(part.grid) for part in all_parts})}")
    weights = [_weight(part.at_s, at_s, half_life_s) for part in all_parts]
    form = max((part.form for part in all_parts if part.at_s > -math.inf), default=FORM)
    values_PN = np.stack([part.in_form(form).values_N for part in all_parts])
    return Normality(grid, at_s, np.asarray(weights) @ values_PN, form)


def _weight(from_s: float, to_s: float, half_life_s: float) -> float:
    """Of what was seen at ``from_s``, as of the later ``to_s``; 0 where nothing was seen."""
    if from_s == to_s:
        return 1.0
    return 0.0 if from_s == -math.inf else 2.0 ** -((to_s - from_s) / half_life_s)


def _moments_hold(counts: Float64, sums: Float64, squares: Float64) -> bool:
    """Cauchy-Schwarz: sum(x)^2 <= n sum(x^2), and nothing without a count."""
    return bool((counts >= 0).all() and (np.square(sums) <= counts * squares * (1 + MOMENT_SLACK) + MOMENT_SLACK).all())
