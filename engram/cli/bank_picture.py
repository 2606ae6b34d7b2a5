"""Pictures of banks: what one has counted as normal, and how far the items of two versions lie apart."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memory_store.bank import Bank
from memory_store.comparison import Comparison
from memory_store.normality import FLOOR_BIN_EDGES, LEVEL_FROM, LEVEL_TO, NUM_LEVEL_BINS, NUM_SPEED_BINS
from schemas.arrays import Float64
from schemas.errors import FatalError

MOVED_COLOUR = "#1f4e79"
ANCHOR_COLOUR = "#d1495b"
WIDEST_IN = 40.0


def draw_comparison(found: Comparison, path: Path) -> None:
    """Write a PNG or SVG, by its suffix; the folder is made.

    Bars: how far each item moved. Marks: how far from the bundle's items it then was, if that is known.

    Raises:
        FatalError: the bank has no items, or it cannot be written.
    """
    if not found.moved_M.size:
        text = f"a bar is drawn for each item, bank '{found.before.bank_id}' has none"
        raise FatalError(f"{text}; 'engram bank show {found.before.bank_id} --plot FILE' draws what it counts")
    width_in = min(max(6.0, 0.25 * len(found.moved_M)), WIDEST_IN)
    figure = Figure(figsize=(width_in, 4.0), layout="constrained")
    axes = figure.subplots()
    numbers = np.arange(len(found.moved_M))
    axes.bar(numbers, found.moved_M, color=MOVED_COLOUR, label="moved")
    if found.anchor_after_M is not None:
        label = f"from the bundle, v{found.after.version}"
        axes.plot(numbers, found.anchor_after_M, "_", color=ANCHOR_COLOUR, markersize=10, label=label)
    axes.set_title(f"bank {found.before.bank_id}, v{found.before.version} to v{found.after.version}", loc="left")
    axes.set_xlabel("item")
    axes.set_ylabel("Euclidean distance")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    _save(figure, path)


def draw_normality(bank: Bank, path: Path) -> None:
    """Write a PNG or SVG of what is normal where: grey level and error by place, speeds by row, levels of the score.

    Raises:
        FatalError: the bank has counted nothing, or the file cannot be written.
    """
    counted = bank.normality
    if counted is None or counted.num_frames == 0:
        raise FatalError(f"to be drawn a bank must have counted frames, '{bank.bank_id}' v{bank.version} has not")
    figure = Figure(figsize=(11.0, 7.5), layout="constrained")
    (grey, error), (speed, level) = figure.subplots(2, 2)
    background, errors = counted.field("background"), counted.field("errors")
    _image(figure, grey, background[..., 0] / counted.num_frames, "mean grey level of each place", "gray")
    _image(figure, error, errors[..., 1] / np.maximum(errors[..., 0], 1e-9), "mean ln(error) of each place", "viridis")
    speeds = counted.field("speeds")
    shares = speeds / np.maximum(speeds.sum(axis=1, keepdims=True), 1e-9)
    _image(figure, speed, np.where(shares > 0, np.log10(np.maximum(shares, 1e-6)), np.nan), "log10 share", "magma")
    speed.set_title("how fast what moves, by row of cells", loc="left")
    ticks = np.arange(0, NUM_SPEED_BINS, 2)
    speed.set_xticks(ticks, [f"{edge:.3g}" for edge in FLOOR_BIN_EDGES[ticks]])
    speed.set_xlabel("pixels a frame, at least")
    speed.set_ylabel("row, top to bottom")
    levels = counted.field("levels")
    level.step(np.linspace(LEVEL_FROM, LEVEL_TO, NUM_LEVEL_BINS), levels / max(levels.sum(), 1e-9), color=MOVED_COLOUR)
    level.set_title("levels of normal frames", loc="left")
    level.set_xlabel("spreads from the mean")
    level.set_ylabel("share of frames")
    level.set_ylim(bottom=0)
    figure.suptitle(f"bank {bank.bank_id} v{bank.version}: {counted.num_frames:,.0f} frames")
    _save(figure, path)


def _image(figure: Figure, axes: Axes, values: Float64, title: str, colours: str) -> None:
    drawn = axes.imshow(values, cmap=colours, aspect="auto", interpolation="nearest")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    axes.set_title(title, loc="left")


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise FatalError(f"a picture must be a file that we may write, as in --plot moved.png: {error}") from error
