"""``engram memory-worth``: what the memory of normality is worth, on labelled scenes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    DEFAULT_CACHE,
    CacheOption,
    CameraQualityOption,
    DeviceOption,
    ImageFpsOption,
    MadeBundleOption,
    ThreadsOption,
)
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.settings import WatchSettings

if TYPE_CHECKING:
    from training.worth.arms import Row

DataOption = Annotated[
    Path,
    typer.Option(
        "--data", help="A folder of scenes, each with normal footage in train/ and labelled footage in test/."
    ),
]
ArmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--arm",
        help="forms, swap, adaptation, left-out, poison, own-camera, wrong-camera, verdict, disturbance or drift; may"
        " be given again. Default: all.",
    ),
]
NormalOption = Annotated[
    float, typer.Option("--normal-s", min=1.0, help="Most seconds of normal footage of each scene to remember.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "memory-worth", extra="train")(memory_worth)


def memory_worth(
    run: Invocation,
    bundle: MadeBundleOption,
    data: DataOption,
    arm: ArmOption = None,
    normal_s: NormalOption = 600.0,
    image_fps: ImageFpsOption = 10.0,
    jpeg_quality: CameraQualityOption = 90,
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Measure what a memory of normality is worth: on scenes left out, swapped, learned second by second, poisoned.

    One pass of the network over each scene is kept in --cache; after that, every question takes seconds to minutes.
    Intervals are 95 %, by drawing test clips again.

    Example: engram memory-worth --bundle models/parent --data scenes
    """
    run.settings(WatchSettings)
    from training.worth.scenes import SceneOptions  # noqa: PLC0415 - needs an extra
    from training.worth.worth import memory_worth as measure  # noqa: PLC0415

    options = SceneOptions(cache, normal_s, image_fps, jpeg_quality or None, device or "auto", threads)
    found = measure(bundle, data, options, arm or ())
    if output == "json":
        print_json_line({**asdict(found), "bundle": str(found.bundle)})
        return
    for title in dict.fromkeys(row.arm for row in found.rows):
        rows = [_cells(row) for row in found.rows if row.arm == title]
        print_table(title, ("scene", "what", "measure", "value", "95 %", "note"), rows)
    print(f"network of '{found.bundle}', bundle digest {found.bundle_digest[:12]}; AUC in %, 50 is chance")


def _cells(row: "Row") -> tuple[object, ...]:
    interval = None if row.low is None or row.high is None else f"{row.low:.1f} to {row.high:.1f}"
    return row.scene, row.what, row.measure, f"{row.value:.2f}", interval, row.note or None
