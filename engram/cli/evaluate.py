"""``engram evaluate``: measuring a bundle on labelled video."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import DEFAULT_CACHE, CacheOption, DeviceOption, ThreadsOption
from engram.cli.output import OutputOption, print_json_line, print_table
from schemas.settings import WatchSettings

if TYPE_CHECKING:
    from training.protocols import Protocol

BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder of the bundle.")]
DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        help="A data set whose test part is labelled: train/ test/ labels/ and perhaps masks/; or UCSD Ped1 and Ped2,"
        " Avenue, ShanghaiTech as they are published.",
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="Folder of CLIP.npy, one value a frame, 1 = abnormal. Default: where the data set has them."
    ),
]
ProtocolOption = Annotated[
    Literal["paper", "live", "both"],
    typer.Option("--protocol", help="paper: scaled over each clip, memory carried; live: causal and calibrated."),
]
PlotsOption = Annotated[Path | None, typer.Option("--plots", help="Folder for pictures of scores, curves and misses.")]
ImageFpsOption = Annotated[float, typer.Option("--image-fps", help="Rate of footage that comes as images.")]
QualityOption = Annotated[
    int,
    typer.Option(
        "--jpeg-quality", min=0, max=100, help="At which cameras send; as in training. 0: frames as they are."
    ),
]

SUMMARY = ("protocol", "frame AUC", "average precision", "pixel AUC", "frames", "abnormal")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "evaluate", extra="train")(evaluate)


def evaluate(
    run: Invocation,
    bundle: BundleOption,
    data: DataOption,
    labels: LabelsOption = None,
    protocol: ProtocolOption = "both",
    plots: PlotsOption = None,
    image_fps: ImageFpsOption = 10.0,
    jpeg_quality: QualityOption = 90,
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Measure a bundle on labelled video: areas under curves over frames and pixels, false alarms, pictures.

    Example: engram evaluate --bundle bundles/ped2 --data ped2 --plots plots
    """
    run.settings(WatchSettings)
    from training.evaluate import evaluate as measure  # noqa: PLC0415 - needs an extra
    from training.evaluation_report import as_json  # noqa: PLC0415
    from training.examiner import EvaluateOptions  # noqa: PLC0415
    from training.plots import write_plots  # noqa: PLC0415

    wanted: tuple[Protocol, ...] = ("paper", "live") if protocol == "both" else (protocol,)
    options = EvaluateOptions(cache, labels, wanted, device or "auto", threads, image_fps, jpeg_quality or None)
    found = measure(bundle, data, options)
    pictures = [] if plots is None else write_plots(found, plots)
    told = as_json(found)
    if output == "json":
        print_json_line({**told, "plots": [str(path) for path in pictures]})
    else:
        _print(told)
        for path in pictures:
            print(path)


def _print(told: dict[str, Any]) -> None:
    names = list(told["protocol"])
    columns = [f"{what}, {name}" for what in ("AUC", "max score") for name in names]
    rows = [
        (
            clip["name"],
            clip["num_frames"],
            clip["num_abnormal"],
            *(_percent(clip["frame_auc"][name]) for name in names),
            *(f"{clip['max_score'][name]:.3f}" for name in names),
        )
        for clip in told["clips"]
    ]
    print_table(f"{told['bundle']} ({told['model']}) on {told['data']}", ("clip", "frames", "abnormal", *columns), rows)
    recalls = list(next(iter(told["false_alarms_per_hour"].values())))
    columns = [f"false alarms/h at recall {float(recall):.0%}" for recall in recalls]
    print_table("All clips", (*SUMMARY, *columns), [_summary(told, name) for name in names])
    for name in names:
        print(f"{name}: {told['protocol'][name]['meaning']}. Memory here: {told['protocol'][name]['memory']}.")
    print(f"{told['frames_per_s']:.1f} frames/s, bundle digest {told['bundle_digest'][:12]}")


def _summary(told: dict[str, Any], name: str) -> tuple[object, ...]:
    areas = (told[measure][name] for measure in ("frame_auc", "average_precision", "pixel_auc"))
    alarms = told["false_alarms_per_hour"][name].values()
    counts = (told["protocol"][name][count] for count in ("num_frames", "num_abnormal"))
    return (name, *map(_percent, areas), *counts, *(None if rate is None else f"{rate:.0f}" for rate in alarms))


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"
