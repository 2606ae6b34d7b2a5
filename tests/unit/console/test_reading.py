"""From topics to the board: all kinds of records, restarts, and what is no record of ours."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from console.board import Board, Filter
from console.keep import Keep
from console.plumbing import producer_account, reading_account
from console.reading import Pulse, Reading
from console.saying import Sayer
from console.verdicts import verdict_of
from consumers.verdicts import Statement
from engram.build.topics import topic_specs
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord
from schemas.codec import encode_header, encode_message
from schemas.errors import TransientError
from schemas.messages import BankHeader, utc_now
from schemas.settings.connections import KafkaSection
from schemas.topics import TopicNames
from schemas.verdicts import outcome_event
from tests.unit.console.worlds import NOW, jpeg, outcome, seen, status
from tests.unit.consumers.samples import score

TOPICS = TopicNames.with_prefix("")


@pytest.fixture
def bus() -> Iterator[InProcessBus]:
    made = InProcessBus()
    made.create_topics(topic_specs(KafkaSection(frames_partitions=2), 100_000))
    yield made
    made.close()


def publish(
    bus: InProcessBus, topic: str, key: str, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()
) -> None:
    bus.publisher().publish(OutRecord(topic, key, value, headers))


def read_all(reading: Reading) -> int:
    """Until nothing more comes."""
    total = 0
    while number := reading.step(0.0):
        total += number
    return total


def opened(bus: InProcessBus, board: Board, keep: Keep) -> Reading:
    reading = Reading(bus, TOPICS, board, keep, "engram-console")
    reading.open()
    reading.step(0.0)  # the partitions are ours from here on
    return reading


def test_all_that_the_console_reads_reaches_its_board(bus: InProcessBus) -> None:
    board, keep = Board(), Keep(None)
    reading = opened(bus, board, keep)
    message = seen(picture=jpeg())
    verdict = verdict_of(message, Statement("real", "ann"), NOW)
    publish(bus, TOPICS.anomaly_events, "cam1", encode_message(message))
    publish(bus, TOPICS.frame_scores, "cam1", encode_message(score(990)))
    publish(bus, TOPICS.camera_status, "cam1", encode_message(status(reported_at=utc_now())))
    publish(bus, TOPICS.operator_verdicts, "shared", encode_message(verdict))
    publish(bus, TOPICS.memory_events, "shared", encode_message(outcome_event(outcome(verdict))))
    assert read_all(reading) == 5
    assert [listed.card.event_id for listed in board.find(Filter("real"))] == ["cam1:s1:10"]
    (said,), _ = board.said("cam1:s1:10")
    assert said.outcome is not None
    assert [card.state for card in board.cameras()] == ["live"]
    publish(bus, TOPICS.camera_status, "cam1", None)
    read_all(reading)
    assert board.statuses() == []
    assert reading_account(reading.tally).missing == 0
    reading.close()


def test_what_is_no_message_of_ours_is_counted_and_passed_over(bus: InProcessBus) -> None:
    board, keep = Board(), Keep(None)
    reading = opened(bus, board, keep)
    topics = [TOPICS.anomaly_events, TOPICS.frame_scores, TOPICS.operator_verdicts, TOPICS.memory_events]
    topics += [TOPICS.camera_status, TOPICS.camera_events, TOPICS.memory_banks]
    for topic in topics:
        publish(bus, topic, "x", b"\xff\x00 not ours")
        publish(bus, topic, "x", b'{"schema_version": 99}')
        publish(bus, topic, "x", b"[" * 5000)
    publish(bus, TOPICS.anomaly_events, "cam1", encode_message(seen()))
    read_all(reading)
    account = reading_account(reading.tally)
    assert account.missing == 0
    assert account.parts["taken"] == 1
    assert sum(reading.tally.bad.values()) == account.whole - 1 > 14
    assert len(board.find(Filter())) == 1
    reading.close()


def test_a_restart_goes_on_behind_what_the_file_holds(bus: InProcessBus, tmp_path: Path) -> None:
    path = tmp_path / "console.db"
    for first in (0, 100):
        publish(bus, TOPICS.anomaly_events, "cam1", encode_message(seen(first, first + 5)))
        with closing(Keep(path)) as keep:
            reading = opened(bus, Board(), keep)
            read_all(reading)
            reading.close()
            assert reading.tally.received <= 1, "what was read is not read again"
    with closing(Keep(path)) as keep:
        board = Board()
        Reading(bus, TOPICS, board, keep, "engram-console")
        assert len(board.find(Filter())) == 2


def test_another_file_begins_at_the_beginning(bus: InProcessBus, tmp_path: Path) -> None:
    publish(bus, TOPICS.anomaly_events, "cam1", encode_message(seen()))
    groups = set()
    for name in ("one.db", "two.db"):
        with closing(Keep(tmp_path / name)) as keep:
            board = Board()
            reading = Reading(bus, TOPICS, board, keep, "engram-console")
            reading.open()
            read_all(reading)
            reading.step(0.0)
            reading.close()
            groups.add(reading.group)
            assert len(board.find(Filter())) == 1
    assert len(groups) == 2


def test_what_could_not_be_written_down_is_not_passed(bus: InProcessBus, tmp_path: Path) -> None:
    path = tmp_path / "console.db"
    with closing(Keep(path)) as keep:
        reading = opened(bus, Board(), keep)
        keep._connection.execute("PRAGMA query_only = ON")
        publish(bus, TOPICS.anomaly_events, "cam1", encode_message(seen()))
        read_all(reading)
        assert reading.trouble is not None
        assert "cannot be written now" in reading.trouble
        reading.close()
    with closing(Keep(path)) as keep:
        board = Board()
        reading = opened(bus, board, keep)
        read_all(reading)
        assert len(board.find(Filter())) == 1
        reading.close()


def test_a_disk_that_has_room_again_is_written_to(bus: InProcessBus) -> None:
    keep = Keep(None)
    reading = opened(bus, Board(), keep)
    keep._connection.execute("PRAGMA query_only = ON")
    publish(bus, TOPICS.anomaly_events, "cam1", encode_message(seen()))
    read_all(reading)
    keep._connection.execute("PRAGMA query_only = OFF")
    reading.step(0.0)
    assert reading.trouble is None
    assert [row.key for row in keep.rows()] == ["cam1:s1:10"]
    reading.close()


def test_a_time_from_the_future_is_taken_for_now() -> None:
    made = InProcessBus(clock=lambda: utc_now().timestamp() + 1e6)
    made.create_topics(topic_specs(KafkaSection(frames_partitions=2), 100_000))
    board = Board()
    reading = opened(made, board, Keep(None))
    publish(made, TOPICS.frame_scores, "cam1", encode_message(score(990)))
    read_all(reading)
    heard = board.wall().newest_at
    assert heard is not None
    assert heard <= utc_now()
    made.close()


def test_a_verdict_is_said_once_the_log_has_it(bus: InProcessBus) -> None:
    say = Sayer(TOPICS.operator_verdicts)
    verdict = verdict_of(seen(), Statement("skip", "ann"), NOW)
    with pytest.raises(TransientError, match="not there yet"):
        say(verdict)
    say.open(bus.publisher())
    say(verdict)
    (record,) = bus.reader([TOPICS.operator_verdicts], from_beginning=True).read_to_end(1.0)
    assert (record.key, record.value) == (b"shared", encode_message(verdict))


def test_a_log_that_is_away_is_noticed() -> None:
    seconds = [0.0]

    def ask() -> None:
        if seconds[0] > 10:
            raise TransientError("away")

    pulse = Pulse(ask, lambda: seconds[0])
    seconds[0] = 9.0
    pulse.look()
    assert pulse.silent_s() == 0
    seconds[0] = 40.0
    pulse.look()
    assert pulse.silent_s() == 31


def test_a_producer_s_frames_add_up() -> None:
    assert producer_account(status()).missing == 0
    assert producer_account(status()).parts["lost: broker_away"] == 8
    short = status().frames.model_copy(update={"captured": 125})
    assert producer_account(status().model_copy(update={"frames": short})).missing == 5


def test_a_bank_s_content_is_checked_before_it_is_counted(bus: InProcessBus) -> None:
    board = Board()
    reading = opened(bus, board, Keep(None))
    header = BankHeader(
        bank_id="gate", version=1, epoch="e", bundle_digest="0" * 64, digest="0" * 64, previous_digest=None,
        num_items=1, item_dim=1, committed_at=NOW,
    )  # fmt: skip
    publish(bus, TOPICS.memory_banks, "gate", b"1234", encode_header(header))
    read_all(reading)
    publish(bus, TOPICS.memory_banks, "gate", None)
    read_all(reading)
    assert board.banks() == ["gate"]
    assert reading_account(reading.tally).missing == 0
    reading.close()
