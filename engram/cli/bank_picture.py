"""A picture of two versions of a bank: one bar an item."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from memory_store.comparison import Comparison
from schemas.errors import FatalError

MOVED_COLOUR = "#1f4e79"
ANCHOR_COLOUR = "#d1495b"
WIDEST_IN = 40.0


def draw_comparison(found: Comparison, path: Path) -> None:
    """Write a PNG or SVG, by its suffix; the folder is made.

    Bars: how far each item moved. Marks: how far from the bundle's items it then was, if that is known.

    Raises:
        FatalError: it cannot be written.
    """
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise FatalError(f"a picture must be a file that we may write, as in --plot moved.png: {error}") from error
