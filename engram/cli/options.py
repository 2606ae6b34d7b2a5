"""Flags that several commands share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.build.shipped import ANYWHERE, SHIPPED, bundle_named
from schemas.settings.detection import BackendSetting

RECIPE, FOOTAGE = "What is trained", "Footage"
"""Panels of the help of what trains and measures."""

BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap-servers", help="Kafka addresses, host:port, comma separated.")
]
PrefixOption = Annotated[str | None, typer.Option("--topic-prefix", help="Put before every topic name.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print what comes from now on.")]
StoreOption = Annotated[str | None, typer.Option("--store", help="redis://host:6379/0 or sqlite:///path.")]
HttpOption = Annotated[
    str | None,
    typer.Option("--http", help="host:port for /metrics, /healthz, /readyz, /status; a port alone = loopback."),
]
BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        parser=bundle_named,
        metavar="DIR|NAME",
        help=f"Folder of a trained bundle, or one that comes along: {' or '.join(SHIPPED)}. Default: {ANYWHERE}.",
    ),
]
MadeBundleOption = Annotated[
    Path,
    typer.Option(
        "--bundle",
        parser=bundle_named,
        metavar="DIR|NAME",
        help=f"Folder of the bundle, or one that comes along: {' or '.join(SHIPPED)}.",
    ),
]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames a second to send.")]
StartOption = Annotated[
    datetime | None,
    typer.Option(
        "--start",
        formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M%z"],
        help="When recordings begin, like 2026-01-31T08:00:00Z, so that events have their true time.",
    ),
]
CamerasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        help="Name of the camera, once per source. Default: this machine's name, six letters of its own and the number"
        " of the source: never the same on two machines, and the same after each restart. Without SOURCE: only these"
        " of the settings file's [cameras.NAME].",
    ),
]
PaceOption = Annotated[
    str | None, typer.Option("--pace", help="live: at capture speed; backfill: every frame, as fast as may be.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")]
BackendOption = Annotated[
    BackendSetting | None,
    typer.Option(
        "--backend",
        help="What computes the network. auto: on a CPU an export the bundle carries, openvino before onnx, else torch."
        " All workers of a fleet must use one: only then are scores the same to 1e-5. openvino-int8: other scores.",
    ),
]
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder of decoded footage, used again the next time.")]
PresetOption = Annotated[
    Literal["paper", "light", "tiny"],
    typer.Option(
        "--preset",
        help="paper: as published, needs a GPU; light: fits a CPU, an hour or two; tiny: for the demo, minutes.",
        rich_help_panel=RECIPE,
    ),
]
ImageFpsOption = Annotated[
    float, typer.Option("--image-fps", help="Rate of footage that comes as images.", rich_help_panel=FOOTAGE)
]
CameraQualityOption = Annotated[
    int,
    typer.Option(
        "--jpeg-quality",
        min=0,
        max=100,
        help="At which cameras send: frames make that round trip before the network sees them. 0: they do not.",
        rich_help_panel=FOOTAGE,
    ),
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads of the training library.")]
DEFAULT_CACHE = Path(".engram/cache")


def kafka_overrides(bootstrap_servers: str | None, topic_prefix: str | None) -> dict[str, object]:
    """The settings behind the two Kafka flags."""
    return {"kafka.bootstrap_servers": bootstrap_servers, "kafka.topic_prefix": topic_prefix}
