"""The report of a training: one HTML file that needs nothing beside it, with curves, samples and the calibration.

Dimensions: B clips, T frames, H x W pixels, K colours.
"""

import base64
import html
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from inference.formats import ClipFormat
from inference.scoring import FrameMeasures, evidence, log_patch_error
from networks.measures import squared_error
from networks.network import VideoNetwork
from schemas.arrays import Float32, Int64, UInt8
from training.evaluation.measuring import Calibrated
from training.footage.dataset import FrameCache, Video, camera_names
from training.loop.run_folder import flat, read_curves, read_settings
from training.loop.state import room_on_disk
from training.loop.stepping import unit_clips
from training.presets import Preset

NUM_SAMPLES = 4
INK = "#1f2933"
ACCENT = "#1f6feb"
WARNING = "#c2410c"
ERROR_RANGE = 0.05
"""Of the error maps, in squared error on [0, 1], so that maps of different runs look alike."""
Points = Sequence[Mapping[str, Any]]
REPORT = "report.html"
"""Name of the file in the folder of a run."""
DPI = 110
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin-top: 2rem; }} img {{ max-width: 100%; }}
table {{ border-collapse: collapse; }} td {{ padding: .15rem 1.2rem .15rem 0; border-bottom: 1px solid #e4e7eb; }}
td:last-child {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere; }} p {{ color: #52606d; }}
</style></head><body>
<h1>{title}</h1>
{sections}
</body></html>
"""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One clip.

    Attributes:
        newest_input_HWK: the newest frame that the network saw.
        target_HWK: the frame it was to make.
        made_HWK: the frame it made.
        error_HW: mean over colours of the squared error on [0, 1].
        frame: index of the target in the cache.
    """

    newest_input_HWK: UInt8
    target_HWK: UInt8
    made_HWK: UInt8
    error_HW: Float32
    frame: int


@torch.no_grad()
def sample_predictions(
    network: VideoNetwork, items_MC: Float32, footage: FrameCache, starts: Int64, clip: ClipFormat
) -> list[Sample]:
    """What the network makes of some of the clips that begin at ``starts``, evenly spaced."""
    network = network.eval().cpu()
    chosen = starts[np.linspace(0, len(starts) - 1, min(len(starts), NUM_SAMPLES)).round().astype(int)]
    bank = torch.from_numpy(items_MC) if items_MC.size else None
    return [_sample(network, bank, footage, int(start), clip) for start in chosen]


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
            place.imshow(as_rgb(picture), vmin=0, vmax=255)
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


def as_rgb(picture_HWK: UInt8) -> UInt8:
    """From BGR or grey."""
    return np.repeat(picture_HWK, 3, axis=2) if picture_HWK.shape[2] == 1 else picture_HWK[..., ::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a training came to.

    Attributes:
        preset: what was trained.
        bundle: folder it was written to.
        samples: clips that were held back, and what the network made of them.
        calibrated: on all frames that were held back.
        videos: that were held back, as ``calibrated`` has their measures; none = not told.
    """

    preset: Preset
    bundle: Path
    samples: Sequence[Sample]
    calibrated: Calibrated
    videos: Sequence[Video] = ()


def write_report(run: Path, outcome: Outcome) -> Path:
    """Write the report of the run in ``run``; returns its path.

    Raises:
        FatalError: the disk is full.
    """
    title = f"{outcome.preset.model}, preset {outcome.preset.name}: {outcome.bundle.name}"
    page = PAGE.format(title=html.escape(title), sections="\n".join(_sections(run, outcome)))
    with room_on_disk(run / REPORT):
        (run / REPORT).write_text(page, encoding="utf-8")
    return run / REPORT


def _sample(network: VideoNetwork, bank: Tensor | None, footage: FrameCache, start: int, clip: ClipFormat) -> Sample:
    clips_BTHWK = torch.from_numpy(footage.clips(np.array([start]), clip.length, clip.stride))
    inputs, target = network.split(unit_clips(clips_BTHWK, network))
    made = network(inputs, bank).image
    rebuilds = torch.equal(inputs, target)
    index = clip.length - 1
    if target.dim() == 5:  # of a whole clip, the frame that the paper scores
        index = min(index, network.paper_test.frame)
        made, target = made[:, :, index], target[:, :, index]
    return Sample(
        clips_BTHWK[0, index if rebuilds else index - 1].numpy(),
        _levels(target),
        _levels(made),
        squared_error(made, target)[0].mean(dim=0).numpy(),
        start + index * clip.stride,
    )


def _levels(image_BKHW: Tensor) -> UInt8:
    levels = (image_BKHW[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5
    return np.asarray(levels.round().to(torch.uint8).numpy())


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


def _sections(run: Path, outcome: Outcome) -> Iterator[str]:
    points = read_curves(run)
    yield _table("Outcome", _figures(points, outcome))
    yield _picture("Curves", "Losses as they are, before their weights.", curve_figure(points))
    about = "Normal clips that were not learned. All error maps have the same scale."
    yield _picture("Samples", about, sample_figure(outcome.samples))
    about = f"Measures of {outcome.calibrated.calibration.num_frames} normal frames that were not learned; the live"
    about += " score is fitted on them. Frames right of the line, by their regular score, do not teach the memory."
    yield _picture("Calibration", about, calibration_figure(outcome.calibrated))
    yield _table("Settings", flat(read_settings(run)))


def _figures(points: Points, outcome: Outcome) -> dict[str, Any]:
    validation = [(point["validation/pixel"], point["step"]) for point in points if "validation/pixel" in point]
    found: dict[str, Any] = {"steps": points[-1]["step"] if points else 0}
    if validation:
        error, step = min(validation)
        found["validation error"] = f"{validation[-1][0]:.6f} at the end; least {error:.6f} at step {step}"
    calibration = outcome.calibrated.calibration
    found["PSNR of normal frames"] = f"{calibration.psnr_db.mean:.2f} ± {calibration.psnr_db.std:.2f} dB"
    found["gate"] = f"frames teach the memory below a regular score of {calibration.gate_threshold:.5f}"
    found["calibration"] = f"rests on {evidence(calibration)}"
    return found | dict(_cameras(outcome)) | {"bundle": outcome.bundle}


def _cameras(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """How well each camera is foreseen; the calibration is over all of them together."""
    for camera in camera_names(outcome.videos):
        own = zip(outcome.videos, outcome.calibrated.measures, strict=True)
        psnr_db = [frame.psnr_db for video, frames in own if video.camera == camera for frame in frames]
        told = f"{len(psnr_db)} normal frames held back, PSNR {np.mean(psnr_db):.2f} ± {np.std(psnr_db):.2f} dB"
        yield f"camera {camera}", told


def _table(title: str, rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<h2>{title}</h2>\n<table>{''.join(cells)}</table>"


def _picture(title: str, about: str, figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<h2>{title}</h2>\n<p>{html.escape(about)}</p>\n<img alt="{title}" src="data:image/png;base64,{encoded}">'
