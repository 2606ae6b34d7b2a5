"""``engram replay``: recordings or held frames once more, with another threshold, bundle or bank; to files, topics."""

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from consumers.comparison import Comparison, Span, compare, read_events, spans_of
from consumers.durations import moment
from consumers.replay_folder import ReplayFolder
from consumers.replay_topics import ReplayTopics
from engram.build.adapters import open_bus
from engram.cli.invocation import Invocation, command
from engram.cli.options import (
    BackendOption,
    BootstrapOption,
    BundleOption,
    DeviceOption,
    FpsOption,
    PrefixOption,
    StoreOption,
    kafka_overrides,
)
from engram.cli.output import Output, OutputOption, print_json_line, print_table
from engram.run.process import stop_on_signals
from messaging.ports import Bus, Places
from schemas.errors import SettingsError
from schemas.messages import utc_now
from schemas.settings import WatchSettings
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames

PREFIX = r"[A-Za-z0-9._-]{1,100}"
INPUT, DIFFERENT = "What is replayed", "What is different"

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="SOURCE...", help="Video files, folders of images, synthetic://…; none with --frames."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="New folder for scores, events, and what they were made with.")
]
IntoOption = Annotated[
    str | None,
    typer.Option("--into", metavar="PREFIX", help="Of topics of its own for scores and events, which are made."),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option("--against", help="Folder of another replay, or events as JSON lines, to compare the events with."),
]
CamerasOption = Annotated[
    list[str] | None,
    typer.Option(
        "--camera", help="Name of the camera, once per source; with --frames: only these.", rich_help_panel=INPUT
    ),
]
FramesOption = Annotated[
    bool, typer.Option("--frames", help="The topic of frames, as far as it is kept.", rich_help_panel=INPUT)
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="With --frames: what came since 20m, or 2026-03-01T08:00Z.", rich_help_panel=INPUT),
]
UntilOption = Annotated[str | None, typer.Option("--until", help="As --since.", rich_help_panel=INPUT)]
OffsetOption = Annotated[
    list[str] | None,
    typer.Option("--from-offset", metavar="P:N", help="Begin partition P at offset N.", rich_help_panel=INPUT),
]
SessionOption = Annotated[
    str | None, typer.Option("--session", help="Name of the run, which is in the ids of events.", rich_help_panel=INPUT)
]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start", help="Time of the first frame; default: 1970, so times are offsets.", rich_help_panel=INPUT
    ),
]
EnterOption = Annotated[
    float | None, typer.Option("--enter", min=0, max=1, help="Score that opens an event.", rich_help_panel=DIFFERENT)
]
ExitOption = Annotated[
    float | None, typer.Option("--exit", min=0, max=1, help="Score below which it may end.", rich_help_panel=DIFFERENT)
]
RateOption = Annotated[
    float | None,
    typer.Option("--false-alarms", help="A day, that one will put up with.", rich_help_panel=DIFFERENT),
]
BankOption = Annotated[
    str | None, typer.Option("--bank", help="Of the store; default: the bundle's own.", rich_help_panel=DIFFERENT)
]
VersionOption = Annotated[
    int | None,
    typer.Option("--bank-version", min=0, help="Of that bank; default: the newest.", rich_help_panel=DIFFERENT),
]
BankFileOption = Annotated[
    Path | None,
    typer.Option("--bank-file", help="Written by 'engram bank export'.", rich_help_panel=DIFFERENT),
]

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "replay", extra="worker")(replay)


