"""Whether what a camera sends is what the bundle was trained on: the rate it keeps, and the size of its frames.

Scores of another rate mean little: at a fifth of it everything seems to move five times as fast. So each session is
looked at once, by the times its frames were really captured, and what does not fit is told in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from bundles.manifest import Manifest
from schemas.messages import FrameHeader

NUM_STEPS = 20
"""Frame times that are measured of a session."""
TOLERANCE = 1.25
"""Factor by which a rate may differ; cameras keep theirs to a few per cent."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Frame times of the first frames of a session; ``is_told`` once they were judged."""

    session_id: str
    last_at: datetime
    steps_s: tuple[float, ...] = ()
    is_told: bool = False


def noted(rate: Rate | None, header: FrameHeader) -> Rate:
    """The measurement after one more frame."""
    if rate is None or rate.session_id != header.session_id:
        return Rate(header.session_id, header.captured_at)
    if rate.is_told:
        return rate
    step_s = (header.captured_at - rate.last_at) / timedelta(seconds=1)
    return replace(rate, last_at=header.captured_at, steps_s=(*rate.steps_s, step_s))


def misfits(rate: Rate, header: FrameHeader, manifest: Manifest) -> Sequence[str] | None:
    """What does not fit, in words; None while it is too early to say.

    Args:
        rate: of the session so far.
        header: of the newest frame.
        manifest: of the bundle.
    """
    if rate.is_told or len(rate.steps_s) < NUM_STEPS:
        return None
    found = []
    step_s = median(rate.steps_s)
    if step_s > 0 and not manifest.fps / TOLERANCE <= 1 / step_s <= manifest.fps * TOLERANCE:
        declared = f", declared are {header.fps:g}" if not _is_near(header.fps, 1 / step_s) else ""
        found.append(
            f"{1 / step_s:.3g} frames a second come{declared}, the bundle was trained on {manifest.fps:g}: scores mean"
            f" little; send at that rate (producer.fps, --fps {manifest.fps:g}) or train a bundle at the camera's"
        )
    if header.width < manifest.width or header.height < manifest.height:
        found.append(
            f"frames have {header.width} x {header.height} pixels, the bundle takes {manifest.width} x"
            f" {manifest.height}: they are enlarged, and blurred by it; let the producer send them larger"
        )
    return found


def _is_near(one: float, other: float) -> bool:
    return 1 / TOLERANCE <= one / other <= TOLERANCE
