"""The report of a training: one HTML file that needs nothing beside it."""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.calibrating import Calibrated
from training.loop.curves import read_curves
from training.loop.run_folder import flat, read_settings
from training.loop.state import room_on_disk
from training.presets import Preset
from training.report_figures import Points, calibration_figure, curve_figure, sample_figure
from training.samples import Sample

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
class Outcome:
    """What a training came to.

    Attributes:
        preset: what was trained.
        bundle: folder it was written to.
        samples: clips that were held back, and what the network made of them.
        calibrated: on all frames that were held back.
    """

    preset: Preset
    bundle: Path
    samples: Sequence[Sample]
    calibrated: Calibrated


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
    return found | {"bundle": outcome.bundle}


def _table(title: str, rows: Mapping[str, Any]) -> str:
    cells = (f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<h2>{title}</h2>\n<table>{''.join(cells)}</table>"


def _picture(title: str, about: str, figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<h2>{title}</h2>\n<p>{html.escape(about)}</p>\n<img alt="{title}" src="data:image/png;base64,{encoded}">'
