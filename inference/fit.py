"""Whether what a camera sends is what the bundle was trained on: its rate, and the size, quality and colour of frames.

Scores of another rate mean little: at a fifth of it everything seems to move five times as fast. So each session is
looked at once, by the times its frames were really captured, and what does not fit is told in words: by workers, and by
a producer that knows the bundle. What the bundle does not say of itself is no reason for a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from bundles.manifest import Manifest
from inference.jpeg import encoding_of
from schemas.arrays import UInt8
from schemas.messages import FrameHeader

NUM_STEPS = 20
"""Frame times that are measured of a session."""
TOLERANCE = 1.25
"""Factor by which a rate may differ; cameras keep theirs to a few per cent."""

QUALITY_TOLERANCE = 10
"""By which a JPEG quality may be lower; encoders that are not libjpeg's are off by a few."""
GREY_TOLERANCE = 8
"""Of 255, between the colours of a pixel: a camera by night sends colour images without colour, but for noise."""

FASTEST_FPS = 240.0
"""A container that states more frames a second gives a time base, not a rate."""


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


def image_misfits(jpeg: bytes, clip_THWC: UInt8 | None, manifest: Manifest) -> Sequence[str]:
    """What does not fit of the images themselves, in words.

    Args:
        jpeg: the newest frame, one that could be decoded.
        clip_THWC: the frames before it and itself, decoded; None = there is no clip yet.
        manifest: of the bundle.
    """
    encoding, learned = encoding_of(jpeg), manifest.jpeg_quality
    found = []
    if learned and encoding.quality is not None and encoding.quality < learned - QUALITY_TOLERANCE:
        found.append(
            f"frames have a JPEG quality of about {encoding.quality}, the bundle was trained at {learned}: what is lost"
            f" may look abnormal; send at that (producer.jpeg_quality, --jpeg-quality {learned}) or train a bundle at"
            " the camera's"
        )
    if manifest.channels == 3 and (encoding.num_components == 1 or (clip_THWC is not None and _is_grey(clip_THWC))):
        found.append(
            "frames are grey, the bundle was trained on colour: scores mean little; let the camera send colour (by"
            " night many send none), or train a bundle on its own footage"
        )
    return found


def _is_grey(clip_THWC: UInt8) -> bool:
    """Whether no pixel of it has a colour."""
    return bool((clip_THWC.max(axis=-1) - clip_THWC.min(axis=-1)).max() <= GREY_TOLERANCE)


def _is_near(one: float, other: float) -> bool:
    return 1 / TOLERANCE <= one / other <= TOLERANCE
