"""``engram events`` and ``engram dead-letters`` over a log in memory: what is printed, and how each way ends."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engram.cli import dead_letters, events
from engram.cli.app import app
from engram.run.process import stop_on_signals
from messaging.dead_letters import dead_letter
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, Record, TopicSpec
from schemas.codec import encode_message
from schemas.errors import BadMessageError
from schemas.messages import AnomalyEvent
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames
from tests.unit.consumers.samples import event
from tests.unit.consumers.test_snapshots import FIRST, PEAK, shown

NAMES = TopicNames.with_prefix("site.")


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcessBus]:
    """In place of Kafka; each command must ask for the broker and prefix that it was told."""
    made = InProcessBus()
    made.create_topics([TopicSpec(NAMES.anomaly_events, 2), TopicSpec(NAMES.dead_letters, 2)])

    @contextmanager
    def opened(kafka: KafkaSection) -> Iterator[InProcessBus]:
        assert kafka.bootstrap_servers == "there:1"
        yield made

    monkeypatch.setattr(events, "open_bus", opened)
    monkeypatch.setattr(dead_letters, "open_bus", opened)
    yield made
    made.close()


def call(*words: object) -> Result:
    where = ("--bootstrap-servers", "there:1", "--topic-prefix", "site.")
    wide = {"COLUMNS": "250", "TERM": "dumb", "NO_COLOR": "1"}
    return CliRunner(env=wide).invoke(app, [*map(str, words), *where])


def tell(bus: InProcessBus, *messages: AnomalyEvent | bytes) -> None:
    publisher = bus.publisher()
    for message in messages:
        value = message if isinstance(message, bytes) else encode_message(message)
        key = "stray" if isinstance(message, bytes) else message.partitionkey
        publisher.publish(OutRecord(NAMES.anomaly_events, key, value))


def give_up(bus: InProcessBus, key: str, reason: str, value: bytes = b"v", topic: str = NAMES.frames) -> None:
    record = Record(topic, 1, len(value), key.encode(), value, (("engram", b"{}"),), 0)
    bus.publisher().publish(dead_letter(record, BadMessageError(reason, f"{reason} it is"), NAMES.dead_letters, "w1"))


START, UPDATE, END = event(5, 5), event(5, 15, "update", 1), event(5, 18, "end", 2)
OTHER = event(7, 8, camera_id="cam2")


def test_events_are_told_in_their_order_across_cameras_and_partitions(bus: InProcessBus) -> None:
    tell(bus, START, UPDATE, OTHER, END, START)
    done = call("events")
    assert done.exit_code == 0, done.output
    assert [line.split()[1:3] for line in done.stdout.splitlines()] == [
        ["cam1", "start"],
        ["cam2", "start"],
        ["cam1", "update"],
        ["cam1", "end"],
    ]


def test_events_for_programs_are_the_messages_themselves(bus: InProcessBus) -> None:
    tell(bus, START, OTHER)
    done = call("events", "-o", "json")
    assert [AnomalyEvent.model_validate_json(line) for line in done.stdout.splitlines()] == [START, OTHER]


def test_the_pictures_of_events_are_written_beside_what_is_printed(bus: InProcessBus, tmp_path: Path) -> None:
    tell(bus, shown(START, FIRST), OTHER, shown(END, PEAK))
    done = call("events", "--snapshots", tmp_path / "pictures")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 3)
    (path,) = (tmp_path / "pictures").rglob("*.jpg")
    assert path.read_bytes() == PEAK


def test_only_the_cameras_that_are_named(bus: InProcessBus) -> None:
    tell(bus, START, OTHER, event(7, 8, camera_id="cam3"))
    assert call("events", "--camera", "cam2").stdout.count("\n") == 1
    assert call("events", "--camera", "cam2", "--camera", "cam3").stdout.count("\n") == 2
    assert call("events", "--camera", "cam9").stdout == ""


def test_messages_that_cannot_be_read_are_told_on_standard_error_at_the_end(bus: InProcessBus) -> None:
    tell(bus, b"no json", START, b"{")
    done = call("events", "-o", "json")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert done.stderr.splitlines()[-1].endswith("skipped messages that could not be read: 2 foreign")
    assert "skipped" not in call("events", "--log-level", "error").stderr


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends a follower when it has printed so many lines, as a signal would."""

    def arm(lines: int) -> None:
        stops: list[threading.Event] = []
        printed = 0

        @contextmanager
        def remembered() -> Iterator[threading.Event]:
            with stop_on_signals() as stop:
                stops.append(stop)
                yield stop

        def counting(show: Callable[..., None]) -> Callable[..., None]:
            def count(found: Sequence[object], *more: object) -> None:
                nonlocal printed
                found = list(found)
                show(found, *more)
                printed += len(found)
                if printed >= lines:
                    stops[0].set()

            return count

        for module in (events, dead_letters):
            monkeypatch.setattr(module, "stop_on_signals", remembered)
        monkeypatch.setattr(events, "print_events", counting(events.print_events))
        monkeypatch.setattr(dead_letters, "_print_lines", counting(dead_letters._print_lines))

    return arm


