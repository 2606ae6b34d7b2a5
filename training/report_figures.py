"""The pictures of a training report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inference.scoring import FrameMeasures, log_patch_error
from schemas.arrays import UInt8
from training.calibrating import Calibrated
from training.samples import Sample

INK = "#1f2933"
ACCENT = "#1f6feb"
WARNING = "#c2410c"
ERROR_RANGE = 0.05
"""Of the error maps, in squared error on [0, 1], so that maps of different runs look alike."""

Points = Sequence[Mapping[str, Any]]


def curve_figure(points: Points) -> Figure:
    """Each loss by step, the validation error over the pixel error, and the learning rate."""
    names = list(dict.fromkeys(tag for point in points for tag in point if tag.startswith("loss/")))
    plots = [*names, "learning_rate"]
    columns = min(3, len(plots))
    rows = -(-len(plots) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    for place, name in enumerate(plots):
        axes = figure.add_subplot(rows, columns, place + 1)
        _curve(axes, points, name, ACCENT, "training")
        if name == "loss/pixel":
            _curve(axes, points, "validation/pixel", WARNING, "held back")
            axes.legend(frameon=False)
        _styled(axes, name.removeprefix("loss/").replace("_", " "), "step")
        if name in {"loss/pixel", "loss/total"}:
            axes.set_yscale("log")
    return figure


def sample_figure(samples: Sequence[Sample]) -> Figure:
    """A row a clip: the newest frame the network saw, the frame it was to make, the one it made, the error."""
    figure = Figure(figsize=(12.6, 2.4 * len(samples)), layout="constrained")
    grid = figure.subplots(len(samples), 4, squeeze=False)
    for axes, sample in zip(grid, samples, strict=True):
        pictures = (sample.newest_input_HWK, sample.target_HWK, sample.made_HWK)
        for place, title, picture in zip(axes[:3], ("newest input", "target", "made"), pictures, strict=True):
            place.imshow(_as_rgb(picture), vmin=0, vmax=255)
            _titled(place, title)
        error = axes[3].imshow(sample.error_HW, cmap="inferno", vmin=0, vmax=ERROR_RANGE)
        _titled(axes[3], f"squared error, mean {sample.error_HW.mean():.5f}")
        figure.colorbar(error, ax=axes[3], shrink=0.8)
    return figure


def calibration_figure(calibrated: Calibrated) -> Figure:
    """What the held-back normal frames measure; the line is where frames stop teaching the memory."""
    frames = [frame for video in calibrated.measures for frame in video]
    figure = Figure(figsize=(12.6, 2.8), layout="constrained")
    plots: tuple[tuple[str, Callable[[FrameMeasures], float]], ...] = (
        ("PSNR, dB", lambda frame: frame.psnr_db),
        ("worst patch, log error", log_patch_error),
        ("feature distance", lambda frame: frame.feature_distance),
        ("regular score", lambda frame: frame.regular_score),
    )
    for place, (title, value) in enumerate(plots):
        axes = figure.add_subplot(1, len(plots), place + 1)
        axes.hist(np.array([value(frame) for frame in frames]), bins="auto", color=ACCENT, alpha=0.8)
        _styled(axes, title, "")
        axes.set_ylabel("frames" if place == 0 else "", fontsize=8)
    axes.axvline(calibrated.calibration.gate_threshold, color=WARNING)
    return figure


def _curve(axes: Axes, points: Points, tag: str, colour: str, label: str) -> None:
    drawn = [(point["step"], point[tag]) for point in points if tag in point]
    if drawn:
        axes.plot(
            *zip(*drawn, strict=True), color=colour, label=label, linewidth=1.4, marker="." if len(drawn) < 30 else ""
        )


def _styled(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(which="both", labelsize=8, colors=INK)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _titled(axes: Axes, title: str) -> None:
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, color=INK)


def _as_rgb(picture_HWK: UInt8) -> UInt8:
    """From BGR or grey."""
    return np.repeat(picture_HWK, 3, axis=2) if picture_HWK.shape[2] == 1 else picture_HWK[..., ::-1]
