"""``engram produce``: cameras and files to Kafka. Runs on the base install."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from engram.build.shipped import bundle_named
from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    BootstrapOption,
    CamerasOption,
    FpsOption,
    HttpOption,
    PaceOption,
    PrefixOption,
    StartOption,
    kafka_overrides,
)
from engram.run.process import stop_on_signals
from schemas.settings import Loaded, ProducerSettings

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="Video file, folder of images, rtsp://…, http://…, /dev/video0, or synthetic://walkway?seed=1&seconds=60;"
        " env:NAME or file:PATH reads an address from there, so that its password is in no list of processes."
        " Default: the cameras of the settings file.",
    ),
]
SourceFileOption = Annotated[
    list[Path] | None, typer.Option("--source-file", help="File with one source a line; may be given several times.")
]
SourceFpsOption = Annotated[
    float | None,
    typer.Option("--source-fps", help="Frames a second of recordings that say it wrongly, and of folders of images."),
]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        parser=bundle_named,
        metavar="DIR|NAME",
        help="Bundle whose manifest gives rate, size, colours and quality, where not given.",
    ),
]
WidthOption = Annotated[int | None, typer.Option("--width", help="Pixels to resize to, with --height.")]
HeightOption = Annotated[int | None, typer.Option("--height", help="Pixels to resize to, with --width.")]
SessionOption = Annotated[
    str | None, typer.Option("--session", help="Name of this run; the same name and video give the same event ids.")
]
ColoursOption = Annotated[
    Literal["all", "grey"] | None, typer.Option("--colours", help="grey: smaller frames, for networks without colours.")
]
SpoolOption = Annotated[
    Path | None,
    typer.Option("--spool-dir", help="Folder that keeps frames while the broker is away; they are sent late."),
]
QualityOption = Annotated[int | None, typer.Option("--jpeg-quality", help="1 to 100.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "produce")(produce)


def produce(
    run: Invocation,
    sources: SourcesArgument = None,
    source_file: SourceFileOption = None,
    camera: CamerasOption = None,
    bundle: ManifestOption = None,
    fps: FpsOption = None,
    source_fps: SourceFpsOption = None,
    pace: PaceOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    colours: ColoursOption = None,
    jpeg_quality: QualityOption = None,
    start: StartOption = None,
    session: SessionOption = None,
    spool_dir: SpoolOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
) -> None:
    """Send the frames of cameras or files to Kafka, until they end or a signal comes.

    A camera that is away is tried again for ever. Every frame is accounted for in the last line of the log. With
    --config, masks, hours and cameras that come and go in the file are taken over as it is saved, and on SIGHUP.

    Example: engram produce rtsp://user:password@camera/stream --camera gate --bundle bundles/gate
    """
    own = {
        "source_fps": source_fps,
        "fps": fps,
        "pace": pace,
        "width": width,
        "height": height,
        "colours": colours,
        "jpeg_quality": jpeg_quality,
        "start": start,
        "session": session,
        "spool_dir": spool_dir,
    }
    overrides = kafka_overrides(bootstrap_servers, topic_prefix) | {f"producer.{key}": own[key] for key in own}
    overrides |= {"http.listen": http}
    run.load(ProducerSettings, overrides)  # what is wrong there is told before OpenCV is loaded
    from bundles.manifest import load_manifest  # noqa: PLC0415
    from engram.build.cameras import bundle_defaults, resolved_sources  # noqa: PLC0415 - OpenCV takes a while to load
    from engram.run.producer import run_producer  # noqa: PLC0415
    from engram.run.reload import Reload  # noqa: PLC0415

    def load() -> Loaded[ProducerSettings]:
        loaded = run.load(ProducerSettings, overrides)
        return loaded if bundle is None else run.load(ProducerSettings, overrides | bundle_defaults(loaded, bundle))

    named = resolved_sources(sources or (), source_file or ())
    with stop_on_signals() as stop:
        manifest = None if bundle is None else load_manifest(bundle)
        run_producer(load(), named, camera or (), stop, Reload(run.config, load), manifest)