def test_a_follower_may_begin_at_the_beginning(bus: InProcessBus, stop_after: Callable[[int], None]) -> None:
    tell(bus, START, END)
    stop_after(2)
    done = call("events", "--follow", "--from-beginning")
    assert done.exit_code == 0, done.output
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["start", "end"]


@pytest.mark.parametrize("name", ["events", "dead-letters"])
def test_a_follower_begins_with_what_is_new(
    bus: InProcessBus, stop_after: Callable[[int], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(bus, event(1, 1, camera_id="old"))
    give_up(bus, "old", "bad_frame")
    stop_after(1)
    opened = events.opened_reader

    def open_then_tell(*given: object) -> object:
        reader = opened(*given)  # type: ignore[arg-type]
        tell(bus, event(2, 2, camera_id="new"))
        give_up(bus, "new", "bad_frame")
        return reader

    for module in (events, dead_letters):
        monkeypatch.setattr(module, "opened_reader", open_then_tell)
    done = call(name, "--follow")
    assert done.exit_code == 0, done.output
    assert "new" in done.stdout
    assert "old" not in done.stdout


def test_a_group_goes_on_where_it_stopped(bus: InProcessBus, stop_after: Callable[[int], None]) -> None:
    tell(bus, START)
    stop_after(1)
    done = call("events", "--group", "siren", "--from-beginning", "-o", "json")
    assert done.exit_code == 0, done.output
    assert [AnomalyEvent.model_validate_json(line) for line in done.stdout.splitlines()] == [START]
    tell(bus, UPDATE)
    stop_after(1)
    again = call("events", "--group", "siren", "-o", "json")
    assert [AnomalyEvent.model_validate_json(line) for line in again.stdout.splitlines()] == [UPDATE]


def test_what_could_not_be_printed_comes_again(
    bus: InProcessBus, stop_after: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(bus, START)

    def broken(*given: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(events, "print_events", broken)
        failed = call("events", "--group", "siren", "--from-beginning")
    assert failed.exit_code == 1
    assert "no space left on device" in failed.stderr
    stop_after(1)
    assert call("events", "--group", "siren").stdout.count("cam1") == 2  # the line names it twice


def test_letters_that_are_followed_are_filtered_and_saved(
    bus: InProcessBus, stop_after: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = events.opened_reader

    def open_then_tell(*given: object) -> object:
        reader = opened(*given)  # type: ignore[arg-type]
        give_up(bus, "gate", "bad_frame", b"first")
        give_up(bus, "gate", "wrong_key", b"second")
        return reader

    monkeypatch.setattr(dead_letters, "opened_reader", open_then_tell)
    stop_after(1)
    done = call("dead-letters", "--follow", "--reason", "wrong_key", "--save", tmp_path, "-o", "json")
    assert [json.loads(line)["reason"] for line in done.stdout.splitlines()] == ["wrong_key"]
    assert [path.read_bytes() for path in tmp_path.glob("*.bin")] == [b"second"]


def test_letters_are_listed_newest_first_with_where_they_came_from(bus: InProcessBus) -> None:
    for value in (b"1", b"22", b"333"):
        give_up(bus, "gate", "bad_frame", value)
    done = call("dead-letters", "-n", 2)
    assert "dead letters, the newest 2 of 3" in done.stdout
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    assert [(reason, source, camera, size, wrong) for _, _, reason, source, camera, size, wrong in cells] == [
        ("bad_frame", f"{NAMES.frames}/1/3", "gate", "3", "bad_frame it is"),
        ("bad_frame", f"{NAMES.frames}/1/2", "gate", "2", "bad_frame it is"),
    ]


def test_what_is_saved_is_what_is_listed(bus: InProcessBus, tmp_path: Path) -> None:
    for value in (b"1", b"22", b"333"):
        give_up(bus, "gate", "bad_frame", value)
    done = call("dead-letters", "-n", 2, "--save", tmp_path)
    assert done.stdout.splitlines()[-1] == f"saved to {tmp_path}: 2"
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.bin")) == [b"22", b"333"]
    assert "saved to" not in call("dead-letters").stdout


def test_counts_are_of_all_that_is_wanted_not_of_the_newest(bus: InProcessBus) -> None:
    for key in ("a", "a", "b"):
        give_up(bus, key, "bad_frame")
    give_up(bus, "shared", "wrong_key", topic=NAMES.memory_updates)
    told = json.loads(call("dead-letters", "--count", "-n", 1, "-o", "json").stdout)
    assert told == {
        "reasons": {"bad_frame": 3, "wrong_key": 1},
        "topics": {NAMES.frames: 3, NAMES.memory_updates: 1},
    }
    some = json.loads(call("dead-letters", "--count", "--camera", "a", "-o", "json").stdout)
    assert some["reasons"] == {"bad_frame": 2}
    shown = call("dead-letters", "--count").stdout
    assert [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line] == [
        "bad_frame",
        "wrong_key",
        NAMES.frames,
        NAMES.memory_updates,
    ]


def test_one_letter_is_shown_whole(bus: InProcessBus, tmp_path: Path) -> None:
    give_up(bus, "gate", "bad_frame", b"the bytes")
    (listed,) = call("dead-letters", "-o", "json").stdout.splitlines()
    place = json.loads(listed)["place"]
    shown = call("dead-letters", "--show", place, "--save", tmp_path)
    assert f"dead letter {place}" in shown.stdout
    assert "headers of the record" in " ".join(shown.stdout.split())
    for name in ("written_at", "reason", "message", "source", "author", "key", "num_bytes", "num_left_out"):
        assert name in shown.stdout
    assert [path.read_bytes() for path in tmp_path.glob("*.bin")] == [b"the bytes"]
    told = json.loads(call("dead-letters", "--show", place, "-o", "json").stdout)
    assert told == json.loads(listed) | {"headers": [["engram", "{}"]]}


def test_letters_by_line_say_what_they_know(bus: InProcessBus) -> None:
    """Also where nobody of ours wrote the record."""
    bus.publisher().publish(OutRecord(NAMES.dead_letters, "stray", b"x"))
    (line,) = call("dead-letters", "-o", "json").stdout.splitlines()
    letter = json.loads(line)
    assert (letter["reason"], letter["source"], letter["key"]) == ("unknown", "", "stray")
    at = datetime.fromisoformat(letter["written_at"])
    assert at.tzinfo == timezone.utc


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--follow", "--count"), "only one of --follow, --count and --show can be given"),
        (("--show", "0/1", "--follow"), "only one of --follow, --count and --show can be given"),
        (("--show", "0/1x"), "--show must be PARTITION/OFFSET, as in --show 0/17, got '0/1x'"),
        (("--show", "7"), "--show must be PARTITION/OFFSET"),
        (("--show", "0/999"), "there must be a dead letter at 0/999, there is none"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_to_give(
    bus: InProcessBus, words: tuple[str, ...], message: str
) -> None:
    done = call("dead-letters", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", ["0", "1001"])
def test_how_many_is_bounded(bus: InProcessBus, number: str) -> None:
    assert call("dead-letters", "-n", number).exit_code == 2
