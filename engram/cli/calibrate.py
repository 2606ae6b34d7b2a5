"""``engram calibrate``: a bundle for another camera, without training."""

from pathlib import Path
from typing import Annotated

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
from engram.cli.train import refuse_source_folder
from schemas.settings import WatchSettings

DataOption = Annotated[
    Path, typer.Option("--data", help="Normal video of the camera: minutes of it, the more the better.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of the bundle to make; must not exist.")]
CameraOption = Annotated[str | None, typer.Option("--camera", help="Name of the camera, for those who look later.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "calibrate", extra="train")(calibrate)


def calibrate(
    run: Invocation,
    bundle: MadeBundleOption,
    data: DataOption,
    out: OutOption,
    camera: CameraOption = None,
    image_fps: ImageFpsOption = 10.0,
    jpeg_quality: CameraQualityOption = 90,
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Make a bundle for another camera without training: the same network, judged by its own normal video.

    What is normal is counted (speeds by row, errors and grey levels by place), and thresholds follow from it. Exports
    beside the old bundle stay there: make them again for the new one.

    Example: engram calibrate --bundle models/lobby --data footage/yard --out models/yard
    """
    run.settings(WatchSettings)
    refuse_source_folder(out)
    from training.calibrating import CalibrateOptions, calibrate_bundle  # noqa: PLC0415 - needs an extra

    options = CalibrateOptions(cache, camera, image_fps, jpeg_quality or None, device or "auto", threads)
    made = calibrate_bundle(bundle, data, out, options)
    print(f"{out}: digest {made.digest[:12]}, {made.calibration.num_frames} frames of normal video")
