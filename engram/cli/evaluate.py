"""``engram evaluate``: measuring a bundle on labelled video."""

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bundles.calibration import Calibration
from engram.build.shipped import name_of
from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    DEFAULT_CACHE,
    BackendOption,
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
    from training.evaluation.protocols import Protocol

log = logging.getLogger(__name__)

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

AREAS = {"frame AUC": "frame_auc", "average precision": "average_precision", "pixel AUC": "pixel_auc"}
EVENT_COLUMNS = (
    "false alarms a day",
    "opens at",
    "anomalies found",
    "events on an anomaly",
    "median delay, s",
    "worst region on it",
)
COUNTS = {"scored frames": "num_frames", "abnormal frames": "num_abnormal"}
"""Rows of the summary, and where the object for programs has them."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "evaluate", extra="train")(evaluate)


def evaluate(
    run: Invocation,
    bundle: MadeBundleOption,
    data: DataOption,
    labels: LabelsOption = None,
    protocol: ProtocolOption = "both",
    plots: PlotsOption = None,
    image_fps: ImageFpsOption = 10.0,
    jpeg_quality: CameraQualityOption = 90,
    cache: CacheOption = DEFAULT_CACHE,
    device: DeviceOption = "auto",
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    output: OutputOption = "text",
) -> None:
    """Measure a bundle on labelled video: areas under curves, false alarms, the events that would be told, pictures.

    Footage is seen at the rate that the bundle is for, as a worker sees it.

    Example: engram evaluate --bundle models/ped2 --data ped2 --plots plots
    """
    settings = run.settings(WatchSettings)
    from training.evaluation.evaluate import EvaluateOptions  # noqa: PLC0415
    from training.evaluation.evaluate import evaluate as measure  # noqa: PLC0415 - needs an extra
    from training.evaluation.plots import write_plots  # noqa: PLC0415
    from training.evaluation.report import as_json  # noqa: PLC0415

    wanted: tuple[Protocol, ...] = ("paper", "live") if protocol == "both" else (protocol,)
    options = EvaluateOptions(
        cache,
        labels,
        wanted,
        device or "auto",
        threads,
        image_fps,
        jpeg_quality or None,
        backend or "auto",
        settings.events.target_false_alarms_per_day,
    )
    found = measure(bundle, data, options)
    pictures = [] if plots is None else write_plots(found, plots)
    told = as_json(found)
    if output == "json":
        print_json_line({**told, "plots": [str(path) for path in pictures]})
    else:
        _print(told)
        for path in pictures:
            print(path)
    hint = hint_of_strangers(bundle, found.bundle.calibration, data) if "live" in wanted else None
    if hint is not None:
        log.warning("%s", hint)


def hint_of_strangers(bundle: Path, calibration: Calibration, data: Path) -> str | None:
    """What to do where a bundle judged by what other cameras showed; None where it did not.

    Args:
        bundle: its folder.
        calibration: of the bundle.
        data: of a camera, which it is for if it was trained on a folder of this name.
    """
    if calibration.memory_frames is None or calibration.cameras == "any":
        return None
    place = data.absolute()
    if any(place.parts[-len(parts) :] == parts for parts in (Path(name).parts for name in calibration.cameras)):
        return None
    words = ["engram", "calibrate", "--bundle", name_of(bundle), "--data", str(data), "--out", f"models/{place.name}"]
    text = f"the live score judged by a memory of {len(calibration.cameras)} other cameras, where a worker learns a"
    return f"{text} camera's own first; to measure that, make a bundle that has: {shlex.join(words)}"


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
    print_table("All clips", ("", *names), _summary(told))
    for name in names:
        if told["events"][name]:
            rows = [_events(at) for at in told["events"][name]]
            print_table(f"Events that a worker would have told of, {name}", EVENT_COLUMNS, rows)
    for name in names:
        print(f"{name}: {told['protocol'][name]['meaning']}. Memory here: {told['protocol'][name]['memory']}.")
    print(f"{told['frames_per_s']:.1f} frames/s, bundle digest {told['bundle_digest'][:12]}")


def _events(at: dict[str, Any]) -> tuple[object, ...]:
    delay = at["median_delay_s"]
    return (
        f"{at['per_day']:g}",
        f"{at['enter']:.3f}",
        f"{at['num_found']} of {at['num_anomalies']}",
        f"{at['num_on_anomaly']} of {at['num_events']}",
        None if delay is None else f"{delay:.1f}",
        f"{at['num_placed']} of {at['num_placeable']}" if at["num_placeable"] else None,
    )


def _summary(told: dict[str, Any]) -> list[tuple[object, ...]]:
    names, alarms = list(told["protocol"]), told["false_alarms_per_hour"]
    return [
        *((title, *(_percent(told[key][name]) for name in names)) for title, key in AREAS.items()),
        *((title, *(told["protocol"][name][key] for name in names)) for title, key in COUNTS.items()),
        *(
            (f"false alarms/h at recall {float(recall):.0%}", *(_whole(alarms[name][recall]) for name in names))
            for recall in alarms[names[0]]
        ),
    ]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _whole(rate: float | None) -> str | None:
    return None if rate is None else f"{rate:.0f}"
