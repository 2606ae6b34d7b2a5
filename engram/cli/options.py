"""Flags that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.settings.detection import BackendSetting

BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap-servers", help="Kafka addresses, host:port, comma separated.")
]
PrefixOption = Annotated[str | None, typer.Option("--topic-prefix", help="Put before every topic name.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print what comes from now on.")]
StoreOption = Annotated[str | None, typer.Option("--store", help="redis://host:6379/0 or sqlite:///path.")]
BundleOption = Annotated[Path | None, typer.Option("--bundle", help="Folder of the trained bundle.")]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames a second to send.")]
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
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Threads of the training library.")]
DEFAULT_CACHE = Path(".engram/cache")


def kafka_overrides(bootstrap_servers: str | None, topic_prefix: str | None) -> dict[str, object]:
    """The settings behind the two Kafka flags."""
    return {"kafka.bootstrap_servers": bootstrap_servers, "kafka.topic_prefix": topic_prefix}