def replay(
    run: Invocation,
    sources: SourcesArgument = None,
    out: OutOption = None,
    into: IntoOption = None,
    bundle: BundleOption = None,
    against: AgainstOption = None,
    camera: CamerasOption = None,
    frames: FramesOption = False,
    since: SinceOption = None,
    until: UntilOption = None,
    from_offset: OffsetOption = None,
    session: SessionOption = None,
    start: StartOption = None,
    enter: EnterOption = None,
    exit_: ExitOption = None,
    false_alarms: RateOption = None,
    bank: BankOption = None,
    bank_version: VersionOption = None,
    bank_file: BankFileOption = None,
    fps: FpsOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    backend: BackendOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """Score recordings or held frames once more, as fast as may be, with a bank that does not change.

    What comes out goes into a folder, or into topics of its own, or both.

    The same inputs give the same scores and ids. With --against the events of two runs stand side by side.

    Example: engram replay day1.mp4 --camera gate --bundle models/gate --out runs/a

    With another threshold: engram replay day1.mp4 --camera gate --bundle models/gate --enter 0.9 --out runs/b --against
    runs/a
    """
    _require_one_input(sources, frames, (since, until, from_offset))
    _require_output(out, into)
    _require_one_bank(bank, bank_version, bank_file)
    overrides: dict[str, object] = kafka_overrides(bootstrap_servers, topic_prefix) | {
        "worker.bundle": bundle,
        "worker.device": device,
        "worker.backend": backend,
        "producer.fps": fps,
        "producer.session": session,
        "events.enter": enter,
        "events.exit": exit_,
        "events.target_false_alarms_per_day": false_alarms,
        "store.url": store,
    }
    before = None if against is None else spans_of(read_events(against))
    loaded = run.load(WatchSettings, overrides)
    from engram.run.replay import (  # noqa: PLC0415 - needs an extra
        Replayed,
        ReplayOutput,
        chosen_bank,
        replay_defaults,
        run_replay,
    )
    from engram.run.replay_input import EPOCH, HeldFrames, Recordings, ReplayInput  # noqa: PLC0415

    settings = run.settings(WatchSettings, overrides | replay_defaults(loaded))
    chosen = chosen_bank(settings.store, bank, bank_version, bank_file)
    with ExitStack() as opened, stop_on_signals() as stop:
        bus = opened.enter_context(open_bus(settings.kafka)) if frames or into is not None else None
        given: ReplayInput
        if frames and bus is not None:
            topic = TopicNames.with_prefix(settings.kafka.topic_prefix).frames
            places = _places(topic, from_offset or ())
            given = HeldFrames(bus, topic, _time(since, "--since"), places, _time(until, "--until"), camera or ())
        else:
            given = Recordings(sources or (), camera or (), settings.producer, _time(start, "--start") or EPOCH)
        folder = None if out is None else opened.enter_context(ReplayFolder(out))
        topics = None if bus is None or into is None else opened.enter_context(_topics(bus, into, settings.kafka))
        outputs: list[ReplayOutput] = [] if folder is None else [folder]
        outputs += [] if topics is None else [topics]
        done: Replayed = run_replay(settings, given, chosen, outputs, stop)
        if topics is not None:
            topics.finish()
        if folder is not None:
            folder.finish(
                {
                    "sources": list(sources or ()) or "frames",
                    "bundle": str(settings.worker.bundle),
                    "bank": None if chosen is None else [chosen.bank_id, chosen.version, chosen.digest],
                    "events": settings.events.model_dump(),
                    "frames": str(done.tally),
                }
            )
    log.info("%d scores in %.1f s: %s", done.num_scores, done.seconds, done.tally)
    after = spans_of(done.events)
    if before is None:
        _print_events(after, out, into, output)
    else:
        _print_comparison(compare(before, after), output)


def _require_one_input(sources: list[str] | None, frames: bool, of_frames: tuple[object, ...]) -> None:
    if bool(sources) == frames:
        raise SettingsError("either recordings or --frames must be named, got both or none; see engram replay --help")
    if not frames and any(of_frames):
        raise SettingsError("--since, --until and --from-offset go with --frames; a recording is replayed whole")


def _require_output(out: Path | None, into: str | None) -> None:
    if out is None and into is None:
        raise SettingsError("--out DIR, --into PREFIX or both must say where it goes, got neither")


@contextmanager
def _topics(bus: Bus, prefix: str, kafka: KafkaSection) -> Iterator[ReplayTopics]:
    """Topics under ``prefix``, which must not be that of the fleet.

    Raises:
        SettingsError: it is, or it is no prefix.
    """
    if prefix == kafka.topic_prefix or not re.fullmatch(PREFIX, prefix):
        text = "--into must be a prefix of its own, 1 to 100 letters, digits or . _ -, as in trial-1."
        raise SettingsError(f"{text}, got '{prefix}'")
    with closing(ReplayTopics(bus, TopicNames.with_prefix(prefix), kafka.frames_partitions)) as topics:
        yield topics


def _require_one_bank(bank: str | None, version: int | None, file: Path | None) -> None:
    if file is not None and bank is not None:
        raise SettingsError("only one of --bank and --bank-file can be given, got both; choose one")
    if version is not None and bank is None:
        raise SettingsError("--bank-version is of a bank of the store; name it with --bank")


def _time(text: str | None, flag: str) -> datetime | None:
    try:
        return None if text is None else moment(text, utc_now())
    except ValueError as error:
        raise SettingsError(f"{flag} {error}") from None


def _places(topic: str, given: list[str] | tuple[()]) -> Places:
    places = {}
    for text in given:
        if not re.fullmatch(r"\d{1,6}:\d{1,18}", text):
            raise SettingsError(f"--from-offset must be PARTITION:OFFSET, as in 0:1200, got '{text}'")
        partition, _, offset = text.partition(":")
        places[topic, int(partition)] = int(offset)
    return places


def _print_events(spans: list[Span], out: Path | None, into: str | None, output: Output) -> None:
    if output == "json":
        print_json_line({"out": None if out is None else str(out), "into": into, "num_events": len(spans)})
        return
    where = " and ".join([*([str(out)] if out else []), *([f"topics {into}…"] if into else [])])
    rows = [(span.camera_id, _frames(span), f"{span.peak:.3f}", span.end_reason, span.event_id) for span in spans]
    print_table(f"{len(spans)} events, in {where}", ("camera", "frames", "peak", "ended", "id"), rows)


def _print_comparison(found: Comparison, output: Output) -> None:
    if output == "json":
        print_json_line(found.facts())
        return
    rows = [("appeared", new.camera_id, "-", _shown(new), new.event_id) for new in found.appeared]
    rows += [("vanished", old.camera_id, _shown(old), "-", old.event_id) for old in found.vanished]
    rows += [("changed", new.camera_id, _shown(old), _shown(new), new.event_id) for old, new in found.changed]
    numbers = f"{len(found.appeared)} appeared, {len(found.vanished)} vanished, {len(found.changed)} changed"
    title = f"events: {numbers}, {len(found.same)} the same"
    print_table(title, ("what", "camera", "before: frames, peak", "after: frames, peak", "id"), rows)


def _frames(span: Span) -> str:
    return f"{span.first}-{span.last}"


def _shown(span: Span) -> str:
    return f"{_frames(span)}, {span.peak:.3f}"
