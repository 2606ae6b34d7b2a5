"""What normal footage scores: fitted once on held-back video by the code that scores live, then only read."""

import base64
import binascii
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.arrays import Float64
from schemas.errors import BundleError
from schemas.messages import FIRST_FORM

TAIL_SHARE = 0.05
"""The share of normal frames that the exponential tail describes; below, the empirical quantiles do."""

Positive = Annotated[float, Field(gt=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Moments(_Frozen):
    """One measure over all normal frames. ``std`` is at least a tiny positive number."""

    mean: float
    std: Positive
    count: Annotated[int, Field(ge=2)]


class SpeedScale(_Frozen):
    """How fast moving things are on normal footage, in pixels per frame of a clip: a line from top to bottom row."""

    top_px: Positive
    bottom_px: Positive


class Distribution(_Frozen):
    """The live statistic on normal frames, high = irregular.

    Attributes:
        quantiles: at evenly spaced levels from 0 to 1 - ``TAIL_SHARE``; the last is where the tail begins.
        tail_scale: mean excess over that; P(statistic > x) = TAIL_SHARE * exp(-(x - start) / tail_scale).
    """

    quantiles: Annotated[tuple[float, ...], Field(min_length=2)]
    tail_scale: Positive


class NormalCounts(_Frozen):
    """What is normal, as counts; see ``memory_store.normality``, which knows what they are of.

    Attributes:
        rows, columns: of cells of an image.
        at_s: capture time they refer to, seconds since 1970; footage without a date has 0.
        values: base64 of float64, little-endian.
        form: of the score that some of them were counted by.
    """

    rows: Annotated[int, Field(ge=4, le=16384)]
    columns: Annotated[int, Field(ge=4, le=16384)]
    at_s: float
    values: str
    form: Annotated[int, Field(ge=FIRST_FORM)] = FIRST_FORM

    @classmethod
    def of(cls, rows: int, columns: int, at_s: float, values_N: Float64, form: int) -> "NormalCounts":
        """Pack numbers."""
        packed = base64.b64encode(values_N.astype("<f8").tobytes()).decode()
        return cls(rows=rows, columns=columns, at_s=at_s, values=packed, form=form)

    def array(self) -> Float64:
        """Unpack them, (N,).

        Raises:
            BundleError: they are not base64 of whole numbers of eight bytes.
        """
        try:
            return np.frombuffer(base64.b64decode(self.values, validate=True), "<f8").astype(np.float64)
        except (binascii.Error, ValueError) as error:
            raise BundleError(f"counts of a calibration must be base64 of float64: {error}; train it again") from error


class Calibration(_Frozen):
    """Everything that turns measures into a score.

    Attributes:
        fps: frames a second of the footage; the smoothing counts frames at this rate.
        smoothing_s: time constant of the moving average.
        feature_weight: weight of the feature distance's z-score beside the patch error's.
        speed_scale: that errors are weighed with; None = speeds do not count. See ``inference.error_map``.
        memory: counts that frames are held against instead of all the above; None = there are none. See
            ``inference.standard``.
        memory_frames: as so many frames they stand behind what a camera's own bank has counted: few where they are of
            several other cameras; None = all of them, they are of this one.
        gate_threshold: a frame may teach the memory if its regular score is below.
        num_frames: frames it was fitted on.
        cameras: names of the cameras the footage came from, where there are several; or "any".
    """

    schema_version: Literal[1] = 1
    psnr_db: Moments
    feature_distance: Moments
    regular_score: Moments
    log_patch_error: Moments
    statistic: Distribution
    fps: Positive
    smoothing_s: Annotated[float, Field(ge=0)]
    feature_weight: Annotated[float, Field(ge=0)]
    speed_scale: SpeedScale | None = None
    memory: NormalCounts | None = None
    memory_frames: Annotated[float, Field(ge=0)] | None = None
    gate_threshold: Annotated[float, Field(ge=0)]
    num_frames: Annotated[int, Field(ge=2)]
    cameras: tuple[str, ...] | Literal["any"] = "any"

    @property
    def footage_s(self) -> float:
        """Seconds of the footage."""
        return self.num_frames / self.fps
