"""What happens to cameras: disturbances that are no anomaly, and slow drifts. Done to frames before the network.

Dimensions: F frames, H x W pixels, K colours.
"""

from collections.abc import Mapping

import numpy as np

from schemas.arrays import Float32, Float64, UInt8
from training.worth.scenes import Change

SHAKE_PX = 1
NOISE_SIGMA = 4.0
LIGHT_STEP = 0.2
STEP_FRAMES = 50
DROP_SHARE = 0.1
GAIN_TO, CONTRAST_TO, SHIFT_TO_PX = 0.6, 0.5, 6


def shake(frames_FHWK: UInt8, draw: np.random.Generator) -> UInt8:
    """The camera trembles: each frame is moved by at most a pixel each way."""
    num_frames, height, width = frames_FHWK.shape[:3]
    down_F1, right_F1 = draw.integers(-SHAKE_PX, SHAKE_PX + 1, size=(2, num_frames, 1))
    rows_FH = np.clip(np.arange(height) - down_F1, 0, height - 1)
    columns_FW = np.clip(np.arange(width) - right_F1, 0, width - 1)
    return np.asarray(frames_FHWK[np.arange(num_frames)[:, None, None], rows_FH[:, :, None], columns_FW[:, None, :]])


def noise(frames_FHWK: UInt8, draw: np.random.Generator) -> UInt8:
    """The sensor is noisy, as in the dark."""
    return _as_pixels(frames_FHWK.astype(np.float32) + draw.normal(0.0, NOISE_SIGMA, frames_FHWK.shape))


def light_steps(frames_FHWK: UInt8, _draw: np.random.Generator) -> UInt8:
    """A lamp goes on or off every few seconds: a fifth brighter, darker, and so on."""
    bright_F = 1.0 + LIGHT_STEP * np.where(np.arange(len(frames_FHWK)) // STEP_FRAMES % 2, 1.0, -1.0)
    return _as_pixels(frames_FHWK * bright_F.astype(np.float32)[:, None, None, None])


def dropped(frames_FHWK: UInt8, draw: np.random.Generator) -> UInt8:
    """Frames are lost and the one before stands in for them, as cameras and their drivers do."""
    kept_F = draw.random(len(frames_FHWK)) >= DROP_SHARE
    kept_F[:1] = True
    return frames_FHWK[np.maximum.accumulate(np.where(kept_F, np.arange(len(frames_FHWK)), 0))]


def gain(frames_FHWK: UInt8, _draw: np.random.Generator) -> UInt8:
    """It has become darker."""
    return _as_pixels(frames_FHWK * np.float32(GAIN_TO))


def contrast(frames_FHWK: UInt8, _draw: np.random.Generator) -> UInt8:
    """Fog, or dirt on the lens."""
    middle = frames_FHWK.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
    return _as_pixels(middle + np.float32(CONTRAST_TO) * (frames_FHWK - middle))


def moved(frames_FHWK: UInt8, _draw: np.random.Generator) -> UInt8:
    """The mount has sagged."""
    rows_H, columns_W = (np.maximum(np.arange(size) - SHIFT_TO_PX, 0) for size in frames_FHWK.shape[1:3])
    return frames_FHWK[:, rows_H][:, :, columns_W]


DISTURBANCES: Mapping[str, Change] = {
    f"shake of {SHAKE_PX} px": shake,
    f"noise, sigma {NOISE_SIGMA:g}": noise,
    f"light steps of {LIGHT_STEP:.0%}": light_steps,
    f"{DROP_SHARE:.0%} of frames repeated": dropped,
}
"""To be told from anomalies."""
DRIFTS: Mapping[str, Change] = {
    f"gain {GAIN_TO:g}": gain,
    f"contrast {CONTRAST_TO:g}": contrast,
    f"shift of {SHIFT_TO_PX} px": moved,
}
"""To be followed."""


def _as_pixels(values_FHWK: Float32 | Float64) -> UInt8:
    return np.clip(np.rint(values_FHWK), 0, 255).astype(np.uint8)
