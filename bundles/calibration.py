"""What normal footage scores: fitted once on held-back video by the code that scores live, then only read."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class Calibration(_Frozen):
    """Everything that turns measures into a score.

    Attributes:
        fps: frames a second of the footage; the smoothing counts frames at this rate.
        smoothing_s: time constant of the moving average.
        feature_weight: weight of the feature distance's z-score beside the patch error's.
        speed_scale: that errors are weighed with; None = speeds do not count. See ``inference.error_map``.
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
    gate_threshold: Annotated[float, Field(ge=0)]
    num_frames: Annotated[int, Field(ge=2)]
    cameras: tuple[str, ...] | Literal["any"] = "any"

    @property
    def footage_s(self) -> float:
        """Seconds of the footage."""
        return self.num_frames / self.fps
