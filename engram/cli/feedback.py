"""``engram feedback``: say of an event that it was nothing new, or that it was real."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from consumers.archive import Archive
from consumers.durations import duration
from consumers.verdicts import Statement, awaited_outcome, find_event, new_verdict_id, verdict_on, verdict_record
from engram.build.adapters import open_bus, open_store
from engram.cli.bank_facts import user_at_host
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, PrefixOption, StoreOption, kafka_overrides
from engram.cli.output import Output, OutputOption, print_json_line, print_table
from memory_store.bank import Bank
from messaging.ports import Bus
from schemas.codec import decode_message
from schemas.errors import BadMessageError, DamagedError, FatalError, SettingsError, TransientError
from schemas.messages import AnomalyEvent, EventData, utc_now
from schemas.settings import CoordinatorSettings
from schemas.topics import TopicNames
from schemas.verdicts import Judgement, OperatorVerdict, Scope, VerdictOutcome

EventArgument = Annotated[
    str | None, typer.Argument(metavar="EVENT_ID", help="As 'engram events' tells it: camera:session:frame.")
]
NormalOption = Annotated[bool, typer.Option("--normal", help="It was nothing new: the like of it shall not alarm.")]
RealOption = Annotated[bool, typer.Option("--real", help="It was real: nothing may teach that it is normal.")]
UndoOption = Annotated[bool, typer.Option("--undo", help="As if nothing had been said of it.")]
ScopeOption = Annotated[
    Scope | None,
    typer.Option(
        "--scope",
        help="Where the like of it is meant: where it was seen (place, the default), anywhere at this camera, or at"
        " every camera that shares the bank.",
    ),
]
ExpiresOption = Annotated[str | None, typer.Option("--expires", help="Until then, as in 30d. Default: for good.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why, for the audit log.")]
OperatorOption = Annotated[
    str | None, typer.Option("--operator", help="Who says so, for the audit log. Default: user@host.")
]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="Find the event in this archive ('engram archive'), not on the topic.")
]
ListOption = Annotated[
    str | None, typer.Option("--list", metavar="BANK", help="What was said of events, as a bank holds it.")
]
SEARCH_S = 60.0
ANSWER_S = 10.0
SEND_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "feedback")(feedback)


def feedback(
    run: Invocation,
    event: EventArgument = None,
    normal: NormalOption = False,
    real: RealOption = False,
    undo: UndoOption = False,
    scope: ScopeOption = None,
    expires: ExpiresOption = None,
    reason: WhyOption = "",
    operator: OperatorOption = None,
    archive: ArchiveOption = None,
    held: ListOption = None,
    store: StoreOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """Say of an event that it was normal, or real; the memory of its camera goes by it within two seconds.

    The coordinator writes one more version of the bank, with your name in its log, or says why not: nothing may be
    called normal that would silence what was called real. Exits with 1 if it was refused. See docs/memory.md.

    Example: engram feedback gate:20260301T080000Z-1f2e3d:105 --normal --expires 30d --reason "the mail van"

    What was said so far: engram feedback --list gate
    """
    overrides = kafka_overrides(bootstrap_servers, topic_prefix) | {"store.url": store}
    settings = run.settings(CoordinatorSettings, overrides)
    if held is not None:
        with open_store(settings.store) as banks:
            _print_held(banks.read(held), held, output)
        return
    if event is None:
        raise SettingsError("an event must be named, as in 'engram events'; or --list with a bank")
    judgement = _judgement(normal, real, undo)
    now = utc_now()
    who = user_at_host() if operator is None else operator  # a name that is empty is no leave to sign with another
    said = Statement(judgement, who, scope or "place", reason, _until(expires, now))
    names = TopicNames.with_prefix(settings.kafka.topic_prefix)
    with open_bus(settings.kafka) as bus:
        found = _found(bus, names.anomaly_events, event) if archive is None else _archived(archive, event)
        outcome = said_and_answered(bus, names, verdict_on(found, said, now, new_verdict_id()), ANSWER_S)
    _print_outcome(outcome, output)
    if outcome.outcome == "refused":
        raise typer.Exit(EXIT_FAULT)


def said_and_answered(bus: Bus, names: TopicNames, verdict: OperatorVerdict, answer_s: float) -> VerdictOutcome:
    """Write a verdict and wait for what comes of it.

    Raises:
        TransientError: nobody has answered, or the broker is away.
    """
    with closing(bus.reader([names.memory_events], from_beginning=False)) as reader:
        failed: list[Exception] = []
        publisher = bus.publisher()
        publisher.publish(verdict_record(verdict, names.operator_verdicts), _noting(failed))
        publisher.close(SEND_S)
        if failed:
            raise TransientError(f"the verdict could not be written: {failed[0]}")
        outcome = awaited_outcome(reader, verdict.verdict_id, answer_s)
    if outcome is None:
        text = f"no coordinator has answered within {answer_s:g} s; the verdict is on {names.operator_verdicts}"
        raise TransientError(f"{text} and is decided when one runs ('engram coordinate')")
    return outcome


def _noting(failed: list[Exception]) -> Callable[[Exception | None], None]:
    def note(error: Exception | None) -> None:
        if error is not None:
            failed.append(error)

    return note


def _judgement(normal: bool, real: bool, undo: bool) -> Judgement:
    given: dict[Judgement, bool] = {"normal": normal, "real": real, "undo": undo}
    if sum(given.values()) != 1:
        raise SettingsError("one of --normal, --real and --undo must be given; as in 'engram feedback EVENT --normal'")
    return next(judgement for judgement, is_given in given.items() if is_given)


def _until(expires: str | None, now: datetime) -> datetime | None:
    try:
        return None if expires is None else now + duration(expires)
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"--expires {error}") from None


def _found(bus: Bus, topic: str, event_id: str) -> EventData:
    with closing(bus.reader([topic], from_beginning=True)) as reader:
        return find_event(reader, event_id, SEARCH_S)


def _archived(path: Path, event_id: str) -> EventData:
    with closing(Archive(path, "read")) as archive:
        entry = archive.get(event_id)
    if entry is None:
        raise FatalError(f"there must be an event '{event_id}' in '{path}', there is none; see 'engram archive list'")
    try:
        return decode_message(AnomalyEvent, entry.body).data
    except BadMessageError as error:
        raise DamagedError(f"the event '{event_id}' in '{path}' must be a message: {error}") from error


def _print_outcome(outcome: VerdictOutcome, output: Output) -> None:
    if output == "json":
        print_json_line(outcome)
        return
    version = "" if outcome.bank_version is None else f" v{outcome.bank_version}"
    why = f": {outcome.why}" if outcome.why else ""
    cause = f" ({outcome.reason})" if outcome.reason else ""
    print(f"{outcome.outcome}{cause}, bank {outcome.bank_id}{version}{why}")


def _print_held(bank: Bank | None, name: str, output: Output) -> None:
    if bank is None:
        raise FatalError(f"bank '{name}' must exist; see 'engram bank list'")
    rows = [
        {
            "event_id": one.event_id,
            "judgement": one.judgement,
            "scope": one.scope,
            "operator": one.operator,
            "given_at": one.given_at.isoformat(timespec="seconds"),
            "expires_at": None if one.expires_at is None else one.expires_at.isoformat(timespec="seconds"),
        }
        for one in bank.exemplars
    ]
    if output == "json":
        print_json_line(rows)
    else:
        columns = ("event", "said", "scope", "by", "given", "until")
        print_table(f"what was said, bank {name} v{bank.version}", columns, [tuple(row.values()) for row in rows])
