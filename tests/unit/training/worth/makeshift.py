"""Scenes made of plain numbers: cells that move at a camera's own speed, and a patch that is too fast when abnormal."""

import numpy as np

from inference.evidence import Seen
from training.worth.scenes import Scene, Take

R, S = 16, 24
FPS = 10.0


def take(name: str, num_frames: int, speed: float, seed: int, abnormal: slice | None = None) -> Take:
    """One video of a camera at which things move at ``speed``; with labels if it is to be judged."""
    draw = np.random.default_rng(seed)
    speeds = speed * draw.lognormal(0, 0.3, (num_frames, R, S))
    errors = 1e-3 * draw.lognormal(0, 0.3, (num_frames, R, S))
    grey = draw.normal(100 + 10 * speed, 2.0, (num_frames, R // 4, S // 4))
    labels = None
    if abnormal is not None:
        labels = np.zeros(num_frames, np.uint8)
        labels[abnormal] = 1
        speeds[abnormal, 4:10, 4:10] *= 4
    return Take(
        name,
        FPS,
        Seen(*(a.astype(np.float32) for a in (errors, speeds, grey, draw.normal(30, 1, num_frames)))),
        0,
        labels,
    )


def scene(name: str, speed: float, seed: int) -> Scene:
    """Forty seconds of normal video, and four test clips that are abnormal for two seconds."""
    normal = tuple(take(f"normal{index}", 200, speed, seed + index) for index in range(2))
    test = tuple(take(f"test{index}", 80, speed, seed + 50 + index, slice(30, 50)) for index in range(4))
    return Scene(name, normal, test)
