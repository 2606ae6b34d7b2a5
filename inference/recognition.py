"""Is this the camera that a memory knows? Asked of whole pictures, frame by frame, and answered over seconds.

Four questions, each against what the memory has seen, in units in which a camera that is known stays below 1:

    picture   upper quartile over places of  |grey - a - b mean| / spread,  a and b the best offset and gain
    error     lower quartile over places of  (ln e - mean) / spread
    shift     how far the whole picture moved since the frame before, see ``inference.steadiness``
    light     by how much the whole picture became brighter or darker in the last seconds

What happens in a part of the picture, however much of an anomaly it is, leaves the rest of it as it was: a truck that
stops covers less than a quarter of all places, a crowd that runs leaves a quarter of them alone, and neither moves the
median. So an anomaly is no disturbance.

    learning    the memory has seen too little to say
    known       it is the camera, and as it was
    differs     it shows something else: another camera, turned, covered, or in a light never seen
    disturbed   it shakes, its light changes, its picture is noisy or blurred

Dimensions: P x Q places.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from inference.engine import ClipResult
from inference.evidence import MIN_GREY_SPREAD, log_place_errors, usual_errors
from inference.scoring import smoothing_weight
from inference.steadiness import LEAST_LIGHT, Change
from memory_store.normality import Normality
from schemas.arrays import Float32, Float64
from schemas.messages import Count, RecognitionState, TroubleCause

PICTURE_BOUND = 1.9
ERROR_BOUND = 1.0
SHIFT_BOUND_PX = 0.5
LIGHT_BOUND = 0.1
"""See ``docs/memory.md`` for what cameras show that are known, and what others do."""
GAIN_FROM, GAIN_TO = 0.5, 2.0
"""What has less contrast than half of what is remembered is not the same picture: it is covered."""
QUARTILE = 0.25
SLOW_S = 5.0
QUICK_S = 0.5
"""As slow as the score falls (``inference.rarity``); doubt rises at once, for events must not be quicker."""
FIRST_S = 1.0
"""Video from which the state may be told."""
LEAVE = 0.7
"""Share of a bound below which a state ends."""
MOST = 4.0
"""More says no more: or else seconds of it would be felt for minutes."""
LEARNED_FRAMES = 200.0
"""After which a memory knows its camera: most of what more gives is there, and pictures differ for sure."""
YOUNG_FRAMES = 600.0
"""At which what a memory has not seen vary yet is trusted to vary no more than twice as much, squared."""

Share = Annotated[float, Field(ge=0.0, le=MOST)]


@dataclass(frozen=True, slots=True)
class Whole:
    """The four questions' answers for one frame; 1 = the bound, at most ``MOST``; light as a part of it."""

    picture: Share = 0.0
    error: Share = 0.0
    shift: Share = 0.0
    light: Share = 0.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """What is thought of a camera after its frames so far.

    Attributes:
        state: see the module.
        frames: seen so far.
        slow: averages over ``SLOW_S``, of light the sum.
        quick: picture or error, whichever is more out of bounds; rises at once and falls over ``QUICK_S``.
        cause: of the newest trouble: which question was most out of bounds.
    """

    state: RecognitionState = "known"
    frames: Count = 0
    slow: Whole = Whole()
    quick: Share = 0.0
    cause: TroubleCause | None = None

    @property
    def is_trouble(self) -> bool:
        """Whether it is not as the memory knows it."""
        return self.state in ("differs", "disturbed")

    @property
    def is_blind(self) -> bool:
        """Whether scores mean too little for an event to open.

        A shake or a lamp that was taken out of the clips leaves errors as they were, and is no reason to see nothing.
        """
        if self.state == "learning":
            return False
        return self.state == "differs" or self.quick > 1.0 or (self.is_trouble and self.slow.error > LEAVE)

    @property
    def teaches(self) -> bool:
        """Whether the memory may learn from this frame."""
        return not (self.is_trouble or self.is_blind)

    @property
    def strangeness(self) -> float:
        """How far it is out of bounds, [0, 1]: 0.5 = at the bound."""
        return min(1.0, _most(self.slow) / 2.0)


