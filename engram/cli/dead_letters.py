"""``engram dead-letters``: look into what no process could handle."""

import re
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from consumers.letters import Found, Letter, Wanted, find_letters, save_letter, wanted_of
from consumers.reader import BATCH, followed
from engram.build.adapters import open_bus
from engram.cli.events import opened_reader
from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, FollowOption, PrefixOption, kafka_overrides
from engram.cli.output import Output, OutputOption, print_json_line, print_table
from engram.run.process import stop_on_signals
from schemas.errors import FatalError, SettingsError
from schemas.settings import ConsumerSettings
from schemas.topics import TopicNames

NewestOption = Annotated[int, typer.Option("--newest", "-n", min=1, max=1000, help="How many of the newest.")]
CountOption = Annotated[bool, typer.Option("--count", help="Only how many there are of each reason and topic.")]
ShowOption = Annotated[
    str | None, typer.Option("--show", metavar="PLACE", help="One letter with all its headers; PLACE is in the list.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only of this reason.")]
CameraOption = Annotated[str | None, typer.Option("--camera", help="Only of this camera (or bank, for updates).")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Only from this topic, as in --topic frames.")]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="DIR", help="Also write the bytes of each letter shown to this folder.")
]
TIMEOUT_S = 120.0
SHORT = 60
"""Letters of a message in the table."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "dead-letters")(dead_letters)


def dead_letters(
    run: Invocation,
    newest: NewestOption = 20,
    follow: FollowOption = False,
    count: CountOption = False,
    show: ShowOption = None,
    reason: ReasonOption = None,
    camera: CameraOption = None,
    topic: TopicOption = None,
    save: SaveOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """Look into the dead letters: records that no process could handle, with what was wrong, newest first.

    Nothing is changed or removed. With -o json each letter is one line, without its bytes; --save writes those.

    Example: engram dead-letters --reason invalid_message -n 5 --save letters

    One with all its headers: engram dead-letters --show 0/17
    """
    _require_one_way(follow, count, show)
    kafka = run.settings(ConsumerSettings, kafka_overrides(bootstrap_servers, topic_prefix)).kafka
    wanted = Wanted(reason, camera, topic, show)
    name = TopicNames.with_prefix(kafka.topic_prefix).dead_letters
    with open_bus(kafka) as bus, stop_on_signals() as stop:
        opened = opened_reader(bus, name, not follow, stop if follow else None)
        if opened is None:
            return
        with closing(opened) as reader:
            if follow:
                for records in followed(lambda wait_s: reader.read(BATCH, wait_s), stop):
                    _print_lines(wanted_of(records, wanted), save, output)
                return
            found = find_letters(reader, wanted, 1 if show else newest, save is not None, TIMEOUT_S)
    if count:
        _print_counts(found, output)
    elif show is not None:
        _print_one(found, show, save, output)
    elif output == "json":
        _print_lines(found.newest, save, output)
    else:
        _print_list(found, save)


def _require_one_way(follow: bool, count: bool, show: str | None) -> None:
    if follow + count + (show is not None) > 1:
        raise SettingsError("only one of --follow, --count and --show can be given, got more; choose one")
    if show is not None and not re.fullmatch(r"\d+/\d+", show):
        raise SettingsError(f"--show must be PARTITION/OFFSET, as in --show 0/17, got '{show}'; see the list")


def _print_lines(letters: Iterable[Letter], save: Path | None, output: Output) -> None:
    for letter in letters:
        _save(letter, save)
        if output == "json":
            print_json_line(letter.facts())
        else:
            print(f"{letter.place} {_at(letter)} {letter.reason} {letter.source or '-'} {letter.key}: {letter.message}")


def _print_list(found: Found, save: Path | None) -> None:
    total = found.reasons.total()
    rows = [
        (letter.place, _at(letter), letter.reason, letter.source, letter.key, letter.num_bytes, letter.message[:SHORT])
        for letter in found.newest
    ]
    columns = ("place", "written (UTC)", "reason", "from", "camera", "bytes", "what was wrong")
    print_table(f"dead letters, the newest {len(rows)} of {total}", columns, rows)
    for letter in found.newest:
        _save(letter, save)
    if save is not None:
        print(f"saved to {save}: {len(rows)}")


def _print_counts(found: Found, output: Output) -> None:
    if output == "json":
        print_json_line({"reasons": dict(found.reasons), "topics": dict(found.topics)})
        return
    print_table("dead letters by reason", ("reason", "how many"), found.reasons.most_common())
    print_table("dead letters by topic", ("topic", "how many"), found.topics.most_common())


def _print_one(found: Found, place: str, save: Path | None, output: Output) -> None:
    if not found.newest:
        raise FatalError(f"there must be a dead letter at {place}, there is none; see 'engram dead-letters' for those")
    letter = found.newest[0]
    _save(letter, save)
    if output == "json":
        print_json_line(letter.facts())
        return
    facts = {**letter.facts(), "headers": len(letter.headers)}
    print_table(f"dead letter {place}", ("", ""), list(facts.items()))
    print_table("headers of the record", ("name", "value"), letter.headers)


def _save(letter: Letter, folder: Path | None) -> None:
    if folder is not None:
        save_letter(letter, folder)


def _at(letter: Letter) -> str:
    return "-" if letter.written_at is None else letter.written_at.strftime("%Y-%m-%d %H:%M:%S")
