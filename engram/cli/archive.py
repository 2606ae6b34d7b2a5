"""``engram archive``: events kept in a file of one's own, and questions to it."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TextIO, TypeVar

import typer

from consumers.archive import Archive, Entry, Phase, Query
from consumers.durations import duration, moment
from engram.build.adapters import open_bus
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, HttpOption, PrefixOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line, print_table
from engram.observe.desk import open_desk
from engram.run.archive import ArchiveRequest, default_archive_path, run_archive
from engram.run.process import stop_on_signals
from schemas.errors import FatalError, SettingsError
from schemas.messages import utc_now
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

FileOption = Annotated[
    Path | None, typer.Option("--file", help="The archive; default: events.db in the user's data folder.")
]
KeepOption = Annotated[str | None, typer.Option("--keep", help="Delete events older than this, as in 90d.")]
OnceOption = Annotated[bool, typer.Option("--once", help="Leave at the end of the topic as it is now.")]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Another topic of events, without its prefix, as in verified-events.")
]
CamerasOption = Annotated[
    list[str] | None, typer.Option("--camera", help="Only this camera, or pattern such as 'gate*'; may be repeated.")
]
SinceOption = Annotated[str | None, typer.Option("--since", help="Not over before: 2h, 7d, or 2026-03-01T08:00Z.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Begun before: as --since.")]
MinScoreOption = Annotated[float | None, typer.Option("--min-score", min=0, max=1, help="With a peak of at least.")]
NewestOption = Annotated[int, typer.Option("--newest", "-n", min=1, help="How many of the newest.")]
EventArgument = Annotated[str, typer.Argument(metavar="ID", help="As in the list: camera:session:frame.")]
ExportFormatOption = Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="jsonl: the messages whole.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="File to write; default: standard output.")]

T = TypeVar("T")

COLUMNS = ("event_id", "camera_id", "started_at", "last_at", "ended_at", "end_reason", "phase", "peak")


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Keep events in a SQLite file; list, show and export them.")
    command(group, "run")(run_command)
    command(group, "list")(list_events)
    command(group, "show")(show_event)
    command(group, "export")(export_events)
    app.add_typer(group, name="archive")


def run_command(
    run: Invocation,
    file: FileOption = None,
    keep: KeepOption = None,
    once: OnceOption = False,
    topic: TopicOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
) -> None:
    """Write events to the archive as they come: each once, folded to its newest state.

    How far it has read stands in the file itself, so a crash at any moment neither loses nor doubles an event.

    Example: engram archive run --keep 90d
    """
    settings = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix) | {"http.listen": http})
    kafka = settings.kafka
    name = TopicNames.with_prefix(kafka.topic_prefix).anomaly_events if topic is None else kafka.topic_prefix + topic
    kept = None if keep is None else _read(duration, keep, "--keep")
    request = ArchiveRequest(name, file or default_archive_path(), kept, once)
    with open_desk(settings.http, "archive") as desk, open_bus(kafka) as bus, stop_on_signals() as stop:
        run_archive(bus, request, stop, desk)


def list_events(
    run: Invocation,
    file: FileOption = None,
    camera: CamerasOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    min_score: MinScoreOption = None,
    newest: NewestOption = 50,
    output: OutputOption = "text",
) -> None:
    """List events of the archive, newest first.

    Example: engram archive list --camera gate --since 2h
    """
    run.settings(ConsumerSettings)
    query = _query(camera, since, until, min_score, newest)
    with _opened(file) as archive:
        found = archive.find(query)
        if output == "json":
            for entry in found:
                print_json_line(_facts(entry))
            return
        rows = [
            (
                _shown(entry.started_at),
                entry.camera_id,
                _lasted(entry),
                f"{entry.peak:.3f}",
                _state(entry),
                entry.event_id,
            )
            for entry in found
        ]
    print_table(f"{len(rows)} events", ("began (UTC)", "camera", "lasted", "peak", "ended", "id"), rows)


def show_event(run: Invocation, event: EventArgument, file: FileOption = None, output: OutputOption = "text") -> None:
    """Show one event with its phases; with -o json its newest message whole.

    Example: engram archive show gate:20260301T080000Z-1f2e3d:105
    """
    run.settings(ConsumerSettings)
    with _opened(file) as archive:
        entry, phases = archive.get(event), archive.phases(event)
    if entry is None:
        raise FatalError(f"there must be an event '{event}' in the archive, there is none; see 'engram archive list'")
    if output == "json":
        print_json_line({"message": json.loads(entry.body), "phases": [_phase_facts(phase) for phase in phases]})
        return
    print_table(f"event {event}", ("", ""), list(_facts(entry).items()))
    rows = [(_shown(one.time), one.phase, one.last_frame, f"{one.score:.3f}", f"{one.peak:.3f}") for one in phases]
    print_table("phases", ("time (UTC)", "phase", "frame", "score", "peak"), rows)


def export_events(
    run: Invocation,
    file: FileOption = None,
    format_: ExportFormatOption = "jsonl",
    out: OutOption = None,
    camera: CamerasOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    min_score: MinScoreOption = None,
) -> None:
    """Write events to a file, newest first: their newest messages as JSON lines, or their main facts as CSV.

    Example: engram archive export --format csv --since 7d --out week.csv
    """
    run.settings(ConsumerSettings)
    query = _query(camera, since, until, min_score, None)
    with _opened(file) as archive, _written(out) as text:
        write = _write_lines if format_ == "jsonl" else _write_table
        write(archive.find(query), text)


def _write_lines(entries: Iterable[Entry], text: TextIO) -> None:
    for entry in entries:
        print(entry.body.decode("utf-8"), file=text)


def _write_table(entries: Iterable[Entry], text: TextIO) -> None:
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        facts = _facts(entry)
        writer.writerow(["" if facts[column] is None else facts[column] for column in COLUMNS])


def _query(
    cameras: list[str] | None, since: str | None, until: str | None, min_score: float | None, newest: int | None
) -> Query:
    now = utc_now()
    first, last = (
        None if text is None else _read(lambda given: moment(given, now), text, flag)
        for text, flag in ((since, "--since"), (until, "--until"))
    )
    if first is not None and last is not None and first >= last:
        raise SettingsError(f"--since must be before --until, got '{since}' and '{until}'")
    return Query(cameras or (), first, last, min_score, newest)


def _read(reads: Callable[[str], T], text: str, flag: str) -> T:
    try:
        return reads(text)
    except ValueError as error:
        raise SettingsError(f"{flag} {error}") from None


@contextmanager
def _opened(file: Path | None) -> Iterator[Archive]:
    with closing(Archive(file or default_archive_path(), "read")) as archive:
        yield archive


@contextmanager
def _written(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("x", encoding="utf-8", newline="") as text:
            yield text
    except OSError as error:
        raise FatalError(f"'{out}' must be a new file that we may write: {error.strerror}") from error


def _facts(entry: Entry) -> dict[str, object]:
    facts = {column: getattr(entry, column) for column in COLUMNS}
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in facts.items()}


def _phase_facts(phase: Phase) -> dict[str, object]:
    return {
        "id": phase.message_id,
        "phase": phase.phase,
        "time": _iso(phase.time),
        "score": phase.score,
        "peak": phase.peak,
        "last_frame": phase.last_frame,
    }


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: datetime) -> str:
    return value.strftime("%Y-%m-%d %H:%M:%S")


def _lasted(entry: Entry) -> str:
    return f"{(entry.last_at - entry.started_at).total_seconds():.1f} s"


def _state(entry: Entry) -> str:
    return "open" if entry.phase != "end" else entry.end_reason or "-"