LEARNING = Recognition("learning")
"""Of a camera that is not to be judged yet, for whatever reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What a memory says of whole pictures, ready to be asked."""

    grey_PQ: Float64
    grey_spread_PQ: Float64
    error_PQ: Float64
    error_spread_PQ: Float64
    num_frames: float

    @classmethod
    def of(cls, memory: Normality) -> "Likeness":
        """Of one that has seen nothing, too; it is learning."""
        frames = max(memory.num_frames, 1e-9)
        sums, squares = np.moveaxis(memory.field("background"), -1, 0)
        grey_PQ = sums / frames
        least = MIN_GREY_SPREAD**2 * (1.0 + YOUNG_FRAMES / frames)
        spread_PQ = np.sqrt(np.maximum(squares / frames - grey_PQ**2, 0.0) + least)
        return cls(grey_PQ, spread_PQ, *usual_errors(memory), memory.num_frames)

    def ask(self, errors_RS: Float32, grey_PQ: Float32, change: Change) -> Whole:
        """Of one frame: errors of cells, grey levels of places, and what happened to all of it."""
        error_PQ = (log_place_errors(errors_RS[None])[0] - self.error_PQ) / self.error_spread_PQ
        light = abs(change.light)
        return Whole(
            _share(self._unlike(grey_PQ), PICTURE_BOUND),
            _share(float(np.quantile(error_PQ, QUARTILE)), ERROR_BOUND),
            _share(change.shift_px, SHIFT_BOUND_PX),
            _share(light, LIGHT_BOUND) if light >= LEAST_LIGHT else 0.0,
        )

    def _unlike(self, grey_PQ: Float32) -> float:
        """How unlike the remembered picture one is, in spreads, whatever its brightness and contrast."""
        weights_PQ = self.grey_spread_PQ**-2 / (self.grey_spread_PQ**-2).sum()
        here_PQ = grey_PQ - (weights_PQ * grey_PQ).sum()
        known_PQ = self.grey_PQ - (weights_PQ * self.grey_PQ).sum()
        gain = (weights_PQ * here_PQ * known_PQ).sum() / max((weights_PQ * known_PQ**2).sum(), 1e-9)
        # What is new in a part of the picture draws the gain away from what all the rest says, which mostly is 1.
        return min(self._rest(here_PQ - one * known_PQ) for one in (1.0, np.clip(gain, GAIN_FROM, GAIN_TO)))

    def _rest(self, away_PQ: Float64) -> float:
        away_PQ = np.abs(away_PQ - np.median(away_PQ)) / self.grey_spread_PQ
        return float(np.quantile(away_PQ, 1.0 - QUARTILE))


def whole_of(result: ClipResult, known: Likeness) -> Whole:
    """What a clip's newest frame answers."""
    return known.ask(result.cell_errors_RS, result.place_grey_PQ, result.change)


def recognised(before: Recognition | None, whole: Whole, known: Likeness, fps: float) -> Recognition:
    """What is thought after one more frame; ``before`` None = there was none."""
    before = before or Recognition()
    frames = before.frames + 1
    weight = smoothing_weight(fps, SLOW_S)
    slowly = max(weight, 1.0 / frames)

    def drawn(was: float, now: float) -> float:
        return was + slowly * (now - was)

    slow = Whole(
        drawn(before.slow.picture, whole.picture),
        drawn(before.slow.error, whole.error),
        drawn(before.slow.shift, whole.shift),
        min(MOST, (1.0 - weight) * before.slow.light + whole.light),
    )
    doubt = max(whole.picture, whole.error)
    quick = max(doubt, before.quick + smoothing_weight(fps, QUICK_S) * (doubt - before.quick))
    after = replace(before, frames=frames, slow=slow, quick=quick)
    state = _state(after, known.num_frames < LEARNED_FRAMES, frames < FIRST_S * fps)
    return replace(after, state=state, cause=_cause(state, slow) or before.cause)


def why(recognition: Recognition) -> str:
    """In words, what speaks for the state."""
    if recognition.state == "learning":
        return "the memory has seen too little of it to say more"
    if recognition.state == "known" or recognition.cause is None:
        return "it is as the memory knows it"
    slow = recognition.slow
    return {
        "picture": f"it shows another picture than the memory knows, {slow.picture * PICTURE_BOUND:.1f} spreads away",
        "error": "all of its picture is worse foreseen than it was: noise, blur, or frames that do not belong together",
        "shift": f"it shakes, by {slow.shift * SHIFT_BOUND_PX:.1f} pixels a frame",
        "light": "its light changes",
    }[recognition.cause]


def _state(seen: Recognition, is_young: bool, is_early: bool) -> RecognitionState:
    if is_young:
        return "learning"
    if is_early:
        return "known"
    if seen.slow.picture > (LEAVE if seen.state == "differs" else 1.0):
        return "differs"
    disturbed = max(seen.slow.error, seen.slow.shift, seen.slow.light)
    return "disturbed" if disturbed > (LEAVE if seen.state == "disturbed" else 1.0) else "known"


def _cause(state: RecognitionState, slow: Whole) -> TroubleCause | None:
    if state == "differs":
        return "picture"
    if state != "disturbed":
        return None
    # Whoever shakes or flickers is badly foreseen as well, so the error is the cause only where nothing else is.
    if max(slow.shift, slow.light) > LEAVE:
        return "shift" if slow.shift >= slow.light else "light"
    return "error"


def _most(whole: Whole) -> float:
    return max(whole.picture, whole.error, whole.shift, whole.light)


def _share(value: float, bound: float) -> float:
    """Of a bound, in [0, ``MOST``]; what is no number is as much as can be."""
    return float(np.clip(value / bound, 0.0, MOST)) if np.isfinite(value) else MOST
