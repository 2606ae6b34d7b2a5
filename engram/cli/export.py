"""``engram export``: a bundle's network for other inference libraries."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DEFAULT_CACHE, CacheOption, MadeBundleOption
from schemas.settings import WatchSettings

FormatOption = Annotated[
    Literal["openvino", "openvino-int8", "onnx", "torch-export"],
    typer.Option(
        "--format",
        help="openvino, onnx: the same scores, faster on a CPU; openvino-int8: convolutions in 8 bits, about three"
        " times as fast where the CPU can, other scores with a calibration of their own; torch-export: for programs"
        " of your own.",
    ),
]
DataOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="Normal video, needed for openvino-int8: best what the bundle was trained on, every camera's."
        " Others are compared on it. May be given again.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Make the folder FORMAT in here. Default: in the bundle, where workers look for it."),
]
ClipsOption = Annotated[
    int, typer.Option("--clips", min=1, help="Clips to measure the ranges of activations on, for openvino-int8.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "export", extra="export")(export)


def export(
    run: Invocation,
    bundle: MadeBundleOption,
    format_: FormatOption,
    data: DataOption = None,
    out: OutOption = None,
    clips: ClipsOption = 300,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Write a bundle's network with its measures in another library's format, for batches of any size.

    The export is compared with torch, lies in the bundle beside its other files, and names the bundle by its digest;
    workers use it as worker.backend says. The bundle's own digest stays, and with it its banks.

    Example: engram export --bundle models/lobby --format openvino
    """
    run.settings(WatchSettings)
    from training.export.making import ExportOptions, export_bundle  # noqa: PLC0415 - needs an extra

    print(export_bundle(bundle, format_, ExportOptions(out, tuple(data or ()), clips, cache)))
