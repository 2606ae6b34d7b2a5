"""``engram evaluate``: measuring a bundle on labelled video."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DEFAULT_CACHE, CacheOption, DeviceOption, ThreadsOption
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.settings import WatchSettings

BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
VideosOption = Annotated[Path, typer.Option("--data", help="Folder of test videos, or of folders of images.")]
LabelsOption = Annotated[Path, typer.Option("--labels", help="Folder of VIDEO.npy, one value a frame, 1 = abnormal.")]
ProtocolOption = Annotated[
    Literal["paper", "live"],
    typer.Option("--protocol", help="paper: scaled over each clip, memory carried; live: causal and calibrated."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "evaluate", extra="train")(evaluate)


def evaluate(
    run: Invocation,
    bundle: BundleOption,
    data: VideosOption,
    labels: LabelsOption,
    protocol: ProtocolOption = "live",
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Measure a bundle on labelled video: area under the ROC curve over all frames.

    Example: engram evaluate --bundle bundles/ped2 --data ped2/test --labels ped2/labels --protocol paper
    """
    run.settings(WatchSettings)
    from training.evaluate import Footage  # noqa: PLC0415 - needs an extra
    from training.evaluate import evaluate as measure  # noqa: PLC0415

    found = asdict(measure(bundle, Footage(data, labels, cache), protocol, device or "auto", threads))
    if output == "json":
        print_json_line(found)
    else:
        print_table(f"{bundle} on {data}", ("", ""), list(found.items()))
