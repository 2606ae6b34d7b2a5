"""``engram clips``: a picture and a video of each event, kept in a folder or a bucket."""

from typing import Annotated

import typer

from consumers.durations import duration
from consumers.media.clipper import ClipOptions
from consumers.media.store import Retention
from engram.build.adapters import open_bus
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, HttpOption, PrefixOption, kafka_overrides
from engram.observe.desk import open_desk
from engram.run.clips import ClipRequest, run_clips
from engram.run.process import stop_on_signals
from schemas.errors import SettingsError
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

GIGABYTE = 1_000_000_000
DEFAULT_GB = 50.0

PlaceArgument = Annotated[str, typer.Argument(metavar="STORE", help="A folder, or s3://bucket/prefix.")]
BeforeOption = Annotated[float, typer.Option("--before", min=0, max=120, help="Seconds of video before an event.")]
AfterOption = Annotated[float, typer.Option("--after", min=0, max=120, help="Seconds of video after it.")]
LongestOption = Annotated[
    float, typer.Option("--longest", min=1, max=3600, help="Longest clip in seconds; what is longer is cut off.")
]
EarlyOption = Annotated[
    float,
    typer.Option("--early", min=1, help="An event that has gone on for so many seconds gets its first clip then."),
]
BoxesOption = Annotated[
    bool, typer.Option("--boxes", help="Draw on the picture where it is unusual; else it is as the camera sent it.")
]
KeepOption = Annotated[str, typer.Option("--keep", help="Delete media older than this, as in 30d; 'ever': none.")]
KeepBytesOption = Annotated[
    float, typer.Option("--keep-gb", min=0.001, help="Gigabytes of all media; beyond it the oldest events' go.")
]
EndpointOption = Annotated[
    str | None, typer.Option("--s3-endpoint", help="Address of a server that speaks S3 and is not Amazon's.")
]
GroupOption = Annotated[
    str, typer.Option("--group", metavar="NAME", help="Consumer group, under the topic prefix; several share the work.")
]

OldOption = Annotated[
    bool, typer.Option("--from-beginning", help="A new group begins with the oldest event that is kept, not now.")
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "clips", extra="s3")(clips)


def clips(
    run: Invocation,
    store: PlaceArgument,
    before: BeforeOption = 5.0,
    after: AfterOption = 5.0,
    longest: LongestOption = 600.0,
    early: EarlyOption = 60.0,
    boxes: BoxesOption = False,
    keep: KeepOption = "30d",
    keep_gb: KeepBytesOption = DEFAULT_GB,
    s3_endpoint: EndpointOption = None,
    group: GroupOption = "engram-clips",
    from_beginning: OldOption = False,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
) -> None:
    """Keep a picture of each event's peak and a video of it, from some seconds before to some after.

    Frames are those of the frames topic, as large as the producer sends them: whoever wants large pictures sends large
    frames. The video is H.264 in MP4, which browsers play. Where each file is, how long it is kept, and how many frames
    retention had already taken is told on the topic event-media.

    A new group begins with the events to come. Each event is made at least once, whatever happens between; a store that
    is full or away is waited for. Credentials of S3 are those that boto3 finds: AWS_ACCESS_KEY_ID and so on.

    Example: engram clips /var/lib/engram/media --before 5 --after 10 --keep 14d

    Example: engram clips s3://yard/engram --s3-endpoint http://minio:9000 --boxes
    """
    settings = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"http.listen": http})
    kafka = settings.kafka
    names = TopicNames.with_prefix(kafka.topic_prefix)
    options = ClipOptions(names.event_media, before, after, longest, early, boxes, retention(keep, keep_gb))
    request = ClipRequest(
        store, s3_endpoint, kafka.topic_prefix + group, "oldest" if from_beginning else "newest", options
    )
    with open_desk(settings.http, "clips") as desk, open_bus(kafka) as bus, stop_on_signals() as stop:
        run_clips(bus, names, request, stop, desk)


def retention(keep: str, keep_gb: float) -> Retention:
    """How long media stay, from the words of the flags."""
    try:
        return Retention(None if keep == "ever" else duration(keep), round(keep_gb * GIGABYTE))
    except ValueError as error:
        raise SettingsError(f"--keep {error}, or 'ever'") from None
